"""The small objects of a home in a bucket: what serves, who is at what, what is kept."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime

from ddr.domain import indexes
from ddr.errors import Missing
from ddr.index import codec
from ddr.index.homes import home
from ddr.ports import store


@dataclass(frozen=True)
class Current:
    """The object `current`. `count` makes each of its bytes different from all before."""

    version: str
    count: int
    moves: tuple[home.Move, ...] = ()
    format: int = indexes.FORMAT


@dataclass(frozen=True)
class Note:
    """Since or until when, and who or why."""

    at: datetime
    text: str = ""


def below(of: store.Store, beginning: str) -> list[tuple[str, Note]]:
    """Each with the rest of its key. All that were there before and stay."""
    found = []
    for entry in list(of.list(beginning)):
        with contextlib.suppress(Missing):  # gone meanwhile
            note = codec.decode(Note, of.get(entry.key), f"{of.name}: {entry.key}")
            found.append((entry.key.removeprefix(beginning), note))
    return found
