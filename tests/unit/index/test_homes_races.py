"""Two publishers at once, a publisher against a collector, and readers that never notice any of it."""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import pytest

from ddr.errors import Conflict, DdrError, Missing, Refused
from ddr.index import check
from ddr.index.homes import bucket, collecting, folder, home, publishing
from ddr.stores import local, memory
from tests import servers
from tests.unit.index import dying, published
from tests.unit.stores import conftest as stores

ROUNDS = 12
Opening = Callable[[], home.Home]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> published.Made:
    return published.make(tmp_path_factory.mktemp("corpus"), rows=60, ids="texts")


@pytest.fixture(params=["folder", "memory", "local", "moto"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Opens the same home, for one more process."""
    if request.param == "folder":
        root = tmp_path / "home"
        published.at(root)
        return lambda: published.at(root)
    if request.param == "memory":
        one = memory.MemoryStore()
        return lambda: bucket.BucketHome(one, "", published.Clock())
    if request.param == "local":
        return lambda: bucket.BucketHome(local.LocalStore(tmp_path / "store"), "", published.Clock())
    server: servers.S3Server = request.getfixturevalue("moto_server")
    name = server.new_bucket()
    return lambda: bucket.BucketHome(stores.s3_store(server, name), "", published.Clock())


def test_two_publishers_at_once(opening: Opening, made: published.Made) -> None:
    """Both saw the same version serve when they began. One wins each time, the other is told; nothing is lost."""
    published.published(opening(), made.as_another(0))
    won = lost = 0
    for number in range(ROUNDS if not isinstance(opening(), bucket.BucketHome) else ROUNDS // 3):
        before = opening().current()
        together = threading.Barrier(2)

        def one(seed: int, together: threading.Barrier = together) -> str | None:
            of = opening()

            def report(text: str) -> None:
                if text.startswith("proving"):  # added, not yet pointed at
                    together.wait(30)

            two = made.as_another(seed)
            try:
                prove = published.prover(of, (0, 1))
                return publishing.publish(of, two.files, two.manifest, prove, report=report).after
            except Conflict:
                return None

        with futures.ThreadPoolExecutor(2) as pool:
            ends = list(pool.map(one, (10 * number + 1, 10 * number + 2)))
        of = opening()
        (winner,) = [end for end in ends if end]
        assert of.current() == winner
        assert (of.moves()[-1].before, of.moves()[-1].after) == (before, winner)
        won, lost = won + 1, lost + ends.count(None)
        for version in of.versions()[-2:]:
            assert check.check(of, version, check.Means(), (0, 1)).findings == ()
    assert won == lost
    print(f"{won} races of two publishers: {won} won, {lost} were told")


def test_two_processes_move_a_folder(made: published.Made, tmp_path: Path) -> None:
    """Real processes, as fast as they can: the log has each move that won, in an unbroken chain."""
    first = published.at(tmp_path / "home")
    names = [published.published(first, made.as_another(number)) for number in range(3)]

    def move(seed: int) -> None:
        of = published.at(tmp_path / "home")
        for number in range(60):
            before = of.current()
            to = names[(number * seed + number) % 3]
            try:
                of.point(before, to)
            except Conflict:
                continue

    with futures.ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda seed: dying.ends(lambda: move(seed)), (1, 2, 3))) == [0, 0, 0]
    moves = first.moves()
    for one, two in itertools.pairwise(moves):
        assert one.after == two.before
    assert moves[-1].after == first.current()
    print(f"3 processes, 180 tries: {len(moves) - 3} moves in an unbroken chain")


def read_once(root: Path, wanted: dict[str, bytes]) -> str:
    """As a server does: resolve the link, open what it names, map it, read all of it."""
    version = os.path.basename(os.readlink(root / "current"))
    for name, content in wanted.items():
        with (root / "versions" / version / name).open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            assert mapped[:] == content
            mapped.close()
    return version


def keep_mapped(root: Path, wanted: dict[str, bytes], stop: threading.Event) -> int:
    """A slow reader, which holds on to a map while its version is collected."""
    count = 0
    while not stop.is_set():
        version = os.path.basename(os.readlink(root / "current"))
        with (root / "versions" / version / "index.faiss").open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for _ in range(20):
            assert mapped[:] == wanted["index.faiss"]
            stop.wait(0.002)
        mapped.close()
        count += 1
    return count


def test_readers_notice_nothing(made: published.Made, tmp_path: Path) -> None:
    """Two reading threads through publishes, rollbacks and collections. Grace is what keeps them: one that has just
    resolved `current` finds its version, so here nothing goes before whoever was reading has come to the end."""
    root = tmp_path / "home"
    of = published.at(root)
    wanted = {name: path.read_bytes() for name, path in made.files.items()}
    published.published(of, made.as_another(0))
    stop = threading.Event()
    seen: list[str] = []

    def read() -> None:
        while not stop.is_set():
            seen.append(read_once(root, wanted))

    removed = 0
    with futures.ThreadPoolExecutor(2) as pool:
        reader, slow = pool.submit(read), pool.submit(keep_mapped, root, wanted, stop)
        try:
            for number in range(1, 25):
                published.published(of, made.as_another(number))
                if number % 3 == 0:
                    back = publishing.way_back(of, None, published.prover(of, (0, 1)))
                    publishing.roll_back(of, back)
                before = len(seen)
                while len(seen) < before + 2 and not reader.done():
                    time.sleep(0.001)
                chosen = collecting.plan(of, published.LONG_AFTER, keep=2)
                removed += len(collecting.apply(of, chosen).gone)
        finally:
            stop.set()
        reader.result()
        assert slow.result() >= 5
    assert removed >= 15
    assert len(set(seen)) >= 5
    moves = len(of.moves())
    print(f"{len(seen)} reads of {len(set(seen))} versions, {moves} moves, {removed} removed: 0 errors")


def test_a_lease_against_a_collector(opening: Opening, made: published.Made) -> None:
    """Who holds a lease reads to the end; who comes too late is told at once, not in the middle."""
    names = [published.published(opening(), made.as_another(number)) for number in range(2)]
    together = threading.Barrier(2)

    def reading() -> str:
        of = opening()
        together.wait()
        try:
            with of.lease(names[0]):
                for name, path in made.files.items():
                    assert b"".join(of.read(names[0], name)) == path.read_bytes()
        except Missing:
            return "too late"
        return "read"

    def removing() -> str:
        together.wait()
        try:
            opening().remove(names[0])
        except Refused:
            return "kept"
        return "removed"

    with futures.ThreadPoolExecutor(2) as pool:
        one, two = pool.submit(reading), pool.submit(removing)
        ends = (one.result(), two.result())
    assert ends in {("read", "kept"), ("too late", "removed"), ("read", "removed"), ("too late", "kept")}
    is_there = names[0] in opening().versions()
    assert is_there == (ends[1] == "kept")
    print(f"reader and collector: {ends}")


def test_a_reader_that_dies_lets_go(made: published.Made, tmp_path: Path) -> None:
    of = published.at(tmp_path)
    names = [published.published(of, made.as_another(number)) for number in range(2)]

    def die() -> None:
        with folder.FolderHome(tmp_path, published.Clock()).lease(names[0]):
            os.kill(os.getpid(), 9)

    assert dying.ends(die) == -9
    assert of.remove(names[0])


def test_a_full_disk_during_rollback(made: published.Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call that the disk can refuse: either nothing was changed and it is told, or the move was made, with a
    warning that the log has no line of it. Then the same command goes through."""
    first = published.at(tmp_path / "first")
    for number in range(2):
        published.published(first, made.as_another(number))
    told = warned = 0
    for call in ("open", "write", "fsync", "replace", "symlink"):
        for number in range(1, 30):
            root = tmp_path / f"{call}-{number}"
            shutil.copytree(first.root, root, symlinks=True)
            of = published.at(root)
            way = publishing.way_back(of, None, lambda version: check.check(first, version, check.Means(), (0,)))
            with monkeypatch.context() as patched:
                count = dying.failing(patched, call, number, errno.ENOSPC)
                try:
                    done = publishing.roll_back(of, way)
                except DdrError:
                    done = None
            if count[0] < number:
                break
            if done is None:
                told += 1
                assert of.current() in (way.before, way.after)
            else:
                assert of.current() == way.after
                warned += bool(done.warnings)
            publishing.roll_back(of, way)
            assert of.current() == way.after
            assert of.moves()[-1].after == way.after
            of.sweep()
            assert not list(root.glob(".*.tmp"))
    assert told >= 3
    assert warned >= 2
    print(f"a full disk during rollback: told {told} times, warned {warned} times")
