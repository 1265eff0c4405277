"""MLflow over REST: when a second look may rely on a version's files as they were read a moment ago (`RECALL_S`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ddr.connectors.mlflow import rest, transport
from ddr.errors import Conflict
from ddr.lib import endpoint
from tests.unit.connectors import rigs
from tests.unit.connectors.official import Official


@dataclasses.dataclass
class World:
    """A model behind a server, somebody who overwrites its files in place, and the time as the transport sees it."""

    plane: Any
    overwrite: Callable[[str], None]
    now: float = 1000.0


@pytest.fixture
def world(official: Official, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    files = [rigs.folder_of(official, number) / "requirements.txt" for number in (1, 2, 3)]
    whole = [path.read_bytes() for path in files]
    rig = rigs.rest_rig(official, tmp_path)
    made = World(rig.plane, rig.overwrite)
    monkeypatch.setattr(rest, "time", SimpleNamespace(monotonic=lambda: made.now))
    yield made
    for path, content in zip(files, whole, strict=True):
        path.write_bytes(content)


def test_only_who_asks_for_it_is_given_what_was_read_before(world: World) -> None:
    plane = world.plane
    live, second = plane.revision(), plane.find("2")
    world.overwrite("1")
    world.overwrite("2")
    recalled = plane.recalled()
    assert (recalled.revision(), recalled.pointed(), recalled.find("2")) == (live, live, second)
    assert plane.revision().digest != live.digest
    assert plane.pointed().digest != live.digest
    assert plane.find("2").digest != second.digest
    assert recalled.find("2") == plane.find("2"), "a strict look is what is recalled from then on"


def test_it_is_given_for_so_long_and_no_longer(world: World) -> None:
    second = world.plane.find("2")
    world.overwrite("2")
    world.now += rest.RECALL_S
    assert world.plane.recalled().find("2") == second
    world.now += 0.001
    assert world.plane.recalled().find("2").digest != second.digest


def test_its_age_is_counted_from_before_it_was_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be overwritten while the last one of the version is still on its way."""
    read = rest.RestTransport._files

    def slowly(self: rest.RestTransport, version: transport.Version, key: tuple[str, ...]) -> transport.Files:
        found = read(self, version, key)
        world.now += rest.RECALL_S + 1
        return found

    monkeypatch.setattr(rest.RestTransport, "_files", slowly)
    second = world.plane.find("2")
    world.overwrite("2")
    assert world.plane.recalled().find("2").digest != second.digest


def test_another_row_is_another_version(world: World) -> None:
    """A number may be given anew: the files of a version that is gone are never those of its successor."""
    speaks = world.plane.speaks
    version = speaks.versions(world.plane.model, only="2")[0]
    before = speaks.files(version)
    world.overwrite("2")
    assert speaks.files(version, recall=True) == before
    others = [
        dataclasses.replace(version, created_at=transport.time_of(1)),
        dataclasses.replace(version, run="another"),
        dataclasses.replace(version, number="3"),
    ]
    for other in others:
        assert speaks.files(other, recall=True) != before


def test_behind_a_switch_nothing_from_before_it_is_recalled(world: World) -> None:
    plane = world.plane
    second = plane.find("2")
    world.overwrite("2")
    assert plane.recalled().find("2") == second
    plane.seat.move(plane.speaks, plane.model, expect="1", to="2")
    assert plane.recalled().revision().digest != second.digest


def test_no_switch_relies_on_it(world: World) -> None:
    plane = world.plane
    live, second = plane.revision(), plane.find("2")
    world.overwrite("2")
    for asked in (plane, plane.recalled()):
        with pytest.raises(Conflict):
            asked.switch(second, live)
    assert plane.revision().name == "1"
    world.overwrite("1")
    with pytest.raises(Conflict):
        plane.recalled().switch(plane.find("3"), live)
    assert plane.revision().name == "1"


def test_what_is_live_and_marks_are_asked_anew(world: World, official: Official) -> None:
    plane = world.plane
    plane.revision(), plane.find("2")
    official.rest("set_registered_model_alias", name=plane.model, alias="champion", version="2")
    plane.block("2", "bad")
    found = plane.recalled().revision()
    assert found.name == "2"
    assert found.facts["blocked"] == "bad"


def test_what_a_look_and_a_switch_ask(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question is told, in order: `files` is a whole reading of a version's files."""
    ask = endpoint.Line.ask
    asked: list[str] = []

    def told(self: endpoint.Line, method: str, path: str, *args: Any, **named: Any) -> endpoint.Answer:
        asked.append(method + " " + ("files" if "mlflow-artifacts" in path else path.rpartition("mlflow/")[2]))
        return ask(self, method, path, *args, **named)

    def questions(do: Callable[[], object]) -> list[str]:
        asked.clear()
        do()
        return [one for at, one in enumerate(asked) if at == 0 or one != asked[at - 1]]

    monkeypatch.setattr(endpoint.Line, "ask", told)
    plane = world.plane
    live, second = plane.revision(), plane.find("2")
    alias, version, files = "GET registered-models/alias", "GET model-versions/get", "GET files"
    assert questions(plane.revision) == [alias, files]
    assert questions(lambda: plane.find("2")) == [version, files]
    assert questions(plane.recalled().revision) == [alias]
    assert questions(lambda: plane.recalled().find("2")) == [version]
    before, behind = [alias, files, version, files, alias], [alias, files]
    assert questions(lambda: plane.switch(second, live)) == [*before, "POST registered-models/alias", *behind]
    assert questions(plane.recalled().revision) == [alias], "the switch has read it back"
