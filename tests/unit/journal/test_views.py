"""What the journal knows: runs, incidents, releases, game days, folded from events."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timedelta
from pathlib import Path

from ddr.domain import incidents, planes, records, releases, revisions
from ddr.journal import run_view, views
from ddr.lib import decode
from ddr.stores import memory
from tests.unit.journal import places, samples
from tests.unit.journal.stories import (
    ASKED,
    AT,
    MINUTE,
    Story,
    alive,
    claimed,
    decided,
    ended,
    intended,
    run_of,
    started,
)

MODEL = planes.Plane.MODEL


def test_nothing_is_known_at_first() -> None:
    board = views.fold([])
    assert board == views.Board()
    assert board.last_good("postcode") is None
    assert board.blocked("postcode", MODEL) == {}
    assert board.open_incidents("postcode") == []


def test_events_of_unknown_runs_and_incidents_disturb_nobody() -> None:
    board = Story().tell(claimed("run-9"), ended("x"), records.IncidentNoted("inc-9", "?")).board()
    assert (board.runs, board.incidents, board.events) == ({}, {}, 3)


DECLARED = records.IncidentDeclared("inc-1", "postcode", "SEV2", "wrong digits", AT)


def test_an_incident_and_everything_that_names_it() -> None:
    story = Story().tell(DECLARED)
    story.tell(records.DiagnosisMade("postcode", samples.DIAGNOSIS, "inc-1"))
    story.tell(records.DiagnosisMade("other", samples.DIAGNOSIS))
    story.tell(started(incident="inc-1"), claimed())
    story.tell(ASKED).tell(decided(), by="lead")
    story.tell(intended("switch"), ended("switch"))
    story.tell(records.MessagePosted("#team", "rolled back", "run-1/tell", delivered=True))
    story.tell(records.MessagePosted("#team", "about inc-1", "by hand", delivered=False, why="away"))
    story.tell(records.MessagePosted("#team", "lunch", "lunch", delivered=True))
    story.tell(records.RunEnded("run-1", "recovered"))
    story.tell(records.IncidentMoved("inc-1", incidents.Status.MITIGATED, "verified"))
    story.tell(records.IncidentNoted("inc-1", "all lanes checked"), by="ben")
    story.tell(records.IncidentMoved("inc-1", incidents.Status.RESOLVED))
    board = story.board()
    incident = board.incidents["inc-1"]
    assert (incident.service, incident.severity, incident.title) == ("postcode", "SEV2", "wrong digits")
    assert (incident.declared_by, incident.declared_at, incident.first_bad) == ("ana", AT + MINUTE, AT)
    assert incident.status is incidents.Status.RESOLVED
    assert not incident.is_open
    assert incident.diagnosed_at == AT + 2 * MINUTE
    assert incident.mitigated_at == AT + 14 * MINUTE
    assert incident.resolved_at == AT + 16 * MINUTE
    assert incident.runs == ("run-1",)
    assert [note.text for note in incident.timeline] == [
        "SEV2 declared: wrong digits",
        "postcode: CONFIRMED model (p=0.97), model:postcode-digit 2 → 3",
        "run run-1 started: bad-model-promotion",
        "approval of plan plan asked of lead, head: 3 → 2",
        "plan plan granted",
        "switch ok: switch is ok",
        "told #team: rolled back",
        "could not tell (away) #team: about inc-1",
        "run run-1 recovered",
        "incident is mitigated: verified",
        "all lanes checked",
        "incident is resolved",
    ]
    assert incident.timeline[-2].actor == "ben"
    assert board.open_incidents("postcode") == []
    assert [len(board.diagnoses[service]) for service in ("postcode", "other")] == [1, 1]
    assert board.messages["by hand"].why == "away"


def test_an_incident_goes_only_where_it_may() -> None:
    """Of two who move it at once both were allowed to; the journal's order decides."""
    story = Story().tell(DECLARED)
    story.tell(*(records.IncidentMoved("inc-1", status) for status in (
        incidents.Status.MITIGATED, incidents.Status.RESOLVED, incidents.Status.MITIGATING, incidents.Status.RESOLVED,
    )))  # fmt: skip
    incident = story.board().incidents["inc-1"]
    assert incident.status is incidents.Status.RESOLVED
    assert incident.resolved_at == AT + 3 * MINUTE
    assert len(incident.timeline) == 5, "what was tried is in the timeline all the same"


def test_of_two_incidents_with_one_name_the_first_has_it() -> None:
    board = Story().tell(DECLARED, dataclasses.replace(DECLARED, service="returns")).board()
    assert [each.service for each in board.incidents.values()] == ["postcode"]
    assert [each.id for each in board.open_incidents("postcode")] == ["inc-1"]


def test_a_note_that_waited_in_a_spool_stands_at_its_time() -> None:
    story = Story().tell(DECLARED, records.IncidentNoted("inc-1", "second"), records.IncidentNoted("inc-1", "first"))
    story.events[2] = dataclasses.replace(story.events[2], at=AT + 90 * timedelta(seconds=1))
    assert [note.text for note in story.board().incidents["inc-1"].timeline][1:] == ["first", "second"]


def release(name: str, model: str, minutes: int, digest: str = "", *, good: bool = True) -> records.ReleaseRecorded:
    revision = revisions.Revision(MODEL, "postcode-digit", model, digest)
    return records.ReleaseRecorded(
        releases.Release(name, "postcode", AT + minutes * MINUTE, {MODEL: revision}, known_good=good)
    )


def marked(model: str, digest: str = "", *, good: bool = False) -> records.RevisionMarked:
    return records.RevisionMarked("postcode", MODEL, "postcode-digit", model, digest, good, "wrong digits")


