"""What a connector can do right now, and what it may."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ddr.domain import signals
from ddr.errors import Away, DdrError, Unavailable


@dataclass(frozen=True)
class Health:
    """`can` and `cannot` are short sentences a person reads in `ddr doctor`."""

    state: signals.State
    why: str
    can: tuple[str, ...] = ()
    cannot: tuple[str, ...] = ()

    @staticmethod
    def of(problem: DdrError, cannot: tuple[str, ...] = ()) -> Health:
        """Unknown where nobody answers, bad where the answer is a problem, and where ddr.yaml names a place that is
        empty: who asks for health asks about that, too. The next move is part of `why`."""
        is_silent = isinstance(problem, Unavailable) and not isinstance(problem, Away)
        state = signals.State.UNKNOWN if is_silent else signals.State.BAD
        return Health(state, f"{problem.message}; {problem.hint}" if problem.hint else problem.message, (), cannot)


LOOK_BACK = timedelta(hours=1)
"""How far back `ddr doctor` asks a source for observations."""
