"""Which versions may go, and taking them away. What a home has that ddr did not put there is nobody's business here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.errors import Damaged, Missing, Refused
from ddr.index.homes import home, naming
from ddr.lib import timetext

KEEP = 3
GRACE = timedelta(hours=24)
"""A reader that has just resolved `current` opens its files within that, a restore comes from its first version to its
pointer, and a person changes their mind."""


@dataclass(frozen=True)
class Collection:
    """`gone` may go; `kept` stays, each with why. Oldest first."""

    gone: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]


def plan(of: home.Home, now: datetime, keep: int = KEEP, grace: timedelta = GRACE) -> Collection:
    """Touches nothing. The newest `keep` whole ones stay, what serves, is pinned, or was made, put there or served in
    `grace`, or later than `now`."""
    versions = [name for name in of.versions() if naming.is_ours(name)]
    whole = [name for name in versions if home.is_whole_at_a_glance(of, name)]
    current, pins, last = of.current(), of.pins(), set(whole[-keep:] if keep else ())
    served = _served(of)
    gone, kept = [], []
    for version in versions:
        if version == current:
            why = "serves"
        elif version in pins:
            why = f"is pinned: {pins[version]}"
        elif version in last:
            why = f"is one of the newest {keep} that are whole"
        elif fresh := _fresh((served.get(version), of.arrived(version), _made(of, version)), now, grace):
            why = fresh
        elif home.is_newer(of, version):
            why = "was made by a newer ddr"
        else:
            gone.append(version)
            continue
        kept.append((version, why))
    return Collection(tuple(gone), tuple(kept))


def _served(of: home.Home) -> dict[str, datetime]:
    """When the pointer last came to each version or left it."""
    found: dict[str, datetime] = {}
    for move in of.moves():
        for name in (move.before, move.after):
            found[name] = max(found.get(name, move.at), move.at)
    return found


def _made(of: home.Home, version: str) -> datetime | None:
    try:
        return of.manifest(version).created
    except (Damaged, Missing):
        return None


def _fresh(times: Iterable[datetime | None], now: datetime, grace: timedelta) -> str:
    """Why it stays, "" where all of it is long ago or not known. Whether a time to come is wrong or `now` is behind
    cannot be told apart, so it keeps: what was deleted by a wrong clock would not come back."""
    last = max((time for time in times if time is not None), default=None)
    if last is None or last <= now - grace:
        return ""
    if last > now + grace:
        at = timetext.format_clock(last)
        return f"was made, put here or served at {at}, which is yet to come: a clock is or was wrong"
    return "was made, put here or served a short while ago"


def apply(of: home.Home, chosen: Collection, report: Callable[[str], None] = lambda text: None) -> Collection:
    """What went and what stayed after all: it was pointed at, pinned or leased since. May be repeated."""
    gone, kept = [], list(chosen.kept)
    for version in chosen.gone:
        try:
            of.remove(version)
        except Refused as problem:
            kept.append((version, problem.message))
            report(f"kept {problem.message}")
        else:
            gone.append(version)
            report(f"removed {version}")
    for left in of.sweep():
        report(f"cleaned {left}")
    return Collection(tuple(gone), tuple(kept))
