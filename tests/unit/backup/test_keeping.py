"""Kept states of planes: apart from backups, needed by prune and verify, and as old as the recovery window says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ddr.backup import capture, copying, keeping, layout, prune, retention, verify
from ddr.backup import repository as repositories
from ddr.domain import snapshots
from ddr.errors import Conflict, Missing
from ddr.lib import rowbatch
from ddr.ports import keeping as port
from ddr.ports import restorable
from ddr.stores import local, memory
from tests.unit.backup import house

COLUMNS = (snapshots.Column("id", "int"), snapshots.Column("name", "text"))


def put(rows: int, revision: str = "r") -> Callable[[restorable.Sink], None]:
    def capture_(sink: restorable.Sink) -> None:
        cells: list[tuple[rowbatch.Cell, ...]] = [(at, f"name {at}") for at in range(rows)]
        sink.table("values", COLUMNS, [rowbatch.of_rows([("id", "int"), ("name", "text")], cells)])
        sink.stream("definition", [revision.encode()])
        sink.fact(port.REVISION, revision)

    return capture_


def shelf(of: repositories.Repository, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> keeping.BackupShelf:
    return keeping.BackupShelf(lambda: of, lambda: of, lambda: capture.Maker("here", "me", "1", now))


def test_what_is_kept_comes_back_and_no_backup_takes_it_for_its_own(tmp_path: Path) -> None:
    of = repositories.create(local.LocalStore(tmp_path / "r"), house.OPEN, house.NOW)
    shop = house.small_shop(tmp_path / "shop")
    maker = capture.Maker("here", "me", "1", lambda: datetime.now(UTC))
    origins = {"shop": capture.Origin("shop", "shop", "", shop)}
    first = capture.run(of, origins, maker)
    made = shelf(of).keep("features/pixels", put(500, "a"), "by hand")
    again = shelf(of).keep("features/pixels", put(500, "a"))
    other = shelf(of).keep("features/other", put(20, "b"))
    assert (made.object, made.rows, made.why, made.facts) == ("features/pixels", 500, "by hand", {"revision": "a"})
    assert made.digest == again.digest != other.digest
    assert [one.name for one in shelf(of).kept("features/pixels")] == [made.name, again.name]
    assert len(shelf(of).kept()) == 3
    source = shelf(of).open("features/pixels", made.name)
    assert sum(batch.size for batch in source.rows("values")) == 500
    for object_, name in (("features/other", made.name), ("features/pixels", "0" * 16)):
        with pytest.raises(Missing):
            shelf(of).open(object_, name)
    assert [head.id for head in of.heads()] == [first.id]
    newest = of.newest()
    assert newest is not None
    assert (of.head("latest").id, newest.id) == (first.id, first.id)
    second = capture.run(of, origins, maker)
    assert second.parent == first.id
    assert second.added_bytes < first.added_bytes


def test_prune_and_verify_count_what_a_kept_state_needs_and_a_copy_has_it(tmp_path: Path) -> None:
    of = repositories.create(local.LocalStore(tmp_path / "r"), house.OPEN, house.NOW)
    made = shelf(of).keep("features/pixels", put(500))
    now = datetime.now(UTC)
    for later in (timedelta(0), timedelta(days=3)):
        prune.apply(of, prune.plan(of, (), now + later), now + later, "me")
    assert not verify.verify(of, "full").findings
    copying.copy(of.store, memory_ := memory.MemoryStore())
    there = repositories.open_(memory_, house.OPEN)
    for place in (of, there):
        source = shelf(place).open("features/pixels", made.name)
        assert sum(batch.size for batch in source.rows("values")) == 500
    (head,) = of.heads(layout.KEPT)
    prune.apply(of, prune.plan(of, [head], now), now, "me")
    assert shelf(of).kept() == ()
    assert of.store.list(layout.PACKS)


def test_a_capture_that_breaks_off_keeps_nothing_and_says_what_the_connector_said(tmp_path: Path) -> None:
    of = repositories.create(local.LocalStore(tmp_path / "r"), house.OPEN, house.NOW)

    def broken(sink: restorable.Sink) -> None:
        put(50)(sink)
        raise Conflict("somebody wrote", expected="a", found="b")

    with pytest.raises(Conflict, match="somebody wrote"):
        shelf(of).keep("features/pixels", broken)
    assert shelf(of).kept() == ()


def test_where_there_is_no_repository_nothing_is_kept_and_nothing_made() -> None:
    def none() -> repositories.Repository:
        raise Missing("there is none")

    made = keeping.BackupShelf(none, none, lambda: capture.Maker("h", "a", "1", lambda: house.NOW))
    assert made.kept() == ()


def test_what_stays() -> None:
    of = repositories.create(memory.MemoryStore(), house.OPEN, house.NOW)
    days = [60, 40, 30, 20, 13, 1, -1]
    for age in days:
        shelf(of, lambda age=age: house.NOW - timedelta(days=age)).keep("a", put(age + 10, f"a{age}"))  # type: ignore[misc]
    shelf(of, lambda: house.NOW - timedelta(days=90)).keep("b", put(3, "b"))
    found = keeping.states(of)
    decided = keeping.decide(found, house.NOW, retention.RECOVERY_WINDOW, {"a40"})
    said = {one.kept.facts[port.REVISION]: one.reason for one in decided}
    assert said == {
        "a-1": "dated in the future", "a1": "in the recovery window", "a13": "in the recovery window",
        "a20": "the last before the recovery window", "a30": "older than the recovery window",
        "a40": "a known-good release names it", "a60": "older than the recovery window", "b": "the newest",
    }  # fmt: skip
    assert {one.kept.facts[port.REVISION] for one in decided if one.is_forgotten} == {"a30", "a60"}


@pytest.mark.parametrize("harm", ["nothing", "pack", "state"])
def test_verify_says_which_kept_state_is_hurt_and_counts_them_apart(tmp_path: Path, harm: str) -> None:
    of = repositories.create(local.LocalStore(tmp_path / "r"), house.OPEN, house.NOW)
    shop = house.small_shop(tmp_path / "shop")
    house.backup(of, {"shop": shop}, lambda: datetime.now(UTC))
    before = {entry.key for entry in of.store.list(layout.PACKS)}
    made = shelf(of).keep("features/pixels", put(500))
    (pack,) = {entry.key for entry in of.store.list(layout.PACKS)} - before
    (head,) = of.heads(layout.KEPT)
    harmed = {"pack": pack, "state": head.key}.get(harm)
    if harmed:
        path = tmp_path / "r" / harmed
        path.chmod(0o600)
        content = path.read_bytes()
        path.write_bytes(content[:50] + bytes(len(content) - 50))
    report = verify.verify(of, "full")
    assert (report.snapshots, report.states, len(report.whole)) == (1, 1, 1)
    assert report.whole_states == (() if harmed else (made.name,))
    assert [finding.object for finding in report.findings] == ([harmed] if harmed else [])
    for finding in report.findings:
        assert all(line.startswith(f"kept state {made.name[:8]}, ") for line in finding.affected), finding.affected
        assert finding.affected


def test_a_copy_that_lacks_a_kept_state_is_told(tmp_path: Path) -> None:
    of = repositories.create(local.LocalStore(tmp_path / "r"), house.OPEN, house.NOW)
    copying.copy(of.store, to := memory.MemoryStore())
    shelf(of).keep("features/pixels", put(50))
    assert copying.check_copy(of.store, to) == tuple(head.key for head in of.heads(layout.KEPT))
    copying.copy(of.store, to)
    assert copying.check_copy(of.store, to) == ()
