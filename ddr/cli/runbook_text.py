"""Runbooks and their plans as text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from ddr.cli import output
from ddr.lib import timetext

_OPEN = re.compile(r"\{\{\s*(?:service\.)?([\w.]+)\s*\}\}")

if TYPE_CHECKING:
    from ddr.domain import runbooks
    from ddr.runbook import preview


def page(book: runbooks.Runbook) -> str:
    """Symptom first, background last."""
    meta = book.metadata
    lines = [output.heading(book.name), f"  {book.summary}", "", "  starts when"]
    lines += [f"    {entry.signal}: {entry.meaning}" for entry in book.signal]
    lines += [
        "",
        f"  takes back {book.target.plane} to {book.target.to}; if that is not possible: {book.target.containment}",
    ]
    lines += ["", "  steps"]
    for at, step in enumerate(book.steps, start=1):
        lines.append(f"    {at:>2}  {step.name:<22} {step.kind:<6} {step.verb}")
        lines += [f"        {step.why}"] if step.why else []
    lines += ["", f"  proved by      {', '.join(book.validation)}"]
    lines += [f"  customers      {book.impact.customers}", f"  business       {book.impact.business}"]
    planes = ", ".join(book.changes.planes)
    lines.append(f"  what changed   {timetext.format_duration(book.changes.window)} back: {planes}")
    lines.append(f"  decides        {book.roles.decision_maker}; commander {book.roles.incident_commander}")
    lines.append(f"  owner          {meta.owner}, {meta.severity}, reviewed {meta.reviewed}")
    lines += ["  afterwards"]
    lines += [
        f"    {timetext.format_duration(entry.due):>4}  {entry.do} ({entry.owner})" for entry in book.post_incident
    ]
    return "\n".join(lines)


def plan(seen: preview.Preview) -> str:
    """Each step: what it would do, what it touches, how it is undone; or what its probe saw."""
    lines = [f"{output.heading('plan')} {seen.title} for {seen.service}; nothing was touched"]
    for at, line in enumerate(seen.lines, start=1):
        lines.append(f"{at:>3}  {output.heading(line.step)}  ({line.kind} {line.verb})")
        if line.problem:
            told = line.problem.removesuffix(f": {line.outcome.summary}") if line.outcome else line.problem
            lines.append(f"       {click.style('cannot:', fg='red', bold=True)} {told}")
        if line.outcome is not None:
            lines.append(f"       {line.outcome.status}: {line.outcome.summary}")
            lines += [f"         {entry}" for entry in line.outcome.evidence[:4]]
        for label, text in (("will", line.will), ("touches", ", ".join(line.touches)), ("undo", line.undo)):
            lines += [f"       {label}: {text}"] if text and line.kind == "action" else []
    return "\n".join(lines)


_SPOKEN = {"owners.oncall": "on-call", "owners.decisionMaker": "decision-maker", "owners.team": "team"}


def spoken(text: str) -> str:
    """A page without a service at hand: what would be filled in is said in words."""
    return _OPEN.sub(lambda found: f"the service's {_SPOKEN.get(found[1], found[1])}", text)
