"""What a person does to a journal that is damaged or not where it was: bring events back, or take it as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddr.domain import journal_records
from ddr.errors import Unavailable
from ddr.journal import adoption, mending, spoken
from ddr.lib import redact
from ddr.stores import local
from ddr.wiring import build


@dataclass(frozen=True)
class Repaired:
    """Events that were brought back, the files that what stood there is kept in, and what is left to do."""

    mended: tuple[int, ...] = ()
    aside: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class Adopted:
    """What was taken as it is, in a sentence."""

    told: str
    record: journal_records.JournalAdopted


def repair(wired: build.Wired, places: Sequence[Path] = ()) -> Repaired:
    """Bring back what has a copy; recorded once the journal is whole. Displaced, Unavailable, Conflict."""
    journal = wired.log
    journal.witness.hold_place(journal.witness.anchor())
    try:
        examined = mending.examine(journal, [local.LocalStore(path) for path in places])
        mended = mending.mend(journal, examined)
        aside = tuple(str(journal.witness.seen.path.with_name(name)) for name in mended.aside)
        if examined.is_curable and mended.events:
            journal.append(mended)
        advice = () if examined.is_curable else tuple(mending.advice(journal, mending.examine(journal)))
    except OSError as problem:
        raise Unavailable(
            f"what stands in the store cannot be kept aside: {redact.foreign(problem)}",
            hint="make room, then call it again",
        ) from problem
    return Repaired(mended.events, aside, advice)


def adopt(wired: build.Wired, lost: int | None, why: str) -> Adopted:
    """Take what is there; from the lost event on anew, where one is named. Refused, InputError, Unavailable."""
    if lost is not None:
        record = adoption.adopt_from(wired.log, lost, why)
    else:
        event = adoption.adopt(wired.log, why)
        assert isinstance(event.record, journal_records.JournalAdopted)
        record = event.record
    return Adopted(spoken.of(record), record)
