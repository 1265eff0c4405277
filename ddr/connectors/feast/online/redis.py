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
from typing import Any

from ddr.connectors.feast.online import definition, redis_rows, stores
from ddr.domain import signals, snapshots
from ddr.errors import Conflict, Unavailable
from ddr.lib import keyset, murmur, protowire, resp, rowbatch

_COUNT = 1000  # keys a SCAN step is asked for: about a millisecond of the server
_AT, _VALUE = "ts", "f:"
_PERSISTENT, _GONE = -1, -2
_GLOB = frozenset(b"*?[]\\^")
_STRING = 2


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
            snapshots.Column(redis_rows.KEY, "bytes"),
            snapshots.Column(redis_rows.PTTL, "int"),
            *(snapshots.Column(name, "bytes") for name in named),
        )
        return stores.Rows(columns, (redis_rows.KEY, *named), self._batches(columns, named))

    def _batches(self, columns: Sequence[snapshots.Column], named: Sequence[str]) -> Iterator[rowbatch.Batch]:
        builder = rowbatch.Builder(stores.family(columns))
        held: list[list[Any]] = [[] for _ in columns]
        for keys, ttls, cells in self._read([self.field_of(name) for name in named]):
            own: list[Sequence[Any]] = [keys, ttls, *zip(*cells, strict=True)]
            if not cells:
                continue
            if None in own[2]:  # others may have no field of the view at all
                rows = (row for row in zip(*own, strict=True) if any(one is not None for one in row[2:]))
                own = list(zip(*rows, strict=True)) or [()] * len(columns)
            for column, more in zip(held, own, strict=True):
                column += more
            if len(held[0]) >= 4 * _COUNT:
                yield builder.of_cells(held, len(held[0]))
                held = [[] for _ in columns]
        if held[0]:
            yield builder.of_cells(held, len(held[0]))

    def _read(
        self, fields: Sequence[bytes], *, with_ttl: bool = True
    ) -> Iterator[tuple[list[bytes], list[int], list[redis_rows.Cells]]]:
        """Every key of the entity once. The next step of the scan is on its way with the fields of the last."""
        ask, width = redis_rows.hmget(fields), len(fields)
        cursor, keys = self._scanned(b"0")
        seen = keyset.Seen()
        while True:
            is_new = seen.add(keyset.hashes(keys)) if keys else None
            if is_new is not None and not is_new.all():
                keys = [key for key, new in zip(keys, is_new.tolist(), strict=True) if new]
            words = [ask % (len(key), key) for key in keys]
            if with_ttl:
                words += [b"*2\r\n$4\r\nPTTL\r\n$%d\r\n%b\r\n" % (len(key), key) for key in keys]
            if cursor != b"0":
                words.append(self._scan(cursor))
            self._client.send(b"".join(words))
            cells = self._client.hashes(len(keys), width)
            ttls = _numbers(self._client.numbers(len(keys))) if with_ttl else [_PERSISTENT] * len(keys)
            yield keys, ttls, cells
            if cursor == b"0":
                return
            cursor, keys = _page(self._client.answers(1)[0])

    def _scan(self, cursor: bytes) -> bytes:
        return resp.command(b"SCAN", cursor, b"MATCH", self.pattern(), b"COUNT", b"%d" % _COUNT)

    def _scanned(self, cursor: bytes) -> tuple[bytes, list[bytes]]:
        return _page(self._client.pipeline([self._scan(cursor)], 1)[0])

    def knows(self, digest: str) -> None:
        """Each key is looked at as it is written."""

    def counter(self) -> Counted:
        return Counted()

    def exchange(self, before: stores.Opened, target: stores.Opened, expected: str, wanted: str) -> None:
        del expected, wanted  # each row is held against `before` as it is written
        columns = redis_rows.union(before, target)
        if not columns:
            return
        work = redis_rows.Work(self._client, self.label, [self.field_of(name) for name in columns], columns)
        was = work.marks(before)
        try:
            work.put(before, target, was)
        except Conflict:
            work.put(target, before, work.marks(target), gives_way=True)
            raise

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


def _numbers(answers: Sequence[resp.Answer]) -> list[int]:
    wrong = next((one for one in answers if isinstance(one, resp.Failed)), None)
    if wrong is not None:
        raise Unavailable(wrong.message, hint="ddr needs the right to ask PTTL")
    return [one if isinstance(one, int) else _PERSISTENT for one in answers]


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
