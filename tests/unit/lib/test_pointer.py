"""Pointers, locks and SQLite files that belong to others."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.errors import Conflict, Damaged, Missing, Refused, Unavailable
from ddr.lib import openfiles, pointer, sqlitefile


@pytest.fixture
def current(tmp_path: Path) -> pointer.Pointer:
    for name in ("v1", "v2", "v3"):
        (tmp_path / "releases" / name).mkdir(parents=True)
        (tmp_path / "releases" / name / "file").write_text(name)
    (tmp_path / "current").symlink_to("releases/v1")
    return pointer.Pointer(tmp_path / "current", tmp_path / "releases")


def test_it_reads_and_moves(current: pointer.Pointer) -> None:
    assert current.names() == ("v1", "v2", "v3")
    assert current.read() == "v1"
    current.swap("v1", "v2")
    assert current.read() == "v2"
    assert current.link.readlink() == Path("releases/v2")
    with pytest.raises(Conflict) as raised:
        current.swap("v1", "v3")
    assert (raised.value.expected, raised.value.found) == ("v1", "v2")
    with pytest.raises(Missing, match="v9"):
        current.swap("v2", "v9")
    assert current.read() == "v2"
    assert current.digest("v1") != current.digest("v2")


def test_an_absolute_link_is_read_too(current: pointer.Pointer) -> None:
    current.link.unlink()
    current.link.symlink_to(current.folder / "v3")
    assert current.read() == "v3"


def test_links_that_say_nothing(current: pointer.Pointer, tmp_path: Path) -> None:
    current.link.unlink()
    with pytest.raises(Missing, match="there is no"):
        current.read()
    for target, kind in (
        ("releases/v9", Missing),
        ("elsewhere/v1", Damaged),
        ("../../etc", Damaged),
        ("/etc", Damaged),
    ):
        current.link.symlink_to(target)
        with pytest.raises(kind):
            current.read()
        current.link.unlink()
    current.link.mkdir()
    with pytest.raises(Damaged, match="no symbolic link"):
        current.read()
    with pytest.raises(Missing):
        pointer.Pointer(tmp_path / "a", tmp_path / "b").path("v1")


def test_of_many_at_once_one_wins(current: pointer.Pointer) -> None:
    rounds = 30
    for _ in range(rounds):
        wins: list[str] = []
        start = threading.Barrier(4)

        def go(to: str, wins: list[str] = wins, start: threading.Barrier = start) -> None:
            start.wait()
            with contextlib.suppress(Conflict):
                current.swap("v1", to)
                wins.append(to)

        threads = [threading.Thread(target=go, args=(to,)) for to in ("v2", "v3", "v2", "v3")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wins == [current.read()]
        current.swap(wins[0], "v1")
    print(f"{rounds} rounds of 4")


def test_a_deployer_who_holds_the_lock_is_waited_for(current: pointer.Pointer) -> None:
    impatient = dataclasses.replace(current, lock_timeout_s=0.1)
    with openfiles.locked(current.link.with_name(pointer.LOCK), 1), pytest.raises(Unavailable, match="is locked"):
        impatient.swap("v1", "v2")
    assert current.read() == "v1"
    impatient.swap("v1", "v2")
    assert current.read() == "v2"


def test_a_lock_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    program = (
        "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(Unavailable, match=f"process {other.pid} "), openfiles.locked(path, 0.1):
            pass
        other.kill()
    with openfiles.locked(path, 1):
        assert f"process {os.getpid()} " in openfiles.holders(path)
        with path.open() as second, pytest.raises(BlockingIOError):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert openfiles.holders(path) == ""
    with pytest.raises(Unavailable), openfiles.locked(tmp_path / "none" / ".lock"):
        pass


def test_sqlite_errors_are_ours(tmp_path: Path) -> None:
    path = tmp_path / "odd name?#%.db"
    with pytest.raises(Missing), sqlitefile.opened(path):
        pass
    assert not path.exists()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('CREATE TABLE "a b" ("c""d" REAL, e TEXT)')
    with sqlitefile.opened(path) as connection:
        assert sqlitefile.columns(connection, "a b") == (('c"d', "REAL"), ("e", "TEXT"))
        assert sqlitefile.columns(connection, "none") == ()
        assert connection.execute("SELECT " + sqlitefile.quoted('c"d') + ' FROM "a b"').fetchall() == []
    for query in ("SELECT * FROM none", "SELECT none FROM [a b]"):
        with pytest.raises(Missing, match="no such"), sqlitefile.opened(path) as connection:
            connection.execute(query)
    path.write_bytes(b"not a database at all, but long enough" * 100)
    with pytest.raises(Damaged), sqlitefile.opened(path) as connection:
        connection.execute("SELECT 1 FROM sqlite_master")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (x INTEGER UNIQUE)")
    twice = "INSERT INTO t VALUES (1), (1)"
    with sqlitefile.opened(path) as connection:
        with contextlib.suppress(sqlite3.IntegrityError), sqlitefile.transaction(connection):
            connection.execute("INSERT INTO t VALUES (7)")
            connection.execute(twice)
        assert not connection.in_transaction
    with pytest.raises(Unavailable, match="UNIQUE"), sqlitefile.opened(path) as connection:
        connection.execute(twice)
    with sqlitefile.opened(path) as connection:
        assert connection.execute("SELECT COUNT(*) FROM t").fetchone() == (0,)
    with pytest.raises(Refused), _as_nobody_may_write(path) as connection:
        connection.execute("INSERT INTO t VALUES (2)")


@contextlib.contextmanager
def _as_nobody_may_write(path: Path) -> Iterator[sqlite3.Connection]:
    """Root may write anywhere, so the connection itself is told not to."""
    with sqlitefile.opened(path) as connection:
        connection.execute("PRAGMA query_only = 1")
        yield connection
