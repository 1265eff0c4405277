"""How a service stands, for `ddr status`."""

from __future__ import annotations

import subprocess
import sys

from ddr.diagnose import overview
from ddr.domain import planes, signals, status
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


def test_looking_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ddr.diagnose import examine, overview; from ddr.release import ledger, timeline;"
        "heavy = {'numpy', 'scipy', 'pandas', 'mlflow', 'torch', 'matplotlib', 'sklearn'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
