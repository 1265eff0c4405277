"""Logs of one JSON object a line, mostly written by others: read whole when short, found by time when long.

A last line without its newline counts when it is whole; when it is not, it is still being written, or torn.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from ddr.errors import Damaged, Unavailable
from ddr.lib import durable, redact

LONGEST_LINE_BYTES = 1 << 20
SLACK_S = 60.0  # how far a line may stand from its place in time: several threads write, buffers are flushed late

_LONG_AGO_S = 400 * 86400.0

T = TypeVar("T")
Decode = Callable[[bytes], tuple[float, T] | None]
"""A line as epoch seconds and what it says, None for a line that cannot be read."""


@dataclass(frozen=True)
class Records:
    """The objects of a file, how many of its lines are none, and whether the last line is only begun."""

    objects: tuple[dict[str, object], ...]
    bad: int
    torn: bool


def read(path: Path) -> Records:
    """Every line; a file that is not there has none. Unavailable when it cannot be read."""
    objects: list[dict[str, object]] = []
    bad = 0
    torn = False
    for line in (content(path) or b"").splitlines(keepends=True):
        value = parse(line)
        if value is not None:
            objects.append(value)
        elif not line.endswith(b"\n"):
            torn = True
        elif line.strip():
            bad += 1
    return Records(tuple(objects), bad, torn)


def of_file(path: Path) -> dict[str, object] | None:
    """The one object a file holds, None where there is no file. Damaged when it holds something else."""
    found = content(path)
    if found is None:
        return None
    value = parse(found)
    if value is None:
        raise Damaged(f"{path} is no JSON object", hint="it was cut off or edited; write it again")
    return value


def content(path: Path) -> bytes | None:
    """The bytes of a file, None where there is none. Unavailable when it cannot be read."""
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
    except (ValueError, RecursionError):  # also what is no UTF-8, and a million brackets
        return None
    return value if isinstance(value, dict) else None


def append(path: Path, said: Mapping[str, object]) -> None:
    """One more line, durable. One that a kill tore is ended first: it counts for nothing, ours for all. OSError."""
    line = json.dumps(said).encode() + b"\n"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        size = os.fstat(fd).st_size
        torn = size and os.pread(fd, 1, size - 1) != b"\n"
        rest = memoryview(b"\n" + line if torn else line)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    durable.sync_folder(path.parent)


def between(path: Path, decode: Decode[T], since: float, until: float) -> Iterator[tuple[float, T] | None]:
    """The lines of [since, until), and None for each line near them that cannot be read.

    Lines ascend in time but for SLACK_S, so the start is found by bisection over byte offsets: a window of a long
    log costs its own length, not the log's. Yields nothing where there is no file; Unavailable when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(_start(file, end, decode, since - SLACK_S))
            while file.tell() < end:
                line = file.readline(LONGEST_LINE_BYTES)
                found = decode(line)
                if found is None:
                    if line.endswith(b"\n") or file.tell() < end:
                        yield None
                elif found[0] >= until + SLACK_S:
                    return
                elif since <= found[0] < until:
                    yield found
    except FileNotFoundError:
        return
    except OSError as problem:
        raise Unavailable(f"{path} cannot be read: {redact.foreign(problem)}", hint="look at its rights") from problem


def last_before(path: Path, decode: Decode[T], at: float) -> tuple[float, T] | None:
    """The last readable line older than `at`, None where there is none. Unavailable when it cannot be read."""
    reach = SLACK_S
    while True:
        begins = at - reach if reach < _LONG_AGO_S else -math.inf
        latest: tuple[float, T] | None = None
        for found in between(path, decode, begins, at):
            latest = found or latest
        if latest is not None or begins == -math.inf:
            return latest
        reach *= 16


def _start(file: BinaryIO, end: int, decode: Decode[T], since: float) -> int:
    """Offset of the first line that is not older than `since`; `end` when all are."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        begin, at = _first_timed(file, middle, high, decode)
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
    while True:
        piece = file.readline(LONGEST_LINE_BYTES)
        if piece.endswith(b"\n") or not piece:
            return min(file.tell(), end)


def _first_timed(file: BinaryIO, offset: int, end: int, decode: Decode[T]) -> tuple[int, float | None]:
    """Of the first readable line that begins in [offset, end): where the next one begins, and its time."""
    begin = _line_at(file, offset, end)
    while begin < end:
        file.seek(begin)
        found = decode(file.readline(LONGEST_LINE_BYTES))
        begin = file.tell()
        if found is not None:
            return begin, found[0]
    return end, None
