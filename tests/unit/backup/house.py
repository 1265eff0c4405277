"""A small thing to back up, what must come back of it, and a store that fails on purpose."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from ddr.backup import capture, keys, reading, source
from ddr.backup import repository as repositories
from ddr.domain import snapshots
from ddr.errors import Unavailable
from ddr.lib import clock as clocks
from ddr.lib import rowbatch
from ddr.ports import restorable, store
from ddr.stores import retrying

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
T = TypeVar("T")
OPEN = keys.Opening()
"""Opens a repository without encryption keys: no scrypt in tests that are about something else."""

Row = tuple[rowbatch.Cell, ...]
COLUMNS = (snapshots.Column("id", "int"), snapshots.Column("name", "text"), snapshots.Column("value", "float"))


@dataclass
class Folder:
    """Implements FileTree over a folder of this machine."""

    root: Path

    def entries(self) -> Iterator[restorable.FileSeen]:
        yield from self._below(self.root, "")

    def _below(self, folder: Path, base: str) -> Iterator[restorable.FileSeen]:
        for each in sorted(os.scandir(folder), key=lambda one: os.fsencode(one.name)):
            path, found = f"{base}{each.name}", each.stat(follow_symlinks=False)
            mode, mark = stat.S_IMODE(found.st_mode), f"{found.st_ino}-{found.st_ctime_ns}"
            if each.is_symlink():
                yield restorable.FileSeen(path, "link", 0, found.st_mtime_ns, mode, mark, os.readlink(each.path))
            elif each.is_dir():
                yield restorable.FileSeen(path, "folder", 0, found.st_mtime_ns, mode)
                yield from self._below(Path(each.path), f"{path}/")
            else:
                yield restorable.FileSeen(path, "file", found.st_size, found.st_mtime_ns, mode, mark)

    def local(self, seen: restorable.FileSeen) -> Path | None:
        return self.root / seen.path

    def read(self, seen: restorable.FileSeen) -> Iterator[bytes]:
        yield (self.root / seen.path).read_bytes()


@dataclass
class World:
    """Everything that a snapshot has, in plain values: the oracle. Files are path: content, target or None (folder)."""

    tables: dict[str, list[Row]] = field(default_factory=dict)
    streams: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes | str | None] = field(default_factory=dict)


@dataclass
class Shop:
    """Implements Capturable: tables, streams and a folder."""

    root: Path
    tables: dict[str, list[Row]] = field(default_factory=dict)
    streams: dict[str, bytes] = field(default_factory=dict)

    def capture(self, sink: restorable.Sink) -> None:
        sink.fact("revision", "7")
        for name, rows in self.tables.items():
            builder = rowbatch.Builder([(column.name, column.family) for column in COLUMNS])
            pieces = [rows[at : at + 500] for at in range(0, len(rows), 500)]
            sink.table(name, COLUMNS, builder.batches(pieces))
        for name, content in self.streams.items():
            sink.stream(name, (content[at : at + 1000] for at in range(0, len(content), 1000)))
        sink.tree("files", Folder(self.root))
        sink.reference(snapshots.Reference("shop-login", "password", ("user", "password"), "vault kv/shop"))

    def world(self) -> World:
        files: dict[str, bytes | str | None] = {}
        tree = Folder(self.root)
        for seen in tree.entries():
            if seen.kind == "folder":
                files[seen.path] = None
            else:
                files[seen.path] = seen.target if seen.kind == "link" else (self.root / seen.path).read_bytes()
        return World({name: list(rows) for name, rows in self.tables.items()}, dict(self.streams), files)


def small_shop(root: Path, seed: int = 1) -> Shop:
    """A few files of every kind that matters, two tables and a stream: some tens of kilobytes."""
    root.mkdir(parents=True, exist_ok=True)
    for folder in ("models/1/deep", "models/2", "empty"):
        (root / folder).mkdir(parents=True)
    (root / "models/1/weights.bin").write_bytes(_noise(seed, 30_000))
    (root / "models/1/deep/MLmodel").write_bytes(b"flavor: sklearn\n" * 40)
    (root / "models/2/weights.bin").write_bytes(_noise(seed + 1, 20_000))
    (root / "models/2/again.bin").write_bytes(_noise(seed, 30_000))
    (root / "nothing").write_bytes(b"")
    (root / "größe 語.txt").write_text("unicode\n")
    (root / "link").symlink_to("models/1/weights.bin")
    rows: list[Row] = [(number, f"run-{number % 7}", number / 8) for number in range(40)]
    odd: list[Row] = [(None, None, None), (2**70, "", float("inf")), (1, b"\xff", -0.0), (-(2**63), "語", 5e-324)]
    return Shop(root, {"runs": rows, "odd": odd, "empty": []}, {"registry.db": _noise(seed + 2, 9_000), "none": b""})


def _noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


class Clock:
    """A second passes with every look."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def __call__(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


def backup(
    repository: repositories.Repository, shops: Mapping[str, Shop], now: Callable[[], datetime] | None = None
) -> snapshots.Snapshot:
    origins = {name: capture.Origin(name, "shop", str(shop.root), shop) for name, shop in shops.items()}
    return capture.run(repository, origins, capture.Maker("host", "tester", "0", now or Clock()), workers=1)


