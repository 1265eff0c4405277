"""The record of moves of a home in a folder, `deployments.jsonl`: a line for every move, the last one the newest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ddr.domain import changes
from ddr.index.homes import home
from ddr.lib import jsonl, timetext


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
    """OSError."""
    built = {} if move.published is None else {"plan": move.published.plan, "embedder": move.published.embedder}
    said = changes.deployment(move.at, move.before, move.after, move.actor, move.summary)
    jsonl.append(log, {**said, **built})
