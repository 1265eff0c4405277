"""Incidents: one number each, legal moves alone, and everything may be repeated."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from ddr.domain import events, incidents, records
from ddr.errors import Missing, Refused
from ddr.incident import desk
from ddr.journal import views
from ddr.ports import journal as journal_port
from tests import recovery

DECLARED, MITIGATING = incidents.Status.DECLARED, incidents.Status.MITIGATING
MITIGATED, RESOLVED = incidents.Status.MITIGATED, incidents.Status.RESOLVED


def declare(world: recovery.World, service: str = "postcode") -> incidents.Incident:
    return desk.declare(world.journal, service, "SEV2", "wrong digits", at=world.clock.now())


def test_names_count_up_within_a_day() -> None:
    world = recovery.World()
    assert declare(world).id == "inc-20261102-01"
    assert declare(world, "returns").id == "inc-20261102-02"
    desk.resolve(world.journal, "inc-20261102-01", "it was nothing")
    assert declare(world).id == "inc-20261102-03"
    world.clock.sleep(timedelta(days=1).total_seconds())
    assert declare(world, "sorting").id == "inc-20261103-01"


def test_declaring_twice_is_the_same_incident() -> None:
    world = recovery.World()
    first = declare(world)
    assert declare(world) == first
    assert len(world.journal.of_kind(records.IncidentDeclared)) == 1


def test_a_number_that_someone_else_took_first_is_not_used_twice() -> None:
    """Between looking and writing another machine declares; the journal's order decides."""
    world = recovery.World()

    class Race:
        """The journal of a second machine whose event arrives first."""

        def __init__(self) -> None:
            self.is_first = True

        def append(self, record: records.Record, unless: journal_port.Unless | None = None) -> events.Event:
            if self.is_first:
                self.is_first = False
                taken = records.IncidentDeclared("inc-20261102-01", "returns", "SEV1", "theirs")
                world.journal.append(taken)
            return world.journal.append(record, unless)

        def events(self, after: int = 0, kinds=()):  # type: ignore[no-untyped-def]
            return world.journal.events(after, kinds)

    mine = desk.declare(Race(), "postcode", "SEV2", "ours", at=world.clock.now())
    assert mine.id == "inc-20261102-02"
    theirs = desk.find(world.journal, "inc-20261102-01")
    assert (theirs.service, theirs.title) == ("returns", "theirs")


def test_many_at_once_have_as_many_names() -> None:
    world = recovery.World()
    names: list[str] = []
    threads = [
        threading.Thread(target=lambda at=at: names.append(declare(world, f"service-{at}").id)) for at in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 12
    known = views.fold(world.journal.events()).incidents
    assert {known[name].service for name in names} == {f"service-{at}" for at in range(12)}


def test_every_legal_move_and_no_other() -> None:
    paths = {
        DECLARED: [],
        MITIGATING: [MITIGATING],
        MITIGATED: [MITIGATED],
        RESOLVED: [RESOLVED],
    }
    tried = 0
    for start, path in paths.items():
        for target in incidents.Status:
            world = recovery.World()
            name = declare(world).id
            for status in path:
                desk.move(world.journal, name, status)
            before = len(world.journal.written)
            if target is start:
                assert desk.move(world.journal, name, target).status is start
                assert len(world.journal.written) == before, "nothing is written twice"
            elif target in incidents.NEXT[start]:
                assert desk.move(world.journal, name, target, "why").status is target
            else:
                with pytest.raises(Refused, match=f"is {start}; it cannot become {target}"):
                    desk.move(world.journal, name, target)
                assert len(world.journal.written) == before
            tried += 1
    print(f"{tried} moves tried")


def test_notes_are_written_once() -> None:
    world = recovery.World()
    name = declare(world).id
    desk.note(world.journal, name, "the parcels  pile up\n")
    found = desk.note(world.journal, name, "the parcels pile up")
    assert [note.text for note in found.timeline].count("the parcels pile up") == 1
    with pytest.raises(Refused, match="says nothing"):
        desk.note(world.journal, name, "   ")


def test_what_is_not_there_is_missing_with_what_is() -> None:
    world = recovery.World()
    name = declare(world).id
    with pytest.raises(Missing) as problem:
        desk.note(world.journal, "inc-1", "text")
    assert problem.value.hint == f"open: {name}"
