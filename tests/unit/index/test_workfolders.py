"""Which work folders go: none at which somebody works, none of another index, none that another one is made of."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.domain import indexes
from ddr.errors import Conflict
from ddr.index import work as works
from ddr.index import workfolders
from ddr.lib import openfiles
from tests.unit.index import builds, published


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


def test_vectors_of_which_a_folder_that_stays_is_made_stay(tmp_path: Path, planned: indexes.Plan) -> None:
    read, unread = (works.Stages(tmp_path / name) for name in ("data", "unread"))
    work = works.opened(tmp_path / "work", planned)
    folders = workfolders.Folders(tmp_path / "work")
    assert folders.with_vectors(workfolders.Old((work,)), [read, unread]).gone == (work, read, unread)
    found = folders.with_vectors(workfolders.Old(), [read, unread])
    assert found.gone == (unread,)
    assert [one.folder for one in found.kept] == [read.folder]


@pytest.mark.parametrize("is_open", [True, False])
def test_who_waited_for_a_folder_that_was_deleted_is_told(
    tmp_path: Path, planned: indexes.Plan, monkeypatch: pytest.MonkeyPatch, is_open: bool
) -> None:
    work, locked = works.opened(tmp_path, planned), openfiles.locked

    @contextlib.contextmanager
    def after_its_end(path: Path, timeout_s: float) -> Iterator[None]:
        if not is_open:
            shutil.rmtree(work.folder)
        with locked(path, timeout_s):
            shutil.rmtree(work.folder)
            yield

    monkeypatch.setattr(openfiles, "locked", after_its_end)
    with pytest.raises(Conflict, match="was deleted meanwhile"), work.held():
        pass
