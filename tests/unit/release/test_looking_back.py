"""What was serving then, what can be deployed today, what is blocked, and what hangs on what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta

import pytest

from ddr.domain import differences, lineages, moments, planes, releases, revisions
from ddr.errors import Away, Damaged, InputError, Unavailable, UnknownName
from ddr.journal import views
from ddr.ports import platform as ports
from ddr.release import deployable, discovery, ledger, lineage, marking, timeline
from tests import platforms, worlds

MODEL, CODE, INDEX, FEATURES = planes.Plane.MODEL, planes.Plane.CODE, planes.Plane.INDEX, planes.Plane.FEATURES
SEEN, TOLD, INFERRED = moments.Certainty.SEEN, moments.Certainty.TOLD, moments.Certainty.INFERRED
OPEN, UNKNOWN = moments.Certainty.OPEN, moments.Certainty.UNKNOWN
HOUR = timedelta(hours=1)


def then(on: ports.Platform, hours: float, plane: planes.Plane = MODEL) -> moments.Then:
    at = worlds.START + hours * HOUR
    looked = timeline.look(on, "digits", worlds.START)
    (found,) = [one for one in moments.at(at, looked.sighted, looked.timeline.changes) if one.plane is plane]
    return found


def named(found: moments.Then) -> tuple[moments.Certainty, str, str]:
    return (
        found.certainty,
        found.revision.name if found.revision else "",
        found.other.name if found.other else "",
    )


def test_what_was_serving_at_every_kind_of_time() -> None:
    """A release at 1, the code released at 2 with a log, the model moved by hand at 4, looked at 3 and 6."""
    world = worlds.World()
    on = platforms.platform(world)
    world.clock.sleep(3600)
    ledger.record(on, "digits")
    world.clock.sleep(3600)
    world.planes[CODE].move("1.4.1", "ci-bot")
    world.clock.sleep(3600)
    discovery.observe(on, "digits")
    world.clock.sleep(3600)
    world.move_by_hand("3")
    world.clock.sleep(7200)
    discovery.observe(on, "digits")
    world.clock.sleep(3600)
    assert named(then(on, 0.5)) == (UNKNOWN, "", "")
    assert named(then(on, 1)) == (SEEN, "2", "")
    assert named(then(on, 2)) == (INFERRED, "2", "")
    assert named(then(on, 3)) == (SEEN, "2", "")
    assert named(then(on, 5)) == (OPEN, "2", "3")
    assert named(then(on, 6.5)) == (INFERRED, "3", "")
    assert named(then(on, 1.5, CODE)) == (TOLD, "1.4.0", "")
    assert named(then(on, 2.5, CODE)) == (TOLD, "1.4.1", "")
    moved = then(on, 2.5, CODE).revision
    assert moved is not None
    assert moved.digest == world.planes[CODE].find("1.4.1").digest  # the log names no bytes, the next look does


def test_a_log_that_is_contradicted_leaves_it_open() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    ledger.record(on, "digits")
    world.clock.sleep(3600)
    world.planes[MODEL].move("3", "trainer")
    world.planes[MODEL].live = "1"
    world.clock.sleep(3600)
    found = then(on, 1.5)
    assert (found.certainty, found.other and found.other.name) == (OPEN, "1")


def test_a_difference_is_told_plane_by_plane_with_its_facts() -> None:
    def made(id_: str, model: str, **facts: str) -> releases.Release:
        both = {
            MODEL: revisions.Revision(MODEL, "digit", model, f"sha256:{model}", facts),
            CODE: revisions.Revision(CODE, "app", "1", "sha256:11"),
        }
        return releases.Release(id_, "digits", worlds.START, both)

    one = made("a", "2", packages="numpy==1.26,scipy==1.11", run="r1", blocked="never mind")
    other = made("b", "3", packages="numpy==1.26,scipy==1.12", run="r1")
    other = dataclasses.replace(other, lineage=releases.Lineage(evaluation={"f1": 0.8}))
    found = differences.between(one, other)
    assert [(plane.plane, plane.is_same) for plane in found.planes] == [(CODE, True), (MODEL, False)]
    assert [str(fact) for fact in found.planes[1].facts] == ["scipy 1.11 → 1.12"]
    assert [str(fact) for fact in found.lineage] == ["f1 (not said) → 0.8"]
    assert not found.is_same
    assert differences.between(one, one).is_same
    assert differences.between(one, other, is_live=True).lineage == ()


def verified(on: ports.Platform, since: timedelta = 14 * 24 * HOUR) -> deployable.Verified:
    return deployable.verify(on, "digits", on.clock.now() - since, lambda name: name == "there")


def standings(found: deployable.Verified) -> dict[str, str]:
    return {part.what: part.standing.value for part in found.verdicts[0].parts}


def test_every_way_not_to_be_deployable_is_told() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    assert "nothing to go back to" in verified(on).why
    release = ledger.record(on, "digits", known_good=True, made_of=releases.Lineage(backup="there"))
    assert (verified(on).is_fine, set(standings(verified(on)).values())) == (True, {"ok"})
    world.release_code("1.4.1")
    del world.planes[CODE].contents["1.4.0"]
    world.overwrite_weights()
    world.planes[INDEX].contents.clear()
    found = verified(on)
    told = standings(found)
    assert (told["code"], told["model"], told["index"], told["backup"]) == ("missing", "changed", "missing", "ok")
    assert not found.is_fine
    assert all(part.next for part in found.verdicts[0].findings)
    assert release.id in " ".join(part.next for part in found.verdicts[0].findings)


def test_a_system_that_does_not_answer_is_unknown_and_nothing_is_given_up() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    release = ledger.record(on, "digits", known_good=True)
    for problem in (Unavailable("registry is down", hint="wait"), Away("there is no file mlflow.db", hint="mount it")):
        world.planes[MODEL].__dict__["find"] = _raising(problem)
        found = verified(on)
        assert standings(found)["model"] == "away"
        assert (found.is_fine, found.is_unknown) == (True, True)
        assert not found.verdicts[0].is_deployable
        assert not any("withdraw" in part.next for part in found.verdicts[0].parts)
        del world.planes[MODEL].__dict__["find"]
    del world.planes[MODEL].contents[release.revisions[MODEL].name]
    (lost,) = verified(on).verdicts[0].findings
    assert lost.next.index("ddr restore") < lost.next.index("only where it is lost for good: ddr release withdraw")


def test_what_has_its_bytes_is_loaded_once_and_what_has_not_never_is() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    ledger.record(on, "digits", known_good=True)
    world.clock.sleep(60)
    world.release_code("1.4.1")
    ledger.record(on, "digits", known_good=True)
    asked: list[str] = []

    def loads(service: str, plane: planes.Plane, name: str) -> str:
        asked.append(f"{service} {plane} {name}")
        if plane is INDEX:
            raise Damaged("it cannot be loaded")
        return "12 rows, 3 probes answered" if plane is MODEL else ""

    world.overwrite_weights()
    found = deployable.verify(on, "digits", None, lambda _: True, loads=loads)
    assert not any(" model " in one for one in asked), "damaged bytes are not loaded"
    assert len(asked) == len(set(asked))
    assert standings(found)["index"] == "unloadable"
    assert not found.is_fine


def _raising(problem: Exception) -> Callable[[str], revisions.Revision]:
    def find(name: str) -> revisions.Revision:
        raise problem

    return find


def test_what_does_not_answer_is_named_once_by_who_observes() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    ledger.record(on, "digits", known_good=True)
    world.planes[MODEL].down = "registry is down"
    seen = discovery.observe(on, "digits")
    assert [entry for entry in seen.silent if "registry is down" in entry] == ["model plane: registry is down"]


def test_the_last_way_back_is_not_taken_without_saying_so() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    first = ledger.record(on, "digits", known_good=True)
    count = len(list(on.journal.events()))
    losing = marking.last_way(on, "digits", "newest", [MODEL])
    assert losing is not None
    assert MODEL in losing.planes
    assert [(one.plane, one.name) for one in losing.blocked] == [(MODEL, first.revisions[MODEL].name)]
    assert losing.still == ("ddr contain digits   # stops the harm, and is no way back",)
    assert marking.last_way(on, "digits", "newest", None) is not None
    world.clock.sleep(60)
    world.move_by_hand("3")
    ledger.record(on, "digits")
    losing = marking.last_way(on, "digits", first.id, [MODEL])
    assert losing is not None
    assert losing.still[0].startswith("ddr rollback model digits --to 3 ")
    assert marking.last_way(on, "digits", "newest", [MODEL]) is None  # nobody vouched for that
    ledger.record(on, "digits", known_good=True)
    assert marking.last_way(on, "digits", first.id, [MODEL]) is None
    assert len(list(on.journal.events())) == count + 2  # looking wrote nothing


def test_a_snapshot_that_is_gone_is_a_finding_and_a_block_is_none() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    ledger.record(on, "digits", known_good=True)
    world.clock.sleep(60)
    world.move_by_hand("3")
    ledger.record(on, "digits", known_good=True, made_of=releases.Lineage(backup="gone"))
    assert standings(verified(on))["backup"] == "missing"
    marking.bad(on, "digits", "newest", [MODEL])
    found = verified(on)
    assert [verdict.is_deployable for verdict in found.verdicts] == [True]  # the blocked one is vouched for no longer
    assert found.is_fine


def test_bad_blocks_what_differs_from_the_good_one_and_nothing_else() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    good = ledger.record(on, "digits", known_good=True)
    world.clock.sleep(60)
    world.move_by_hand("3")
    bad = ledger.record(on, "digits", known_good=True)
    done = marking.bad(on, "digits", bad.id, why="wrong answers")
    assert [(one.plane, one.name) for one in done.marked] == [(MODEL, "3")]
    board = views.fold(on.journal.events())
    assert board.last_good("digits") == good
    assert board.blocked_why("digits", bad.revisions[MODEL]) == "wrong answers"
    assert board.blocked_why("digits", bad.revisions[CODE]) == ""
    count = len(list(on.journal.events()))
    marking.bad(on, "digits", bad.id, why="wrong answers")
    assert len(list(on.journal.events())) == count  # repeatable
    lifted = marking.good(on, "digits", bad.id)
    assert [one.name for one in lifted.marked] == ["3"]
    last = views.fold(on.journal.events()).last_good("digits")
    assert last is not None
    assert last.id == bad.id


def test_which_plane_is_bad_is_not_guessed() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    release = ledger.record(on, "digits", known_good=True)
    with pytest.raises(InputError, match="which plane"):
        marking.bad(on, "digits", release.id)
    with pytest.raises(InputError, match="no infra plane"):
        marking.bad(on, "digits", release.id, [planes.Plane.INFRA])
    assert len(list(on.journal.events())) == 1


def made_of(world: worlds.World) -> ports.Platform:
    on = platforms.platform(world, platforms.service("billing", ("ledger",)))
    said = releases.Lineage("abcdef1234", "", "sha256:77", "parcels@40587dc9,labels@1", "run7")
    for name in ("digits", "billing"):
        ledger.record(on, name, made_of=said)
    return on


def test_lineage_is_walked_up_and_down_over_all_services() -> None:
    world = worlds.World()
    on = made_of(world)
    world.clock.sleep(60)
    world.move_by_hand("3")
    found = lineage.walk(on, lineages.parse("model:digit@2"))
    assert (set(found.serving), set(found.served)) == (set(), {"digits", "billing"})
    assert [node.what for node in found.up] == ["run:run7"]
    assert [node.what for node in found.up[0].below] == ["data:parcels@40587dc9", "data:labels@1"]
    now = lineage.walk(on, lineages.parse("model:digit@3"))
    assert set(now.serving) == {"digits", "billing"}
    assert {node.what for one in now.down for node in one.below} == {"sorting-hub", "returns-desk", "ledger"}
    assert "does not say its training run" in " ".join(now.missing)
    for subject in ("data:parcels", "data:labels@1", "run:run7"):
        below = lineage.walk(on, lineages.parse(subject))
        assert [node.what.partition(" ")[0] for node in below.down] == ["model:digit@2"], subject
        assert set(below.served) == {"digits", "billing"}, subject
    assert set(lineage.walk(on, lineages.parse("commit:abcdef1")).serving) == {"digits", "billing"}
    assert set(lineage.walk(on, lineages.parse("lock:77")).serving) == {"digits", "billing"}
    assert set(lineage.walk(on, lineages.parse("features:lane_pixels")).serving) == {"digits", "billing"}
    assert set(lineage.walk(on, lineages.parse("code:1.4.0")).serving) == {"digits", "billing"}


def test_what_was_never_served_and_what_nobody_knows() -> None:
    world = worlds.World()
    on = made_of(world)
    never = lineage.walk(on, lineages.parse("model:digit@1"))
    assert (never.down, never.serving) == ((), ())
    assert never.missing
    with pytest.raises(UnknownName) as problem:
        lineage.walk(on, lineages.parse("model:digit@99"))
    assert "model:digit@2" in problem.value.hint
    with pytest.raises(ValueError, match="KIND"):
        lineages.parse("digit@2")


def test_a_service_that_does_not_answer_is_named_and_its_records_count() -> None:
    world = worlds.World()
    on = made_of(world)
    for plane in world.planes.values():
        plane.down = "away"
    found = lineage.walk(on, lineages.parse("model:digit@2"))
    assert set(found.served) == {"digits", "billing"}
    assert len(found.silent) == 2


def test_dependencies_and_data_are_part_of_the_timeline() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    ledger.record(on, "digits", made_of=releases.Lineage(lock="sha256:aa", data="train@1"))
    world.clock.sleep(60)
    ledger.record(on, "digits", made_of=releases.Lineage(lock="sha256:bb", data="train@2", link="https://ci/2"))
    told = timeline.changes(on, "digits", worlds.START).changes
    assert [(change.what, change.before, change.after, change.actor, change.link) for change in told] == [
        ("dependencies", "aa", "bb", "tester", "https://ci/2"),
        ("data", "train@1", "train@2", "tester", "https://ci/2"),
    ]


def test_retention_is_told_what_good_releases_need() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    old = ledger.record(on, "digits", known_good=True, made_of=releases.Lineage(backup="snap-old"))
    world.clock.sleep(30 * 24 * 3600)
    world.move_by_hand("3")
    new = ledger.record(on, "digits", known_good=True, made_of=releases.Lineage(backup="snap-new"))
    world.clock.sleep(24 * 3600)
    needed = views.fold(on.journal.events()).needed(world.clock.now() - 14 * 24 * HOUR)
    assert needed["snap-old"] == old.id  # it served until a day ago
    assert needed["snap-new"] == new.id
    world.clock.sleep(30 * 24 * 3600)
    needed = views.fold(on.journal.events()).needed(world.clock.now() - 14 * 24 * HOUR)
    assert "snap-old" not in needed
    assert needed["snap-new"] == new.id  # the newest good one, however old
