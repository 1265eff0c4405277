"""Reading and judging a service's signals, and when they turned bad."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ddr.diagnose import watch
from ddr.domain import signals
from ddr.errors import Missing
from ddr.release import ledger
from tests import platforms, worlds
from tests.unit.diagnose import scenes

OK, BAD, UNKNOWN = signals.State.OK, signals.State.BAD, signals.State.UNKNOWN


def _states(scene: scenes.Scene) -> dict[str, signals.State]:
    return {one.signal: one.state for one in watch.judge(scene.on, "digits")}


def test_a_healthy_service_is_ok_in_every_signal() -> None:
    assert set(_states(scenes.healthy()).values()) == {OK}


def test_without_a_known_good_release_what_compares_is_unknown() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    world.advance(4)
    ledger.record(on, "digits")  # nobody vouched for it
    found = {one.signal: one for one in watch.judge(on, "digits")}
    assert {name for name, one in found.items() if one.state is UNKNOWN} == {"feature-zeros", "scores", "wrong-answers"}
    assert found["scores"].why == "there is no reference: no release is recorded as known good"
    assert {found[name].state for name in ("golden", "feature-age", "errors")} == {OK}


def test_a_source_that_fails_makes_its_own_signals_unknown() -> None:
    scene = scenes.healthy()
    scene.world.down["requests"] = "the log is unreadable"
    found = {one.signal: one for one in watch.judge(scene.on, "digits")}
    assert {name for name, one in found.items() if one.state is UNKNOWN} == {"scores", "wrong-answers"}
    assert "requests: the log is unreadable" in found["scores"].why
    assert found["golden"].state is OK


def test_a_source_nobody_connected_is_unknown() -> None:
    scene = scenes.healthy()
    dict_of_sources = scene.on.sources["digits"]
    assert isinstance(dict_of_sources, dict)
    del dict_of_sources["measures"]
    found = {one.signal: one for one in watch.judge(scene.on, "digits")}
    assert "no source 'measures' is connected" in found["golden"].why
    assert found["scores"].state is OK


def test_only_the_named_signals_are_read() -> None:
    scene = scenes.healthy()
    assert [one.signal for one in watch.judge(scene.on, "digits", ["scores", "golden"])] == ["golden", "scores"]
    with pytest.raises(Missing, match="has no signal nonsense"):
        watch.judge(scene.on, "digits", ["nonsense"])


def test_the_past_can_be_judged() -> None:
    scene = scenes.hurt("bad model promoted")
    (then,) = watch.judge(scene.on, "digits", ["wrong-answers"], scene.hurt_at)
    (now,) = watch.judge(scene.on, "digits", ["wrong-answers"])
    assert (then.state, now.state) == (OK, BAD)
    assert (then.at, now.at) == (scene.hurt_at, scene.world.clock.now())


def test_what_came_before_a_recovery_does_not_count_after_it() -> None:
    scene = scenes.hurt("bad model promoted")
    scene.world.promote("2")
    recovered = scene.world.clock.now()
    scene.world.advance(0.5)
    (mixed,) = watch.judge(scene.on, "digits", ["scores"])
    (clean,) = watch.judge(scene.on, "digits", ["scores"], since=recovered)
    assert mixed.state is BAD
    assert (clean.state, clean.n) == (OK, 300)


@pytest.mark.parametrize("fault", ["bad model promoted", "features zeroed", "weights overwritten"])
@pytest.mark.parametrize("after_hours", [0.6, 1.0, 2.0, 5.0])
def test_the_onset_holds_the_moment_it_was_hurt(fault: str, after_hours: float) -> None:
    held, widest = 0, timedelta(0)
    for seed in range(3):
        scene = scenes.hurt(fault, seed, after_hours=after_hours)
        for judgement in watch.judge(scene.on, "digits", ["scores", "wrong-answers"]):
            if judgement.state is BAD:
                onset = watch.onset(scene.on, "digits", judgement)
                assert onset.since <= scene.hurt_at <= onset.until, (seed, judgement, onset)
                held, widest = held + 1, max(widest, onset.until - onset.since)
    print(f"{fault}, {after_hours} h later: {held} onsets held, widest {widest}")
    assert held >= 5
    assert widest <= timedelta(hours=1)


def test_an_onset_is_found_with_few_readings() -> None:
    """Ten hours of bad quarters are 40 slices; the walk grows its steps, it does not read them all."""
    scene = scenes.hurt("bad model promoted", after_hours=10)
    (judgement,) = watch.judge(scene.on, "digits", ["scores"])
    source = scene.on.sources["digits"]["requests"]
    assert isinstance(source, platforms.Requests)
    before = source.reads
    watch.onset(scene.on, "digits", judgement)
    assert source.reads - before <= 16


def test_the_first_bad_time_is_the_earliest_of_the_bad_signals() -> None:
    scene = scenes.hurt("bad model promoted", after_hours=2)
    bad = [one for one in watch.judge(scene.on, "digits") if one.state is BAD]
    assert "golden" in {one.signal for one in bad}
    found = watch.first_bad(scene.on, "digits", bad)
    assert found is not None
    assert scene.hurt_at <= found <= scene.hurt_at + timedelta(minutes=15)
    assert watch.first_bad(scene.on, "digits", []) is None
    scene.world.down["requests"] = "the log is gone"
    golden = [one for one in bad if one.signal == "golden"]
    assert watch.first_bad(scene.on, "digits", golden) == scene.world.clock.now(), "then only now is sure"


@pytest.mark.parametrize("fault", scenes.FAULTS)
def test_wrong_answers_tell_the_onset_to_a_few_requests(fault: str) -> None:
    widest = timedelta(0)
    for seed in range(3):
        scene = scenes.hurt(fault, seed)
        onset = watch.Watcher(scene.on, "digits", watch.last_good(scene.on, "digits")).onset_of_errors(
            scene.world.clock.now()
        )
        assert onset is not None
        late = timedelta(minutes=15) if fault == "features frozen" else timedelta(0)  # until new digits are shown
        assert onset.since <= scene.hurt_at + late, (seed, onset)
        assert scene.hurt_at <= onset.until, (seed, onset)
        widest = max(widest, onset.until - onset.since)
    print(f"{fault}: onset known to {widest}")
    assert widest <= timedelta(minutes=15)
