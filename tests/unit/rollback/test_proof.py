"""What is called recovered: every announced signal was judged, on what came after the switch, or it says that not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from ddr.actions import catalog
from ddr.domain import planes, records, services, signals
from ddr.errors import Interrupted, Unavailable
from ddr.ports import platform as platforms
from ddr.ports import signal as ports
from ddr.rollback import book, proof, proposal
from ddr.runbook import engine
from tests import recovery
from tests.unit.rollback import runs

MODEL, FEATURES, CODE, INFRA = runs.MODEL, runs.FEATURES, runs.CODE, planes.Plane.INFRA
GOOD = {MODEL: runs.LAST_GOOD}


def promoted() -> recovery.World:
    world = recovery.World()
    world.promote()
    world.effects.clear()
    return world


class Counters:
    """Implements Signal and Counting: ten requests a minute; `failing` of ten fail. It can be started anew."""

    series: Mapping[str, ports.SampleKind] = {"errors": "share"}

    def __init__(self, world: recovery.World) -> None:
        self.world = world
        self.hits, self.n, self.failing, self.down = 0, 0, 0, ""
        sleep = world.clock.sleep

        def passing(seconds: float) -> None:
            sleep(seconds)
            self.n += round(seconds / 6)
            self.hits += round(seconds / 6 * self.failing / 10)

        world.clock.sleep = passing  # type: ignore[method-assign]

    def read(self, series: str, since: datetime, until: datetime) -> signals.Reading:
        return signals.Reading(series, since, until, signals.Share(self.hits, self.n))

    def count(self) -> str:
        if self.down:
            raise Unavailable(self.down)
        return json.dumps([self.hits, self.n])

    def read_since(self, series: str, counted: str, since: datetime, until: datetime) -> signals.Reading:
        hits, n = json.loads(counted)
        return signals.Reading(series, since, until, signals.Share(self.hits - hits, self.n - n))


def counting(world: recovery.World) -> tuple[platforms.Platform, Counters]:
    """The world with `errors` told by a source that only counts since its start."""
    on, counters = runs.platform(world), Counters(world)
    assert isinstance(counters, ports.Counting)
    service = on.service("postcode")
    hour = timedelta(hours=1)
    errors = services.SignalSpec("errors", "metrics", "errors", "share", INFRA, 0.06, hour, hour, 30)
    kept = tuple(spec for spec in service.signals if spec.name != "errors")
    service = dataclasses.replace(service, signals=(*kept, errors))
    sources = {"postcode": {**on.sources["postcode"], "metrics": counters}}
    return dataclasses.replace(on, services={"postcode": service}, sources=sources), counters


def start(on: platforms.Platform, wanted: Mapping[planes.Plane, str] = GOOD) -> engine.Finish:
    made = engine.Engine(on, catalog.build(on))
    return made.start(runs.document(on, wanted), "postcode", run="r1")


def proved(world: recovery.World) -> str:
    ended = [record for record in world.journal.of_kind(records.StepEnded) if record.step == "prove"]
    return ended[-1].outcome.summary


def test_errors_of_before_the_switch_do_not_count() -> None:
    world = promoted()
    on, counters = counting(world)
    counters.hits, counters.n = 5000, 10_000
    assert start(on).status == "recovered"
    assert "errors ok (n=" in proved(world)


def test_errors_that_go_on_after_the_switch_fail_the_proof_however_many_answers_came_before() -> None:
    world = promoted()
    on, counters = counting(world)
    counters.hits, counters.n, counters.failing = 0, 1_000_000, 3
    finish = start(on)
    assert finish.status == "failed"
    assert "still bad: errors" in finish.why


def test_what_a_source_had_counted_is_unknown_so_it_is_not_proved() -> None:
    world = promoted()
    on, counters = counting(world)
    counters.down = "the program is away"
    with pytest.raises(Interrupted, match="switched, not proved: errors not judged yet"):
        start(on)


def test_a_resumed_run_counts_what_came_while_it_was_paused() -> None:
    world = promoted()
    on, counters = counting(world)
    world.silent.add("model")
    with pytest.raises(Interrupted, match="not proved: golden, scores, wrong-answers"):
        start(on)
    counters.failing = 5
    world.clock.sleep(600)
    counters.failing = 0
    world.silent.clear()
    finish = engine.Engine(on, catalog.build(on)).resume("r1")
    assert finish.status == "failed"
    assert "still bad: errors" in finish.why


@pytest.mark.parametrize("silent", ["model", "rows"])
def test_one_announced_signal_that_is_not_judged_is_no_recovery(silent: str) -> None:
    """Also where others are fine: golden alone proves nothing of the rows, and the other way round."""
    world = promoted()
    world.freeze_features()
    on = runs.platform(world)
    world.silent.add(silent)
    document = runs.document(on, {MODEL: runs.LAST_GOOD, FEATURES: runs.LAST_GOOD})
    with pytest.raises(Interrupted) as told:
        runs.runner(world).start(document, "postcode", run="r1")
    assert "switched, not proved: " in told.value.message
    assert "`ddr runbook resume r1` judges again" in told.value.hint
    assert world.model.frozen_why, "frozen until it is proved"
    world.silent.clear()
    assert runs.runner(world).resume("r1").status == "recovered"


def test_a_run_that_only_waits_for_its_proof_is_in_nobodys_way() -> None:
    world = promoted()
    world.features.contents["v3"] = b"frozen"
    world.silent.add("model")
    with pytest.raises(Interrupted, match="not proved"):
        runs.runner(world).start(runs.document(runs.platform(world), GOOD), "postcode", run="r1")
    second = runs.document(runs.platform(world), {FEATURES: "v1"}, book.Options(prove=False))
    assert runs.runner(world, "ben").start(second, "postcode", run="r2").status == "switched"
    world.silent.clear()
    assert runs.runner(world).resume("r1").status == "recovered"


def test_what_was_moved_on_meanwhile_is_not_proved() -> None:
    world = promoted()
    world.silent.add("model")
    with pytest.raises(Interrupted, match="not proved"):
        runs.runner(world).start(runs.document(runs.platform(world), GOOD), "postcode", run="r1")
    world.silent.clear()
    world.model.live = "1"
    finish = runs.runner(world).resume("r1")
    assert finish.status == "failed"
    assert "model is at digit@1" in finish.why


@pytest.mark.parametrize("plane", [CODE, MODEL, FEATURES, planes.Plane.INDEX])
def test_what_is_waited_for(plane: planes.Plane) -> None:
    hour = timedelta(hours=1)

    def spec(name: str, of: planes.Plane | None) -> services.SignalSpec:
        return services.SignalSpec(name, "x", "y", "share", of, 0.1, hour, hour, 1)

    service = dataclasses.replace(
        recovery.service(),
        signals=(
            spec("golden", MODEL),
            spec("feature-age", FEATURES),
            spec("recall", planes.Plane.INDEX),
            spec("scores", None),
            spec("errors", INFRA),
            spec("latency", INFRA),
        ),
    )
    wanted = {
        CODE: "golden recall scores errors latency",
        MODEL: "golden scores errors latency",
        FEATURES: "feature-age scores errors latency",
        planes.Plane.INDEX: "recall scores errors latency",
    }
    assert " ".join(one.name for one in proof.awaited(service, [plane])) == wanted[plane]


def test_code_that_breaks_answers_is_not_proved_by_the_traffic_alone() -> None:
    """Of a code rollback the golden set is waited for too, although it accuses the model."""
    world = recovery.World()
    world.code.contents["1.5.0"] = b"newer"
    world.code.live = "1.5.0"
    world.server.roll()
    on = runs.platform(world)
    service = on.service("postcode")
    only = tuple(spec for spec in service.signals if spec.name == "golden")
    on = dataclasses.replace(on, services={"postcode": dataclasses.replace(service, signals=only)})
    world.silent.add("model")
    found = proposal.propose(on, "postcode", {CODE: runs.LAST_GOOD})
    assert [move.target.name for move in found.plan.moves] == ["1.4.0"]
    with pytest.raises(Interrupted, match="not proved: golden"):
        start(on, {CODE: runs.LAST_GOOD})