def restored(repository: repositories.Repository, id_: str, component: str, to: Path | None) -> World:
    """What comes back, files really written below `to`, or only read. Raises what the reading raises."""
    reader = reading.Reader(repository, repository.index_with_problems()[0])
    snapshot = repository.read(repository.head(id_))
    found = snapshot.component(component)
    assert found is not None
    read = source.ChunkSource(repository, reader, found)
    world = World()
    for table in found.tables:
        world.tables[table.name] = [row for batch in read.rows(table.name) for row in batch.rows()]
    for stream in found.streams:
        world.streams[stream.name] = b"".join(read.stream(stream.name))
    for tree in found.trees if to is None else ():
        for one in read.files(tree.name):
            world.files[one.path] = None if one.kind == "folder" else one.target
            if one.kind == "file":
                world.files[one.path] = b"".join(read.read(tree.name, one.path))
    for tree in found.trees if to is not None else ():
        assert to is not None
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir(parents=True)
        stored = list(read.files(tree.name))
        for one in stored:
            if one.kind == "folder":
                (to / one.path).mkdir()
                world.files[one.path] = None
            elif one.kind == "link":
                world.files[one.path] = one.target
        read.write(tree.name, lambda one: to / one.path)
        for one in stored:
            if one.kind == "file":
                world.files[one.path] = (to / one.path).read_bytes()
    return world


def same(found: World, expected: World) -> bool:
    """Equal in every value and kind; NaN aside, which these rows do not have."""
    return repr(_sorted(found)) == repr(_sorted(expected))


def _sorted(world: World) -> World:
    return dataclasses.replace(world, files=dict(sorted(world.files.items())))


class Killed(BaseException):
    """The process ended here."""


WRITES = ("create", "swap", "delete")
Rule = Callable[[str, str, int], str]
"""(method, key, number of the call from 1) -> what happens: '' nothing, `before` and `after`: Unavailable without and
with the effect, `kill-before`, `kill-after`, `exists`: another writer was first with the same bytes, `half`: the answer
is cut in half."""


class Faulty:
    """A store around a real one that does to the calls what its rule says. `calls` are all that were counted."""

    is_shared = True

    def __init__(self, inner: store.Store, rule: Rule, counted: Sequence[str] = WRITES) -> None:
        self.inner = inner
        self.name = inner.name
        self.rule = rule
        self.calls: list[tuple[str, str]] = []
        self._counted = counted
        self._dead = False
        self._lock = threading.Lock()

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        said, found = self._hit("get", key), self.inner.get(key, start, size)
        return found[: len(found) // 2] if said == "half" else found

    def head(self, key: str) -> store.Entry | None:
        self._hit("head", key)
        return self.inner.head(key)

    def list(self, prefix: str, after: str = "") -> Iterator[store.Entry]:
        self._hit("list", prefix)
        yield from self.inner.list(prefix, after)

    def create(self, key: str, content: bytes) -> store.Entry:
        return self._write("create", key, lambda: self.inner.create(key, content))

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        return self._write("swap", key, lambda: self.inner.swap(key, content, expect))

    def delete(self, key: str) -> None:
        self._write("delete", key, lambda: self.inner.delete(key))

    def _write(self, method: str, key: str, do: Callable[[], T]) -> T:
        said = self._hit(method, key)
        if said == "exists":
            do()  # somebody else, with the same bytes
        done = do()
        if said == "after":
            raise Unavailable(f"{self.name}: the answer was lost")
        if said == "kill-after":
            self._dead = True
            raise Killed
        return done

    def _hit(self, method: str, key: str) -> str:
        with self._lock:
            if self._dead:
                raise Killed  # other threads of a dead process do nothing more
            if method not in self._counted:
                return ""
            self.calls.append((method, key))
            said = self.rule(method, key, len(self.calls))
            if said == "kill-before":
                self._dead = True
                raise Killed
        if said == "before":
            raise Unavailable(f"{self.name}: no answer")
        return said


class SmallDisk:
    """A store with room for so many bytes. `sizes` and `written` are what every write took, `refused` what found none.

    As on a real disk a swap needs room for the new bytes beside the old ones.
    """

    is_shared = False

    def __init__(self, inner: store.Store, room: int = sys.maxsize) -> None:
        self.inner = inner
        self.name = inner.name
        self.room = room
        self.used = sum(entry.size_bytes for entry in inner.list(""))
        self.sizes: list[int] = []
        self.written: list[str] = []
        self.refused: list[str] = []
        self._lock = threading.Lock()

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        return self.inner.get(key, start, size)

    def head(self, key: str) -> store.Entry | None:
        return self.inner.head(key)

    def list(self, prefix: str, after: str = "") -> Iterator[store.Entry]:
        return self.inner.list(prefix, after)

    def create(self, key: str, content: bytes) -> store.Entry:
        with self._lock:
            if self.inner.head(key) is None:
                self._take(key, content)
            return self.inner.create(key, content)

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        with self._lock:
            self._take(key, content)
            old = self.inner.head(key)
            made = self.inner.swap(key, content, expect)
            self.used -= old.size_bytes if old else 0
            return made

    def delete(self, key: str) -> None:
        with self._lock:
            old = self.inner.head(key)
            self.inner.delete(key)
            self.used -= old.size_bytes if old else 0

    def _take(self, key: str, content: bytes) -> None:
        if self.used + len(content) > self.room:
            self.refused.append(key)
            raise store.Full(f"{self.name}: cannot write {key!r}: No space left on device", hint="make room")
        self.used += len(content)
        self.sizes.append(len(content))
        self.written.append(key)


def patient(inner: store.Store) -> store.Store:
    """The store as `wiring` builds it: what is Unavailable for a moment is tried again."""
    return retrying.Retrying(inner, clocks.ManualClock(NOW), random.Random(4))


def at_call(number: int, what: str) -> Rule:
    """This happens to that call, and nothing else does."""
    return lambda _method, _key, count: what if count == number else ""


def no_rule(_method: str, _key: str, _count: int) -> str:
    return ""


def key_kind(key: str) -> str:
    return key.split("/")[1]
