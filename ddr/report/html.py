"""The report as one HTML file: no script, no network, nothing beside it.

The template only places what the nouns say; text from outside is escaped by jinja2 (autoescape) and by `svg.escape`.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ddr.domain import accounts, gamedays
from ddr.lib import digest, timetext
from ddr.report import plot, svg, timeline, words

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"

LARGEST_BYTES = 2_000_000
"""A report stays below this, so that it can be mailed and opens at once."""

LONGEST_OUTPUT_LINES = 14


def gameday(result: gamedays.GameDay) -> str:
    """The whole page as text, UTF-8 when written."""
    return _environment().get_template("gameday.html").render(day=result, css=_css())


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        words=words,
        timeline=_timeline,
        plot=_plot,
        glyph=_glyph,
        kinds=_kinds,
        Standing=gamedays.Standing,
    )
    environment.filters.update(
        clock=words.clock,
        day=words.day,
        span=words.span,
        percent=words.percent,
        time=timetext.format_clock,
        short=digest.short,
        shortened=shortened,
    )
    return environment


def _css() -> Markup:
    """Our own file, and so not escaped."""
    return _markup((TEMPLATES / "report.css").read_text())


def _markup(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - made here, from parts that were escaped


def _timeline(account: accounts.Account) -> Markup:
    return _markup(timeline.draw(account))


def _plot(series: accounts.Series, account: accounts.Account) -> Markup:
    since, until = _plot_frame(account)
    return _markup(plot.draw(series, account.times, since, until))


def _plot_frame(account: accounts.Account) -> tuple[datetime, datetime]:
    """As far as signals were judged: the same for all plots of an account, so that they can be compared."""
    times = [judgement.at for series in account.series for judgement in series.judgements]
    return (min(times), max(times)) if times else (account.since, account.until)


def _glyph(kind: accounts.Kind) -> Markup:
    return _markup(svg.legend_glyph(kind))


def _kinds(account: accounts.Account) -> tuple[accounts.Kind, ...]:
    """The kinds that occur, in the order in which they are explained."""
    present = {happening.kind for happening in account.happenings}
    return tuple(kind for kind in accounts.Kind if kind in present)


def shortened(output: str) -> str:
    """The first lines of what a command printed, with a word about the rest."""
    lines = output.rstrip().splitlines()
    if len(lines) <= LONGEST_OUTPUT_LINES:
        return "\n".join(lines)
    return "\n".join([*lines[:LONGEST_OUTPUT_LINES], f"... {len(lines) - LONGEST_OUTPUT_LINES} more lines"])
