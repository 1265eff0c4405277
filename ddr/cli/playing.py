"""What a game day needs from outside its room: the platform of a sandbox, and a way to type `ddr` commands."""

from __future__ import annotations

import os
import platform as machine
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddr import version

if TYPE_CHECKING:
    from ddr.domain import gamedays
    from ddr.gameday import commands, parse, progress
    from ddr.wiring import build

ACTOR = "gameday"


def play(sources: Sequence[parse.Source], root: Path, tell: progress.Report) -> gamedays.GameDay:
    """Check the scenarios and play them on the sandbox in `root`."""
    from ddr.gameday import play, stage
    from ddr.wiring import build, config

    path = root / config.NAME
    wired = build.build(path, os.environ, actor=ACTOR, warn=lambda _text: None)
    check(sources, wired)
    on = stage.Stage(
        wired.platform,
        wired.faults(),
        wired.state_digest,
        typed(path),
        report=tell,
        redact=wired.config.redact,
    )
    return play.play(sources, on, facts=_facts())


def check(sources: Sequence[parse.Source], wired: build.Wired) -> None:
    """Raises BadDocument with every problem of the first scenario that has one."""
    from ddr.gameday import check
    from ddr.runbook import shelf

    faults = wired.faults()
    for source in sources:
        check.check(source, faults, wired.platform.service(source.scenario.service), shelf.names())


def typed(config: Path) -> commands.RunCommand:
    """Commands as a person types them: a `ddr` process of its own, on the same configuration."""
    from ddr.gameday import commands
    from ddr.lib import process

    def run(words: Sequence[str], actor: str) -> commands.CommandResult:
        began = time.monotonic()
        done = process.run_bound(
            [sys.executable, "-m", "ddr", "--config", str(config), "--as", actor, *words, "--json"], env=os.environ
        )
        return commands.CommandResult(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    return run


def _facts() -> dict[str, str]:
    """On what it was played."""
    return {
        "ddr": version.VERSION,
        "python": machine.python_version(),
        "machine": f"{machine.system()} {machine.machine()}, {os.cpu_count()} cores",
    }


def write(result: gamedays.GameDay, folder: Path) -> Path:
    """`report.html` and `report.json`; the path of the page."""
    from ddr.lib import durable
    from ddr.report import document, html

    durable.make_folder(folder)
    durable.replace(folder / "report.json", document.text(result).encode())
    durable.replace(folder / "report.html", html.gameday(result).encode())
    return folder / "report.html"


def document(result: gamedays.GameDay, written: Path) -> dict[str, Any]:
    from ddr.report import document

    return {**document.gameday(result), "report": str(written)}
