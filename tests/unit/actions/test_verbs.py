"""What is particular to a verb: what it refuses, what it leaves alone, what it proves."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from ddr.actions import catalog
from ddr.domain import incidents, outcomes, records
from ddr.errors import Conflict, Refused, Unavailable
from ddr.incident import desk as desks
from ddr.ports import verb
from ddr.release import ledger
from tests import platforms, recovery, worlds
from tests.unit.actions import calls

OK, FAILED = outcomes.Status.OK, outcomes.Status.FAILED
SKIPPED, INCONCLUSIVE = outcomes.Status.SKIPPED, outcomes.Status.INCONCLUSIVE


def act(desk: calls.Desk, name: str, **inputs: Any) -> outcomes.Outcome:
    made, call = desk.made(name), desk.call(**inputs)
    return made.act(call, made.prepare(call).settled)


def test_a_switch_that_is_refused_says_why_and_what_else() -> None:
    desk = calls.promoted()
    desk.world.model.facts["2"] = recovery.OTHER_SCHEMA
    with pytest.raises(Refused, match="digit 2 has input columns bbbbbbbbbbbb, but features v2 has aaaaaaaaaaaa"):
        desk.settled("plane.switch", plane="model", to="2")


def test_a_switch_does_not_overtake_someone_else() -> None:
    desk = calls.promoted()
    made, call = desk.made("plane.switch"), desk.call(plane="model", to="2")
    settled = made.prepare(call).settled
    desk.world.model.live = "1"
    assert made.observe(call, settled) is verb.Seen.OTHER
    with pytest.raises(Conflict):
        made.act(call, settled)
    with pytest.raises(Conflict, match="someone else moved it since and it is left alone"):
        made.undo(call, settled)
    assert desk.world.effects == {}


def test_taking_a_switch_back_lets_the_server_load_it() -> None:
    desk = calls.promoted()
    made, call = desk.made("plane.switch"), desk.call(plane="model", to="2")
    settled = made.prepare(call).settled
    made.act(call, settled)
    act(desk, "serving.roll")
    assert made.undo(call, settled).status is outcomes.Status.UNDONE
    assert desk.world.server.memory[recovery.MODEL][0] == "3"
    desk.world.server.down = "the server is away"
    with pytest.raises(Unavailable):
        made.undo(call, settled)


def test_the_server_must_have_loaded_what_the_planes_point_at() -> None:
    desk = calls.promoted()

    class Stubborn(recovery.Server):
        def roll(self):  # type: ignore[no-untyped-def]
            return self.loaded()

    old = desk.world.server
    desk.world.server = Stubborn(old.planes, old.effects, dict(old.memory))
    desk.world.model.live = "2"
    outcome = act(desk, "serving.roll")
    assert outcome.status is FAILED
    assert outcome.summary.startswith("model: the plane points at digit@2 (")
    desk.world.server.memory[recovery.MODEL] = ("2", b"other bytes")
    assert act(desk, "serving.roll").status is FAILED, "the same name with other bytes is not the same"


def test_somebody_elses_freeze_is_kept_by_everyone() -> None:
    desk = calls.promoted()
    desk.world.model.freeze("quarter end, ask lena")
    freeze, thaw, call = desk.made("promotions.freeze"), desk.made("promotions.thaw"), desk.call(plane="model")
    prepared = freeze.prepare(call)
    assert prepared.will == "keep the model plane frozen, as it is: quarter end, ask lena"
    assert freeze.act(call, prepared.settled).status is OK
    assert freeze.undo(call, prepared.settled).summary == "left frozen, this run did not do it: quarter end, ask lena"
    assert thaw.act(call, thaw.prepare(call).settled).status is SKIPPED
    assert desk.world.model.frozen_why == "quarter end, ask lena"


def test_a_mark_from_before_the_run_stays() -> None:
    desk = calls.promoted()
    desk.world.model.block("3", "known since yesterday")
    made = desk.made("revision.block")
    call = desk.call(plane="model", revision="3", why="wrong digits")
    settled = made.prepare(call).settled
    made.act(call, settled)
    assert made.undo(call, settled).status is SKIPPED
    assert desk.world.model.marks == {"3": "known since yesterday"}


def test_a_blocked_revision_is_no_target_even_where_its_system_has_no_marks() -> None:
    desk = calls.promoted()
    outcome = act(desk, "revision.block", plane="model", revision="2", why="wrong too")
    assert outcome.status is OK
    desk.world.model.marks.clear()
    assert desk.settled("plane.switch", plane="model", to="last-good")["target"] == "1"


def test_a_refresh_that_writes_nothing_has_failed() -> None:
    desk = calls.frozen_features()
    outcome = act(desk, "features.refresh", plane="features")
    assert (outcome.status, outcome.summary) == (FAILED, "exit code 0 and no row is fresh")


def test_a_fallback_that_was_on_before_stays_on() -> None:
    desk = calls.promoted()
    desk.world.server.set_fallback(on=True)
    made, call = desk.made("serving.fallback"), desk.call()
    settled = made.prepare(call).settled
    assert made.undo(call, settled).status is SKIPPED
    assert desk.world.server.fallback_on


def test_a_message_is_posted_once_and_failing_is_recorded() -> None:
    desk = calls.promoted()
    made, call = desk.made("comms.post"), desk.call(channel="team", text="two\n  lines")
    settled = made.prepare(call).settled
    desk.world.notifier.down = "the chat is away"
    assert made.act(call, settled).status is FAILED
    assert made.observe(call, settled) is verb.Seen.NOT_DONE
    desk.world.notifier.down = ""
    made.act(call, settled)
    made.act(call, settled)
    assert desk.world.notifier.posted == {"r1/step": ("team", "two lines")}
    told = [(post.delivered, post.why) for post in desk.world.journal.of_kind(records.MessagePosted)]
    assert told[0] == (False, "the chat is away")


def test_an_incident_is_moved_and_a_run_without_one_goes_on() -> None:
    desk = calls.promoted()
    assert act(desk, "incident.move", status="mitigated").status is OK
    assert desks.find(desk.world.journal, desk.incident).status is incidents.Status.MITIGATED
    desk.incident = ""
    assert act(desk, "incident.move", status="mitigated").status is SKIPPED


def test_the_target_check_gives_what_later_steps_need() -> None:
    desk = calls.promoted()
    outcome = act(desk, "target.check", plane="model", to="last-good")
    assert outcome.status is OK
    assert {name: outcome.values[name] for name in ("live", "target", "object")} == {
        "live": "3",
        "target": "2",
        "object": "digit",
    }
    desk.world.model.facts["2"] = recovery.OTHER_SCHEMA
    desk.world.model.facts["1"] = recovery.OTHER_SCHEMA
    outcome = act(desk, "target.check", plane="model", to="2")
    assert outcome.status is FAILED
    assert any(line.startswith("fits input columns: bad:") for line in outcome.evidence)


def test_a_run_is_needed_unless_the_plane_is_at_its_good_state() -> None:
    desk = calls.promoted()
    assert act(desk, "target.needed", plane="model").status is OK
    desk.world.model.live = "2"
    outcome = act(desk, "target.needed", plane="model")
    assert outcome.status is FAILED
    assert "`ddr runbook run stale-server --service postcode` rolls it" in outcome.summary
    desk.world.server.roll()
    outcome = act(desk, "target.needed", plane="model")
    assert outcome.status is FAILED
    assert outcome.summary.startswith("nothing to take back: digit 2, bytes ")
    assert "known good since" in outcome.summary
    assert "`ddr diagnose postcode`" in outcome.summary
    assert act(desk, "target.needed", plane="model", to="1").status is OK, "who names an older one vouches for it"
    assert act(desk, "target.needed", plane="model", to="2").status is FAILED
    desk.world.model.live = "1"
    assert act(desk, "target.needed", plane="model").status is FAILED, "an older good one is good as well"
    desk.world.model.marks["1"] = "gave wrong answers"
    assert act(desk, "target.needed", plane="model").status is OK, "what is blocked is no place to stay"
    desk.world.model.marks.clear()
    desk.world.model.contents["1"] = b"overwritten"
    assert act(desk, "target.needed", plane="model").status is OK, "the name is the good one's, the bytes are not"


def test_signals_are_read_whatever_they_say() -> None:
    outcome = act(calls.promoted(), "signals.read")
    assert outcome.status is OK
    assert outcome.values["bad"] == "golden, scores, wrong-answers, errors"
    assert len(outcome.evidence) == 7


def test_changes_are_listed_newest_first() -> None:
    desk = calls.promoted()
    outcome = act(desk, "changes.list", window="24h")
    assert outcome.status is OK
    assert outcome.values["newest"].startswith("model:digit 2 → 3")
    assert "(nobody recorded it)" in outcome.evidence[0]


HOLD = {"signals": ["golden", "scores"], "count": 3, "interval": "5m", "minSamples": 40}


def test_a_hold_waits_and_counts_only_what_came_since() -> None:
    desk = calls.Desk(recovery.World())
    began = desk.world.clock.now()
    outcome = act(desk, "signals.hold", **HOLD)
    assert outcome.status is OK
    assert desk.world.clock.now() - began == timedelta(minutes=15)
    assert outcome.summary == "golden, scores ok 3 times over 15m of fresh observations, n >= 150"
    assert len(outcome.evidence) == 6
    assert {since for _, since, _ in desk.world.measures.asked} == {began}


def test_one_bad_judgement_fails_a_hold_and_none_is_inconclusive() -> None:
    desk = calls.promoted()
    outcome = act(desk, "signals.hold", **HOLD)
    assert outcome.status is FAILED
    assert "(1/3)" in outcome.summary
    desk = calls.Desk(recovery.World())
    desk.world.silent.add("model")
    outcome = act(desk, "signals.hold", **HOLD)
    assert outcome.status is INCONCLUSIVE
    assert "nobody asks" in outcome.summary


def test_a_hold_waits_for_enough_observations() -> None:
    desk = calls.Desk(recovery.World())
    outcome = act(desk, "signals.hold", **{**HOLD, "minSamples": 51})
    assert outcome.status is OK
    assert outcome.evidence[0].startswith("1/3 golden ok")
    assert "n=50" in outcome.evidence[0]
    assert outcome.values["least_n"] == "200", "three judgements after the first, which was too thin"


def test_a_hold_whose_patience_ends_over_too_few_observations_is_inconclusive() -> None:
    desk = calls.Desk(recovery.World())
    outcome = act(desk, "signals.hold", **{**HOLD, "minSamples": 51, "patience": "5m"})
    assert outcome.status is INCONCLUSIVE
    assert outcome.summary == "golden: n=50, 51 are needed; scores: n=50, 51 are needed (1/3)"


class Driven:
    """A clock under which requests arrive while someone sleeps."""

    def __init__(self, world: worlds.World) -> None:
        self._world = world

    def now(self):  # type: ignore[no-untyped-def]
        return self._world.clock.now()

    def sleep(self, seconds: float) -> None:
        self._world.advance(seconds / 3600)


def test_old_traffic_proves_nothing_and_new_traffic_does() -> None:
    """Real counted requests: before the rollback most answers are wrong, and the hour's window still holds them."""
    world = worlds.World()
    on = dataclasses.replace(platforms.platform(world), clock=Driven(world))
    world.advance(3)
    ledger.record(on, "digits", known_good=True)
    world.promote("3")
    world.advance(1)
    world.promote("2")
    hold = catalog.build(on)["signals.hold"]
    inputs = {"signals": ["scores", "wrong-answers"], "count": 2, "interval": "45m", "minSamples": 100}
    call = verb.Call("digits", "r1", "validate", "r1/validate", "", world.clock.now(), inputs)
    outcome = hold.act(call, hold.prepare(call).settled)
    assert outcome.status is OK, outcome

    world.promote("3")
    world.advance(1)
    world.promote("2")
    reaching_back = dataclasses.replace(call, started_at=world.clock.now() - timedelta(minutes=50))
    outcome = hold.act(reaching_back, {})
    assert outcome.status is FAILED, "a window that reaches behind the rollback sees the bad answers"
