"""Lost and changed events: which they are, who has a copy of them, and putting the copy back.

What an event was is known from the one behind it, which names its digest, or from what this machine has seen. So a
copy is either the same bytes or it is none, wherever it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddr.domain import journal_records
from ddr.errors import Missing
from ddr.journal import codec, layout, log, mirror, reading
from ddr.lib import digest, durable
from ddr.ports import store


@dataclass(frozen=True)
class Wound:
    """An event that is `missing` or changed. `expected` is its digest, '' where nobody knows it; `copy` has its bytes
    and `source` says where they were found."""

    seq: int
    missing: bool
    expected: str
    copy: bytes | None = None
    source: str = ""


@dataclass(frozen=True)
class Examined:
    """The events as they should be, as far as their bytes are known, and those the store does not have so."""

    raws: Mapping[int, bytes]
    wounds: tuple[Wound, ...]
    newest: int

    @property
    def is_curable(self) -> bool:
        return all(wound.copy is not None for wound in self.wounds)


Copy = tuple[str, Callable[[int], bytes | None]]


def examine(journal: log.Log, others: Sequence[store.Store] = ()) -> Examined:
    """Walk from the newest event to the first; `others` are stores that may have copies. Only looks. Unavailable."""
    there = dict(_stored(journal.store))
    anchor = journal.witness.anchor()
    newest = max(max(there, default=0), anchor.head.seq if anchor else 0)
    copies = _copies(journal, others, there)
    expected = ""
    raws: dict[int, bytes] = {}
    wounds: list[Wound] = []
    for seq in range(newest, 0, -1):
        if not expected and anchor is not None and seq == anchor.head.seq:
            expected = anchor.head.digest
        raw = there.get(seq)
        if raw is None or (expected and layout.digest_of(raw) != expected):
            is_torn_end = raw is not None and seq == max(there) and reading.link(seq, raw).event is None
            source, copy = _found(copies, seq, expected)
            if copy is not None or not is_torn_end:  # readers go on over a torn end
                wounds.append(Wound(seq, raw is None, expected, copy, source))
            raw = copy if copy is not None else raw
        if raw is not None:
            raws[seq] = raw
        event = reading.link(seq, raw).event if raw is not None else None
        expected = event.previous if event is not None else ""
    return Examined(raws, tuple(reversed(wounds)), newest)


def _stored(source: store.Store) -> Iterator[tuple[int, bytes]]:
    """What is there, as readers get it; of a segment that is damaged, the lines that say which event they are."""
    seen = reading.survey(source)
    for seq, raw in reading.singles(source, sorted(seen.singles)):
        if raw is not None:
            yield seq, raw
    for span in sorted(seen.segments):
        try:
            raws = layout.unpack(source.get(layout.segment_key(span)))
        except Missing:
            continue
        for at, raw in enumerate(raws):
            event = reading.link(0, raw).event
            if len(raws) == layout.SEGMENT_SIZE:
                yield span.first + at, raw
            elif event is not None and span.first <= event.seq <= span.last:
                yield event.seq, raw


def _copies(journal: log.Log, others: Sequence[store.Store], there: Mapping[int, bytes]) -> list[Copy]:
    folder = journal.witness.copy.path.parent
    found: list[Copy] = [("what this machine has seen", _in_file(journal.witness.copy))]
    found += [(path.name, _in_file(mirror.Mirror(folder, path.name))) for path in folder.glob("journal-copy-*.jsonl")]
    found += [(other.name, lambda seq, other=other: _in_store(other, seq)) for other in others]  # type: ignore[misc]
    waiting = [entry.draft for entry in journal.spool.waiting()]
    single = [("single event beside its segment", lambda seq: reading.single(journal.store, seq))]

    def spooled(seq: int) -> bytes | None:
        before = there.get(seq - 1)
        fitting = (codec.encode(seq, layout.digest_of(before), draft) for draft in waiting) if before else ()
        after = reading.link(seq + 1, there[seq + 1]).event if seq + 1 in there else None
        return next((raw for raw in fitting if after and layout.digest_of(raw) == after.previous), None)

    return [*found, *single, ("the spool", spooled)]


def _in_file(copy: mirror.Mirror) -> Callable[[int], bytes | None]:
    raws: list[Sequence[bytes]] = []

    def of(seq: int) -> bytes | None:
        if not raws:
            raws.append(copy.read())
        return raws[0][seq - 1] if seq <= len(raws[0]) else None

    return of


def _in_store(other: store.Store, seq: int) -> bytes | None:
    try:
        return reading.at(other, seq)
    except reading.Broken:
        return None


def _found(copies: Sequence[Copy], seq: int, expected: str) -> tuple[str, bytes | None]:
    if expected:
        for name, of in copies:
            raw = of(seq)
            if raw is not None and layout.digest_of(raw) == expected:
                return name, raw
    return "", None


def mend(journal: log.Log, examined: Examined) -> journal_records.JournalMended:
    """Put every known copy back. What stood there is kept beside what this machine has seen. May be repeated, also
    after a crash. Unavailable, OSError; Conflict when somebody else wrote there meanwhile."""
    folder, target = journal.witness.seen.path.parent, journal.store
    segments = reading.survey(target).segments
    healed = [wound for wound in examined.wounds if wound.copy is not None]
    aside = []
    for span in sorted({layout.span_of(wound.seq) for wound in healed} & segments):
        if all(seq in examined.raws for seq in range(span.first, span.last + 1)):
            aside.append(unfold(target, span, examined.raws, folder))
            target.create(layout.segment_key(span), layout.pack(examined.raws[seq] for seq in _numbers(span)))
    for wound in healed:
        if wound.copy is None or (layout.span_of(wound.seq) in segments):
            continue
        key = layout.event_key(wound.seq)
        if not wound.missing:
            aside.append(keep(folder, f"journal-event-{wound.seq}", target.get(key)))
            target.delete(key)
        target.create(key, wound.copy)
    copy = journal.witness.copy
    for wound in healed:  # the copy may have seen the damage; the next reader completes it again
        if list(copy.read(wound.seq)[:1]) != [wound.copy]:
            copy.cut(wound.seq)
            break
    return journal_records.JournalMended(
        tuple(wound.seq for wound in healed),
        tuple(dict.fromkeys(wound.source for wound in healed)),
        tuple(path.name for path in aside),
    )


def unfold(target: store.Store, span: layout.Span, raws: Mapping[int, bytes], folder: Path) -> Path:
    """Take a segment away, its known events stand alone before; where its bytes are kept."""
    key = layout.segment_key(span)
    for seq in _numbers(span):
        alone = reading.single(target, seq)
        if seq in raws and alone != raws[seq]:
            if alone is not None:
                target.delete(layout.event_key(seq))
            target.create(layout.event_key(seq), raws[seq])
    kept = keep(folder, f"journal-segment-{span.first}", target.get(key))
    target.delete(key)
    return kept


def keep(folder: Path, name: str, content: bytes) -> Path:
    """A file of these bytes, under a name that only these bytes have. OSError."""
    path = folder / f"{name}-{layout.digest_of(content).removeprefix(digest.PREFIX)[:12]}"
    durable.make_folder(folder)
    durable.replace(path, content)
    return path


def _numbers(span: layout.Span) -> range:
    return range(span.first, span.last + 1)


def advice(journal: log.Log, examined: Examined) -> list[str]:
    """How to go on, a sentence each."""
    said = []
    for wound in examined.wounds[:10]:
        if wound.copy is not None:
            said.append(f"event {wound.seq}: {wound.source} has it whole: `ddr journal repair` brings it back")
        else:
            known = f" with sha256 {wound.expected.removeprefix(digest.PREFIX)}" if wound.expected else ""
            key = layout.event_key(wound.seq)
            said.append(f"event {wound.seq}: no copy of it is on this machine. Wanted is {key}{known}")
    if len(examined.wounds) > len(said):
        said.append(f"and {len(examined.wounds) - len(said)} more events")
    if not examined.is_curable:
        said.append(
            "an older copy of the repository has it: `ddr journal repair --from FOLDER`; so may a backup: "
            "`ddr restore journal --apply`, after moving away an event that was changed"
        )
        first = next(wound.seq for wound in examined.wounds if wound.copy is None)
        if not journal.store.is_shared:
            said.append(f"to go on without it: `ddr journal adopt --from {first}` (what follows is written anew)")
    return said
