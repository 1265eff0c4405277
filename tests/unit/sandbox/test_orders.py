"""Faults on faults: injected in one order, taken back in every order; what lies below waits and says for whom."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ddr.domain import runbooks
from ddr.errors import Refused
from ddr.runbook import engine
from ddr.sandbox import faults, process, state
from tests import recovery

Fault = tuple[str, Mapping[str, str]]
PROMOTIONS: tuple[Fault, ...] = tuple(
    ("model.promote-bad", {"kind": kind})
    for kind in ("labels-flipped", "stale-slice", "wrong-preprocessing", "weights-overwritten")
)
OTHERS: tuple[Fault, ...] = tuple(
    (name, {}) for name in ("features.freeze", "features.null", "decoy.code-release", "decoy.config-change")
)


@dataclass
class Breaking:
    """One sandbox, one journal; each fault is a run of its own, as `ddr sandbox break` makes it."""

    root: Path
    world: recovery.World = field(default_factory=recovery.World)

    def runner(self) -> engine.Engine:
        return engine.Engine(self.world.platform(), faults.catalog(self.root))

    def inject(self, run: str, fault: Fault) -> bool:
        """False where it cannot be injected on top of what is there; then it changed nothing."""
        name, inputs = fault
        step = runbooks.Step("break", action=name, inputs=inputs)
        return self.runner().start_steps(f"break {name}", [step], "postcode", run=run).status == "injected"

    def undo(self, run: str) -> str:
        """'undone', or the run that is to be undone first."""
        try:
            ended = self.runner().undo(run)
        except Refused as refused:
            return refused.hint.partition("`ddr runbook undo ")[2].partition("`")[0]
        assert ended.status == "undone", ended
        return "undone"

    def require_every_order(self, stack: Sequence[Fault]) -> tuple[int, int]:
        """Inject them bottom first and undo in every order; (orders, refusals)."""
        before = state.digest(self.root)
        refusals = orders = 0
        for order in itertools.permutations(range(len(stack))):
            orders += 1
            number = self.world.journal.appends
            runs = [f"r{number}-{at}" for at in range(len(stack))]
            put_in = [run for run, fault in zip(runs, stack, strict=True) if self.inject(run, fault)]
            waiting = [runs[at] for at in order if runs[at] in put_in]
            while waiting:
                run = waiting.pop(0)
                seen = state.digest(self.root)
                answer = self.undo(run)
                if answer != "undone":
                    refusals += 1
                    assert state.digest(self.root) == seen, "a refused undo changes nothing"
                    assert answer in waiting, (stack, order, answer)
                    waiting.remove(answer)
                    waiting = [answer, run, *waiting]
            assert state.digest(self.root) == before, (stack, order)
        return orders, refusals


def test_of_two_promotions_the_newer_is_taken_back_first(running_sandbox: Path) -> None:
    """Version 4 must not go while 5 has to go back to it."""
    breaking = Breaking(running_sandbox)
    before = state.digest(running_sandbox)
    assert breaking.inject("r1", PROMOTIONS[0])
    assert breaking.inject("r2", PROMOTIONS[2])
    assert breaking.inject("r3", OTHERS[0])
    assert breaking.undo("r1") == "r2"
    assert [breaking.undo(run) for run in ("r3", "r2", "r1")] == ["undone"] * 3
    assert state.digest(running_sandbox) == before


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_every_pair_of_faults_comes_off_in_every_order(sandbox: Path) -> None:
    breaking, orders, refusals = Breaking(sandbox), 0, 0
    pairs = list(itertools.product((*PROMOTIONS, *OTHERS), repeat=2))
    for pair in pairs:
        some = breaking.require_every_order(pair)
        orders, refusals = orders + some[0], refusals + some[1]
    process.stop(sandbox)
    print(f"{len(pairs)} ordered pairs, {orders} orders of undoing, {refusals} undos refused")
    assert refusals > 0


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_every_triple_of_what_builds_on_one_another_comes_off_in_every_order(sandbox: Path) -> None:
    breaking, orders, refusals = Breaking(sandbox), 0, 0
    triples = [
        *itertools.product(OTHERS, repeat=3),  # these train nothing and cost little
        (PROMOTIONS[0], PROMOTIONS[3], PROMOTIONS[0]),
        (PROMOTIONS[0], OTHERS[0], PROMOTIONS[2]),
    ]
    for triple in triples:
        some = breaking.require_every_order(triple)
        orders, refusals = orders + some[0], refusals + some[1]
    process.stop(sandbox)
    print(f"{len(triples)} ordered triples, {orders} orders of undoing, {refusals} undos refused")
    assert refusals > 0
