"""Diagnose on the real sandbox, through the real connectors: each fault behind two decoys, and nothing at all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ddr.diagnose import examine, watch
from ddr.domain import diagnoses, planes, signals
from ddr.ports import platform as platforms
from ddr.ports import verb
from ddr.release import ledger, timeline
from ddr.sandbox import build, faults, process
from ddr.wiring import build as wiring
from tests import sandboxes

MODEL, FEATURES = planes.Plane.MODEL, planes.Plane.FEATURES
Verdict = diagnoses.Verdict

FAULTS: dict[str, tuple[planes.Plane, str, Mapping[str, Any]]] = {
    "labels flipped": (MODEL, "model.promote-bad", {"kind": "labels-flipped"}),
    "stale slice": (MODEL, "model.promote-bad", {"kind": "stale-slice"}),
    "wrong preprocessing": (MODEL, "model.promote-bad", {"kind": "wrong-preprocessing"}),
    "weights overwritten": (MODEL, "model.promote-bad", {"kind": "weights-overwritten"}),
    "features frozen": (FEATURES, "features.freeze", {}),
    "features null": (FEATURES, "features.null", {}),
}
ALWAYS = ("weights overwritten", "features null")
CASES = [
    pytest.param(name, marks=() if name in ALWAYS else pytest.mark.long, id=name.replace(" ", "-")) for name in FAULTS
]


class Place:
    """A running sandbox behind its `ddr.yaml`, what is live recorded as known good."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.on: platforms.Platform = wiring.build(root / "ddr.yaml", os.environ, actor="tester", warn=_ignore).platform
        self.good = ledger.record(self.on, "postcode", known_good=True)

    def inject(self, name: str, key: str, inputs: Mapping[str, Any]) -> None:
        fault = faults.catalog(self.root)[name]
        call = verb.Call("postcode", "run", "step", key, "", self.on.clock.now(), inputs)
        fault.act(call, fault.prepare(call).settled)

    def diagnose(self) -> diagnoses.Diagnosis:
        told = timeline.changes(self.on, "postcode", examine.horizon(self.on.clock.now()))
        return examine.examine(self.on, "postcode", changes=told)


def _ignore(text: str) -> None:
    del text


@pytest.fixture
def place(sandbox: Path) -> Place:
    return Place(sandbox)


@pytest.mark.parametrize("name", CASES)
def test_each_fault_behind_two_decoys(name: str, place: Place) -> None:
    plane, fault, inputs = FAULTS[name]
    place.inject("decoy.code-release", "d1", {})
    place.on.clock.sleep(300)
    place.inject("decoy.config-change", "d2", {})
    place.on.clock.sleep(300)
    hurt_at = place.on.clock.now()
    place.inject(fault, "f", inputs)
    place.on.clock.sleep(900)
    early = place.diagnose()
    assert early.leading is None or early.leading.plane is plane, "before any truth is known"
    assert (early.verdict is Verdict.HEALTHY) == (name == "features frozen")

    place.on.clock.sleep(3600)
    began = time.process_time()
    found = place.diagnose()
    cpu_s = time.process_time() - began
    print(f"{name}: {found.verdict}, {found.leading and found.leading.evidence[0].says}; {cpu_s:.2f} s of our CPU")
    assert found.leading is not None
    assert (found.verdict, found.leading.plane) == (Verdict.CONFIRMED, plane)
    assert all(one.probability < 0.05 for one in found.candidates[1:])
    change = found.leading.change
    assert change is not None
    assert change.plane is plane
    assert abs(change.at - hurt_at) <= timedelta(minutes=1)
    assert change.recorded == (plane is not MODEL), "a registration is no record of the move"
    assert found.onset_from is not None
    assert found.onset_to is not None
    assert found.onset_from <= hurt_at + timedelta(minutes=16)  # the lanes show new parcels every quarter of an hour
    assert found.onset_to >= hurt_at
    assert any("wrong-answers" in line for line in found.impaired)
    assert found.exposed == ("sorting-hub", "returns-desk")
    assert cpu_s < 5


def test_decoys_alone_are_healthy(place: Place) -> None:
    place.inject("decoy.code-release", "d1", {})
    place.inject("decoy.config-change", "d2", {})
    for _ in range(4):
        place.on.clock.sleep(1800)
        found = place.diagnose()
        assert (found.verdict, found.candidates, found.not_checked) == (Verdict.HEALTHY, (), ())


def test_the_timeline_of_the_sandbox_tells_every_move_once(place: Place) -> None:
    place.inject("decoy.code-release", "d1", {})
    place.on.clock.sleep(600)
    place.inject("decoy.config-change", "d2", {})
    place.on.clock.sleep(600)
    place.inject("features.null", "f", {})
    place.on.clock.sleep(1800)
    found = timeline.changes(place.on, "postcode", place.good.at)
    assert [change.plane for change in found.changes] == [planes.Plane.CODE, planes.Plane.CONFIG, FEATURES]
    assert all(change.recorded and change.actor == "ci-bot" for change in found.changes)
    assert found.silent == ()


@pytest.fixture(params=[1, 2, 3])
def another_seed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "sandbox"
    build.up(root, request.param, _ignore)
    yield root
    process.stop(root)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_hours_of_health_raise_no_alarm(another_seed: Path) -> None:
    """Twelve hours, looked at every quarter of an hour: about 380 judgements a seed, then one diagnosis."""
    wired = wiring.build(another_seed / "ddr.yaml", os.environ, actor="tester", warn=_ignore)
    wired.platform.clock.sleep(sandboxes.WARM_UP_S)
    place = Place(another_seed)
    judged, bad = 0, []
    for _ in range(48):
        place.on.clock.sleep(900)
        for one in watch.judge(place.on, "postcode"):
            judged += 1
            if one.state is not signals.State.OK:
                bad.append(str(one))
    print(f"{judged} judgements, {len(bad)} not ok: {bad}")
    assert bad == []
    assert place.diagnose().verdict is Verdict.HEALTHY
