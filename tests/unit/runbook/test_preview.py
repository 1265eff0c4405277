"""A preview writes nothing, anywhere, and says of every step what it would do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ddr.domain import outcomes
from ddr.errors import BadDocument
from ddr.ports import verb
from ddr.runbook import engine
from tests import recovery
from tests.unit.runbook import toys


class NoEffects:
    """A verb that may be asked and must not act. Probes may look."""

    gives: tuple[str, ...] = ()
    waits = False
    may_fail = False

    def __init__(self, inner: verb.Verb) -> None:
        self._inner = inner
        self.name, self.changes = inner.name, inner.changes
        if isinstance(inner, verb.Described):
            self.gives, self.waits, self.may_fail = inner.gives, inner.waits, inner.may_fail

    def problems(self, inputs: Mapping[str, Any], service: Any) -> Any:
        return self._inner.problems(inputs, service)

    def prepare(self, call: verb.Call) -> verb.Prepared:
        return self._inner.prepare(call)

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        assert not self.changes, f"{self.name} acted in a preview"
        assert not self.waits, f"{self.name} would have waited in a preview"
        return self._inner.act(call, settled)

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        raise AssertionError("nothing was done that could be observed")

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        raise AssertionError("nothing was done that could be undone")


def test_every_step_is_told_and_nothing_is_written() -> None:
    stage = toys.Stage()
    stage.world.journal.read_only = True
    on = dataclasses.replace(stage.platform(), store=None)  # type: ignore[arg-type]
    catalog = {name: NoEffects(made) for name, made in toys.catalog(stage.cells).items()}
    seen = engine.Engine(on, catalog).preview(toys.document(toys.APPROVED), "postcode")
    assert seen.problems == ()
    assert [(line.step, line.will) for line in seen.lines] == [
        ("look", "read wanted"),
        ("before", "set frozen  -> yes"),
        ("approve", "waits for 1 approval(s) of: lena, head-of-sorting; valid 600 s"),
        ("one", "set a bad -> good"),
        ("two", "set b  -> good"),
        ("check", "read a"),
        ("contain", "set fallback  -> on"),
    ]
    assert [line.undo for line in seen.lines][3] == "set a to bad"
    looked = [line.outcome.summary for line in seen.lines if line.outcome is not None]
    assert looked == ["wanted is 'good'"], "the gate that waits was not run"
    assert stage.cells.effects == {}


def test_values_that_only_the_run_will_know_have_a_name() -> None:
    stage = toys.Stage()
    seen = engine.Engine(stage.platform(), toys.catalog(stage.cells)).preview(toys.document(toys.PLAIN), "postcode")
    assert seen.lines[1].will == "set b  -> <to of one>"


def test_a_step_that_cannot_be_planned_is_said_and_the_others_go_on() -> None:
    stage = toys.Stage()
    stage.cells.values["wanted"] = "refuse"
    seen = engine.Engine(stage.platform(), toys.catalog(stage.cells)).preview(toys.document(toys.APPROVED), "postcode")
    assert seen.problems == ("one: a does not take that",)
    assert seen.lines[4].will == "set b  -> good"


def test_a_bad_document_is_not_previewed() -> None:
    stage = toys.Stage()
    problem = toys.raised(engine.Engine(stage.platform(), {}).preview, toys.document(toys.PLAIN), "postcode")
    assert isinstance(problem, BadDocument)


def test_a_read_only_journal_refuses_a_real_run() -> None:
    """The proof above means something: the same journal lets no run begin."""
    stage = toys.Stage()
    stage.world.journal.read_only = True
    try:
        stage.start(toys.PLAIN)
    except AssertionError:
        return
    raise AssertionError(f"{recovery.Journal} let a run begin")
