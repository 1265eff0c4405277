"""Text for people: tables, marks, ages. Plain characters, so that it survives a pager and a ticket."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from ddr.lib import timetext

if TYPE_CHECKING:
    from ddr.domain import signals

_NARROWEST = 40
_TO_PASTE = ("next:", "ddr ", "take it back:")
_WORDS = re.compile(r"\s*\S+\s*?(?=\s|$)")
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


def width() -> int | None:
    """Columns of the terminal, None where nobody watches: a pipe and a ticket get whole lines."""
    return max(_NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def fitted(text: str, columns: int | None) -> str:
    """Lines that are too long go on below, a little to the right; a command to paste stays on its line."""
    if columns is None:
        return text
    return "\n".join(part for line in text.split("\n") for part in _folded(line, columns))


def _folded(line: str, columns: int) -> Iterator[str]:
    plain = click.unstyle(line)
    if len(plain) <= columns or plain.lstrip().startswith(_TO_PASTE):
        yield line
        return
    indent = " " * min(len(plain) - len(plain.lstrip()) + 4, columns // 2)
    here, used = "", 0
    for word in _WORDS.findall(line):
        long = len(click.unstyle(word))
        if used + len(click.unstyle(word.rstrip())) > columns and here.strip():
            yield here.rstrip()
            here, used, word = indent, len(indent), word.lstrip()
            long = len(click.unstyle(word))
        here, used = here + word, used + long
    yield here.rstrip()


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
