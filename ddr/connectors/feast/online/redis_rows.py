"""Rows of one view on their way into Redis: a batch of keys is watched, read, compared, and written in one EXEC.

The look at a batch goes out with the transaction of the one before, so the server works while the next is made ready.
Per key a match of what is there, and one HSET where it differs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from ddr.connectors.feast.online import stores
from ddr.errors import Conflict, Unavailable
from ddr.lib import keyset, resp

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

KEY, PTTL = "key", "pttl_ms"
_BATCH = 256  # keys of one transaction; WATCH costs their square
_TRIES = 5
_WORD = b"$%d\r\n%b\r\n"

Cells = tuple[bytes | None, ...]


@dataclass
class Work:
    """Rows of one view on their way into Redis. `fields` and `columns` go together."""

    client: resp.Client
    label: str
    fields: Sequence[bytes]
    columns: Sequence[str]

    @property
    def ask(self) -> bytes:
        return hmget(self.fields)

    @property
    def hset(self) -> bytes:
        """Waits for the length of the key and the key, then the same of each value."""
        words = b"".join(b"$%d\r\n%b\r\n" % (len(one), one.replace(b"%", b"%%")) + _WORD for one in self.fields)
        return b"*%d\r\n$4\r\nHSET\r\n" % (2 + 2 * len(self.fields)) + _WORD + words

    @property
    def nothing(self) -> int:
        """The mark of a key that has no field of the view."""
        return hash((None,) * len(self.columns))

    def rows(self, of: stores.Opened) -> Iterator[_Rows]:
        for whole in of():
            empty: list[Any] = [None] * whole.size
            cells = [whole.column(name).cells() if name in whole.names else empty for name in self.columns]
            keys: Any = whole.column(KEY).cells()
            ttls: Any = whole.column(PTTL).cells()
            rows: Any = list(zip(*cells, strict=True))
            yield _Rows(keys, ttls, rows, keyset.hashes(keys))

    def marks(self, of: stores.Opened) -> keyset.Marks:
        found = keyset.Marks()
        for some in self.rows(of):
            found.put(some.hashes, keyset.hashes(some.rows))
        return found

    def put(self, of: stores.Opened, to: stores.Opened, was: keyset.Marks, *, gives_way: bool = False) -> None:
        """Every row of `to`, then nothing for those that only `of` has; `was` are the marks of `of`.

        Where a key is as it was, or as it will be. Conflict elsewhere, or, where it `gives_way`, it is left.
        """
        there = keyset.Marks()
        writer = _Writer(self, gives_way)
        for some in self.rows(to):
            writer.take(some, was.of(some.hashes, self.nothing))
            there.put(some.hashes, some.hashes)
        if (there.of(was.keys(), self.nothing) == self.nothing).any():
            for some in self.rows(of):
                gone = (there.of(some.hashes, self.nothing) == self.nothing).nonzero()[0].tolist()
                if gone:
                    left = some.only(gone, (None,) * len(self.columns))
                    writer.take(left, was.of(left.hashes, self.nothing))
        writer.end()


@dataclass(frozen=True)
class _Rows:
    """Rows as they shall be; `hashes` are those of the keys."""

    keys: list[bytes]
    ttls: list[int]
    rows: list[Cells]
    hashes: NDArray[numpy.int64]

    def only(self, chosen: Sequence[int], row: Cells) -> _Rows:
        """These keys, each with the same row."""
        keys, ttls = [self.keys[at] for at in chosen], [self.ttls[at] for at in chosen]
        return _Rows(keys, ttls, [row] * len(keys), self.hashes[list(chosen)])


@dataclass(frozen=True)
class _Looked:
    """A batch that is watched and asked for: what is there has to have the marks `expected`, or be as in `rows`."""

    keys: Sequence[bytes]
    ttls: Sequence[int]
    rows: Sequence[Cells]
    expected: NDArray[numpy.int64]
    tries: int = _TRIES

    def again(self) -> _Looked:
        return dataclasses.replace(self, tries=self.tries - 1)


@dataclass
class _Writer:
    """Batches of keys, each in one transaction. The look at a batch goes out with the transaction of the one before."""

    work: Work
    gives_way: bool
    _sent: tuple[_Looked, int] | None = None
    """Whose transaction has no answer yet, and how many commands it has."""
    _out: list[bytes] = field(default_factory=list)

    def take(self, some: _Rows, expected: NDArray[numpy.int64]) -> None:
        for start in range(0, len(some.keys), _BATCH):
            cut = slice(start, start + _BATCH)
            self._one(_Looked(some.keys[cut], some.ttls[cut], some.rows[cut], expected[cut]))

    def end(self) -> None:
        if self._out:
            self.work.client.send(b"".join(self._out))
            self._out = []
        self._finished()

    def _one(self, batch: _Looked) -> None:
        client, ask = self.work.client, self.work.ask
        self._out.append(resp.command(b"WATCH", *batch.keys))
        self._out += [ask % (len(key), key) for key in batch.keys]
        client.send(b"".join(self._out))
        self._out = []
        behind = self._finished(is_retried=False)
        client.answers(1)
        live = client.hashes(len(batch.keys), len(self.work.fields))
        commands = self._changes(batch, live)
        if commands:
            self._out = [b"*1\r\n$5\r\nMULTI\r\n", *commands, b"*1\r\n$4\r\nEXEC\r\n"]
            self._sent = (batch, len(commands))
        else:
            client.ask(b"UNWATCH")
        if behind is not None:
            self.end()
            self._again(behind)

    def _again(self, batch: _Looked) -> None:
        """Somebody wrote to one of its keys between the look and the end: another look."""
        if not batch.tries:
            raise Conflict(
                f"{self.work.label}: somebody writes to the same keys without a pause", expected="a moment of rest",
                found=f"{len(batch.keys)} keys that change", hint="stop the materialization, then try again",
            )  # fmt: skip
        self._one(batch.again())
        self.end()

    def _finished(self, *, is_retried: bool = True) -> _Looked | None:
        """Takes the answer to the transaction on its way; the batch if it was not done, and is not tried again."""
        if self._sent is None:
            return None
        (batch, count), self._sent = self._sent, None
        if self.work.client.went(b"+OK\r\n" + b"+QUEUED\r\n" * count + b"*%d\r\n" % count + b":0\r\n" * count):
            return None
        answers = self.work.client.answers(count + 2)
        done = answers[-1]
        said = [*answers[:-1], *(done if isinstance(done, list) else [done])]
        wrong = next((one for one in said if isinstance(one, resp.Failed)), None)
        if wrong is not None:
            raise Unavailable(wrong.message, hint="is it a replica, or out of memory? `redis-cli INFO`")
        if isinstance(done, list):
            return None
        if not is_retried:
            return batch
        self._again(batch)
        return None

    def _changes(self, batch: _Looked, live: Sequence[Cells]) -> list[bytes]:
        """The commands for a batch. Conflict, with nothing watched."""
        work, nothing = self.work, (None,) * len(self.work.fields)
        is_known = keyset.hashes(live) == batch.expected
        pairs = zip(batch.keys, live, batch.rows, strict=True)
        if is_known.all() and nothing not in live and None not in chain.from_iterable(batch.rows):
            hset = work.hset
            flat: list[tuple[Any, ...]] = [(key, *row) for key, now, row in pairs if now != row]
            return [hset % tuple([one for word in words for one in (len(word), word)]) for words in flat]
        absent = [key for key, now in zip(batch.keys, live, strict=True) if now == nothing]
        known = work.client.pipeline([resp.command(b"EXISTS", key) for key in absent], len(absent)) if absent else []
        gone = {key for key, exists in zip(absent, known, strict=True) if not exists}
        commands: list[bytes] = []
        for at, (key, now, row) in enumerate(pairs):
            if now == row:
                continue
            if not is_known[at]:
                if self.gives_way:
                    continue
                if now != nothing:  # else its time to live ended
                    work.client.ask(b"UNWATCH")
                    raise Conflict(
                        f"{work.label}: somebody wrote values since the look; what was put back of ours is taken out "
                        "again",
                        expected="values as they were planned with", found=f"others at the key {key.hex()[:40]}",
                        hint="stop what writes there (`ddr features list` has the states), look again, then plan again",
                    )  # fmt: skip
            commands += self._commands(key, now, row, batch.ttls[at], is_new=key in gone)
        return commands

    def _commands(self, key: bytes, live: Cells, wanted: Cells, ttl: int, *, is_new: bool) -> Iterator[bytes]:
        put: list[bytes] = []
        gone: list[bytes] = []
        for name, old, new in zip(self.work.fields, live, wanted, strict=True):
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


def union(*states: stores.Opened) -> list[str]:
    """The columns of all of them that are fields."""
    names: set[str] = set()
    for state in states:
        first = next(iter(state()), None)
        names |= set(first.names) if first is not None else set()
    return sorted(names - {KEY, PTTL})


def hmget(fields: Sequence[bytes]) -> bytes:
    """Waits for the length of a key, and the key."""
    words = b"".join(b"$%d\r\n%b\r\n" % (len(one), one) for one in fields).replace(b"%", b"%%")
    return b"*%d\r\n$5\r\nHMGET\r\n$%%d\r\n%%b\r\n" % (len(fields) + 2) + words
