"""Commands as a person would type them: run through the real `ddr`, recorded with who, how long and what came back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddr.errors import DdrError
from ddr.lib import digest, redact

LONGEST_OUTPUT = 2000
"""Characters of a command's output that go into the journal."""


@dataclass(frozen=True)
class CommandResult:
    exit_code: int
    stdout: str
    stderr: str
    wall_s: float


RunCommand = Callable[[Sequence[str], str], CommandResult]
"""`(words, actor)`: run `ddr --as ACTOR WORDS --json` on the same configuration, to its end."""


class CommandFailed(DdrError):
    """A command of the response ended in a way the response cannot go on from."""


def document(words: Sequence[str], result: CommandResult) -> Mapping[str, Any]:
    """What the command printed as JSON. CommandFailed when it is none."""
    try:
        found = json.loads(result.stdout)
    except ValueError as problem:
        told = redact.foreign(result.stderr or result.stdout or "nothing")
        raise CommandFailed(f"`ddr {' '.join(words)}` (exit {result.exit_code}) printed no JSON: {told}") from problem
    if not isinstance(found, dict):
        raise CommandFailed(f"`ddr {' '.join(words)}` (exit {result.exit_code}) printed no JSON object")
    return found


def spoken(result: CommandResult) -> str:
    """The document a command printed, as the few lines a person would want of it."""
    try:
        found = json.loads(result.stdout)
    except ValueError:
        return shortened(result.stderr or result.stdout)
    return shortened("\n".join(_lines(found))) if isinstance(found, dict) else shortened(result.stdout)


def _lines(found: Mapping[str, Any]) -> list[str]:
    """The first line says how it ended, the others why."""
    if isinstance(found.get("error"), dict):
        error = found["error"]
        return [f"{error.get('kind')}: {error.get('message')}", *([error["hint"]] if error.get("hint") else [])]
    if "verdict" in found:
        return _diagnosis(found)
    if "granted" in found:
        word = "approved" if found["granted"] else "denied"
        return [f"{word}: plan {digest.short(str(found.get('plan_digest', '')))}"]
    name, status = found.get("run") or found.get("id", ""), found.get("status", "")
    lines = [f"{name} {status}".strip() or "done"]
    lines += [str(found[key]) for key in ("title", "why") if found.get(key)]
    lines += [f"  will: {entry}" for entry in found.get("plan", ())]
    lines += [f"  {step.get('step')}: {step.get('status')}: {step.get('summary')}" for step in found.get("steps", ())]
    return lines


def _diagnosis(found: Mapping[str, Any]) -> list[str]:
    candidates = found.get("candidates") or ()
    change = (candidates[0].get("change") if candidates else None) or {}
    culprit = f", {change['object']} {change['before'] or '?'} → {change['after'] or '?'}" if change else ""
    who = (candidates[0].get("plane") or "unknown") if candidates else "nobody"
    lines = [f"{found['verdict']}: {who}{culprit}"]
    for candidate in candidates[:3]:
        lines.append(f"  {candidate.get('probability', 0):.1%} {candidate.get('plane') or 'unknown'}")
        lines += [f"    {entry.get('says')}" for entry in candidate.get("evidence", ())[:3]]
    if found.get("next_command"):
        lines.append(f"next: {found['next_command']}")
    return lines


def shortened(text: str) -> str:
    """Cut in the middle, where the least is: the beginning says what, the end says how it ended."""
    text = redact.Redactor()(text.strip())
    if len(text) <= LONGEST_OUTPUT:
        return text
    half = LONGEST_OUTPUT // 2
    return f"{text[:half].rstrip()}\n...\n{text[-half:].lstrip()}"
