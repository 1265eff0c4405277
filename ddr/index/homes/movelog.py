"""The record of moves of a home in a folder, `deployments.jsonl`: a line for every move, the last one the newest."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ddr.index.homes import home
from ddr.lib import durable, jsonl, timetext


def read(log: Path) -> tuple[Sequence[home.Move], int]:
    """Moves, and how many lines tell none."""
    lines = jsonl.read(log)
    found = [move for line in lines.objects if (move := _move(line)) is not None]
    return found, lines.bad + lines.torn + len(lines.objects) - len(found)


def _move(line: Mapping[str, object]) -> home.Move | None:
    try:
        at = timetext.parse_time(str(line.get("at")))
    except ValueError:
        return None
    before, after, actor, summary = (str(line.get(key) or "") for key in ("from", "to", "actor", "summary"))
    published = home.Published(str(line["plan"]), str(line.get("embedder") or "")) if "plan" in line else None
    return home.Move(at, before, after, actor, summary, published) if after else None


def append(log: Path, move: home.Move) -> None:
    """A line that a kill tore is ended first: it counts for nothing, ours for all. OSError."""
    said = {"at": timetext.format_time(move.at), "from": move.before, "to": move.after, "actor": move.actor}
    built = {} if move.published is None else {"plan": move.published.plan, "embedder": move.published.embedder}
    line = json.dumps({**said, "summary": move.summary, **built}).encode() + b"\n"
    fd = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        size = os.fstat(fd).st_size
        torn = size and os.pread(fd, 1, size - 1) != b"\n"
        rest = memoryview(b"\n" + line if torn else line)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    durable.sync_folder(log.parent)
