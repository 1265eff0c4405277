"""How often everything runs by itself: from what was promised (rpo), and from how much there is to read.

Pure. An RPO counts from the newest snapshot that was verified, so run and verify go together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from ddr.lib import timetext

_MINUTE, _HOUR, _DAY = 60, 3600, 24 * 3600
WEEK_S = 7 * _DAY
_EVERY_S = tuple(
    every * unit for unit, all_of in ((_HOUR, (24, 12, 8, 6, 4, 3, 2, 1)), (_MINUTE, (30, 20, 15, 10, 5)))
    for every in all_of
)  # fmt: skip
"""Each goes evenly into an hour or a day, as cron's fields and systemd's calendar want it."""

_READ_BYTES_PER_S = 100e6
"""What a verification reads from a bucket over a common network; from a disk it is faster."""

_LONGEST_WHOLE_S = _HOUR
"""A repository that takes longer to read than this is read by shares."""

_DAILY_DRILL_MINUTE, _PRUNE_MINUTE, _WHOLE_MINUTE = 4 * 60 + 43, 6 * 60 + 11, 3 * 60 + 31


@dataclass(frozen=True)
class Job:
    """`cron` are five fields, `calendar` the same for systemd. `deadline_s`: then it is stopped; `every_s` apart."""

    name: str
    command: tuple[str, ...]
    cron: str
    calendar: str
    deadline_s: int
    every_s: int

    @property
    def jitter_s(self) -> int:
        """So much later it may begin, that not everybody begins at once."""
        return min(15 * _MINUTE, self.every_s // 10)


@dataclass(frozen=True)
class Pace:
    """`verify_every_s` is how often everything is read back; `warnings` name the promises that cannot hold so."""

    jobs: tuple[Job, ...]
    run_every_s: int
    verify_every_s: int
    warnings: tuple[str, ...] = ()


def decide(rpo: Mapping[str, timedelta], stored_bytes: int = 0, took_s: float = 0.0) -> Pace:
    """For services with these RPOs; none at all is a daily backup. `took_s` is how long a backup took.

    Three intervals fit into the strictest RPO: so one run may fail, and the next one is verified in time.
    """
    strictest_s = min((one.total_seconds() for one in rpo.values()), default=3 * _DAY)
    run_s = next((every for every in _EVERY_S if 3 * every <= strictest_s), _EVERY_S[-1])
    reads_s = stored_bytes / _READ_BYTES_PER_S
    fitting = [every for every in _EVERY_S if every >= max(run_s, 4 * reads_s)]
    is_shared = reads_s > _LONGEST_WHOLE_S or not fitting
    verify_s = WEEK_S if is_shared else min(fitting)
    lag_s = min(verify_s // 2, _HOUR)
    run = _often("run", ("backup", "run"), run_s, 0, 4 * _HOUR)
    jobs = [run]
    if is_shared:
        jobs.append(_often("verify", ("backup", "verify", "--share", "today/7"), _DAY, _HOUR, 12 * _HOUR))
        jobs.append(_weekly("verify-whole", ("backup", "verify"), 6, _WHOLE_MINUTE))
    else:
        jobs.append(_often("verify", ("backup", "verify"), verify_s, lag_s, 12 * _HOUR))
    jobs.append(_weekly("drill", ("backup", "drill"), 7, _DAILY_DRILL_MINUTE))
    jobs.append(_weekly("prune", ("backup", "prune"), 1, _PRUNE_MINUTE))
    # just before a verification ends, the newest verified snapshot is the one of the verification before it
    oldest_s = verify_s + min(lag_s, run_s) + 2 * run.jitter_s + reads_s + took_s
    warnings = [
        f"rpo {timetext.format_duration(wanted)} of {name} cannot hold: with these units the newest verified snapshot "
        f"is up to {timetext.format_duration(timedelta(seconds=round(oldest_s)))} old"
        + (f"; all {stored_bytes >> 30} GiB are read back once a week only" if is_shared else "")
        for name, wanted in rpo.items()
        if oldest_s > wanted.total_seconds()
    ]
    if took_s > run_s / 2:
        warnings.append(
            f"a backup took {timetext.format_duration(timedelta(seconds=round(took_s)))} and one is to begin every "
            f"{timetext.format_duration(timedelta(seconds=run_s))}"
        )
    return Pace(tuple(jobs), run_s, verify_s, tuple(warnings))


def _often(name: str, command: tuple[str, ...], every_s: int, lag_s: int, deadline_s: int) -> Job:
    """From 02:17 on, evenly through the day. Odd minutes: at full hours everybody's jobs begin."""
    every, first = every_s // _MINUTE, 2 * 60 + 17 + lag_s // _MINUTE
    starts = sorted((first + every * nth) % (24 * 60) for nth in range(24 * 60 // every))
    minutes = ",".join(str(one) for one in sorted({start % 60 for start in starts}))
    hours = sorted({start // 60 for start in starts})
    told = "*" if len(hours) == 24 else ",".join(str(hour) for hour in hours)
    padded = "*" if told == "*" else ",".join(f"{hour:02}" for hour in hours)
    calendar = f"*-*-* {padded}:{','.join(f'{int(one):02}' for one in minutes.split(','))}:00"
    return Job(name, command, f"{minutes} {told} * * *", calendar, deadline_s, every_s)


def _weekly(name: str, command: tuple[str, ...], weekday: int, minute: int) -> Job:
    """`weekday` 1 is Monday. The drill comes after a backup, the prune after the drill."""
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[weekday - 1]
    clock = f"{minute // 60:02}:{minute % 60:02}:00"
    return Job(name, command, f"{minute % 60} {minute // 60} * * {weekday % 7}", f"{day} *-*-* {clock}", _DAY, WEEK_S)
