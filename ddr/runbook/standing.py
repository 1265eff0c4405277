"""How far a run has got, and what brings it on."""

from __future__ import annotations

from ddr.journal import run_view
from ddr.runbook import history, stepping, work


def got_to_its_end(seen: run_view.Run) -> bool:
    """Also where a process was killed that had begun to ask about taking it back."""
    place = stepping.position(work.frozen(seen.started), history.outcomes_of(seen))
    return isinstance(place, stepping.Ending)


def ways_on(seen: run_view.Run) -> str:
    return f"`{seen.undo_command}`" if seen.is_undoing else f"`ddr runbook resume {seen.id}` or `{seen.undo_command}`"


def only_waits_for_proof(seen: run_view.Run) -> bool:
    """It has done what it does, and judges when it is resumed: nobody has to wait for it in an incident."""
    if not seen.is_paused or seen.is_awaiting_approval or history.is_undoing(seen):
        return False
    what, ended = work.frozen(seen.started), history.outcomes_of(seen)
    place = stepping.position(what, ended)
    return not isinstance(place, stepping.Ending) and stepping.awaits_proof(what, place, ended.get(place.name))
