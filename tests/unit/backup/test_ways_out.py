"""What nobody can read stops nobody for good: there is a way out, it is named, and it keeps the bytes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ddr.backup import layout, packs, prune, repair, verify, writing
from ddr.backup import repository as repositories
from ddr.errors import Damaged
from ddr.ports import store
from ddr.stores import memory
from tests.unit.backup import house


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "FULL", 12_000)
    monkeypatch.setattr(writing, "_INDEXED_EVERY", 3)


def replaced(place: store.Store, key: str, content: bytes) -> None:
    found = place.head(key)
    assert found is not None
    place.swap(key, content, found.version)


def built(root: Path) -> tuple[store.Store, repositories.Repository, list[str]]:
    """Three snapshots, the oldest first."""
    place, now = memory.MemoryStore(), house.Clock()
    repository = repositories.create(place, house.OPEN, house.NOW)
    shop = house.small_shop(root / "shop")
    made = []
    for number in range(3):
        (shop.root / "models/2/weights.bin").write_bytes(house._noise(90 + number, 15_000))
        made.append(house.backup(repository, {"shop": shop}, now).id)
    return place, repository, made


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "flipped": lambda of: bytes([of[0] ^ 1, *of[1:]]),
    "cut": lambda of: of[:40],
    "empty": lambda of: b"",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_snapshot_that_nobody_can_read_is_set_aside_and_prune_goes_on(tmp_path: Path, way: str, which: int) -> None:
    place, repository, made = built(tmp_path)
    key, harmed = repository.heads()[which].key, b""
    harmed = WAYS[way](place.get(key))
    replaced(place, key, harmed)
    late = house.NOW + timedelta(days=2)
    with pytest.raises(Damaged) as caught:
        prune.plan(repository, (), late)
    assert "repair --drop-damaged" in caught.value.hint
    older = made[which - 1][:8] if which else "no older one"
    assert older in caught.value.hint
    (damaged,) = repair.unreadable(repository)
    assert damaged.key == key
    (aside,) = repair.set_aside(repository, [damaged])
    assert place.get(aside) == harmed
    assert aside.startswith(layout.ASIDE)
    assert [head.id for head in repository.heads()] == [one for one in made if one != made[which]]
    prune.apply(repository, prune.plan(repository, (), late), late, "tester", grace=timedelta(0))
    report = verify.verify(repository, "full")
    assert report.findings == ()
    assert place.get(aside) == harmed, "no prune takes it"
    assert repair.set_aside(repository, [damaged]) == (), "called again it finds nothing to do"


def test_cut_off_between_copy_and_forgetting_it_goes_on(tmp_path: Path) -> None:
    place, repository, _ = built(tmp_path)
    key = repository.heads()[1].key
    replaced(place, key, b"no snapshot")
    dying = repositories.Repository(
        house.Faulty(place, house.at_call(2, "kill-before")), repository.ring, repository.config
    )
    with pytest.raises(house.Killed):
        repair.set_aside(dying, repair.unreadable(repository))
    assert place.head(key) is not None
    (aside,) = repair.set_aside(repository, repair.unreadable(repository))
    assert place.get(aside) == b"no snapshot"
    assert place.head(key) is None


def test_a_snapshot_of_a_later_version_is_not_given_up(tmp_path: Path) -> None:
    from ddr.backup import sealing

    place, repository, _ = built(tmp_path)
    stored = sealing.seal(repository.ring, "snapshot", b'{"made": "later"}')
    place.create(layout.snapshot_key(house.NOW + timedelta(hours=5), layout.name_of(stored)), stored)
    with pytest.raises(repositories.OtherVersion, match="another version"):
        repository.read(repository.head("latest"))
    assert repair.unreadable(repository) == ()


def test_no_advice_is_given_twice(tmp_path: Path) -> None:
    """Each pack cut in half: verify says repair; behind it, verify never says repair again."""
    tried = told = 0
    for number in range(len(list(built(tmp_path / "count")[0].list(layout.PACKS)))):
        place, repository, _ = built(tmp_path / str(number))
        key = [entry.key for entry in place.list(layout.PACKS)][number]
        content = place.get(key)
        replaced(place, key, content[: len(content) // 2])
        before = verify.verify(repository, "full").findings
        assert any("`ddr backup repair`" in one.next_move for one in before)
        repair.rebuild_index(repository)
        after = verify.verify(repository, "full").findings
        assert after
        for finding in after:
            assert "repair` rebuilds" not in finding.next_move
            assert not finding.next_move.startswith("`ddr backup repair`,"), finding
            told += bool(finding.affected)
        tried += 1
    print(f"{tried} packs cut in half, {told} findings with what they affect")
    assert tried >= 3
    assert told


def test_a_snapshot_whose_listing_is_lost_can_be_given_up_by_name(tmp_path: Path) -> None:
    place, repository, made = built(tmp_path)
    refused = 0
    for entry in list(place.list(layout.PACKS)):
        content = place.get(entry.key)
        place.delete(entry.key)
        hint = ""
        try:
            prune.plan(repository, (), house.NOW + timedelta(days=2))
        except Damaged as problem:
            hint = problem.hint
            refused += 1
        assert not hint or any(f"--drop {id_[:8]}" in hint for id_ in made)
        place.create(entry.key, content)
    assert refused
    repair.set_aside(repository, repair.named(repository, [made[0][:8]]))
    assert [head.id for head in repository.heads()] == made[1:]
