"""`--to` as a person types it, and what the ledger says was live then. Pure."""

from __future__ import annotations

import re
from datetime import datetime

from ddr.domain import moments, planes
from ddr.errors import InputError, Missing
from ddr.journal import views
from ddr.lib import timetext

_LIKE_A_TIME = re.compile(r"\d{4}-\d{2}-.*|.*\bago|.*\d:\d.*|(last )?(today|yesterday|\w+day)\b.*", re.IGNORECASE)
FORMS = "2026-11-21T14:05, `2h ago` or `yesterday 14:05` (UTC)"


def parse(text: str, now: datetime) -> datetime | None:
    """The time `text` means; None where it is no time but a name. Raises InputError for a time that cannot be."""
    try:
        return timetext.parse_moment(text, now)
    except ValueError as problem:
        if not _LIKE_A_TIME.fullmatch(text.strip()):
            return None
        raise InputError(f"--to {problem}", hint=f"write it like {FORMS}") from problem


def live_at(board: views.Board, service: str, plane: planes.Plane, at: datetime) -> moments.Then:
    """What was live on the plane then, as far as releases, observations and recorded changes tell.

    Missing where nothing is known of that time.
    """
    told = sorted(board.changes.get(service, ()), key=lambda change: change.at)
    found = next((then for then in moments.at(at, board.sightings(service), told) if then.plane is plane), None)
    if found is None or found.revision is None:
        why = found.why if found else "nothing was ever recorded of it"
        raise Missing(
            f"{service}: nobody can say what was live on {plane} at {timetext.format_clock(at)}: {why}",
            hint=f"`ddr release list {service}` shows what is known; or name the revision with --to",
        )
    return found
