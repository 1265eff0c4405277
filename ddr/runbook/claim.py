"""Who works on a run. One at a time; the newest claim in the journal is the fence that stops an older owner."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.domain import records
from ddr.errors import Refused
from ddr.journal import run_view
from ddr.lib import process
from ddr.ports import journal
from ddr.runbook import history

SLACK = timedelta(minutes=2)
"""A lease lasts as long as the longest step may take, and so much longer."""


@dataclass(frozen=True)
class Owner:
    """A process, named so that a later one with the same number is not taken for it."""

    pid: int
    process_started: str
    boot: str

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        return cls(os.getpid(), process.started_at(os.getpid()), process.boot_id())

    def holds(self, claim: records.RunClaimed) -> bool:
        return (claim.pid, claim.process_started, claim.boot) == (self.pid, self.process_started, self.boot)


def is_alive(claim: records.RunClaimed, now: datetime) -> bool:
    """Whether the owner still runs. On another machine (or before a reboot) its lease is all there is to go by."""
    if claim.boot == process.boot_id():
        return process.started_at(claim.pid) == claim.process_started
    return now < claim.until


def take(
    log: journal.Journal,
    seen: run_view.Run,
    owner: Owner,
    now: datetime,
    longest_s: float,
    *,
    take_over: bool,
    only: tuple[str, ...] = (),
) -> str:
    """Claim the run, or `only` some steps of one that has ended; the id of the claim.

    Raises Refused when a living process works on it.
    """
    held = seen.claim
    is_held = held is not None and not history.is_released(seen) and not owner.holds(held.record)
    if held is not None and is_held and not take_over and is_alive(held.record, now):
        raise Refused(
            f"run {seen.id} is worked on by {held.actor} on {held.host} (process {held.record.pid})",
            hint="let it end or stop it; with --take-over you become the owner and it stops before its next effect",
        )
    until = now + timedelta(seconds=longest_s) + SLACK
    record = records.RunClaimed(seen.id, owner.pid, owner.process_started, owner.boot, until, only)
    return log.append(record).id
