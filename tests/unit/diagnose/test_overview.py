"""How a service stands, for `ddr status`."""

from __future__ import annotations

import subprocess
import sys

from ddr.diagnose import overview
from ddr.domain import planes, signals, status
from ddr.incident import desk
from ddr.journal import views
from ddr.release import ledger
from tests import platforms, worlds
from tests.unit.diagnose import scenes


def _look(scene: scenes.Scene) -> status.ServiceStatus:
    return overview.look(scene.on, views.fold(scene.on.journal.events()), "digits")


def test_a_healthy_service_is_ok_and_every_plane_is_the_known_good_one() -> None:
    seen = _look(scenes.healthy())
    assert seen.state is signals.State.OK
    assert {plane.known_good for plane in seen.planes} == {True}


def test_a_bad_signal_makes_it_bad_and_the_plane_is_marked() -> None:
    seen = _look(scenes.hurt("bad model promoted"))
    assert seen.state is signals.State.BAD
    assert [plane.plane for plane in seen.planes if plane.known_good is False] == [planes.Plane.MODEL]


def test_bytes_that_changed_in_place_are_bad_before_a_signal_sees_it() -> None:
    scene = scenes.healthy()
    scene.world.overwrite_weights(roll=False)
    seen = _look(scene)
    assert {one.state for one in seen.signals} == {signals.State.OK}
    assert [plane.plane for plane in seen.planes if plane.overwritten] == [planes.Plane.MODEL]
    assert seen.state is signals.State.BAD


def test_without_anything_vouched_for_it_is_unknown_not_ok() -> None:
    world = worlds.World()
    on = platforms.platform(world)
    world.advance(3)
    ledger.record(on, "digits")
    seen = overview.look(on, views.fold(on.journal.events()), "digits")
    assert seen.state is signals.State.UNKNOWN
    assert {plane.known_good for plane in seen.planes} == {None}


def test_a_plane_that_does_not_answer_is_said_to_be_unknown() -> None:
    scene = scenes.healthy()
    scene.world.planes[planes.Plane.INDEX].down = "no answer"
    seen = _look(scene)
    assert seen.state is signals.State.UNKNOWN
    (silent,) = [plane for plane in seen.planes if plane.revision is None]
    assert (silent.plane, silent.problem) == (planes.Plane.INDEX, "no answer")


def _reasons(scene: scenes.Scene) -> str:
    return "; ".join(_look(scene).reasons)


def test_what_is_ok_has_no_reason_and_no_next_command() -> None:
    seen = _look(scenes.healthy())
    assert (seen.reasons, seen.mend, seen.next_command) == ((), (), "")


def test_what_is_bad_says_why_and_what_is_next() -> None:
    seen = _look(scenes.hurt("bad model promoted"))
    assert seen.reasons == ("golden, scores, wrong-answers bad",)
    blind = scenes.hurt("bad model promoted")
    blind.world.planes[planes.Plane.INDEX].down = "no answer"
    assert _reasons(blind) == "golden, scores, wrong-answers bad; index cannot be read"
    assert seen.next_command == "ddr diagnose digits"


def test_a_server_that_holds_something_else_than_the_plane_is_bad_also_where_every_plane_is_good() -> None:
    scene = scenes.healthy()
    scene.world.promote("3")
    scene.world.move_by_hand("2")
    seen = _look(scene)
    assert {plane.known_good for plane in seen.planes} == {True}
    (wrong,) = [plane for plane in seen.planes if plane.served]
    assert wrong.served is not None
    assert (wrong.plane, wrong.served.name) == (planes.Plane.MODEL, "3")
    assert seen.state is signals.State.BAD
    assert "model served 3, plane points at 2" in seen.reasons


def test_the_same_name_with_other_bytes_is_served_otherwise() -> None:
    scene = scenes.healthy()
    scene.world.overwrite_weights(roll=False)
    assert "bytes of model 2 changed in place; model served digit@2 (" in _reasons(scene)


def test_an_open_incident_and_the_fallback_are_reasons_although_all_signals_are_ok() -> None:
    scene = scenes.healthy()
    opened = desk.declare(scene.on.journal, "digits", "SEV2", "odd", at=scene.world.clock.now())
    seen = _look(scene)
    assert (seen.state, seen.reasons) == (signals.State.BAD, (f"{opened.id} is open",))
    looks, over = f"ddr diagnose digits --incident {opened.id}", f'ddr incident resolve {opened.id} --why "..."'
    assert seen.next_command == f"{looks}   # or, if it is over: {over}"
    calm = scenes.healthy()
    calm.world.set_fallback(on=True)
    seen = _look(calm)
    assert (seen.state, seen.reasons) == (signals.State.BAD, ("the fallback answers",))
    board = views.fold(calm.on.journal.events())
    lifted = overview.look(calm.on, board, "digits", lift="ddr runbook undo r1 --only contain-only").next_command
    assert lifted == "ddr runbook undo r1 --only contain-only   # the model answers again"


def test_a_run_without_an_end_comes_first() -> None:
    scene = scenes.hurt("bad model promoted")
    board = views.fold(scene.on.journal.events())
    waiting = status.OpenRun("r1", "book", "paused", "approve", "ddr runbook resume r1")
    assert overview.look(scene.on, board, "digits", (waiting,)).next_command == "ddr runbook resume r1"


def test_a_plane_that_cannot_be_read_says_what_to_do() -> None:
    scene = scenes.healthy()
    del scene.world.planes[planes.Plane.INDEX].contents["v1"]
    seen = _look(scene)
    assert seen.reasons == ("index cannot be read",)
    assert seen.mend == ("index: point it at one of: ",)
    assert seen.next_command == "ddr status digits   # again, when that is mended"


def test_a_dead_server_says_what_to_do() -> None:
    scene = scenes.healthy()
    scene.world.kill_server()
    seen = _look(scene)
    assert seen.state is signals.State.UNKNOWN
    assert "the server does not say what it has loaded: nobody is there" in seen.reasons[0]
    assert seen.mend == ("server: start it, or correct the address",)


def test_looking_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ddr.diagnose import examine, overview; from ddr.release import ledger, timeline;"
        "heavy = {'numpy', 'scipy', 'pandas', 'mlflow', 'torch', 'matplotlib', 'sklearn'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
