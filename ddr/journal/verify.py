"""Walks the whole journal and says everything that is wrong with it, instead of stopping at the first thing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from ddr.errors import Missing
from ddr.journal import layout, log, mending, reading, trial
from ddr.ports import store


@dataclass(frozen=True)
class Report:
    """`findings` mean that the journal is not what was written; `notes` are things to know.

    `events` counts those that are there, `head` is the digest of the newest, '' where there is none.
    """

    events: int
    newest: int
    head: str
    segments: int
    findings: tuple[trial.Finding, ...] = ()
    notes: tuple[trial.Finding, ...] = ()
    advice: tuple[str, ...] = ()
    pending: int = 0

    @property
    def is_broken(self) -> bool:
        return bool(self.findings)


def verify(journal: log.Log) -> Report:
    """Read everything from the store; hold it against itself and against what this machine has seen.

    Only looks. Unavailable when the store is away, Displaced when the place is gone that this machine has seen it in.
    """
    source = journal.store
    try:
        source.head(layout.event_key(1))
    except store.Absent:
        journal.witness.hold_place(journal.witness.anchor())
        raise
    seen = reading.survey(source)
    court = trial.Trial(_memory(journal))
    for key in seen.others:
        court.find(0, f"{key} has no business among the journal's keys")
    for span in _spans(seen.newest):
        for seq, raw in _events(source, seen, span, court):
            court.take(seq, raw)
    court.end(seen.newest)
    waiting = _look_at_spool(journal, court)
    return Report(
        court.events,
        seen.newest,
        court.head.digest,
        len(seen.segments),
        tuple(court.findings),
        tuple(court.notes),
        _advice(journal) if court.findings else (),
        waiting,
    )


def _advice(journal: log.Log) -> tuple[str, ...]:
    anchor = journal.witness.anchor()
    try:
        journal.witness.hold_place(anchor)
        examined = mending.examine(journal)
        return tuple(mending.advice(journal, examined))
    except reading.Displaced as problem:
        return (problem.hint,)
    except OSError:
        return ()  # the spool, which has a finding of its own


def _memory(journal: log.Log) -> trial.Memory:
    """What this machine has seen; nothing of it counts where there is another journal, or none."""
    anchor = journal.witness.anchor()
    copy = journal.witness.copy
    if anchor is None and not journal.store.is_shared:
        return trial.Memory({})
    if anchor is not None and (displaced := journal.witness.displaced(anchor)):
        return trial.Memory({}, displaced=reading.Displaced(anchor.head.seq, journal.store.name, displaced))
    copied = {seq: layout.digest_of(raw) for seq, raw in enumerate(copy.read(), 1)}
    if anchor is None:
        return trial.Memory(copied)
    return trial.Memory({**copied, anchor.head.seq: anchor.head.digest})


def _spans(newest: int) -> Iterator[layout.Span]:
    for first in range(1, newest + 1, layout.SEGMENT_SIZE):
        span = layout.span_of(first)
        yield dataclasses.replace(span, last=min(span.last, newest))


def _events(
    source: store.Store, seen: reading.Inventory, span: layout.Span, court: trial.Trial
) -> Iterator[tuple[int, bytes | None]]:
    """The events of a span as readers get them; None for one that is missing."""
    seqs = [seq for seq in range(span.first, span.last + 1) if seq in seen.singles]
    single = {seq: raw for seq, raw in reading.singles(source, seqs) if raw is not None}
    whole = layout.span_of(span.first)
    folded: dict[int, bytes] = {}
    if whole in seen.segments:
        try:
            folded = dict(enumerate(reading.segment(source, whole), whole.first))
        except (reading.Broken, Missing) as problem:
            court.find(whole.first, problem.message)
    for seq, raw in single.items():
        if folded and folded[seq] != raw:
            court.find(
                seq,
                f"a stray lies under {layout.event_key(seq)}: its segment has another event; it is not read",
                layout.digest_of(folded[seq]),
                layout.digest_of(raw),
            )
    for seq in range(span.first, span.last + 1):
        yield seq, folded.get(seq, single.get(seq))


def _look_at_spool(journal: log.Log, court: trial.Trial) -> int:
    """How many events wait there."""
    try:
        waiting, unreadable = journal.spool.waiting(), journal.spool.unreadable()
    except OSError as problem:
        court.find(0, f"the spool {journal.spool.folder} cannot be read: {problem.strerror}")
        return 0
    if waiting:
        count = "1 event waits" if len(waiting) == 1 else f"{len(waiting)} events wait"
        court.note(0, f"{count} in the spool {journal.spool.folder}: `ddr journal sync`")
    for path in unreadable:
        court.find(0, f"{path} in the spool is no event; it cannot be joined")
    return len(waiting)
