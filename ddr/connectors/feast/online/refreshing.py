"""A bounded materialization by Feast itself, in a process of its own, and what is in the store afterwards.

Feast skips on Redis what is not newer than the stored time, so writing the same window again with right values ends
well and changes nothing. Here it runs with `skip_dedup`, from a configuration that lies beside the one in use for as
long as it runs; no value is gone in between.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from ddr.connectors.feast.online import state, view
from ddr.domain import outcomes
from ddr.errors import Missing, Unavailable, Unsupported
from ddr.lib import process, redact, timetext

_TIMED_OUT = 124


@dataclass(frozen=True)
class _Ran:
    exit_code: int
    last_words: str


def run(of: view.View) -> outcomes.Outcome:
    """FAILED when it ends badly, or when no value in the store has an event of the window afterwards."""
    until = of.clock.now()
    since = until - of.settings.refresh_window
    with of.opened() as at:
        before = state.look(at.view, at.store)
        kind = at.said.kind
    with _configured(of, is_blind=kind == "redis") as config:
        ran = _ran(of, config, since.replace(tzinfo=None).isoformat(), until.replace(tzinfo=None).isoformat())
    with of.opened() as at:
        after = state.look(at.view, at.store)
    return _judged(of, ran, before, after, since.timestamp(), until.timestamp() - since.timestamp())


@contextlib.contextmanager
def _configured(of: view.View, *, is_blind: bool) -> Iterator[Path]:
    """The configuration to run with. Feast reads it as it stands, passwords by variables and all."""
    config = of.root / of.settings.config
    text = config.read_text()
    if not is_blind or "skip_dedup: true" in text:
        yield config
        return
    copy = config.with_name(f".{config.stem}.ddr-{secrets.token_hex(4)}.yaml")
    try:
        fd = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(_blind(text, config))
        yield copy
    except OSError as problem:
        raise Unavailable(
            f"{copy.parent} cannot be written: {redact.foreign(problem)}", hint="look at its rights and disk"
        ) from problem
    finally:
        copy.unlink(missing_ok=True)


def _blind(text: str, config: Path) -> str:
    import yaml

    document = yaml.safe_load(text)
    store = document.get("online_store") if isinstance(document, dict) else None
    if not isinstance(store, dict):
        raise Unsupported(f"{config}: online_store is no mapping", hint="set `skip_dedup: true` there yourself")
    store["skip_dedup"] = True
    return str(yaml.safe_dump(document, sort_keys=False))


def _ran(of: view.View, config: Path, since: str, until: str) -> _Ran:
    program = str(of.root / of.settings.feast) if "/" in of.settings.feast else of.settings.feast
    command = [program, "-c", str(of.root.absolute()), "-f", str(config.absolute()), "materialize"]
    command += [since, until, "--views", of.settings.view]
    environ = {**os.environ, "FEAST_USAGE": "False"}
    try:
        ended = process.run_bound(command, cwd=of.root, env=environ, timeout_s=of.settings.timeout_s)
    except subprocess.TimeoutExpired:
        return _Ran(_TIMED_OUT, f"no end within {of.settings.timeout_s:g} s")
    except FileNotFoundError:
        raise Missing(
            f"there is no {redact.foreign(program)} to materialize with",
            hint="`feast: PATH` at the connector in ddr.yaml",
        ) from None
    except OSError as problem:
        raise Unavailable(f"{program} cannot be started: {redact.foreign(problem)}", hint="look at its rights") from (
            problem
        )
    said = (ended.stderr.strip() or ended.stdout.strip()).splitlines() or [""]
    return _Ran(ended.returncode, redact.foreign(said[-1]))


def _judged(
    of: view.View, ran: _Ran, before: state.Seen, after: state.Seen, since_s: float, span_s: float
) -> outcomes.Outcome:
    with of.opened() as at:
        sample = at.store.sample(at.view, of.settings.sample)
    fresh = sum(since_s <= one <= since_s + span_s for one in sample.times_s)
    window = timetext.format_duration(timedelta(seconds=span_s))
    evidence = [
        f"feast materialize: exit code {ran.exit_code}",
        f"{fresh} of {len(sample.times_s)} entities looked at have an event of the last {window}",
        "the values are as before" if before.values == after.values else "the values are others than before",
    ]
    values = {
        "rows": str(fresh), "entities": str(len(sample.times_s)), "exit_code": str(ran.exit_code),
        "revision": after.name, "before": before.name,
    }  # fmt: skip
    if ran.exit_code != 0:
        why = f"the materialization ended with exit code {ran.exit_code}: {ran.last_words or 'it said nothing'}"
    elif not sample.times_s:
        why = "the materialization ended well and the store has no values"
    elif not fresh:
        why = f"the materialization ended well and no value has an event of the last {window}: look upstream"
    else:
        share = f"{fresh} of {len(sample.times_s)}"
        summary = f"{of.settings.view} was materialized: {share} entities have an event of the last {window}"
        return outcomes.Outcome(outcomes.Status.OK, summary, tuple(evidence), values)
    return outcomes.Outcome(outcomes.Status.FAILED, why, tuple(evidence), values)
