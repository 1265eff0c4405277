"""One event after the other is held against its neighbours, the clocks, and what this machine has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.domain import events, records
from ddr.journal import layout, reading
from ddr.lib import digest, timetext

CLOCK_SLACK = timedelta(seconds=5)  # on one machine: what NTP may step
MACHINES_SLACK = timedelta(seconds=60)  # between two machines


@dataclass(frozen=True)
class Finding:
    """One thing at event `seq` (0: at none in particular)."""

    seq: int
    what: str
    expected: str = ""
    found: str = ""

    def __str__(self) -> str:
        return f"event {self.seq}: {self.what}" if self.seq else self.what


@dataclass(frozen=True)
class Memory:
    """Digests this machine has seen, by number; `displaced` where the journal it has seen is not there."""

    digests: Mapping[int, str]
    displaced: reading.Displaced | None = None


class Trial:
    """Events are taken in order, each number once. `findings` and `notes` are complete after `end`."""

    def __init__(self, memory: Memory) -> None:
        self.findings: list[Finding] = []
        self.notes: list[Finding] = []
        self.events = 0
        self.head = layout.NOTHING
        self._memory = memory
        self._missing: list[int] = []
        self._breaks: dict[int, tuple[str, str]] = {}
        self._before: reading.Link | None = None
        self._foreign = 0
        self._walls: dict[str, datetime] = {}
        self._latest: tuple[datetime, str] | None = None

    def find(self, seq: int, what: str, expected: str = "", found: str = "") -> None:
        self.findings.append(Finding(seq, what, expected, found))

    def note(self, seq: int, what: str) -> None:
        self.notes.append(Finding(seq, what))

    def take(self, seq: int, raw: bytes | None) -> None:
        """The next event; None when it is missing."""
        if raw is None:
            self._missing.append(seq)
            self._before = None
            return
        this = reading.link(seq, raw)
        self.events += 1
        self.head = this.head
        known = self._memory.digests.get(seq, this.digest)
        if known != this.digest:
            self.find(seq, _changed("this machine has seen", known, this.digest), known, this.digest)
        if this.event is None:
            self.find(seq, f"torn: {len(raw)} bytes that are no event; readers leave it out, the chain goes on over it")
        else:
            self._hold(this, this.event)
        self._before = this

    def _hold(self, this: reading.Link, event: events.Event) -> None:
        if event.seq != this.seq:
            self.find(this.seq, f"it says that it is event {event.seq}: moved or copied here")
        before = layout.FIRST_PREVIOUS if this.seq == 1 else self._before.digest if self._before else None
        if before is not None and event.previous != before:
            self._breaks[this.seq] = (event.previous, before)
        self._foreign += isinstance(event.record, records.Foreign)
        self._hold_clocks(this.seq, event)

    def _hold_clocks(self, seq: int, event: events.Event) -> None:
        own = self._walls.get(event.host)
        latest, host = self._latest or (event.wall, event.host)
        if own is not None and own - event.wall > CLOCK_SLACK:
            self.note(seq, f"the clock of {event.host} went back by {timetext.format_duration(own - event.wall)}")
        elif host != event.host and latest - event.wall > MACHINES_SLACK:
            behind = timetext.format_duration(latest - event.wall)
            self.note(seq, f"the clock of {event.host} is {behind} behind that of {host}")
        self._walls[event.host] = event.wall
        self._latest = (event.wall, event.host)

    def end(self, newest: int) -> None:
        """All were taken; `newest` is the number of the last."""
        self._judge_breaks(newest)
        for first, last in _runs(self._missing):
            self.find(first, "it is missing" if first == last else f"it is missing, and all up to {last}")
        lost = [seq for seq in self._memory.digests if seq > newest]
        if lost:
            known = self._memory.digests[max(lost)]
            self.find(
                max(lost),
                f"the journal ends at event {newest}, and this machine has seen this one with digest "
                f"{digest.short(known)}: its end was cut off, or an old one was brought back",
                known,
            )
        if self._memory.displaced is not None:
            self.find(0, self._memory.displaced.message)
        if self._foreign:
            self.note(0, f"{self._foreign} events come from a newer ddr; they are kept and not understood")
        self.findings.sort(key=lambda finding: finding.seq)

    def _judge_breaks(self, newest: int) -> None:
        """Name the event that was changed: one that fits on neither side, else the earlier of two that do not fit."""
        said_of: set[int] = set()
        for seq, (expected, found) in self._breaks.items():
            if seq in said_of:
                continue
            if seq + 1 in self._breaks:
                said_of.add(seq + 1)
                self.find(seq, f"chain broken: it fits neither event {seq - 1} nor event {seq + 1}", expected, found)
            elif seq == 1:
                self.find(1, "chain broken: it is the first and follows another", expected, found)
            elif seq == newest:
                said = _changed(f"event {seq} recorded", expected, found)
                self.find(seq - 1, f"chain broken: {said}, or event {seq} was changed", expected, found)
            else:
                said = _changed(f"event {seq} recorded", expected, found)
                self.find(seq - 1, f"chain broken: {said}", expected, found)


def _changed(who: str, expected: str, found: str) -> str:
    return f"its bytes were changed: {who} digest {digest.short(expected) or 'none'}, it has {digest.short(found)}"


def _runs(seqs: list[int]) -> list[tuple[int, int]]:
    """Numbers in order as (first, last) of what follows without a gap."""
    runs: list[tuple[int, int]] = []
    for seq in seqs:
        if runs and runs[-1][1] == seq - 1:
            runs[-1] = (runs[-1][0], seq)
        else:
            runs.append((seq, seq))
    return runs
