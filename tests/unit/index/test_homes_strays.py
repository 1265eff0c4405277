"""What people put into a home, and names that no version has: told, and nobody's end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.errors import DdrError, InputError, Missing
from ddr.index import check
from ddr.index.homes import collecting, fetching, folder, publishing
from tests.unit.index import published

LONG = "a" * 300


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> published.Made:
    return published.make(tmp_path_factory.mktemp("corpus"), rows=40)


@pytest.fixture
def home(tmp_path: Path) -> folder.FolderHome:
    return published.at(tmp_path / "home")


@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
@pytest.mark.parametrize("name", ["foo", ""])
def test_a_stray_entry_among_the_pins_takes_no_other_away(
    home: folder.FolderHome, made: published.Made, put: Callable[[Path], None], name: str
) -> None:
    """With the name of a version it keeps that."""
    versions = [published.published(home, made.as_another(number)) for number in range(4)]
    home.pin(versions[0], "an audit")
    put(home.root / "pins" / (name or versions[1]))
    assert home.pins()[versions[0]] == "an audit"
    assert home.pins()[name or versions[1]].endswith("is no file")
    chosen = collecting.plan(home, published.LONG_AFTER, keep=1)
    assert chosen.gone == tuple(versions[1:3] if name else versions[2:3])
    assert collecting.apply(home, chosen).gone == chosen.gone


def test_pins_that_are_no_folder_are_told_and_nothing_goes(home: folder.FolderHome, made: published.Made) -> None:
    for number in range(3):
        published.published(home, made.as_another(number))
    (home.root / "pins").write_text("mine")
    with pytest.raises(InputError, match="pins is no folder") as told:
        collecting.plan(home, published.LONG_AFTER, keep=1)
    assert f"`mv {home.root}/pins {home.root}/pins.old`" in told.value.hint


def test_a_name_that_no_file_can_have(home: folder.FolderHome, made: published.Made, tmp_path: Path) -> None:
    version = published.published(home, made)
    prove = published.prover(home, (0, 1))
    asked: list[Callable[[], object]] = [
        lambda: check.check(home, LONG, check.Means()),
        lambda: publishing.way_back(home, LONG, prove),
        lambda: publishing.pin(home, LONG, "an audit"),
        lambda: home.unpin(LONG),
        lambda: fetching.fetch(home, LONG, tmp_path / "out"),
    ]
    for ask in asked:
        with pytest.raises(Missing, match=f"no version '{LONG}'"):
            ask()
    for name in (LONG, f"{LONG}/x", "a" * 250):
        with pytest.raises(DdrError, match="cannot be made: File name too long"):
            fetching.fetch(home, version, tmp_path / name)
