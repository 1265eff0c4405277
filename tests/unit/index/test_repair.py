"""What is done about damage: the least that helps, decided without touching anything, told before it is done."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, Missing, Refused, Unavailable
from ddr.index import check, codec, repair
from ddr.index.homes import folder, publishing
from tests.unit.index import published


class Shop:
    """A workshop that publishes what lies in the work folder, and tells what it was asked for."""

    def __init__(self, of: folder.FolderHome, made: published.Made, left: repair.Left) -> None:
        self._of, self._made, self._left = of, made, left
        self.asked: list[Sequence[int] | None] = []

    def left(self, version: str) -> repair.Left:
        return self._left

    def has_rows(self, manifest: indexes.Manifest) -> bool:
        return False

    def rebuild(self, version: str, manifest: indexes.Manifest | None, parts: Sequence[int] | None) -> None:
        self.asked.append(parts)
        published.published(self._of, self._made)


class Scene:
    def __init__(self, root: Path) -> None:
        self.of = published.at(root / "home")
        self.made = published.make(root / "corpus", rows=60)
        self.prove = published.prover(self.of, (0, 1))

    def publish(self, number: int) -> str:
        return published.published(self.of, self.made.as_another(number))

    def damage(self, version: str, file: str = "index.faiss") -> None:
        path = self.of.root / "versions" / version / file
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:50] + bytes([content[50] ^ 4]) + content[51:])

    def decide(self, version: str, left: repair.Left | None = None) -> repair.Repair:
        found = check.check(self.of, version, check.Means(), (0, 1))
        before = {path: path.stat().st_mtime_ns for path in self.of.root.rglob("*")}
        decided = repair.decide(self.of, found, lambda: left or repair.Left(), self.prove)
        assert {path: path.stat().st_mtime_ns for path in self.of.root.rglob("*")} == before
        return decided


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


WHOLE = repair.Left((True, True, True), is_trained=True, is_source_same=True, has_source=True)


def test_every_case_has_one_answer(scene: Scene) -> None:
    """Damaged file, manifest or nothing; parts whole, one damaged, gone; trained; corpus the same; another version."""
    one, two = scene.publish(1), scene.publish(2)
    decided = 0
    for file, parts, trained, source in itertools.product(
        ("index.faiss", "manifest.json"), ((), (True, True), (True, False)), (False, True), (False, True)
    ):
        left = repair.Left(parts, is_trained=trained, is_source_same=source, has_source=source)
        path = scene.of.root / "versions" / two / file
        content = path.read_bytes()
        scene.damage(two, file)
        found = scene.decide(two, left)
        if parts == (True, True) and trained:
            step = repair.Step.MERGE
        elif parts and trained and source:
            step = repair.Step.PARTS
        else:
            step = repair.Step.BUILD if source else repair.Step.ROLL_BACK
        assert found.step is step, (file, left)
        assert found.to == (one if step is repair.Step.ROLL_BACK else "")
        assert found.parts == ((1,) if step is repair.Step.PARTS else ())
        path.unlink()
        path.write_bytes(content)
        decided += 1
    assert scene.decide(two).step is repair.Step.NOTHING
    print(f"{decided} cases decided")


def test_what_was_read_of_the_corpus_is_whole_or_can_be_read_again(scene: Scene) -> None:
    one, two = scene.publish(1), scene.publish(2)
    scene.damage(two)
    unread = dataclasses.replace(WHOLE, is_scanned=False)
    assert scene.decide(two, unread).step is repair.Step.MERGE
    away = dataclasses.replace(unread, is_source_same=False, has_source=False)
    found = scene.decide(two, away)
    assert (found.step, found.to) == (repair.Step.ROLL_BACK, one)
    assert "its corpus is not at hand" in found.why
    assert "another one by now" in scene.decide(two, dataclasses.replace(away, has_source=True)).why


def test_no_way_back_leads_to_another_embedder(scene: Scene) -> None:
    other = dataclasses.replace(scene.made.as_another(1).manifest, embedder=indexes.Embedder("sha256:one"))
    one = published.published(scene.of, dataclasses.replace(scene.made, manifest=other))
    two = scene.publish(2)
    scene.damage(two)
    found = check.check(scene.of, two, check.Means(), (0, 1))
    for embedder, step in (("sha256:two", repair.Step.HELPLESS), ("sha256:one", repair.Step.ROLL_BACK)):
        decided = repair.decide(scene.of, found, repair.Left, scene.prove, embedder)
        assert decided.step is step
    assert decided.to == one


@pytest.mark.parametrize(
    ("left", "asked"),
    [
        (WHOLE, ()),
        (dataclasses.replace(WHOLE, parts=(True, False, False)), (1, 2)),
        (repair.Left((), True, True, True), None),
    ],
)
def test_a_rebuilt_version_is_a_new_one(left: repair.Left, asked: Sequence[int] | None, scene: Scene) -> None:
    version = scene.publish(1)
    scene.damage(version)
    shop = Shop(scene.of, scene.made.as_another(1), left)
    told: list[str] = []
    assert repair.apply(scene.of, scene.decide(version, left), shop, scene.prove, told.append) is None
    assert shop.asked == [asked]
    assert told[0].startswith(f"{version}: ")
    now = scene.of.current()
    assert now is not None
    assert now != version
    assert scene.decide(now).step is repair.Step.NOTHING
    found = scene.decide(version, left)
    assert (found.step, found.to) == (repair.Step.POINT, now), "its twin has the same bytes"


def test_a_twin_is_pointed_at(scene: Scene) -> None:
    version = scene.publish(1)
    made = scene.made.as_another(1)
    twin = published.published(
        scene.of, dataclasses.replace(made, manifest=dataclasses.replace(made.manifest, embedder=indexes.Embedder("x")))
    )
    assert twin != version
    scene.damage(twin)
    found = scene.decide(twin)
    assert (found.step, found.to) == (repair.Step.POINT, version)
    shop = Shop(scene.of, made, repair.Left())
    moved = repair.apply(scene.of, found, shop, scene.prove)
    assert isinstance(moved, publishing.Moved)
    assert (moved.before, moved.after, scene.of.current()) == (twin, version, version)
    scene.publish(3)
    with pytest.raises(Conflict):
        repair.apply(scene.of, found, shop, scene.prove)


@pytest.mark.parametrize("trouble", [Missing("it was removed meanwhile"), Damaged("its manifest changed")])
def test_a_twin_that_goes_while_it_is_proved_is_not_the_only_one(scene: Scene, trouble: Exception) -> None:
    one = scene.made.as_another(1)
    names = [
        publishing.publish(
            scene.of,
            one.files,
            dataclasses.replace(one.manifest, embedder=indexes.Embedder(embedder)),
            scene.prove,
            model_also=True,
        ).after
        for embedder in "abc"
    ]
    scene.damage(names[2])

    def prove(version: str) -> indexes.Check:
        if version == names[1]:
            raise trouble
        return scene.prove(version)

    found = check.check(scene.of, names[2], check.Means(), (0, 1))
    decided = repair.decide(scene.of, found, repair.Left, prove)
    assert (decided.step, decided.to) == (repair.Step.POINT, names[0])


def test_back_to_the_newest_that_is_whole(scene: Scene) -> None:
    names = [scene.publish(number) for number in range(4)]
    for version in names[2:]:
        scene.damage(version)
    found = scene.decide(names[3])
    assert (found.step, found.to) == (repair.Step.ROLL_BACK, names[1])
    repair.apply(scene.of, found, Shop(scene.of, scene.made, repair.Left()), scene.prove)
    assert scene.of.current() == names[1]
    assert scene.decide(names[3]).step is repair.Step.HELPLESS, "it does not serve any more"
    scene.damage(names[0])
    scene.damage(names[1])
    found = scene.decide(names[1])
    assert found.step is repair.Step.HELPLESS
    with pytest.raises(Refused, match="no other version is whole"):
        repair.apply(scene.of, found, Shop(scene.of, scene.made, repair.Left()), scene.prove)
    assert scene.of.current() == names[1]


def test_a_repair_never_goes_forward_to_what_was_gone_back_from(scene: Scene) -> None:
    names = [scene.publish(number) for number in range(3)]
    publishing.roll_back(scene.of, publishing.way_back(scene.of, None, scene.prove))
    scene.damage(names[1])
    decided = scene.decide(names[1])
    assert (decided.step, decided.to) == (repair.Step.ROLL_BACK, names[0])
    scene.damage(names[0])
    helpless = scene.decide(names[1])
    assert helpless.step is repair.Step.HELPLESS
    assert f"`ddr index rollback --to {names[2]} --apply`" in helpless.next


def test_what_cannot_be_proved_here_is_not_passed_over(scene: Scene) -> None:
    names = [scene.publish(number) for number in range(2)]
    scene.damage(names[1])
    found = check.check(scene.of, names[1], check.Means(), (0, 1))

    def away(version: str) -> NoReturn:
        raise Unavailable(f"no child for {version}")

    with pytest.raises(Unavailable, match=names[0]):
        repair.decide(scene.of, found, repair.Left, away)
    publishing.roll_back(scene.of, publishing.way_back(scene.of, None, scene.prove))
    scene.damage(names[0])
    found = check.check(scene.of, names[0], check.Means(), (0, 1))
    with pytest.raises(Unavailable, match=names[1]):
        repair.decide(scene.of, found, repair.Left, away)


def test_out_of_sync_is_built_again(scene: Scene) -> None:
    version = scene.publish(1)
    np_ids = scene.made.base / "i1.npy"
    content = bytearray(np_ids.read_bytes())
    content[-8] ^= 1
    np_ids.write_bytes(content)
    found = check.check(scene.of, version, check.Means(corpus=scene.made.corpus), (0, 1, 3))
    assert found.exit_code == 11
    decided = repair.decide(scene.of, found, lambda: WHOLE, scene.prove)
    assert decided.step is repair.Step.BUILD
    assert codec.encode(decided)
