"""Text for people: tables, marks, ages. Plain characters, so that it survives a pager and a ticket."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from ddr.lib import timetext

if TYPE_CHECKING:
    from ddr.domain import signals

_MARKS = {"ok": ("ok", "green"), "bad": ("BAD", "red"), "unknown": ("??", "yellow")}


def mark(state: str) -> str:
    """`ok`, `BAD` or `??`, coloured where a person watches; the word alone says it too."""
    word, colour = _MARKS[state]
    return click.style(word, fg=colour, bold=state != "ok")


def heading(text: str) -> str:
    return click.style(text, bold=True)


def table(rows: Sequence[Sequence[str]], indent: int = 2) -> str:
    """Columns as wide as their widest cell; colours do not count."""
    if not rows:
        return ""
    widths = [max(len(click.unstyle(row[at])) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True)]
        lines.append((" " * indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def size(size_bytes: int) -> str:
    """`1.5 GiB`, `12 MiB`, `640 B`."""
    value, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f} {unit}" if unit != "B" and value < 10 else f"{value:.0f} {unit}"


def age(at: datetime | None, now: datetime) -> str:
    """`12m ago`; `never` without a time."""
    return "never" if at is None else f"{timetext.format_duration(now - at)} ago"


def judgement_row(judgement: signals.Judgement, detector: str) -> tuple[str, str, str, str, str]:
    """State, name, value, limit, why; shares as percent, seconds as time."""
    from ddr.report import words

    value = words.value(judgement.value, detector, judgement.unit)
    limit = words.value(judgement.threshold, detector, judgement.unit)
    shown = f"limit {limit}" if judgement.threshold is not None else ""
    return (mark(judgement.state), judgement.signal, value, shown, f"n={judgement.n}  {judgement.why}".rstrip())
