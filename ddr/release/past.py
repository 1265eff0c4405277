"""What was live at a time: one answer for `ddr release show --at` and for a rollback to a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ddr.domain import moments
from ddr.journal import views
from ddr.ports import platform as platforms
from ddr.release import ledger, timeline


@dataclass(frozen=True)
class Past:
    """Every plane that was ever seen. `silent` names each source that could not be asked, and why."""

    planes: tuple[moments.Then, ...]
    silent: tuple[str, ...] = ()


def at(platform: platforms.Platform, service: str, when: datetime, known: views.Board | None = None) -> Past:
    """From sightings, from what the sources say of their own moves, and from what is live now."""
    board = known or ledger.board(platform)
    before = {plane: one.at for one in board.sightings(service) if one.at <= when for plane in one.revisions}
    looked = timeline.look(platform, service, min(before.values(), default=when), board)
    return Past(moments.at(when, looked.sighted, looked.timeline.changes), looked.timeline.silent)
