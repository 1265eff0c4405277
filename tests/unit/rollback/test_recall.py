"""Second looks may rely on bytes that were read a moment ago. However long ago that was: nothing is written on it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

from ddr.domain import revisions
from ddr.ports import connector
from ddr.rollback import proposal
from ddr.runbook import engine
from tests import recovery
from tests.unit.rollback import runs

MODEL, GOOD = runs.MODEL, {runs.MODEL: runs.LAST_GOOD}


@dataclass
class Forgetless(recovery.Plane):
    """Its second looks give the bytes that were read first, for ever: as wrong as `Recalling` can be."""

    read: dict[str, revisions.Revision] = field(default_factory=dict)
    looks: Counter[str] = field(default_factory=Counter)
    recalls: bool = False

    def find(self, name: str) -> revisions.Revision:
        self.looks["recalled" if self.recalls and name in self.read else "strict"] += 1
        if self.recalls and name in self.read:
            return self.read[name]
        found = super().find(name)
        self.read.setdefault(name, found)
        return found

    def switch(self, to: revisions.Revision, expect: revisions.Revision) -> revisions.Revision:
        assert not self.recalls
        if not revisions.must_move(live=recovery.Plane.find(self, self.live), to=to, expect=expect):
            return recovery.Plane.find(self, self.live)
        revisions.must_be(recovery.Plane.find(self, to.name), to)
        self.effects[f"switch {self.which} {self.live} -> {to.name}"] += 1
        self.live = to.name
        return recovery.Plane.find(self, self.live)

    def revision(self) -> revisions.Revision:
        return self.find(self.live)

    def recalled(self) -> connector.Observable:
        return dataclasses.replace(self, recalls=True)  # shares what was read; it is made anew for every look


def world() -> tuple[recovery.World, Forgetless]:
    made = recovery.World()
    made.promote()
    model = Forgetless(**{each.name: getattr(made.model, each.name) for each in dataclasses.fields(made.model)})
    made.model = made.planes[MODEL] = model
    assert isinstance(model, connector.Recalling)
    made.effects.clear()
    return made, model


def carried_out(made: recovery.World) -> engine.Finish:
    return runs.runner(made).start(runs.document(runs.platform(made), GOOD), "postcode", run="r1")


def test_a_rollback_reads_less_and_ends_as_before() -> None:
    made, model = world()
    assert carried_out(made).status == "recovered"
    assert (model.live, list(model.marks)) == ("2", ["3"])
    assert model.looks["recalled"] >= 4  # live and target in the check, live in the switch's plan, the one marked
    print(dict(model.looks))


def test_a_target_that_is_overwritten_behind_the_plan_is_not_switched_to() -> None:
    made, model = world()
    document = runs.document(runs.platform(made), GOOD)
    model.contents["2"] = b"other bytes"
    finish = runs.runner(made).start(document, "postcode", run="r1")
    assert finish.status == "failed"
    assert model.looks["recalled"]
    assert model.live == "3"
    assert not [effect for effect in made.effects if effect.startswith("switch")]


def test_what_is_live_is_asked_anew_in_every_look() -> None:
    made, model = world()
    document = runs.document(runs.platform(made), GOOD)
    model.live = "1"
    finish = runs.runner(made).start(document, "postcode", run="r1")
    assert finish.status == "failed"
    assert "and the plan was made for" in finish.why
    assert made.effects == {}, "not even a freeze"


def test_bytes_that_are_overwritten_while_it_is_watched_are_seen() -> None:
    made, model = world()
    runs.later(made, timedelta(seconds=4), lambda: model.contents.__setitem__("2", b"other bytes"))
    finish = carried_out(made)
    assert finish.status == "failed"
    assert "hold" in finish.why or "somebody moved it on" in finish.why


def test_a_plan_relies_on_no_earlier_one() -> None:
    made, model = world()
    proposal.propose(runs.platform(made), "postcode", GOOD)
    assert not model.looks["recalled"]
    model.contents["2"] = b"other bytes"
    found = proposal.propose(runs.platform(made), "postcode", GOOD)
    assert not model.looks["recalled"]
    assert found.plan.moves[0].target.name == "1"
