"""Which work folders go: none at which somebody works, none of another index, none that another one is made of."""

from __future__ import annotations

import dataclasses
import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.domain import indexes
from ddr.errors import Conflict
from ddr.index import work as works
from ddr.index import workfolders
from tests.unit.index import builds, dying, published


@pytest.fixture
def planned(tmp_path: Path) -> indexes.Plan:
    builds.write(tmp_path / "data")
    return builds.plan(builds.wanted(tmp_path / "data"))


def _old(root: Path, wanted: indexes.Wanted) -> workfolders.Old:
    """After all files of the corpus became others."""
    return workfolders.Folders(root).old(published.at(root / "home"), wanted, ())


def test_a_folder_at_which_somebody_works_stays(tmp_path: Path, planned: indexes.Plan) -> None:
    work = works.opened(tmp_path, planned)
    found = _old(tmp_path, planned.wanted)
    assert [one.folder for one in found.gone] == [work.folder]
    assert not work.path(works.LOCK).exists(), "looking makes no file"
    kept = (workfolders.Kept(work.folder, "a build is at it"),)
    with work.held():
        assert _old(tmp_path, planned.wanted) == workfolders.Old(kept=kept)
        assert found.forgotten() == workfolders.Old(kept=kept), "a build that began since"
        assert work.path(works.PLAN).exists()
    assert found.forgotten() == found
    assert not work.folder.exists()
    assert found.forgotten() == found, "another process was faster"


def test_a_folder_whose_lock_cannot_be_opened_stays(tmp_path: Path, planned: indexes.Plan) -> None:
    theirs, ours = works.opened(tmp_path, planned), works.Stages(tmp_path / "ours")
    ours.folder.mkdir()
    before = workfolders.Old((theirs, ours))
    theirs.path(works.LOCK).mkdir()
    why = f"the lock {theirs.path(works.LOCK)} cannot be opened: Is a directory"
    after = workfolders.Old((ours,), kept=(workfolders.Kept(theirs.folder, why),))
    assert workfolders.Old().with_old([theirs, ours]) == after, "a dry run says it, too"
    assert before.forgotten() == after
    assert (theirs.path(works.PLAN).exists(), ours.folder.exists()) == (True, False)


@pytest.mark.parametrize("key", ["name", "home"])
def test_a_folder_of_another_index_stays(tmp_path: Path, planned: indexes.Plan, key: str) -> None:
    work = works.opened(tmp_path, planned)
    others = {"name": planned.wanted.name, "home": planned.wanted.home, key: "another"}
    found = _old(tmp_path, dataclasses.replace(planned.wanted, name=others["name"], home=others["home"]))
    assert found.gone == ()
    assert found.kept == (workfolders.Kept(work.folder, f"it is of index small in {planned.wanted.home}"),)


def test_a_folder_of_the_corpus_of_now_stays_whatever_software_began_it(tmp_path: Path, planned: indexes.Plan) -> None:
    """A machine with another processor made it: its workers may be at it, and take no lock."""
    work = works.opened(tmp_path, dataclasses.replace(planned, software={**planned.software, "simd": "another"}))
    found = workfolders.Folders(tmp_path).old(published.at(tmp_path / "home"), planned.wanted, planned.shards)
    assert found == workfolders.Old(kept=(workfolders.Kept(work.folder, "it is of the corpus as it is now"),))


def test_vectors_of_which_a_folder_that_stays_is_made_stay(tmp_path: Path, planned: indexes.Plan) -> None:
    read, unread = (works.Stages(tmp_path / name) for name in ("data", "unread"))
    work = works.opened(tmp_path / "work", planned)
    folders = workfolders.Folders(tmp_path / "work")
    assert folders.with_vectors(workfolders.Old((work,)), [read, unread]).gone == (work, read, unread)
    found = folders.with_vectors(workfolders.Old(), [read, unread])
    assert found.gone == (unread,)
    assert [one.folder for one in found.kept] == [read.folder]
    unread.folder.mkdir()
    with unread.held():
        found = folders.with_vectors(workfolders.Old(), [read, unread])
    assert found.gone == ()
    assert [one.folder for one in found.kept] == [unread.folder, read.folder]


def _delete(path: Path) -> None:
    shutil.rmtree(path)


def _make_anew(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()
    (path / works.LOCK).touch()


@pytest.mark.parametrize("delete", [_delete, _make_anew])
@pytest.mark.parametrize("when", ["opened", "locked"])
def test_who_waited_for_a_folder_that_was_deleted_is_told(
    tmp_path: Path, planned: indexes.Plan, monkeypatch: pytest.MonkeyPatch, when: str, delete: Callable[[Path], None]
) -> None:
    """Also where it was made anew: the lock is another one."""
    work, flock = works.opened(tmp_path, planned), fcntl.flock

    def after_its_end(fd: int, operation: int) -> None:
        if when == "opened":
            delete(work.folder)
        flock(fd, operation)
        if when == "locked":
            delete(work.folder)

    monkeypatch.setattr(fcntl, "flock", after_its_end)
    with pytest.raises(Conflict, match="was deleted meanwhile"), work.held():
        pass


def test_a_folder_that_was_deleted_before_it_is_locked_is_told(tmp_path: Path, planned: indexes.Plan) -> None:
    work = works.opened(tmp_path, planned)
    shutil.rmtree(work.folder)
    with pytest.raises(Conflict, match="was deleted meanwhile"), work.held():
        pass


def test_a_build_that_begins_while_its_old_folder_is_deleted_keeps_all_its_files(
    tmp_path: Path, planned: indexes.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, rmtree, begun = works.opened(tmp_path, planned), shutil.rmtree, []

    def halfway(path: Path, *, ignore_errors: bool) -> None:
        (path / works.LOCK).unlink()
        with works.opened(tmp_path, planned).held():
            begun.append(work.write_bytes("new", b"new"))
            rmtree(path, ignore_errors)

    work.write_bytes("old", b"old")
    monkeypatch.setattr(shutil, "rmtree", halfway)
    work.forget()
    assert work.verified(*begun).read_bytes() == b"new"
    assert works.is_begun(tmp_path, planned)
    assert not work.path("old").exists()
    assert list(tmp_path.glob(".*.tmp")) == []


def test_what_a_kill_leaves_of_a_folder_that_goes_is_deleted_by_the_next(
    tmp_path: Path, planned: indexes.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where all else stays, as the corpus is away."""
    root = tmp_path / "work"
    work = works.opened(root, planned)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path, **how: None)
        assert dying.ends(work.forget) == 0
        (left,) = root.iterdir()
        works.opened(root, planned).forget()
        (of_living,) = set(root.iterdir()) - {left}
    stays = works.opened(root, planned)
    found = workfolders.Folders(root).old(published.at(tmp_path / "home"), planned.wanted, None)
    assert ([one.folder for one in found.gone], bool(found.why)) == ([left], True)
    assert found.forgotten() == found
    assert set(root.iterdir()) == {of_living, stays.folder}
