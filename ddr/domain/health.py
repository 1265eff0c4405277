"""What a connector can do right now, and what it may."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ddr.domain import signals


@dataclass(frozen=True)
class Health:
    """`can` and `cannot` are short sentences a person reads in `ddr doctor`."""

    state: signals.State
    why: str
    can: tuple[str, ...] = ()
    cannot: tuple[str, ...] = ()


LOOK_BACK = timedelta(hours=1)
"""How far back `ddr doctor` asks a source for observations."""
