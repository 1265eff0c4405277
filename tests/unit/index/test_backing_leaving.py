"""Versions and homes that go away while a backup reads them: that is no damage."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import pytest

from ddr.domain import snapshots
from ddr.errors import Missing, Refused, Unavailable
from ddr.index.backing import record
from ddr.index.homes import bucket, folder, home
from ddr.ports import restorable
from ddr.stores import memory
from tests.unit.index import backed, published

CALLS = ("sizes", "read")
"""Of a home: what looks whether a version has its files, and what reads them."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> published.Made:
    return published.make(tmp_path_factory.mktemp("corpus"), rows=40)


def before(patched: pytest.MonkeyPatch, kind: type[home.Home], call: str, do: Callable[[str], object]) -> None:
    """`do` first, with the version that is asked for."""
    real = getattr(kind, call)

    def wrapped(self: home.Home, version: str, *file: str) -> Any:
        do(version)
        return real(self, version, *file)

    patched.setattr(kind, call, wrapped)


def two(at: home.Home, made: published.Made) -> list[str]:
    return [published.published(at, made.as_another(number)) for number in range(2)]


@pytest.mark.parametrize("call", CALLS)
def test_a_version_that_is_removed_is_told_as_removed(
    made: published.Made, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    at = backed.in_bucket(memory.MemoryStore())
    first, second = two(at, made)
    before(monkeypatch, bucket.BucketHome, call, lambda version: version == first and at.remove(first))
    vault, raised = backed.Vault(), backed.Raising(backed.of(at, "all"))
    told = f"{first} was taken away while it was backed up; its bytes are not in this backup"
    assert vault.captured(raised).problem == told
    assert raised.hint == "`ddr index list` says what there is; then back up again"
    assert backed.files(vault.source()) == [f"{second}/index.faiss"]


@pytest.mark.parametrize("call", CALLS)
def test_a_store_that_is_slow_is_waited_for(made: published.Made, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """No repair helps there."""

    def slow(version: str) -> None:
        if version == first:
            raise Unavailable("s3 is slow today", hint="wait")

    at = backed.in_bucket(memory.MemoryStore())
    first, second = two(at, made)
    before(monkeypatch, bucket.BucketHome, call, slow)
    vault, raised = backed.Vault(), backed.Raising(backed.of(at, "all"))
    found = vault.captured(raised)
    assert found.problem.startswith(first)
    assert found.problem.endswith("s3 is slow today; its bytes are not in this backup")
    assert raised.hint == "wait; then back up again"
    assert backed.files(vault.source()) == [f"{second}/index.faiss"]


@pytest.mark.parametrize("call", CALLS)
def test_a_home_that_is_away_is_told_once(made: published.Made, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    asked = []

    def away(*version: object) -> NoReturn:
        raise Unavailable("s3 is away")

    def leave(version: str) -> None:
        asked.append(version)
        monkeypatch.setattr(bucket.BucketHome, "versions", away)
        away()

    at = backed.in_bucket(memory.MemoryStore())
    two(at, made)
    before(monkeypatch, bucket.BucketHome, call, leave)
    assert backed.Vault().captured(backed.of(at, "all")).problem == "s3 is away"
    assert len(asked) == 1


def test_what_the_backup_misses_is_no_version_that_was_taken_away(tmp_path: Path, made: published.Made) -> None:
    class Forgetful:
        def capture(self, sink: restorable.Sink) -> None:
            real = sink.tree

            def tree(name: str, files: restorable.FileTree) -> snapshots.Tree:
                if name == record.VERSIONS:
                    raise Missing("there is no repository")
                return real(name, files)

            with mock.patch.object(sink, "tree", tree):
                mine.capture(sink)

    at, _, _ = backed.two(tmp_path / "home", made)
    mine = backed.of(at, "all")
    assert backed.Vault().captured(Forgetful()).problem == "there is no repository"


def test_the_goal_of_the_pointer_is_held_while_it_is_proved(
    tmp_path: Path, made: published.Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it goes all the same, it was removed and is not damaged."""

    def leave(version: str) -> None:
        if version == first:
            with contextlib.suppress(Refused):
                at.remove(first)
                raise AssertionError("a gc may take it")
            shutil.rmtree(at.root / "versions" / first)

    at, first, second = backed.two(tmp_path / "home", made)
    at.unpin(first)
    vault, mine = backed.Vault(), backed.of(at)
    vault.run(mine)
    source = vault.source()
    plan = mine.plan_restore(source, backed.options(pointer=first))
    before(monkeypatch, folder.FolderHome, "read", leave)
    with pytest.raises(Missing, match=f"{first} was removed meanwhile"):
        mine.restore(plan, source)
    assert at.current() == second


def test_a_folder_that_is_not_mounted_any_more_has_no_versions(
    tmp_path: Path, made: published.Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, _, _ = backed.two(tmp_path / "home", made)
    versions = at.root / "versions"
    before(monkeypatch, folder.FolderHome, "read", lambda version: versions.rename(at.root / "unmounted"))
    found = backed.Vault().captured(backed.of(at, "all"))
    assert found.problem == f"{at.root} has none of its versions any more"


def test_a_file_system_without_locks_is_backed_up_all_the_same(
    tmp_path: Path, made: published.Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, _, second = backed.two(tmp_path / "home", made)
    locked = fcntl.flock

    def unlocked(fd: int, how: int) -> None:
        if how == fcntl.LOCK_SH:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        locked(fd, how)

    monkeypatch.setattr(fcntl, "flock", unlocked)
    vault = backed.Vault()
    assert vault.captured(backed.of(at)).problem == ""
    assert backed.files(vault.source()) == [f"{second}/index.faiss"]