def last_good(*told: records.Record) -> str:
    found = Story().tell(*told).board().last_good("postcode")
    return found.id if found else ""


def test_the_last_good_release_is_the_newest_that_nothing_speaks_against() -> None:
    one, two, three = release("r1", "1", 1), release("r2", "2", 2), release("r3", "3", 3, good=False)
    assert last_good() == ""
    assert last_good(three) == ""
    assert last_good(one, two, three) == "r2"
    assert last_good(two, one) == "r2", "by when it was live, not by when it was written down"
    assert last_good(one, two, marked("2")) == "r1"
    assert last_good(one, two, marked("2"), marked("1")) == ""
    assert last_good(one, two, marked("2"), marked("2", good=True)) == "r2"
    assert last_good(one, two, marked("9")) == "r2"
    board = Story().tell(two, one, three).board()
    assert [each.id for each in board.releases["postcode"]] == ["r1", "r2", "r3"], "oldest first"


def test_a_release_recorded_again_replaces_itself() -> None:
    """Seen live first, vouched for later, or taken back."""
    assert last_good(release("r1", "1", 1, good=False), release("r1", "1", 1)) == "r1"
    assert last_good(release("r1", "1", 1), release("r1", "1", 1, good=False)) == ""


def test_weights_overwritten_under_the_same_name_condemn_only_those_bytes() -> None:
    good = release("r1", "2", 1, "sha256:a")
    assert last_good(good, marked("2", "sha256:b")) == "r1"
    assert last_good(good, marked("2", "sha256:a")) == ""
    assert last_good(good, marked("2")) == "", "a mark without a digest means every one of that name"
    assert last_good(release("r1", "2", 1), marked("2", "sha256:b")) == "", "unknown bytes are not good bytes"
    assert last_good(good, marked("2", "sha256:a"), marked("2", "sha256:b", good=True)) == ""
    assert last_good(good, marked("2", "sha256:a"), marked("2", good=True)) == "r1"


def test_what_is_blocked_is_listed_with_the_reason() -> None:
    board = Story().tell(marked("3", "sha256:c"), marked("4"), marked("4", good=True)).board()
    assert board.blocked("postcode", MODEL) == {("3", "sha256:c"): "wrong digits"}
    assert board.blocked("postcode", planes.Plane.INDEX) == {}
    assert board.blocked("other", MODEL) == {}


def test_a_game_day_with_its_scenarios_and_runs() -> None:
    story = Story().tell(records.GameDayStarted("gd-1", ("one", "two", "three"), 7, "sha256:s"))
    story.tell(records.ScenarioStarted("gd-1", "one", "kind: Scenario", "sha256:s"))
    story.tell(records.ScenarioReached("gd-1", "one", "steady"), started("faults-1", purpose="faults"))
    story.tell(started("elsewhere"), host="another")
    story.tell(started("response-1"), records.ScenarioReached("gd-1", "one", "detected"))
    scored = records.ScenarioScored("gd-1", "one", {"detect": 25}, {"detect": 25}, passed=True)
    story.tell(scored, started("between"), records.ScenarioStarted("gd-1", "two", "", ""))
    board = story.board()
    day = board.gamedays["gd-1"]
    assert (day.id, day.actor, day.seq, day.at) == ("gd-1", "ana", 1, AT + MINUTE)
    assert [each.id for each in board.interrupted_gamedays()] == ["gd-1"]
    assert day.not_run == ("three",)
    one, two = day.scenarios.values()
    assert one.reached == (("steady", AT + 3 * MINUTE), ("detected", AT + 7 * MINUTE))
    assert (one.scored, one.scored_at, two.scored) == (scored, AT + 8 * MINUTE, None)
    assert one.runs == ("faults-1", "response-1")
    assert day.runs == ("faults-1", "response-1", "between")
    board = story.tell(records.GameDayEnded("gd-1", False, "sha256:s", "why")).board()
    assert board.interrupted_gamedays() == []
    assert board.gamedays["gd-1"].ended == records.GameDayEnded("gd-1", False, "sha256:s", "why")


def test_everything_can_be_shown_as_json(tmp_path: Path) -> None:
    place = places.Place(memory.MemoryStore(), tmp_path)
    log = place.open()
    for record in samples.RECORDS:
        log.append(record)
    board = views.fold(log.events())
    assert board.events == len(samples.RECORDS)
    for shown in (board.runs, board.incidents, board.releases, board.gamedays, board.changes, board.diagnoses):
        assert shown
        assert json.loads(json.dumps(decode.encode(shown)))
    assert board.newest is not None
    assert board.newest.seq == len(samples.RECORDS)


def test_spooled_events_count_and_foreign_ones_are_counted() -> None:
    story = Story().tell(DECLARED, records.Foreign("{}"))
    story.events.append(dataclasses.replace(story.events[0], seq=0, record=records.IncidentNoted("inc-1", "spooled")))
    board = story.board()
    assert (board.events, board.spooled, board.foreign) == (3, 1, 1)
    assert board.newest is story.events[1]
    assert board.incidents["inc-1"].timeline[-1].text == "spooled"


def test_folding_goes_on_from_where_it_was() -> None:
    """Event by event with a look in between is the same as all at once."""
    log = [
        dataclasses.replace(event)
        for event in Story().tell(DECLARED, started(incident="inc-1"), claimed(), intended("s"), ended("s")).events
    ]
    folding = views.Fold()
    for count, event in enumerate(log, 1):
        folding.take(event)
        assert folding.board() == views.fold(log[:count])


def test_the_lease_is_compared_with_the_clock_of_the_platform() -> None:
    run = run_of()
    later: datetime = AT + 61 * MINUTE
    assert isinstance(run, run_view.Run)
    assert run.is_interrupted(later, alive(None))
    assert not run.is_interrupted(AT, alive(None))
