"""One run of the program that fills a feature table, and what it came to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ddr.domain import outcomes
from ddr.errors import Unavailable
from ddr.lib import jsonl, process, redact, timetext

_TIMED_OUT = 124


@dataclass(frozen=True)
class Places:
    """`source` and `online` are below `root`."""

    root: Path
    source: str
    online: str


@dataclass(frozen=True)
class Ran:
    """`reported` is the number of rows the program says it wrote, -1 when it says none."""

    exit_code: int
    reported: int
    last_words: str


def run(program: Path, places: Places, since: datetime, until: datetime, timeout_s: float) -> Ran:
    """Run it as the scheduler does, in a process that ends with this one."""
    root = places.root
    command = [sys.executable, "-B", str(program.absolute())]
    command += ["--source", str((root / places.source).absolute())]
    command += ["--online", str((root / places.online).absolute())]
    command += ["--since", timetext.format_time(since), "--until", timetext.format_time(until)]
    try:
        ended = process.run_bound(command, cwd=root, timeout_s=timeout_s)
    except subprocess.TimeoutExpired:
        return Ran(_TIMED_OUT, -1, f"no end within {timeout_s:g} s")
    except OSError as problem:
        raise Unavailable(
            f"{program} cannot be started: {redact.foreign(problem)}",
            hint="look at the machine's memory and rights",
        ) from problem
    reported = jsonl.parse((ended.stdout.strip().splitlines() or [""])[-1].encode()) or {}
    rows = reported.get("rows")
    last_words = redact.foreign((ended.stderr.strip().splitlines() or [""])[-1])
    return Ran(ended.returncode, rows if isinstance(rows, int) else -1, last_words)


def judged(name: str, ran: Ran, fresh: int, stale: Sequence[str]) -> outcomes.Outcome:
    """`fresh` entities have their newest event online, `stale` ones have not."""
    total = fresh + len(stale)
    said = f"{ran.reported} rows reported" if ran.reported >= 0 else "no rows reported"
    evidence = [f"{name}: exit code {ran.exit_code}, {said}, {fresh} of {total} entities fresh"]
    if stale:
        evidence.append(f"stale: {', '.join(stale[:5])}" + (" and more" if len(stale) > 5 else ""))
    values = {"rows": str(fresh), "entities": str(total), "exit_code": str(ran.exit_code), "revision": name}
    if ran.exit_code != 0:
        why = f"{name} ended with exit code {ran.exit_code}: {ran.last_words or 'it said nothing'}"
    elif total == 0:
        why = f"{name} ended well, and the source has no event in the window: look upstream"
    elif fresh == 0:
        why = f"{name} ended well and no row is fresh"
    elif stale:
        why = f"{name} ended well and left {len(stale)} of {total} entities stale"
    else:
        summary = f"{name} wrote the newest event of all {total} entities"
        return outcomes.Outcome(outcomes.Status.OK, summary, tuple(evidence), values)
    return outcomes.Outcome(outcomes.Status.FAILED, why, tuple(evidence), values)
