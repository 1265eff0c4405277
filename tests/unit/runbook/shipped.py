"""The shipped runbooks against a world in memory, as the commands a person types."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass

from ddr.actions import catalog
from ddr.domain import records
from ddr.errors import ApprovalRequired
from ddr.runbook import approval, engine, parse, shelf
from tests import recovery

HURT: dict[str, Callable[[recovery.World], None]] = {
    "bad-model-promotion": recovery.World.promote,
    "stale-online-features": recovery.World.freeze_features,
}
BOOKS = sorted(HURT)


@functools.cache
def document(name: str) -> parse.Document:
    return parse.read(shelf.find(name))


def runner(world: recovery.World, actor: str = "anna") -> engine.Engine:
    on = world.platform(actor)
    return engine.Engine(on, catalog.build(on))


def hurt(name: str) -> recovery.World:
    world = recovery.World()
    HURT[name](world)
    world.effects.clear()
    return world


@dataclass
class Process:
    """Commands against one world. `until_end` does what a person does: run or resume, approve, resume."""

    world: recovery.World
    name: str
    run: str = "r1"

    def copy(self) -> Process:
        """The same world at the same point, on its own."""
        return Process(copy.deepcopy(self.world), self.name, self.run)

    def step(self) -> str:
        """One command; how it ended."""
        runs = self.world.journal.of_kind(records.RunStarted)
        made = runner(self.world)
        try:
            if not runs:
                return made.start(document(self.name), "postcode", run=self.run).status
            return made.resume(self.run).status
        except ApprovalRequired:
            return "waits"

    def approve(self) -> None:
        request = self.world.journal.of_kind(records.ApprovalRequested)[-1]
        approval.decide(self.world.platform("lena"), self.run, plan=request.plan_digest)

    def undo(self) -> str:
        """Where somebody has to agree, somebody does."""
        try:
            return runner(self.world).undo(self.run).status
        except ApprovalRequired:
            self.approve()
            return runner(self.world).undo(self.run).status

    def until_end(self) -> str:
        for _ in range(6):
            ended = self.step()
            if ended != "waits":
                return ended
            self.approve()
        raise AssertionError("it waits for ever")
