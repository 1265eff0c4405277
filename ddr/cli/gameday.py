"""`ddr gameday`: break a platform on purpose and see whether people and tool find their way back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import gamedays
    from ddr.gameday import progress

WARM_UP = timedelta(hours=3)


@click.group()
def command() -> None:
    """Break a platform on purpose, recover it, score it."""


@command.command(name="list")
@sessions.json_option
@sessions.pass_session
def list_(session: sessions.Session) -> None:
    """List the shipped scenarios.

    Exit codes: 0 listed.
    """
    from ddr.cli import output
    from ddr.gameday import parse
    from ddr.lib import shipped

    folder = shipped.folder("scenarios")
    found = [parse.read(parse.find(name, folder)).scenario for name in parse.names(folder)]
    rows = [(output.heading(entry.name), entry.title) for entry in found]
    session.show({"scenarios": found}, lambda: output.table(rows))


@command.command()
@click.argument("scenarios", nargs=-1, required=True)
@click.option(
    "--sandbox",
    type=click.Path(file_okay=False, path_type=Path),
    help="Play on this sandbox, not on a new one in REPORT/sandbox.",
)
@click.option("--seed", type=int, help="Of a new sandbox; else the first scenario's.")
@click.option("--report", type=click.Path(file_okay=False, path_type=Path), default="gameday-report", show_default=True)
@sessions.json_option
@sessions.pass_session
def run(
    session: sessions.Session, scenarios: tuple[str, ...], sandbox: Path | None, seed: int | None, report: Path
) -> int:
    """Play SCENARIOS, names or paths: steady state, decoys and a fault, response, recovery, score.

    The response is real `ddr` commands, typed as the on-call engineer and approved by somebody else. Faults are
    always taken back; after a kill, `ddr runbook undo RUN` does it. Writes REPORT/report.html and report.json.

    Exit codes: 0 every expectation was met, 1 not all were, 5 an earlier game day was cut off and must be undone
    first, 64 a scenario is not right, 130 stopped with Ctrl-C, everything undone.
    """
    from ddr import errors
    from ddr.cli import playing
    from ddr.gameday import parse
    from ddr.lib import shipped
    from ddr.wiring import playground

    folder = shipped.folder("scenarios")
    sources = [parse.read(parse.find(name, folder)) for name in scenarios]
    root = sandbox or report / "sandbox"
    if sandbox is not None:
        playground.ensure(playground.root(None, root))
    else:
        playground.raise_anew(root, sources[0].scenario.seed if seed is None else seed, WARM_UP, session.notice)
    try:
        with _screen(session) as tell:
            result = playing.play(sources, root, tell)
    except errors.Interrupted as problem:
        problem.hint = problem.hint.replace("ddr ", f"ddr --config {root} ")
        raise
    written = playing.write(result, report)
    if sandbox is None and result.is_restored:
        playground.remove(root)
    elif not result.is_restored:
        session.notice(f"the sandbox is kept, because it is not as it was: {root}")
    session.show(playing.document(result, written), lambda: _text(result, written))
    if result.was_stopped:
        return errors.EXIT_SIGINT
    return errors.EXIT_OK if result.passed else errors.EXIT_FAILED


@command.command()
@click.argument("scenarios", nargs=-1)
@sessions.json_option
@sessions.pass_session
def check(session: sessions.Session, scenarios: tuple[str, ...]) -> None:
    """Check scenarios whole against this sandbox: every problem with its line. All shipped ones without SCENARIOS.

    Exit codes: 0 fine, 64 problems.
    """
    from ddr.cli import playing
    from ddr.gameday import parse
    from ddr.lib import shipped

    folder = shipped.folder("scenarios")
    sources = [parse.read(parse.find(name, folder)) for name in scenarios or parse.names(folder)]
    playing.check(sources, session.wired())
    session.show({"checked": [source.path for source in sources]}, lambda: f"{len(sources)} scenarios are fine")


@contextlib.contextmanager
def _screen(session: sessions.Session) -> Iterator[progress.Report]:
    """A live board on a terminal, lines elsewhere, silence with --json."""
    from ddr.gameday import progress, screen

    if session.json:
        yield progress.nowhere
    elif sessions.is_terminal():
        with screen.live() as tell:
            yield tell
    else:
        yield screen.lines(session.notice)


_COLOURS = {"good": "green", "bad": "red", "quiet": "bright_black"}


def _paint(text: str, role: str) -> str:
    return click.style(text, fg=_COLOURS.get(role), bold=role in ("good", "bad", "strong"))


def _text(result: gamedays.GameDay, written: Path) -> str:
    from ddr.report import text

    return f"{text.gameday(result, _paint)}\nreport: {written}"
