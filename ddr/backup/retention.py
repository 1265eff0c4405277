"""Which snapshots stay: restic's grammar, and guards that no policy and no clock can override.

The grammar and its corner cases are those of `restic forget` (documentation 060_forget, `ApplySnapshotPolicy`): each
keep-N walks from the newest to the oldest and takes the newest of every hour, day, ISO week, month or year until N
are taken; while some are left to take, the very oldest is taken too; keep-within counts back from the newest
snapshot, not from now, so that a schedule that stands still ages nothing out. All in UTC.

Only complete snapshots count. What is decided here is only said; whoever forgets obeys.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ddr.backup import shrink
from ddr.domain import snapshots
from ddr.lib import timetext

UNLIMITED = -1
MINIMUM = 3


@dataclass(frozen=True)
class Policy:
    """0 and None keep nothing, -1 keeps without limit. Without any rule everything is kept, as in restic.

    `minimum`: so many of the newest complete snapshots stay whatever the rules say.
    """

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    keep_within: timedelta | None = None
    keep_within_hourly: timedelta | None = None
    keep_within_daily: timedelta | None = None
    keep_within_weekly: timedelta | None = None
    keep_within_monthly: timedelta | None = None
    keep_within_yearly: timedelta | None = None
    minimum: int = MINIMUM

    def __post_init__(self) -> None:
        for name, count in self._counts():
            if count < UNLIMITED:
                raise ValueError(f"keep{name.capitalize()} is {count}; write a number, or -1 for all")
        if self.minimum < 1:
            raise ValueError(f"minimum is {self.minimum}; at least 1 snapshot has to stay")

    @property
    def is_empty(self) -> bool:
        spans = (self.keep_within, *(span for _, span in self._spans()))
        return not any(count for _, count in self._counts()) and not any(spans)

    def _counts(self) -> tuple[tuple[str, int], ...]:
        return (
            ("last", self.keep_last),
            ("hourly", self.keep_hourly),
            ("daily", self.keep_daily),
            ("weekly", self.keep_weekly),
            ("monthly", self.keep_monthly),
            ("yearly", self.keep_yearly),
        )

    def _spans(self) -> tuple[tuple[str, timedelta | None], ...]:
        return (
            ("hourly", self.keep_within_hourly),
            ("daily", self.keep_within_daily),
            ("weekly", self.keep_within_weekly),
            ("monthly", self.keep_within_monthly),
            ("yearly", self.keep_within_yearly),
        )


DEFAULT = Policy(keep_within=timedelta(days=14), keep_daily=14, keep_weekly=8, keep_monthly=12)
"""Everything of two weeks (restic's advice against an attacker who pushes good ones out with many new ones: use
keep-within), then a year that thins out."""


RECOVERY_WINDOW = timedelta(days=14)
"""How far back each plane can be taken where ddr.yaml does not say: kept states of planes stay so long (`keeping`)."""


@dataclass(frozen=True)
class Kept:
    """`reasons` are the rules and guards that hold it, at least one. `warning` is what a person should look at."""

    snapshot: snapshots.Snapshot
    reasons: tuple[str, ...]
    warning: str = ""


@dataclass(frozen=True)
class Forgotten:
    snapshot: snapshots.Snapshot
    reasons: tuple[str, ...]


Decision = Kept | Forgotten


def decide(
    listed: Sequence[snapshots.Snapshot],
    policy: Policy,
    now: datetime,
    verified: Collection[str],
    drilled: Collection[str],
    minimum: int | None = None,
    accepted_at: datetime | None = None,
    needed: Mapping[str, str] | None = None,
) -> tuple[Decision, ...]:
    """One decision for each snapshot, the newest first. Pure; the order of `listed` does not matter.

    `verified` and `drilled` are the ids of snapshots that passed; `accepted_at` is when a person last said that what
    had shrunk until then was meant to. `minimum` stands in for the policy's. Never forgotten:

    - the newest complete one, the newest verified, the newest drilled (each also among the complete ones);
    - the newest `minimum` complete ones, filled up with the newest partial ones where there are not so many;
    - one dated after `now`: it counts for no rule, so that a wrong clock or an attacker pushes nothing out with it;
    - the last one before a component shrank suddenly, as long as no later one has it back (`shrink`);
    - a partial one that is newer than every complete one;
    - one that `needed` names, with the known-good release that needs it.

    What is kept of the result's kept ones, with the same arguments, is all of them; a policy that asks for more of
    anything keeps at least the same.
    """
    ordered = sorted(listed, key=lambda snapshot: (snapshot.at, snapshot.id), reverse=True)
    past = [snapshot for snapshot in ordered if snapshot.at <= now]
    complete = [snapshot for snapshot in past if snapshot.status is snapshots.Status.COMPLETE]
    least = policy.minimum if minimum is None else minimum
    reasons: dict[int, list[str]] = {id(snapshot): [] for snapshot in ordered}

    def keep(snapshot: snapshots.Snapshot, why: str) -> None:
        if why not in reasons[id(snapshot)]:
            reasons[id(snapshot)].append(why)

    _apply_rules(complete, policy, keep)
    _guard_newest(past, complete, verified, drilled, keep)
    partial = [snapshot for snapshot in past if snapshot.status is snapshots.Status.PARTIAL]
    for snapshot in [*complete, *partial][:least]:
        keep(snapshot, f"one of at least {least}")
    _guard_shrunken(complete, accepted_at, keep)
    for snapshot in ordered:
        if needed and snapshot.id in needed:
            keep(snapshot, f"release {needed[snapshot.id]} needs it")
    for snapshot in partial:
        if not complete or snapshot.at >= complete[0].at:
            keep(snapshot, "partial, and no complete one is newer")
    return tuple(_decision(snapshot, now, reasons[id(snapshot)]) for snapshot in ordered)


_Keep = Callable[[snapshots.Snapshot, str], None]


def _decision(snapshot: snapshots.Snapshot, now: datetime, reasons: Sequence[str]) -> Decision:
    if snapshot.at > now:
        ahead = timetext.format_duration(snapshot.at - now)
        warning = (
            f"{snapshot.id} is dated {ahead} in the future (host {snapshot.host}): a wrong clock here or there, or "
            "somebody who wants the others to age out; it counts for no rule"
        )
        return Kept(snapshot, (*reasons, "dated in the future"), warning)
    if reasons:
        return Kept(snapshot, tuple(reasons))
    if snapshot.status is snapshots.Status.PARTIAL:
        return Forgotten(snapshot, ("partial, and a complete one is newer",))
    return Forgotten(snapshot, ("no rule keeps it",))


def _period(kind: str, snapshot: snapshots.Snapshot) -> object:
    at = snapshot.at.astimezone(UTC)
    if kind == "weekly":
        return at.isocalendar()[:2]
    digits = {"hourly": 4, "daily": 3, "monthly": 2, "yearly": 1}
    return (at.year, at.month, at.day, at.hour)[: digits[kind]] if kind in digits else id(snapshot)


def _apply_rules(complete: Sequence[snapshots.Snapshot], policy: Policy, keep: _Keep) -> None:
    if policy.is_empty:
        for snapshot in complete:
            keep(snapshot, "no rule is set")
        return
    for kind, count in policy._counts():
        left, before = count, None
        for number, snapshot in enumerate(complete):
            if left == 0:
                break
            period = _period(kind, snapshot)
            if period != before or number == len(complete) - 1:
                keep(snapshot, f"{kind}, the oldest" if period == before else kind)
                left -= left > 0
            before = period
    for kind, span in (("", policy.keep_within), *policy._spans()):
        if span is None:
            continue
        before = None
        for snapshot in complete:
            period = _period(kind, snapshot)
            if snapshot.at > complete[0].at - span and period != before:
                keep(snapshot, f"within {timetext.format_duration(span)}{kind and ', '}{kind}")
            before = period


def _guard_newest(
    past: Sequence[snapshots.Snapshot],
    complete: Sequence[snapshots.Snapshot],
    verified: Collection[str],
    drilled: Collection[str],
    keep: _Keep,
) -> None:
    if complete:
        keep(complete[0], "the newest complete")
    for word, ids in (("verified", verified), ("drilled", drilled)):
        for among in (past, complete):
            newest = next((snapshot for snapshot in among if snapshot.id in ids), None)
            if newest is not None:
                keep(newest, f"the newest {word}")


def _guard_shrunken(complete: Sequence[snapshots.Snapshot], accepted_at: datetime | None, keep: _Keep) -> None:
    """Keep each snapshot, newer than `accepted_at`, of which every later one has lost something.

    Each is held against all later ones and not against a chain of neighbours: forgetting one in between then never
    makes another one lose its guard.
    """
    for number, snapshot in enumerate(complete):
        if accepted_at is not None and snapshot.at <= accepted_at:
            break
        for component in snapshot.components:
            lost: tuple[shrink.Shrink, ...] = ()
            for later in reversed(complete[:number]):
                lost = shrink.of_component(later.component(component.name), component)
                if not lost:
                    break
            if lost:
                keep(snapshot, f"the last before {lost[0]}")
