"""The log of answered requests: written in whole lines, buffered; and found again by id for the replay."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

BUFFERED_LINES = 50
_BLOCK_BYTES = 1 << 20


class RequestLog:
    """At most BUFFERED_LINES - 1 lines are lost when the process is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._lines: list[bytes] = []

    def write(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry).encode() + b"\n"
        with self._lock:
            self._lines.append(line)
            if len(self._lines) >= BUFFERED_LINES:
                self._flush()

    def flush(self) -> None:
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        if self._lines:
            append(self._path, b"".join(self._lines))
            self._lines = []


def append(path: Path, lines: bytes) -> None:
    """Whole lines in one write, behind whatever another writer appended."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        view = memoryview(lines)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def find(path: Path, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The newest entry of each id, reading from the end until all are found. Lines that cannot be read are passed."""
    wanted = set(ids)
    found: dict[str, dict[str, Any]] = {}
    if not path.exists():
        return found
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        rest = b""
        while end > 0 and len(found) < len(wanted):
            begin = max(0, end - _BLOCK_BYTES)
            file.seek(begin)
            lines = (file.read(end - begin) + rest).split(b"\n")
            rest = lines.pop(0) if begin else b""
            end = begin
            for line in reversed(lines):
                _take(line, wanted, found)
    return found


def _take(line: bytes, wanted: set[str], found: dict[str, dict[str, Any]]) -> None:
    try:
        entry = json.loads(line) if line else None
    except ValueError:
        return
    if isinstance(entry, dict) and entry.get("id") in wanted:
        found.setdefault(str(entry["id"]), entry)
