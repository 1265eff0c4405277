"""Whether what is known to be good could be deployed today: each revision still there, with the bytes it had."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ddr.domain import planes, releases, revisions
from ddr.errors import DdrError, Missing, Unavailable
from ddr.journal import views
from ddr.lib import digest, timetext
from ddr.ports import connector
from ddr.ports import platform as platforms
from ddr.release import ledger

Report = Callable[[str, int, int], None]
"""What is looked at, how many are done, of how many."""

Holds = Callable[[str], bool | None]
"""Whether the backup repository has the snapshot with this id; None where nobody can say."""


Loads = Callable[[str, planes.Plane, str], str]
"""What was seen when this revision of a plane of a service was loaded, apart from this process; '' where nobody can.
Damaged when it cannot be loaded."""


class Standing(StrEnum):
    """`blocked`: somebody said that nothing goes back there, which is no finding. `unproved`: it is there, and its
    bytes were never recorded. `elsewhere`: ddr only watches this plane, and what is live is another one now. `away`:
    its system does not answer, so nothing is known of it; what is not seen is not lost. `unloadable`: its bytes are as
    they were, and nothing here can load them."""

    OK = "ok"
    MISSING = "missing"
    CHANGED = "changed"
    UNREADABLE = "unreadable"
    BLOCKED = "blocked"
    UNPROVED = "unproved"
    ELSEWHERE = "elsewhere"
    AWAY = "away"
    UNLOADABLE = "unloadable"


FINDINGS = frozenset({Standing.MISSING, Standing.CHANGED, Standing.UNREADABLE, Standing.UNLOADABLE})


@dataclass(frozen=True)
class Part:
    """One thing a release needs. `what` is the plane, or `backup`; `next` is the next move where there is one."""

    what: str
    name: str
    standing: Standing
    why: str
    next: str = ""
    loads: str = ""
    """What was seen when it was loaded: `900 rows of 16, 8 probes answered as published`."""


@dataclass(frozen=True)
class Verdict:
    """One release. It is deployable when nothing it needs is missing, changed, unreadable, away or blocked."""

    release: str
    at: datetime
    parts: tuple[Part, ...]

    @property
    def findings(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.standing in FINDINGS)

    @property
    def is_deployable(self) -> bool:
        return not self.findings and not self.is_unknown and not self._has(Standing.BLOCKED)

    @property
    def is_unknown(self) -> bool:
        """A system that it needs does not answer."""
        return self._has(Standing.AWAY)

    def _has(self, standing: Standing) -> bool:
        return any(part.standing is standing for part in self.parts)


@dataclass(frozen=True)
class Verified:
    """One service, the newest release first. `why` says what is wrong beside the releases: that none is known good."""

    service: str
    verdicts: tuple[Verdict, ...]
    why: str = ""
    next: str = ""

    @property
    def is_fine(self) -> bool:
        return not self.why and not any(verdict.findings for verdict in self.verdicts)

    @property
    def is_unknown(self) -> bool:
        return any(verdict.is_unknown for verdict in self.verdicts)


def verify(
    platform: platforms.Platform,
    service: str,
    since: datetime | None,
    holds: Holds,
    report: Report = lambda _what, _done, _of: None,
    known: views.Board | None = None,
    loads: Loads = lambda _service, _plane, _name: "",
) -> Verified:
    """Every known-good release that served from `since` on; all of them with None. Only looks.

    A revision that several releases share is read once. A system that does not answer is no pass, and no finding.
    """
    board = known or ledger.board(platform)
    recorded = board.releases.get(service, [])
    good = [one for one in recorded if one.known_good] if since is None else releases.in_window(recorded, since)
    if not good:
        why = "no release is known good: there is nothing to go back to"
        return Verified(service, (), why, f"when it is well: ddr release record {service} --known-good")
    wanted = {(one.plane, one.object, one.name) for release in good for one in release.revisions.values()}
    found: dict[tuple[planes.Plane, str, str], revisions.Revision | Part] = {}
    for done, key in enumerate(sorted(wanted)):
        report(f"{key[0]} {key[1]} {key[2]}", done, len(wanted))
        found[key] = _look(platform, service, *key)
    verdicts = []
    loaded: dict[tuple[planes.Plane, str, str], Part] = {}
    for release in reversed(good):
        parts = []
        for plane, one in release.revisions.items():
            key = (plane, one.object, one.name)
            part = _judge(release, one, found[key], board)
            if part.standing is Standing.OK:
                if key not in loaded:
                    report(f"loading {plane} {one.name}", len(wanted), len(wanted))
                    loaded[key] = _loaded(release, part, one, loads)
                part = loaded[key]
            parts.append(part)
        verdicts.append(Verdict(release.id, release.at, (*parts, *_snapshots(release, holds))))
    standing = all(any(part.standing is Standing.BLOCKED for part in verdict.parts) for verdict in verdicts)
    why = "each has a blocked revision: there is nothing to go back to" if standing else ""
    return Verified(service, tuple(verdicts), why, "`ddr release mark RELEASE good` lifts a block" if why else "")


def _look(
    platform: platforms.Platform, service: str, plane: planes.Plane, object_: str, name: str
) -> revisions.Revision | Part:
    """The revision as it is today, or how it stands without having one."""
    try:
        acting = platform.plane(service, plane)
    except DdrError as problem:
        standing = Standing.AWAY if isinstance(problem, Unavailable) else Standing.UNREADABLE
        return Part(plane, name, standing, problem.message, problem.hint)
    try:
        if isinstance(acting, connector.Switchable):
            return acting.find(name)
        live = acting.revision()
    except Unavailable as problem:
        return Part(plane, name, Standing.AWAY, problem.message, problem.hint)
    except Missing as problem:
        return Part(plane, name, Standing.MISSING, problem.message)
    except DdrError as problem:
        return Part(plane, name, Standing.UNREADABLE, problem.message, problem.hint)
    if live.name == name and live.object == object_:
        return live
    return Part(plane, name, Standing.ELSEWHERE, f"it is watched and not switched, and {live.name} is live now")


def _judge(
    release: releases.Release, was: revisions.Revision, now: revisions.Revision | Part, board: views.Board
) -> Part:
    name = f"{was.object}@{was.name}"
    why = board.blocked_why(release.service, was)
    if why:
        return Part(was.plane, name, Standing.BLOCKED, why)
    if isinstance(now, Part):
        return Part(was.plane, name, now.standing, now.why, now.next or _way_back(release, now.standing))
    if not was.digest or not now.digest:
        side = "recorded" if not was.digest else "readable today"
        return Part(was.plane, name, Standing.UNPROVED, f"it is there; its bytes were not {side}")
    if was.digest != now.digest:
        why = f"recorded {digest.short(was.digest)}, now {digest.short(now.digest)}: overwritten under its name"
        return Part(was.plane, name, Standing.CHANGED, why, _way_back(release, Standing.CHANGED))
    return Part(was.plane, name, Standing.OK, f"there, bytes {digest.short(now.digest)}")


def _loaded(release: releases.Release, part: Part, one: revisions.Revision, loads: Loads) -> Part:
    """Only what has the bytes it had: what is damaged is not loaded."""
    try:
        return dataclasses.replace(part, loads=loads(release.service, one.plane, one.name))
    except Unavailable as problem:
        return Part(one.plane, part.name, Standing.AWAY, problem.message, problem.hint)
    except DdrError as problem:
        back = problem.hint or _way_back(release, Standing.UNLOADABLE)
        return Part(one.plane, part.name, Standing.UNLOADABLE, problem.message, back)


def _way_back(release: releases.Release, standing: Standing) -> str:
    if standing not in FINDINGS:
        return ""
    have = f"`ddr backup list` and `ddr restore` (it was whole {timetext.format_clock(release.at)})"
    return f"{have}; {_given_up(release)}"


def _given_up(release: releases.Release) -> str:
    """The last resort: it takes a way back out of the record."""
    return f"only where it is lost for good: ddr release withdraw {release.id} -s {release.service}"


def _snapshots(release: releases.Release, holds: Holds) -> Sequence[Part]:
    """The snapshots of the repository that it names."""
    said = [release.lineage.backup, *(one.facts.get(revisions.BACKUP, "") for one in release.revisions.values())]
    parts = []
    for name in dict.fromkeys(name for name in said if name):
        there = holds(name)
        if there is None:
            parts.append(Part("backup", name, Standing.AWAY, "the repository cannot be read", "ddr backup list"))
        elif there:
            parts.append(Part("backup", name, Standing.OK, "the snapshot is in the repository"))
        else:
            copy = f"look in a copy (`backup.copies`); {_given_up(release)}"
            parts.append(Part("backup", name, Standing.MISSING, "the snapshot is not in the repository", copy))
    return parts
