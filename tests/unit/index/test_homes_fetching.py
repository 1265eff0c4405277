"""A version fetched into a folder of a server: all of one version at any moment, nothing of another one left."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddr.errors import Damaged, InputError
from ddr.index.homes import fetching, folder, naming
from ddr.lib import digest
from tests.unit.index import published


class Killed(BaseException):
    """No `except Exception` sees anything behind it."""


class _Deadly:
    """Dies at the n-th call into the file system that counts, and at every later one."""

    def __init__(self, patched: pytest.MonkeyPatch, die_at: int) -> None:
        self._count, self._die_at = 0, die_at
        for name in ("fsync", "replace", "rename", "mkdir"):
            patched.setattr(os, name, self._wrapped(getattr(os, name)))

    def _wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            self._count += 1
            if self._count >= self._die_at:
                raise Killed
            return real(*given, **named)

        return call


@pytest.fixture
def home(tmp_path: Path) -> folder.FolderHome:
    return published.at(tmp_path / "home")


def _versions(home: folder.FolderHome, tmp_path: Path) -> tuple[str, str]:
    """One with texts for ids, one without."""
    named = published.make(tmp_path / "texts", ids="texts", rows=60)
    plain = published.make(tmp_path / "numbers", ids="positions", rows=60)
    return published.published(home, named), published.published(home, plain)


def _whole(home: folder.FolderHome, place: Path) -> str:
    """The version that lies there, every byte and name of it."""
    names = {path.name for path in place.iterdir()}
    version = next(
        one
        for one in home.versions()
        if (home.local(one) or place).joinpath(naming.MANIFEST).read_bytes() == (place / naming.MANIFEST).read_bytes()
    )
    manifest = home.manifest(version)
    assert names == {naming.MANIFEST, *(file.name for file in manifest.files)}
    for file in manifest.files:
        assert digest.of_file(place / file.name) == file.sha256
    return version


def test_no_file_of_another_version_stays(home: folder.FolderHome, tmp_path: Path) -> None:
    named, plain = _versions(home, tmp_path)
    place = tmp_path / "served"
    for version in (named, plain, named, plain, plain):
        fetching.fetch(home, version, place)
        assert _whole(home, place) == version
    assert not (place / "ids.json").exists()
    assert [path.name for path in tmp_path.glob(".served.*")] == []
    link = tmp_path / "link"
    link.symlink_to(place)
    fetching.fetch(home, named, link)
    assert link.is_symlink()
    assert _whole(home, place) == named


@pytest.mark.parametrize("has_exchange", [True, False])
def test_killed_at_any_step_it_is_one_version(
    home: folder.FolderHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_exchange: bool
) -> None:
    named, plain = _versions(home, tmp_path)
    place = tmp_path / "served"
    if not has_exchange:
        monkeypatch.setattr(fetching, "_exchanged", lambda one, other: False)
    deaths = 0
    for die_at in range(1, 200):
        fetching.fetch(home, named, place)
        with monkeypatch.context() as patched:
            _Deadly(patched, die_at)
            try:
                fetching.fetch(home, plain, place)
            except Killed:
                deaths += 1
            else:
                break
        if place.exists() or has_exchange:
            assert _whole(home, place) in (named, plain)
        fetching.fetch(home, plain, place)
        assert _whole(home, place) == plain
    print(f"killed at {deaths} steps")
    assert deaths > 5


def test_what_is_not_ours_is_not_replaced(home: folder.FolderHome, tmp_path: Path) -> None:
    named, _ = _versions(home, tmp_path)
    place = tmp_path / "served"
    place.mkdir()
    (place / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        fetching.fetch(home, named, place)
    assert (place / "notes.txt").read_text() == "mine"
    with pytest.raises(InputError, match="cannot be made"):
        fetching.fetch(home, named, Path("/proc/no-such-place/x"))
    with pytest.raises(InputError, match="beside /proc/x"):
        fetching.fetch(home, named, Path("/proc/x"))
    with pytest.raises(InputError, match="no folder"):
        fetching.fetch(home, named, place / "notes.txt")


@pytest.mark.parametrize(
    "said", [None, "", "{}", '{"version": "1.2.0"}', '{"version": "v1"}', '{"name": "v000001-0123456789ab"}', "folder"]
)
def test_an_index_that_ddr_did_not_publish_is_not_replaced(
    home: folder.FolderHome, tmp_path: Path, said: str | None
) -> None:
    _, plain = _versions(home, tmp_path)
    place = tmp_path / "hand"
    place.mkdir()
    fetching.fetch(home, plain, place)
    (place / naming.MANIFEST).unlink()
    (place / naming.INDEX).write_text("made by hand")
    if said == "folder":
        (place / naming.MANIFEST).mkdir()
    elif said is not None:
        (place / naming.MANIFEST).write_text(said)
    with pytest.raises(InputError, match=r"hand has index\.faiss.*, and no manifest\.json of a version") as told:
        fetching.fetch(home, plain, place)
    assert "a new folder" in told.value.hint
    assert (place / naming.INDEX).read_text() == "made by hand"


@pytest.mark.parametrize("name", [naming.MANIFEST, naming.INDEX])
def test_a_damaged_version_is_fetched_again(home: folder.FolderHome, tmp_path: Path, name: str) -> None:
    named, plain = _versions(home, tmp_path)
    place = tmp_path / "served"
    fetching.fetch(home, named, place)
    content = bytearray((place / name).read_bytes())
    content[20] ^= 0xFF
    (place / name).chmod(0o644)
    (place / name).write_bytes(content)
    fetching.fetch(home, plain, place)
    assert _whole(home, place) == plain


def test_damage_leaves_what_was_there(home: folder.FolderHome, tmp_path: Path) -> None:
    named, plain = _versions(home, tmp_path)
    place = tmp_path / "served"
    fetching.fetch(home, plain, place)
    path = (home.local(named) or place) / "ids.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-2] + b"]\n")
    with pytest.raises(Damaged):
        fetching.fetch(home, named, place)
    assert _whole(home, place) == plain


@pytest.mark.parametrize("place", [".", "..", "{here}", "{here}/.."])
def test_nobody_stands_in_what_is_exchanged(
    home: folder.FolderHome, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell would go on in the folder that is gone."""
    named, _ = _versions(home, tmp_path)
    here = tmp_path / "served" / "deep"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    with pytest.raises(InputError, match="you stand in"):
        fetching.fetch(home, named, Path(place.format(here=here)))


@pytest.mark.parametrize("place", ["current", "versions/mine", ".", "elsewhere/mine", "served"])
def test_nothing_is_fetched_into_a_home(home: folder.FolderHome, tmp_path: Path, place: str) -> None:
    """What serves stays what its name says, also where links lead there."""
    named, plain = _versions(home, tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "served").symlink_to("other/not-yet")
    (home.root / "elsewhere").symlink_to("versions")
    homes = (home.root, tmp_path / "other")
    with pytest.raises(InputError, match="where an index has its versions"):
        fetching.fetch(home, named, tmp_path / place if place == "served" else home.root / place, homes)
    assert home.current() == plain
    assert _whole(home, home.link.resolve()) == plain
    assert {path.name for path in (home.root / "versions").iterdir()} == {named, plain}
    assert not list((tmp_path / "other").iterdir())
