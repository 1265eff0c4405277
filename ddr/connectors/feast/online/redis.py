"""Feast's Redis online store: one hash an entity, shared by all views of that entity.

Fields of a view are `_ts:<view>` (a Timestamp) and four bytes of MurmurHash3 of `<view>:<feature>` for each feature; no
other field is ever written or deleted here. A key's time to live belongs to all views of the entity: it stays as it is,
and a key that is gone comes back with the one that it had when it was kept.

Redis has no transaction over many keys that looks first. What stands in for it: each batch of keys is watched, read,
compared, and written in one EXEC, which fails when somebody wrote meanwhile.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ddr.connectors.feast.online import definition, stores
from ddr.domain import signals, snapshots
from ddr.errors import Conflict, Unavailable
from ddr.lib import keyset, murmur, protowire, resp, rowbatch

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

_COUNT = 1000  # keys a SCAN step is asked for: about a millisecond of the server
_BATCH = 256  # keys of one transaction; WATCH costs their square
_KEY, _AT, _PTTL, _VALUE = "key", "ts", "pttl_ms", "f:"
_PERSISTENT, _GONE = -1, -2
_GLOB = frozenset(b"*?[]\\^")
_TRIES = 5
_STRING = 2

Cells = tuple[bytes | None, ...]


@dataclass
class RedisOnline:
    """Implements stores.Online."""

    address: resp.Address
    project: str
    view: str
    join_keys: Sequence[str]
    label: str = ""
    _open: list[resp.Client] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.label = self.label or f"{self.address.label}: {self.project}/{self.view}"

    def __enter__(self) -> RedisOnline:
        self._open.append(resp.Client(self.address))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.pop().close()

    @property
    def _client(self) -> resp.Client:
        return self._open[-1]

    def field_of(self, column: str) -> bytes:
        """The field in the hash of a column of the kept rows."""
        if column == _AT:
            return b"_ts:" + self.view.encode()
        feature = column.removeprefix(_VALUE)
        return struct.pack("<I", murmur.hash32(f"{self.view}:{feature}".encode()))

    def pattern(self) -> bytes:
        """Keys of this entity and project: what `serialize_entity_key_prefix` of Feast gives, anything, the project."""
        names = [name.encode() for name in self.join_keys]
        parts = [struct.pack("<I", len(names))]
        parts += [struct.pack("<II", _STRING, len(name)) + name for name in names]
        return _escaped(b"".join(parts)) + b"*" + _escaped(self.project.encode())

    def rows(self, view: definition.Definition) -> stores.Rows:
        named = [_AT, *(f"{_VALUE}{name}" for name in view.names)]
        columns = (
            snapshots.Column(_KEY, "bytes"),
            snapshots.Column(_PTTL, "int"),
            *(snapshots.Column(name, "bytes") for name in named),
        )
        return stores.Rows(columns, (_KEY, *named), self._batches(columns, named))

    def _batches(self, columns: Sequence[snapshots.Column], named: Sequence[str]) -> Iterator[rowbatch.Batch]:
        builder = rowbatch.Builder(stores.family(columns))
        held: list[list[Any]] = [[] for _ in columns]
        for keys, ttls, cells in self._read([self.field_of(name) for name in named]):
            rows: Iterator[tuple[Any, ...]] = zip(keys, ttls, *zip(*cells, strict=True), strict=True)
            if any(own[0] is None for own in cells):  # others may have no field of the view at all
                rows = (row for row in rows if any(one is not None for one in row[2:]))
            for column, more in zip(held, zip(*rows, strict=True), strict=False):
                column += more
            if len(held[0]) >= 4 * _COUNT:
                yield builder.of_cells(held, len(held[0]))
                held = [[] for _ in columns]
        if held[0]:
            yield builder.of_cells(held, len(held[0]))

    def _read(
        self, fields: Sequence[bytes], *, with_ttl: bool = True
    ) -> Iterator[tuple[list[bytes], list[int], list[list[bytes | None]]]]:
        """Every key of the entity once. The next step of the scan is on its way with the fields of the last."""
        ask, width = _hmget(fields), len(fields)
        cursor, keys = self._scanned(b"0")
        seen = keyset.Seen()
        while True:
            is_new = seen.add(keyset.hashes(keys)).tolist() if keys else []
            keys = [key for key, new in zip(keys, is_new, strict=True) if new]
            words = [ask % (len(key), key) for key in keys]
            if with_ttl:
                words += [b"*2\r\n$4\r\nPTTL\r\n$%d\r\n%b\r\n" % (len(key), key) for key in keys]
            if cursor != b"0":
                words.append(self._scan(cursor))
            self._client.send(b"".join(words))
            cells = self._client.hashes(len(keys), width)
            ttls = [_number(one) for one in self._client.answers(len(keys))] if with_ttl else [_PERSISTENT] * len(keys)
            yield keys, ttls, cells
            if cursor == b"0":
                return
            cursor, keys = _page(self._client.answers(1)[0])

    def _scan(self, cursor: bytes) -> bytes:
        return resp.command(b"SCAN", cursor, b"MATCH", self.pattern(), b"COUNT", b"%d" % _COUNT)

    def _scanned(self, cursor: bytes) -> tuple[bytes, list[bytes]]:
        return _page(self._client.pipeline([self._scan(cursor)], 1)[0])

    def counter(self) -> Counted:
        return Counted()

    def exchange(self, before: stores.Opened, target: stores.Opened, expected: str, wanted: str) -> None:
        del expected, wanted  # each row is held against `before` as it is written
        columns = _union(before, target)
        if not columns:
            return
        work = _Work(self._client, self.label, [self.field_of(name) for name in columns], columns)
        was, will = work.marks(before), work.marks(target)
        try:
            self._put(work, before, target, was, will)
        except Conflict:
            self._put(work, target, before, will, was, gives_way=True)
            raise

    @staticmethod
    def _put(
        work: _Work, of: stores.Opened, to: stores.Opened, was: keyset.Marks, will: keyset.Marks, *,
        gives_way: bool = False,
    ) -> None:  # fmt: skip
        """Every row of `to`, then nothing for those that only `of` has."""
        for keys, ttls, rows in work.rows(to):
            work.write(keys, ttls, rows, was, gives_way=gives_way)
        for keys, ttls, rows in work.rows(of):
            marks = will.of(keyset.hashes(keys), work.nothing).tolist()
            gone = [at for at, mark in enumerate(marks) if mark == work.nothing]
            nothing = [(None,) * len(work.columns)] * len(gone)
            work.write([keys[at] for at in gone], [ttls[at] for at in gone], nothing, was, gives_way=gives_way)
            del rows

    def replaced(self, batch: rowbatch.Batch, values: Mapping[str, tuple[bytes, str | None]]) -> rowbatch.Batch:
        for feature, (content, _) in values.items():
            name = f"{_VALUE}{feature}"
            if name in batch.names:
                batch = batch.with_cells(name, [content] * batch.size)
        return batch

    def sample(self, view: definition.Definition, limit: int) -> stores.Sample:
        """Of the first keys in the order of SCAN, which is that of a hash: as good as drawn by lot."""
        named = [_AT, *(f"{_VALUE}{name}" for name in view.names)]
        times: list[float] = []
        missing = [0] * len(view.names)
        rows = 0
        for _, _, cells in self._read([self.field_of(name) for name in named], with_ttl=False):
            for own in cells:
                if own[0] is None:
                    continue
                rows += 1
                times.append(seconds(own[0]))
                for at, cell in enumerate(own[1:]):
                    missing[at] += not cell
            if rows >= limit:
                break
        else:
            return stores.Sample(tuple(times), _shares(view.names, missing, rows), is_all=True)
        self._client.close()  # a scan is on its way: its answers are nobody's
        self._open[-1] = resp.Client(self.address)
        return stores.Sample(tuple(times), _shares(view.names, missing, rows), is_all=False)

    def count(self, view: definition.Definition) -> int:
        del view
        read = self._read([self.field_of(_AT)], with_ttl=False)
        return sum(sum(own[0] is not None for own in cells) for _, _, cells in read)

    def _note(self, name: str) -> bytes:
        return f"ddr:{self.project}:{self.view}:{name}".encode()

    def mark(self, name: str) -> str:
        found = self._client.ask(b"GET", self._note(name))
        return (found.decode(errors="replace") or name) if isinstance(found, bytes) else ""

    def set_mark(self, name: str, text: str) -> bool:
        return self._client.ask(b"SET", self._note(name), text.encode(), b"NX") is not None

    def drop_mark(self, name: str) -> None:
        self._client.ask(b"DEL", self._note(name))

    def generation(self) -> str:
        return self.mark("switches")

    def passed(self) -> None:
        self._client.ask(b"INCR", self._note("switches"))


@dataclass
class _Work:
    """Rows of one view on their way into Redis. `fields` and `columns` go together."""

    client: resp.Client
    label: str
    fields: Sequence[bytes]
    columns: Sequence[str]

    @property
    def nothing(self) -> int:
        """The mark of a key that has no field of the view."""
        return hash((None,) * len(self.columns))

    def rows(self, of: stores.Opened) -> Iterator[tuple[list[bytes], list[int], list[Cells]]]:
        for whole in of():
            for start in range(0, whole.size, _BATCH):
                batch = whole.slice(start, start + _BATCH)
                empty: list[Any] = [None] * batch.size
                cells = [batch.column(name).cells() if name in batch.names else empty for name in self.columns]
                keys: Any = batch.column(_KEY).cells()
                ttls: Any = batch.column(_PTTL).cells()
                yield keys, ttls, list(zip(*cells, strict=True))

    def marks(self, of: stores.Opened) -> keyset.Marks:
        found = keyset.Marks()
        for keys, _, rows in self.rows(of):
            found.put(keyset.hashes(keys), keyset.hashes(rows))
        return found

    def write(
        self, keys: Sequence[bytes], ttls: Sequence[int], rows: Sequence[Cells], was: keyset.Marks, *, gives_way: bool
    ) -> None:
        """Where a key is as it was, or as it will be. Conflict elsewhere, or, where it `gives_way`, it is left."""
        expected = was.of(keyset.hashes(keys), self.nothing) if keys else ()
        left = list(range(len(keys)))
        for _ in range(_TRIES):
            if not left:
                return
            left = self._written(keys, ttls, rows, expected, left, gives_way=gives_way)
        if left:
            raise Conflict(
                f"{self.label}: somebody writes to the same keys without a pause", expected="a moment of rest",
                found=f"{len(left)} keys that change", hint="stop the materialization, then try again",
            )  # fmt: skip

    def _written(
        self, keys: Sequence[bytes], ttls: Sequence[int], rows: Sequence[Cells],
        expected: NDArray[numpy.int64] | Sequence[int], chosen: Sequence[int], *, gives_way: bool,
    ) -> list[int]:  # fmt: skip
        """One transaction; those that have to be looked at again."""
        own = [keys[at] for at in chosen]
        ask = _hmget(self.fields)
        words = [resp.command(b"WATCH", *own)]
        words += [ask % (len(key), key) for key in own]
        words += [b"*2\r\n$6\r\nEXISTS\r\n$%d\r\n%b\r\n" % (len(key), key) for key in own]
        self.client.send(b"".join(words))
        self.client.answers(1)
        there = self.client.hashes(len(own), len(self.fields))
        known = self.client.answers(len(own))
        commands = [b"*1\r\n$5\r\nMULTI\r\n"]
        for at, key, cells, exists in zip(chosen, own, there, known, strict=True):
            live = tuple(cells)
            if live == rows[at]:
                continue
            if hash(live) != expected[at]:
                if gives_way:
                    continue
                if not any(one is not None for one in live):  # its time to live ended
                    commands += self._commands(key, live, rows[at], ttls[at], is_new=not exists)
                    continue
                self.client.ask(b"UNWATCH")
                raise Conflict(
                    f"{self.label}: somebody wrote values since the look; what was put back of ours is taken out again",
                    expected="values as they were planned with", found=f"others at the key {key.hex()[:40]}",
                    hint="stop what writes there (`ddr features list` has the states), look again, then plan again",
                )  # fmt: skip
            commands += self._commands(key, live, rows[at], ttls[at], is_new=not exists)
        if len(commands) == 1:
            self.client.ask(b"UNWATCH")
            return []
        answers = self.client.pipeline([*commands, b"*1\r\n$4\r\nEXEC\r\n"], len(commands) + 1)
        wrong = next((one for one in answers if isinstance(one, resp.Failed)), None)
        if wrong is not None:
            raise Unavailable(wrong.message, hint="is it a replica, or out of memory? `redis-cli INFO`")
        done = answers[-1]
        if isinstance(done, list):
            failed = next((one for one in done if isinstance(one, resp.Failed)), None)
            if failed is not None:
                raise Unavailable(failed.message, hint="is it a replica, or out of memory? `redis-cli INFO`")
            return []
        return list(chosen)

    def _commands(self, key: bytes, live: Cells, wanted: Cells, ttl: int, *, is_new: bool) -> Iterator[bytes]:
        put: list[bytes] = []
        gone: list[bytes] = []
        for name, old, new in zip(self.fields, live, wanted, strict=True):
            if new == old:
                continue
            if new is not None:
                put += (name, new)
            else:
                gone.append(name)
        if put:
            yield resp.command(b"HSET", key, *put)
        if gone:
            yield resp.command(b"HDEL", key, *gone)
        if is_new and ttl > 0:
            yield resp.command(b"PEXPIRE", key, b"%d" % ttl)


def _union(*states: stores.Opened) -> list[str]:
    """The columns of all of them that are fields."""
    names: set[str] = set()
    for state in states:
        first = next(iter(state()), None)
        names |= set(first.names) if first is not None else set()
    return sorted(names - {_KEY, _PTTL})


def _hmget(fields: Sequence[bytes]) -> bytes:
    """Waits for the length of a key, and the key."""
    words = b"".join(b"$%d\r\n%b\r\n" % (len(one), one) for one in fields).replace(b"%", b"%%")
    return b"*%d\r\n$5\r\nHMGET\r\n$%%d\r\n%%b\r\n" % (len(fields) + 2) + words


def _escaped(content: bytes) -> bytes:
    return b"".join(b"\\" + bytes([one]) if one in _GLOB else bytes([one]) for one in content)


def _page(answer: resp.Answer) -> tuple[bytes, list[bytes]]:
    if isinstance(answer, resp.Failed):
        raise Unavailable(answer.message, hint="ddr needs the right to SCAN")
    assert isinstance(answer, list)
    cursor, keys = answer
    assert isinstance(cursor, bytes)
    assert isinstance(keys, list)
    return cursor, [key for key in keys if isinstance(key, bytes)]


def _number(answer: resp.Answer) -> int:
    if isinstance(answer, resp.Failed):
        raise Unavailable(answer.message, hint="ddr needs the right to ask PTTL")
    return answer if isinstance(answer, int) else _PERSISTENT


def _shares(names: Sequence[str], missing: Sequence[int], rows: int) -> dict[str, signals.Share]:
    return {name: signals.Share(hits, rows) for name, hits in zip(names, missing, strict=True)} if rows else {}


def seconds(stamp: bytes) -> float:
    """Of a google.protobuf.Timestamp."""
    return protowire.integer(stamp, 1) + protowire.integer(stamp, 2) / 1e9


class Counted:
    """Implements stores.Counter."""

    def __init__(self) -> None:
        self._entities = 0
        self._range: list[float] = []
        self._known: dict[Any, float] = {}

    def add(self, batch: rowbatch.Batch) -> None:
        self._entities += batch.size
        stamps = {one for one in batch.column(_AT).cells() if isinstance(one, bytes)}
        times = [seconds(one) for one in stamps]
        if times:
            self._range = [min([*self._range, *times]), max([*self._range, *times])]

    @property
    def times(self) -> stores.Times:
        if not self._range:
            return stores.Times(entities=self._entities)
        return stores.Times(self._range[0], self._range[1], self._entities)
