"""A person takes the journal as it is: begun anew, another one, an older one, or one with a loss that nobody heals.

Only for a store on this machine. What was known, and what is left out, is kept beside what this machine has seen.
"""

from __future__ import annotations

from ddr.domain import events, journal_records
from ddr.errors import InputError, Refused, Unavailable
from ddr.journal import codec, layout, log, mending, reading
from ddr.lib import redact


def adopt(journal: log.Log, why: str) -> events.Event:
    """Acknowledge what is there in place of the journal that was seen, and record that as its next event.

    Refused where there is nothing to acknowledge, Broken where what is there is damaged itself.
    """
    anchor = _require_local(journal).witness.anchor()
    newest = layout.NOTHING
    for batch in reading.checked(reading.stored(journal.store), layout.FIRST_PREVIOUS):
        newest = batch[-1].head if batch else newest
    if anchor is not None:
        raw = reading.at(journal.store, anchor.head.seq)
        if raw is not None and layout.digest_of(raw) == anchor.head.digest:
            anchor = None
    if anchor is None:
        raise Refused(
            f"{journal.store.name} has the journal that this machine knows; there is nothing to acknowledge",
            hint="`ddr journal verify` says whether something else is wrong",
        )
    aside = str(journal.witness.seen.path.parent)
    record = journal_records.JournalAdopted(anchor.head.seq, anchor.head.digest, newest.seq, aside, why)
    try:
        return journal.begin_anew(record, newest)
    except OSError as problem:
        raise _away(problem) from problem


def adopt_from(journal: log.Log, seq: int, why: str) -> journal_records.JournalAdopted:
    """Go on without the damaged events from `seq` on, the first of them. The whole ones behind it are written anew,
    each once, with their times and actors; the old bytes are kept aside. Cut off, it may be called again.

    InputError when the first damage is elsewhere, Refused when there is none or a copy is known.
    """
    _require_local(journal)
    anchor = journal.witness.anchor()
    journal.witness.hold_place(anchor)
    examined = mending.examine(journal)
    lost = tuple(wound.seq for wound in examined.wounds if wound.copy is None)
    if not lost:
        raise Refused(
            "no event is lost: nothing was changed",
            hint="`ddr journal repair` brings back what is damaged" if examined.wounds else "`ddr journal verify`",
        )
    if seq != lost[0]:
        raise InputError(f"the first event that is lost is {lost[0]}, not {seq}; nothing was changed")
    folder = journal.witness.seen.path.parent
    later = [reading.link(each, raw) for each, raw in sorted(examined.raws.items()) if each >= seq]
    whole = [link.event for link in later if link.event is not None and link.seq not in lost]
    try:
        kept = mending.keep(folder, f"journal-from-{seq}", layout.pack(link.raw for link in later))
        record = journal_records.JournalAdopted(
            examined.newest, anchor.head.digest if anchor else "", seq - 1, kept.name, why, lost, len(whole)
        )
        waiting = {entry.draft.id for entry in journal.spool.waiting()}
        if not any(entry.draft.kind == record.kind for entry in journal.spool.waiting()):
            journal.spool.add(seq - 1, journal.draft(record))
        for link in later:
            if link.event in whole and link.event is not None and link.event.id not in waiting:
                journal.spool.add(seq - 1, codec.draft_of(link.raw))
        _take_away(journal, seq, examined)
        journal.forget(f"before-{seq}")
    except OSError as problem:
        raise _away(problem) from problem
    journal.sync()
    return record


def _require_local(journal: log.Log) -> log.Log:
    if journal.store.is_shared:
        raise Refused(
            f"{journal.store.name} is shared: what one machine takes for lost, another may have seen",
            hint="`ddr journal verify` names the damaged objects; bring them back (`ddr journal repair`, the bucket's "
            "own versions, a backup)",
        )
    return journal


def _take_away(journal: log.Log, seq: int, examined: mending.Examined) -> None:
    """Every event from `seq` on, the newest first: what is left is whole at any moment, but for the damage."""
    target, folder = journal.store, journal.witness.seen.path.parent
    for span in sorted(reading.survey(target).segments, reverse=True):
        if span.last >= seq:
            mending.unfold(target, span, examined.raws, folder)
    for each in sorted((each for each in reading.survey(target).singles if each >= seq), reverse=True):
        target.delete(layout.event_key(each))


def _away(problem: OSError) -> Unavailable:
    return Unavailable(
        f"what was known cannot be kept aside: {redact.foreign(problem)}", hint="make room, then call it again"
    )
