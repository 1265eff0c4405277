"""Walks the whole journal and says everything that is wrong with it, instead of stopping at the first thing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from ddr.errors import Missing
from ddr.journal import layout, log, reading, trial
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

    @property
    def is_broken(self) -> bool:
        return bool(self.findings)


def verify(journal: log.Log) -> Report:
    """Read everything from the store; hold it against itself and against what this machine has seen.

    Only looks. Unavailable when the store is away.
    """
    source = journal.store
    seen = reading.survey(source)
    court = trial.Trial(_memory(journal))
    for key in seen.others:
        court.find(0, f"{key} has no business among the journal's keys")
    for span in _spans(seen.newest):
        for seq, raw in _events(source, seen, span, court):
            court.take(seq, raw)
    court.end(seen.newest)
    _look_at_spool(journal, court)
    return Report(
        court.events, seen.newest, court.head.digest, len(seen.segments), tuple(court.findings), tuple(court.notes)
    )


def _memory(journal: log.Log) -> trial.Memory:
    """What this machine has seen; of another journal that was in the same folder before, nothing counts."""
    anchor = journal.witness.anchor()
    copy = journal.witness.copy
    copied = {seq: layout.digest_of(raw) for seq, raw in enumerate(copy.read(), 1)} if copy is not None else {}
    if anchor is None:
        return trial.Memory(copied)
    if journal.witness.is_another(anchor):
        return trial.Memory({}, before=anchor.head)
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


def _look_at_spool(journal: log.Log, court: trial.Trial) -> None:
    try:
        waiting, unreadable = journal.spool.waiting(), journal.spool.unreadable()
    except OSError as problem:
        court.find(0, f"the spool {journal.spool.folder} cannot be read: {problem.strerror}")
        return
    if waiting:
        court.note(0, f"{len(waiting)} events wait in the spool {journal.spool.folder}: `ddr journal sync`")
    for path in unreadable:
        court.find(0, f"{path} in the spool is no event; it cannot be joined")
