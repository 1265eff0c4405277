"""Two who look at once record one change once: interleaved at every call, as processes, and with the store away."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import multiprocessing
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ddr.domain import changes, planes, records, revisions, timelines
from ddr.journal import log
from ddr.lib import clock as clocks
from ddr.ports import journal as port
from ddr.ports import platform as ports
from ddr.release import discovery, ledger, timeline
from ddr.stores import local, memory
from tests import platforms, worlds
from tests.unit.journal import places

MODEL = planes.Plane.MODEL


@dataclasses.dataclass
class Scene:
    """A world with a model that was moved by hand from 2 to 3, and a hook before every call to journal and planes."""

    folder: Path
    shared: bool = False
    world: worlds.World = dataclasses.field(default_factory=worlds.World)
    calls: int = 0
    at: int = 0
    then: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.world.advance(0.5)
        self.inner = memory.MemoryStore()
        ledger.record(self.platform("before"), "digits")
        self.world.clock.sleep(600)
        self.world.move_by_hand("3")
        self.world.clock.sleep(600)
        model = self.world.planes[MODEL]
        read = model.revision

        def looked() -> revisions.Revision:
            self.hit("plane", "")
            return read()

        model.revision = looked  # type: ignore[method-assign]

    def hit(self, _doing: str, _key: str) -> None:
        self.calls += 1
        if self.then is not None and self.calls == self.at:
            act, self.then = self.then, None
            act()

    def platform(self, machine: str) -> ports.Platform:
        place = places.Place(self.inner, self.folder / machine, clock=self.world.clock)
        through = places.Wrapped(self.inner, is_shared=self.shared, before=self.hit)
        return dataclasses.replace(platforms.platform(self.world), journal=place.open(machine, through))

    def recorded(self) -> list[changes.Change]:
        return [
            event.record.change
            for event in self.platform("reader").journal.events()
            if isinstance(event.record, records.ChangeRecorded)
        ]


class Dying:
    """A journal whose process ends behind its first write."""

    def __init__(self, inner: port.Journal) -> None:
        self.inner, self.events = inner, inner.events

    def append(self, record: records.Record, unless: port.Unless | None = None) -> object:
        self.inner.append(record, unless)
        raise KeyboardInterrupt


def second(scene: Scene, to: str, *, dies: bool, machine: str) -> None:
    """Somebody else looks, after the model was moved on to `to` or not at all; at the same second or one later."""
    if to:
        scene.world.clock.sleep(1)
        scene.world.move_by_hand(to)
    on = scene.platform(machine)
    if not dies:
        discovery.observe(on, "digits")
        return
    with contextlib.suppress(KeyboardInterrupt):  # where it has something to write
        discovery.observe(dataclasses.replace(on, journal=Dying(on.journal)), "digits")  # type: ignore[arg-type]


@pytest.mark.parametrize("shared", [False, True], ids=["folder", "bucket"])
@pytest.mark.parametrize(
    ("to", "dies"), [("", False), ("", True), ("1", False), ("1", True), ("2", False)],
    ids=["looks", "looks-and-dies", "moved-on", "moved-on-and-dies", "moved-back"],
)  # fmt: skip
def test_interleaved_at_every_call_each_change_is_recorded_once(
    tmp_path: Path, to: str, dies: bool, shared: bool
) -> None:
    count = 0
    while True:
        count += 1
        scene = Scene(tmp_path / str(count), shared)
        scene.calls, scene.at = 0, count
        on = scene.platform("first")
        scene.then = lambda scene=scene: second(scene, to, dies=dies, machine="second")
        found = discovery.observe(on, "digits").found
        is_over, scene.then = scene.then is not None, None
        assert len(set(found)) == len(found)
        scene.world.clock.sleep(60)
        discovery.observe(scene.platform("third"), "digits")
        scene.world.clock.sleep(60)
        assert discovery.observe(scene.platform("third"), "digits").found == ()
        written = scene.recorded()
        steps = [(change.before, change.after) for change in written]
        assert all(was[1] == now[0] for was, now in itertools.pairwise(steps)), (count, steps)
        assert len(set(steps)) == len(steps) <= 2, (count, steps)
        live = scene.world.planes[MODEL].live
        assert not steps or (steps[0][0], steps[-1][1]) == ("2", live), (count, steps)
        assert steps or live == "2", (count, steps)
        assert all(one.not_before is not None and one.not_before < one.at for one in written)
        told = timeline.changes(scene.platform("reader"), "digits", worlds.START).changes
        assert [(one.before, one.after) for one in told if one.plane is MODEL] == steps, count
        if is_over:
            break
    print(f"{count} calls")
    assert count > 10


def _process(folder: Path, name: str, go: object) -> None:
    scene_clock = clocks.ManualClock(worlds.START + timedelta(hours=2))
    world = worlds.World()
    world.clock = scene_clock
    for plane in world.planes.values():
        plane.clock = scene_clock
    world.planes[MODEL].live = "3"
    journal = log.Log(
        local.LocalStore(folder / "store"), folder / name / "spool", folder / name / "state", name, "here", scene_clock
    )
    on = dataclasses.replace(platforms.platform(world), journal=journal)
    go.wait()  # type: ignore[attr-defined]
    discovery.observe(on, "digits")


def test_four_processes_at_the_same_second(tmp_path: Path) -> None:
    world = worlds.World()
    journal = log.Log(
        local.LocalStore(tmp_path / "store"), tmp_path / "spool", tmp_path / "state", "a", "here", world.clock
    )
    ledger.record(dataclasses.replace(platforms.platform(world), journal=journal), "digits")
    context = multiprocessing.get_context("fork")
    go = context.Barrier(4)
    workers = [context.Process(target=_process, args=(tmp_path, f"p{n}", go)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    written = [event.record.change for event in journal.events() if isinstance(event.record, records.ChangeRecorded)]
    assert [(one.before, one.after) for one in written] == [("2", "3")]


def test_what_two_found_with_the_store_away_is_told_once(tmp_path: Path) -> None:
    """One has it in the spool and joins it later: the journal has it twice, who reads sees one move."""
    scene = Scene(tmp_path, shared=True)
    place = places.Place(scene.inner, scene.folder / "cut-off", clock=scene.world.clock)
    wire = places.Wrapped(scene.inner, is_shared=True)
    cut_off = dataclasses.replace(platforms.platform(scene.world), journal=place.open("cut-off", wire))
    list(cut_off.journal.events())
    wire.is_away = True
    assert len(discovery.observe(cut_off, "digits").found) == 1
    scene.world.clock.sleep(2 * 3600)
    assert len(discovery.observe(scene.platform("other"), "digits").found) == 1
    wire.is_away = False
    place.later(3600)
    place.open("cut-off", wire).sync()
    assert len(scene.recorded()) == 2
    (told,) = timeline.changes(scene.platform("reader"), "digits", worlds.START).changes
    assert (told.name, told.recorded) == ("model:digit 2 → 3", False)
    assert told.at == min(one.at for one in scene.recorded())
    scene.world.clock.sleep(60)
    assert discovery.observe(scene.platform("third"), "digits").found == ()


def _found(after: str, before: str, at: int, not_before: int) -> changes.Change:
    hour = timedelta(hours=1)
    return changes.Change(
        MODEL, "digit", worlds.START + at * hour, before, after, source=timelines.OBSERVE, recorded=False,
        not_before=worlds.START + not_before * hour,
    )  # fmt: skip


def test_what_happened_twice_is_told_twice() -> None:
    """Every way of two or three found changes, against what the rule says one by one."""
    count = 0
    for seed in range(400):
        chance = random.Random(seed)
        found = []
        for _ in range(chance.choice((2, 3, 4))):
            at = chance.randrange(1, 9)
            before, after = chance.sample("123", 2)
            found.append(_found(after, before, at, chance.randrange(at)))
        found.sort(key=lambda one: one.at)
        kept: list[changes.Change] = []
        for one in found:
            again = [
                index for index, other in enumerate(kept)
                if (other.before, other.after) == (one.before, one.after)
                and one.not_before < other.at  # type: ignore[operator]
                and all(later.after == one.after for later in kept[index:])
            ]  # fmt: skip
            if not again:
                kept.append(one)
            else:
                index = again[-1]
                newest = max(kept[index].not_before, one.not_before)  # type: ignore[type-var]
                kept[index] = dataclasses.replace(kept[index], not_before=newest)
            count += 1
        assert list(timelines.once(found)) == kept, seed
    print(f"{count} changes")
