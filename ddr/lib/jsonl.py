"""Logs of one JSON object a line, written by others: read whole when short, found by time when long.

A line counts when its newline is there: a torn last line is still being written and is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ddr.errors import Damaged, Unavailable
from ddr.lib import redact

LONGEST_LINE_BYTES = 1 << 20
SLACK_S = 60.0  # how far a line may stand from its place in time: several threads write, buffers are flushed late

TimeOf = Callable[[bytes], float | None]
"""When a line happened in epoch seconds, None for a line that cannot be read."""


@dataclass(frozen=True)
class Records:
    """The objects of a file, and how many of its lines are none."""

    objects: tuple[dict[str, object], ...]
    bad: int


def read(path: Path) -> Records:
    """Every line; a file that is not there has none. Unavailable when it cannot be read."""
    objects: list[dict[str, object]] = []
    bad = 0
    content = _content(path) or b""
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        value = parse(line)
        if value is not None:
            objects.append(value)
        elif line.strip():
            bad += 1
    return Records(tuple(objects), bad)


def of_file(path: Path) -> dict[str, object] | None:
    """The one object a file holds, None where there is no file. Damaged when it holds something else."""
    content = _content(path)
    if content is None:
        return None
    value = parse(content)
    if value is None:
        raise Damaged(f"{path} is no JSON object", hint="it was cut off or edited; write it again")
    return value


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as problem:
        raise Unavailable(f"{path} cannot be read: {redact.foreign(problem)}", hint="look at its rights") from problem


def parse(line: bytes) -> dict[str, object] | None:
    """The object on a line, None when it is none."""
    try:
        value = json.loads(line)
    except ValueError:  # also what is no UTF-8
        return None
    return value if isinstance(value, dict) else None


def between(path: Path, time_of: TimeOf, since: float, until: float) -> Iterator[bytes]:
    """The lines that may lie in [since, until), with SLACK_S at both ends and with those that cannot be read.

    Times ascend but for SLACK_S, so the start is found by bisection over byte offsets: a window of a long log costs
    its own length, not the log's. FileNotFoundError when there is no file, OSError when it cannot be read.
    """
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(_start(file, end, time_of, since - SLACK_S))
        while file.tell() < end:
            line = file.readline(LONGEST_LINE_BYTES)
            if not line.endswith(b"\n") and len(line) < LONGEST_LINE_BYTES:
                return
            at = time_of(line)
            if at is not None and at >= until + SLACK_S:
                return
            yield line


def last_before(path: Path, time_of: TimeOf, at: float) -> bytes | None:
    """The last readable line older than `at - SLACK_S`, None where there is none."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        start = _start(file, end, time_of, at - SLACK_S)
        size = 4096
        while start:
            size = min(size, start)
            file.seek(start - size)
            lines = file.read(size).splitlines(keepends=True)[0 if size == start else 1 :]
            for line in reversed(lines):
                if time_of(line) is not None:
                    return line
            if size == start:
                return None
            size *= 8
    return None


def _start(file: BinaryIO, end: int, time_of: TimeOf, since: float) -> int:
    """Offset of the first line that is not older than `since`; `end` when all are."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        begin, at = _first_timed(file, middle, high, time_of)
        if at is None or at >= since:
            high = middle
        else:
            low = max(begin, middle + 1)
    return _line_at(file, low, end)


def _line_at(file: BinaryIO, offset: int, end: int) -> int:
    """Offset of the first line that begins at `offset` or behind it."""
    if offset == 0:
        return 0
    file.seek(offset - 1)
    file.readline()
    return min(file.tell(), end)


def _first_timed(file: BinaryIO, offset: int, end: int, time_of: TimeOf) -> tuple[int, float | None]:
    """The first readable line that begins in [offset, end): where the next one begins, and its time."""
    begin = _line_at(file, offset, end)
    while begin < end:
        file.seek(begin)
        at = time_of(file.readline(LONGEST_LINE_BYTES))
        begin = file.tell()
        if at is not None:
            return begin, at
    return end, None
