"""The journal of one repository, as one process of one machine writes and reads it."""

from __future__ import annotations

import collections
import contextlib
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from ddr.domain import events as events_
from ddr.domain import records
from ddr.errors import DdrError, Unavailable
from ddr.journal import codec, layout, mirror, outage, reader, reading, seen, segments, tail, witness
from ddr.journal import spool as spools
from ddr.lib import clock as clocks
from ddr.lib import process
from ddr.ports import journal as port
from ddr.ports import store

Warn = Callable[[str], None]


def _silent(text: str) -> None: ...


class _Passed:
    """Which events a reader does not ask for. Without kinds it asks for all."""

    def __init__(self, kinds: Collection[type[records.Record]]) -> None:
        self._kinds = frozenset(kinds)
        self._named = frozenset([*(kind.kind.encode() for kind in kinds), b""])

    def left(self, links: Sequence[reading.Link]) -> Sequence[reading.Link]:
        """Told from the bytes alone; where they do not tell, the event has to be decoded."""
        if not self._kinds:
            return links
        named, kind_of = self._named, codec.kind_of
        return [link for link in links if kind_of(link.raw) in named]

    def wants(self, event: events_.Event) -> bool:
        return not self._kinds or type(event.record) in self._kinds


class Log:
    """Implements ports.journal.Journal. Safe between threads; processes and machines need nothing in common but the
    store.

    `spool` and `state` are folders of this repository on this machine: events that wait for the store, and what was
    seen of it. `clock` gives `Event.at`, the time of the platform; `wall` and `mono` are the clocks of the machine.
    `warn` gets a sentence for the person when the store is away, is back, or does not show what was seen before.
    """

    def __init__(
        self,
        target: store.Store,
        spool: Path,
        state: Path,
        actor: str,
        host: str,
        clock: clocks.Clock,
        *,
        wall: clocks.Clock | None = None,
        mono: Callable[[], float] = time.monotonic,
        warn: Warn = _silent,
    ) -> None:
        self.store = target
        self.spool = spools.Spool(spool, warn)
        self.witness = witness.Witness(target, seen.Seen(state), mirror.Mirror(state), warn)
        self._outage = outage.Outage(state, mono, process.boot_id())
        self._tail = tail.Tail(target, self.witness)
        self._reader = reader.Reader(target, self.witness, self._outage, warn)
        self._actor = actor
        self._host = host
        self._clock = clock
        self._wall = wall or clocks.SystemClock()
        self._mono = mono
        self._warn = warn
        self._is_told_away = False
        self._is_walked = False
        self._lock = threading.RLock()

    def append(self, record: records.Record, unless: port.Unless | None = None) -> events_.Event:
        """Durable when it returns. With the store away the event is in the spool and `is_spooled`.

        A shared store comes second: the event is in the spool before the network is asked, and leaves it afterwards.
        A store on this machine is as durable as the spool and comes alone. Unavailable when the event could be
        written to neither: then nothing may be done. Broken when the store does not show what this machine has seen,
        and for a store on this machine also when an event is damaged anywhere: nothing is put behind that. Overtaken
        when `unless` says so; such an event is not spooled before, as whoever finds it there joins it unasked.
        """
        with self._lock:
            self._walk()
            base = self._tail.base()
            draft = self._draft(record)
            entry = self._spooled_first(base, draft) if self.store.is_shared and unless is None else None
            problem: Unavailable | None = None
            if self._outage.lasts():
                self._hold_place(None)
            else:
                try:
                    return self._join(draft, entry, base, unless)
                except Unavailable as away:
                    problem = away
                except DdrError:
                    self._take_back(entry)
                    raise
            if entry is None:
                self._spooled(base, draft, problem)
            if not self._is_told_away:
                self._tell_away(f"{self.store.name} did not answer a moment ago")
            return codec.of_draft(draft)

    def events(self, after: int = 0, kinds: Collection[type[records.Record]] = ()) -> Iterator[events_.Event]:
        """Events with seq > `after` in order, then the spooled ones; of these `kinds` alone where some are named.
        Broken where the chain does not hold: it is held against every event, also of kinds that are not asked for.

        A torn event is left out. With a shared store away: what this machine has seen of it, and a warning.
        """
        passed = _Passed(kinds)
        waiting = self._waiting()  # before the store is read: what is joined in between is then seen there
        start = min([after, *(entry.base for entry in waiting)])
        ids = set()
        last: Sequence[reading.Link] = ()
        for last in self._links(max(start, 1)):
            for link in last if waiting else passed.left(last):
                if link.seq <= start:
                    continue
                event = link.event
                if event is None:
                    continue
                if waiting:
                    ids.add(event.id)
                if link.seq > after and passed.wants(event):
                    yield event
        with self._lock:
            self._is_walked = self._is_walked or start <= 1
            if last:
                self._tail.learn(last[-1].head)
        for entry in waiting:
            if entry.draft.id not in ids:
                ids.add(entry.draft.id)
                event = codec.of_draft(entry.draft)
                if passed.wants(event):
                    yield event

    def head(self) -> layout.Head:
        """The newest event in the store, looked for now. Unavailable, Broken."""
        with self._lock:
            try:
                return self._tail.head()
            except store.Absent as away:
                self._hold_place(away)
                raise

    def pending(self) -> int:
        """How many events wait on this machine for the store."""
        return len(self._waiting())

    def draft(self, record: records.Record) -> codec.Draft:
        """The record as an event that has no place yet."""
        return self._draft(record)

    def begin_anew(self, record: records.Record, behind: layout.Head) -> events_.Event:
        """Put the event behind `behind`, which the caller has found to be the newest one, and keep aside what was
        known before. For a person who wants it so, on a store of this machine. OSError, Unavailable."""
        with self._lock:
            self._tail = tail.Tail(self.store, self.witness)
            self._tail.learn(behind)
            this = self._tail.place(self._draft(record), {}, None)
            self.forget(this.digest)
            self.witness.note([this])
            assert this.event is not None  # we have just encoded it
            return this.event

    def forget(self, mark: str) -> None:
        """Keep aside what this machine has seen: what is there now is believed. OSError."""
        with self._lock:
            self.witness.set_aside(mark.rpartition(":")[2][-12:])
            self._tail = tail.Tail(self.store, self.witness)
            self._reader = reader.Reader(self.store, self.witness, self._outage, self._warn)
            self._is_walked = False

    def sync(self) -> int:
        """Join what waits in the spool, in order, each event once also after a crash; how many were joined.

        They keep their times, actor and host. Unavailable when the store is (still) away: what was joined until
        then is joined. Broken when the chain does not hold.
        """
        with self._lock:
            self._look_at_all()
            joined = self._join_all(self._waiting())
            if not joined:
                self._tail.head()  # says whether the store is there
            self._end_outage()
            return len(joined)

    def compact(self, *, keep: int = segments.KEEP) -> segments.Compacted:
        """Fold old events into segments, all but the newest `keep`. Anyone may, at any time, also two at once."""
        return segments.compact(self.store, self._reader.links, keep=keep)

    def _links(self, start: int) -> Iterator[Sequence[reading.Link]]:
        try:
            yield from self._reader.links(start)
        except store.Absent as away:
            self._hold_place(away)
            raise

    def _hold_place(self, away: Unavailable | None) -> None:
        """A disk that is not mounted is no outage to be bridged: the spool would hide it."""
        if away is None or isinstance(away, store.Absent):
            with contextlib.suppress(Unavailable):
                self.witness.hold_place(self.witness.anchor())

    def _walk(self) -> None:
        """Look at the whole chain once before the first write. A shared store is only looked at from where this
        machine has seen it, because each event costs a way through the network."""
        if not self._is_walked and not self.store.is_shared:
            with contextlib.suppress(Unavailable):  # the write will find that out, and wait in the spool
                self._look_at_all()

    def _look_at_all(self) -> None:
        """Broken when the chain does not hold."""
        last = list(itertools.chain.from_iterable(collections.deque(self._links(1), maxlen=1)))
        self._is_walked = True
        if last:
            self._tail.learn(last[-1].head)

    def _draft(self, record: records.Record) -> codec.Draft:
        body = codec.body_of(record)
        return codec.Draft(
            id=secrets.token_hex(8),
            at=self._clock.now(),
            wall=self._wall.now(),
            mono_s=round(self._mono(), 6),
            actor=self._actor,
            host=self._host,
            kind=record.kind,
            body=body,
        )

    def _join(
        self, draft: codec.Draft, entry: spools.Waiting | None, base: int, unless: port.Unless | None
    ) -> events_.Event:
        """Put the draft behind all that wait before it. Unavailable, and then the store is left alone for a while."""
        before = [other for other in self._waiting() if entry is None or other.path < entry.path]
        began_s = self._outage.now_s()
        try:
            known: dict[str, reading.Link] = {}
            earlier = self._join_all(before, known)
            this = self._tail.place(draft, known, base if entry else None, unless)
        except Unavailable as problem:
            self._hold_place(problem)
            self._begin_outage(problem, began_s)
            raise
        self._done(entry, this)
        if self._end_outage() and earlier:
            self._warn(f"{len(earlier)} events that waited on this machine were joined, up to {earlier[-1].seq}")
        assert this.event is not None  # we have just encoded it
        return this.event

    def _join_all(
        self, waiting: Sequence[spools.Waiting], known: dict[str, reading.Link] | None = None
    ) -> list[reading.Link]:
        known = {} if known is None else known
        if waiting:
            known.update(self._tail.look(min(entry.base for entry in waiting)))
        joined = []
        for entry in waiting:
            this = self._tail.place(entry.draft, known, entry.base)
            self._done(entry, this)
            joined.append(this)
        return joined

    def _done(self, entry: spools.Waiting | None, this: reading.Link) -> None:
        self.witness.note([this])
        if entry is not None:
            try:
                self.spool.remove(entry)
            except OSError as problem:
                self._warn(f"{entry.path} is in the store and cannot be removed ({problem.strerror}); it does no harm")

    def _waiting(self) -> Sequence[spools.Waiting]:
        try:
            return self.spool.waiting()
        except OSError as problem:
            self._warn(f"the journal's spool {self.spool.folder} cannot be read ({problem.strerror})")
            return []

    def _spooled_first(self, base: int, draft: codec.Draft) -> spools.Waiting | None:
        """None when the spool cannot be written: with the store there, that stops nobody."""
        try:
            return self.spool.add(base, draft)
        except OSError as problem:
            self._warn(
                f"the journal's spool {self.spool.folder} cannot be written ({problem.strerror}): "
                f"when {self.store.name} goes away, ddr must stop"
            )
            return None

    def _take_back(self, entry: spools.Waiting | None) -> None:
        """The caller is told that nothing was recorded, so nothing may be joined later either."""
        if entry is not None:
            try:
                self.spool.remove(entry)
            except OSError as problem:
                self._warn(f"{entry.path} was not wanted and cannot be removed ({problem.strerror}): remove it by hand")

    def _spooled(self, base: int, draft: codec.Draft, problem: Unavailable | None) -> None:
        try:
            self.spool.add(base, draft)
        except OSError as full:
            away = problem.message if problem else f"{self.store.name} is away"
            raise Unavailable(
                f"the journal can be written nowhere: {away}; and its spool {self.spool.folder}: {full.strerror}",
                hint="nothing may be done unrecorded: make room, or name another spool",
            ) from problem or full

    def _begin_outage(self, problem: Unavailable, began_s: float) -> None:
        try:
            self._outage.begin(began_s)
        except OSError as full:
            self.witness.tell(full)
        self._tell_away(problem.message, problem)

    def _tell_away(self, why: str, problem: Unavailable | None = None) -> None:
        self._is_told_away = True
        state, then = "IS AWAY", "When it is back"
        if isinstance(problem, store.Full):
            state, then = "IS FULL", f"When there is room again ({problem.hint})"
        elif isinstance(problem, store.Unusable) and not isinstance(problem, store.Absent):
            state, then = "CANNOT BE WRITTEN", f"When it can ({problem.hint})"
        self._warn(
            f"THE STORE {state}: {why}. ddr goes on from {self.spool.folder}; others do not see what you do. "
            f"{then}: `ddr journal sync`"
        )

    def _end_outage(self) -> bool:
        """Whether the store was away before."""
        self._is_told_away = False
        try:
            return self._outage.end()
        except OSError as problem:
            self.witness.tell(problem)
            return True
