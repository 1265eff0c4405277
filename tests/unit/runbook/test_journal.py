"""The engine over the real journal: frozen text, the store going away in the middle, another machine going on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ddr.domain import records
from ddr.errors import Damaged
from ddr.journal import log, verify
from ddr.runbook import engine, history
from ddr.stores import memory
from tests.unit.journal import places
from tests.unit.runbook import toys


def machine(store: places.Wrapped, root: Path, name: str, stage: toys.Stage) -> log.Log:
    """The journal as one machine opens it."""
    return log.Log(store, root / name / "spool", root / name / "state", name, name, stage.world.clock)


def runner(stage: toys.Stage, journal: log.Log) -> engine.Engine:
    on = dataclasses.replace(stage.platform(), journal=journal)
    return engine.Engine(on, toys.catalog(stage.cells))


class Outage(toys.Cells):
    """The store goes away while the first step acts."""

    store: places.Wrapped

    def set(self, cell: str, was: str, to: str) -> None:
        super().set(cell, was, to)
        self.store.is_away = True


def test_a_run_goes_on_from_the_spool_and_is_joined_later(tmp_path: Path) -> None:
    store = places.Wrapped(memory.MemoryStore(), is_shared=True)
    cells = Outage({"a": "bad", "wanted": "good"})
    cells.store = store
    stage = toys.Stage(cells)
    here = machine(store, tmp_path, "laptop", stage)
    assert runner(stage, here).start(toys.document(toys.PLAIN), "postcode", run="r1").status == "recovered"
    follower = history.Follower(here, "r1")
    seen = follower.read()
    assert seen.end is not None
    assert seen.end.status == "recovered"

    store.is_away = False
    assert here.sync() >= 5, "from the first result on everything had waited on this machine"
    assert follower.read() == seen, "what waited and was joined is told once"

    there = machine(store, tmp_path, "bastion", stage)
    assert verify.verify(there).findings == ()
    stage.cells = toys.Cells(cells.values, cells.effects)
    assert runner(stage, there).undo("r1").status == "undone"
    assert cells.values["a"] == "bad"


def test_what_runs_is_the_text_that_was_frozen(tmp_path: Path) -> None:
    stage = toys.Stage()
    stage.cells.trouble["act", "a"] = [KeyboardInterrupt()]
    book = tmp_path / "book.yaml"
    document = toys.document(toys.PLAIN)
    book.write_text(document.text)
    with pytest.raises(KeyboardInterrupt):
        stage.runner().start(dataclasses.replace(document, path=str(book)), "postcode", run="r1")
    book.write_text("nonsense")
    assert stage.runner().resume("r1").status == "recovered"


def test_a_frozen_text_that_does_not_match_its_digest_is_not_run() -> None:
    stage = toys.Stage()
    document = toys.document(toys.PLAIN)
    stage.world.journal.append(
        records.RunStarted("r1", "toy", "runbook", document.text + "# more", document.digest, "postcode")
    )
    for call in (stage.runner().resume, stage.runner().undo):
        with pytest.raises(Damaged, match="does not match its digest"):
            call("r1")
    assert stage.cells.effects == {}
