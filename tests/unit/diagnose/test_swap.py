"""The swap test: which plane restores right answers, and when nothing may be concluded."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from ddr.diagnose import scene as looks
from ddr.diagnose import swap
from ddr.domain import planes
from ddr.ports import replayable
from ddr.release import timeline
from tests import platforms, worlds
from tests.unit.diagnose import scenes

CODE, MODEL, FEATURES, CONFIG = planes.Plane.CODE, planes.Plane.MODEL, planes.Plane.FEATURES, planes.Plane.CONFIG
ALL = (CODE, MODEL, FEATURES)


def _look(scene: scenes.Scene) -> looks.Scene:
    return looks.look(scene.on, "digits", timeline.changes(scene.on, "digits", worlds.START))


def _run(scene: scenes.Scene, *wanted: planes.Plane) -> swap.Report:
    return swap.run(scene.on, _look(scene), wanted or ALL)


@pytest.mark.parametrize("fault", [name for name in scenes.FAULTS if name != "weights overwritten"])
@pytest.mark.parametrize("seed", range(3))
def test_the_plane_that_was_hurt_restores_and_no_other(fault: str, seed: int) -> None:
    report = _run(scenes.hurt(fault, seed, decoys=True))
    assert [test.plane for test in report.tests if test.restores] == [scenes.FAULTS[fault][0]]
    assert {test.plane for test in report.tests} >= {FEATURES, CODE}


def test_the_numbers_are_counted_on_the_same_requests() -> None:
    scene = scenes.hurt("bad model promoted")
    (test,) = _run(scene, MODEL).tests
    assert test.to == "2"
    assert test.wrong_before - test.wrong_after == test.fixed - test.broken
    assert test.n <= swap.MOST
    assert str(test).startswith(f"swap test: with model 2 {test.wrong_after} of {test.n} replayed answers are wrong")


def test_two_planes_that_are_wrong_together_both_restore() -> None:
    """Code that rounds, and a model that cannot bear it: each was harmless with the other's old revision."""
    scene = scenes.healthy()
    scene.world.planes[CODE].contents["1.6.0"] = b"right=1.0 rounds"
    scene.world.planes[MODEL].contents["4"] = b"right=0.97 brittle"
    scene.world.release_code("1.6.0")
    scene.world.promote("4")
    scene.world.advance(1)
    report = _run(scene)
    assert {test.plane for test in report.tests if test.restores} == {CODE, MODEL}


def test_the_world_restores_nothing() -> None:
    scene = scenes.healthy()
    scene.world.upstream_noise = 0.3
    scene.world.advance(1)
    report = _run(scene, FEATURES)
    assert [test.restores for test in report.tests] == [False]


def test_overwritten_weights_have_nothing_to_swap_to() -> None:
    report = _run(scenes.hurt("weights overwritten"), MODEL)
    assert report.tests == ()
    assert "the good ones are only in a backup" in report.not_made[0]


def test_a_replay_that_does_not_repeat_what_was_served_proves_nothing() -> None:
    scene = scenes.hurt("bad model promoted")
    scene.world.planes[MODEL].contents["3"] = b"right=0.9 retrained under the same name"
    report = _run(scene)
    assert report.tests == ()
    assert "void, replayed as logged only" in report.not_made[0]


def test_without_excess_error_there_is_nothing_to_explain() -> None:
    scene = scenes.healthy()
    report = _run(scene)
    assert report.tests == ()
    assert "no excess error to explain" in report.not_made[0]


def test_before_the_truth_is_known_the_test_cannot_be_made() -> None:
    scene = scenes.healthy(hours=3.1)
    scene.world.planes[MODEL].live = "3"
    looked = _look(scene)
    scene.world.requests.clear()
    report = swap.run(scene.on, looked, ALL)
    assert "0 requests with a known truth, 50 are needed" in report.not_made[0]


@pytest.mark.parametrize(("what", "says"), [("replay", "the replay is down"), ("requests", "the log is gone")])
def test_a_source_that_fails_is_a_reason(what: str, says: str) -> None:
    scene = scenes.hurt("bad model promoted")
    looked = _look(scene)
    scene.world.down[what] = says
    assert swap.run(scene.on, looked, ALL).not_made == (f"swap test: {says}",)


def test_a_revision_that_is_gone_is_a_reason_for_its_plane_alone() -> None:
    scene = scenes.hurt("bad model promoted")
    del scene.world.planes[MODEL].contents["2"]
    report = _run(scene, MODEL, FEATURES)
    assert [test.plane for test in report.tests] == [FEATURES]
    assert report.not_made == ("swap of model: digit 2 is no longer there; it cannot be the way back",)


def test_a_plane_a_replay_cannot_change_is_a_reason() -> None:
    report = _run(scenes.hurt("bad model promoted"), CONFIG)
    assert report.not_made == ("swap of config: a replay cannot change this plane",)


class FewAnswers:
    """Implements RequestLog and Replayable: 60 requests, 9 answered wrongly, of which old code rights `righted`."""

    def __init__(self, righted: int) -> None:
        self._righted = righted

    def logged(self, since: datetime, until: datetime, limit: int) -> Sequence[replayable.Logged]:
        del since
        names = {CODE: "1.5.0"}
        return [
            replayable.Logged(f"q{at}", until, "lane", "3" if at < 9 else "7", "7", names)
            for at in range(min(60, limit))
        ]

    def replay(self, requests: Sequence[str], swaps: Mapping[planes.Plane, replayable.Swap]) -> Mapping[str, str]:
        wrong = range(self._righted if swaps else 0, 9)
        return {id_: "3" if int(id_[1:]) in wrong else "7" for id_ in requests}


@pytest.mark.parametrize("righted", range(10))
def test_what_chance_may_have_righted_does_not_restore(righted: int) -> None:
    """Nine of nine requests that turned right are nine heads in a row: p = 1/512, not below 0.001."""
    scene = scenes.hurt("bad code released")
    few = FewAnswers(righted)
    on = dataclasses.replace(scene.on, request_logs={"digits": few}, replays={"digits": few})
    (test,) = swap.run(on, _look(scene), (CODE,)).tests
    assert (test.n, test.fixed, test.broken, test.restores) == (60, righted, 0, False)
    assert test.p == pytest.approx(0.5**righted)


def test_time_that_is_up_is_a_reason() -> None:
    scene = scenes.hurt("bad model promoted")
    seconds = iter(range(0, 1000, 20))
    report = swap.run(scene.on, _look(scene), ALL, budget_s=30, timer=lambda: float(next(seconds)))
    assert len(report.tests) + len(report.not_made) == 3
    assert report.not_made[-1] == "swap of features: 30 s were up"


def test_without_a_ledger_the_change_says_what_was_there_before() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    world.advance(3)
    world.promote("3")
    world.advance(1)
    looked = looks.look(on, "digits", timeline.changes(on, "digits", world.clock.now() - timedelta(days=1)))
    assert looked.good is None
    (test,) = swap.run(on, looked, (MODEL,)).tests
    assert (test.to, test.restores) == ("2", True)
