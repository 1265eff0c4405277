"""Rollbacks of a world in memory as the command makes them: planned, written as a procedure, run by the engine."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ddr.actions import catalog
from ddr.domain import planes, records
from ddr.errors import ApprovalRequired
from ddr.ports import platform as platforms
from ddr.release import past
from ddr.rollback import book, proposal, when
from ddr.runbook import approval, engine, parse
from tests import recovery

MODEL, FEATURES, CODE = recovery.MODEL, recovery.FEATURES, recovery.CODE
LAST_GOOD = "last-good"
GOOD = {MODEL: LAST_GOOD}


def platform(world: recovery.World, actor: str = "anna", *, approvers: bool = False) -> platforms.Platform:
    """The world's platform; without approvers the service demands no approval."""
    on = world.platform(actor)
    if approvers:
        return on
    service = on.service("postcode")
    owners = dataclasses.replace(service.owners, approvers=())
    return dataclasses.replace(on, services={"postcode": dataclasses.replace(service, owners=owners)})


def propose(world: recovery.World, wanted: Mapping[planes.Plane, str]) -> proposal.Proposal:
    on = platform(world)
    return proposal.propose(on, "postcode", wanted, past=recalled(on))


def recalled(on: platforms.Platform) -> when.Past:
    """As the command does it."""

    def ask(service: str, at: datetime) -> when.Recalled:
        found = past.at(on, service, at)
        return when.Recalled(found.planes, found.silent)

    return ask


def document(
    on: platforms.Platform, wanted: Mapping[planes.Plane, str], options: book.Options | None = None
) -> parse.Document:
    found = proposal.propose(on, "postcode", wanted)
    assert not found.plan.refusals, found.plan.refusals
    text = book.of_rollback(on.service("postcode"), found, options or book.Options(), on.clock.now())
    return parse.read_text(text, book.SOURCE)


def runner(world: recovery.World, actor: str = "anna", *, approvers: bool = False) -> engine.Engine:
    on = platform(world, actor, approvers=approvers)
    return engine.Engine(on, catalog.build(on))


def both_bad(world: recovery.World) -> None:
    """A model that wants other columns went live together with features that give them."""
    world.model.contents["3"] = b"bad"
    world.model.facts["3"] = recovery.OTHER_SCHEMA
    world.model.live = "3"
    world.features.contents["v3"] = b"frozen"
    world.features.facts["v3"] = recovery.OTHER_SCHEMA
    world.features.live = "v3"
    world.features.rows_from = "old"
    world.server.roll()


@dataclass(frozen=True)
class Case:
    """What was hurt, what is taken back, and how."""

    hurt: Callable[[recovery.World], None]
    wanted: Mapping[planes.Plane, str]
    approvers: bool = False
    options: book.Options = field(default_factory=book.Options)


CASES: Mapping[str, Case] = {
    "model": Case(recovery.World.promote, {MODEL: LAST_GOOD}),
    "model, approved": Case(recovery.World.promote, {MODEL: LAST_GOOD}, approvers=True),
    "features": Case(recovery.World.freeze_features, {FEATURES: LAST_GOOD}),
    "features with model": Case(both_bad, {MODEL: LAST_GOOD, FEATURES: ""}),
    "model, no wait": Case(
        recovery.World.promote, {MODEL: LAST_GOOD}, options=book.Options(mark=False, prove=False, keep_frozen=True)
    ),
}


@dataclass
class Process:
    """Commands against one world; `until_end` does what a person does: roll back or resume, approve, resume."""

    world: recovery.World
    case: Case
    text: str
    run: str = "r1"

    @classmethod
    def of(cls, name: str) -> Process:
        case = CASES[name]
        world = recovery.World()
        case.hurt(world)
        world.effects.clear()
        text = document(platform(world, approvers=case.approvers), case.wanted, case.options).text
        return cls(world, case, text)

    def copy(self) -> Process:
        return Process(copy.deepcopy(self.world), self.case, self.text, self.run)

    def runner(self) -> engine.Engine:
        return runner(self.world, approvers=self.case.approvers)

    def step(self) -> str:
        """One command; how it ended."""
        begun = [record for record in self.world.journal.of_kind(records.RunStarted) if record.run == self.run]
        try:
            if not begun:
                read = parse.read_text(self.text, book.SOURCE)
                return self.runner().start(read, "postcode", run=self.run).status
            return self.runner().resume(self.run).status
        except ApprovalRequired:
            return "waits"

    def until_end(self) -> str:
        for _ in range(6):
            ended = self.step()
            if ended != "waits":
                return ended
            request = self.world.journal.of_kind(records.ApprovalRequested)[-1]
            approval.decide(platform(self.world, "lena", approvers=True), self.run, plan=request.plan_digest)
        raise AssertionError("it waits for ever")

    def undo(self) -> str:
        """Where somebody has to agree, somebody does."""
        try:
            return self.runner().undo(self.run).status
        except ApprovalRequired:
            request = self.world.journal.of_kind(records.ApprovalRequested)[-1]
            approval.decide(platform(self.world, "lena", approvers=True), self.run, plan=request.plan_digest)
            return self.runner().undo(self.run).status


def later(world: recovery.World, after: timedelta, do: Callable[[], None]) -> None:
    """`do` happens on its own once so much platform time has passed."""
    due = world.clock.now() + after
    sleep = world.clock.sleep
    pending = [do]

    def passing(seconds: float) -> None:
        sleep(seconds)
        if pending and world.clock.now() >= due:
            pending.pop()()

    world.clock.sleep = passing  # type: ignore[method-assign]


def promoted() -> recovery.World:
    world = recovery.World()
    world.promote()
    world.effects.clear()
    return world


def carried_out(
    world: recovery.World, wanted: Mapping[planes.Plane, str] = GOOD, options: book.Options | None = None
) -> engine.Finish:
    return runner(world).start(document(platform(world), wanted, options), "postcode", run="r1")
