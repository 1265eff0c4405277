"""What a person is shown before anything is touched: one or more planes taken back together, as one plan.

`propose` only looks. Everything it saw that matters is in the Proposal; carrying it out is a run of the engine, whose
procedure `book` writes from it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ddr.domain import planes, plans, releases, revisions, signals
from ddr.errors import DdrError, InputError, Missing, UnknownName
from ddr.journal import views
from ddr.lib import digest, timetext
from ddr.ports import connector
from ddr.ports import platform as platforms
from ddr.rollback import apply, fits, planner, reverting, targets, when

ORDER = (planes.Plane.DATA, planes.Plane.FEATURES, planes.Plane.INDEX, planes.Plane.MODEL, planes.Plane.CODE)
"""Data before what reads it; the server loads all of it at once afterwards."""

_ALTERNATIVES = 3


@dataclass(frozen=True)
class Proposal:
    """`there` says which planes need nothing done and why, '' where all of them do. `stays` are the others.

    `companions` is the smallest set of planes that would have to go back as well, where the plan does not fit.
    `possible` are targets that would still do where this one does not.
    """

    plan: plans.Plan
    stays: Mapping[planes.Plane, revisions.Revision]
    there: str = ""
    companions: Mapping[planes.Plane, revisions.Revision] = field(default_factory=dict)
    possible: tuple[str, ...] = ()
    reverters: tuple[plans.Reverter, ...] = ()
    writes: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    freezable: tuple[planes.Plane, ...] = ()
    markable: tuple[planes.Plane, ...] = ()
    refreshable: tuple[planes.Plane, ...] = ()
    has_server: bool = False

    @property
    def moved(self) -> tuple[planes.Plane, ...]:
        return tuple(move.plane for move in self.plan.moves)


@dataclass(frozen=True)
class _Looked:
    """What was read once, for all planes of the question."""

    on: platforms.Platform
    service: str
    board: views.Board
    live: Mapping[planes.Plane, revisions.Revision]
    unread: Mapping[planes.Plane, str]
    good: tuple[releases.Release, ...]
    again: bool
    past: when.Past | None

    def acting(self, plane: planes.Plane) -> apply.Acting:
        return apply.switchable(self.on, self.service, plane)

    def blocked(self, plane: planes.Plane) -> targets.Blocked:
        return self.board.blocked(self.service, plane)

    def find(self, plane: planes.Plane, name: str) -> targets.Found:
        acting = self.acting(plane)
        try:
            return (apply.again(acting) if self.again else acting).find(name)
        except (Missing, InputError):
            return None
        except DdrError as problem:
            return problem.message


def propose(
    platform: platforms.Platform,
    service: str,
    wanted: Mapping[planes.Plane, str],
    *,
    again: bool = False,
    past: when.Past | None = None,
) -> Proposal:
    """`wanted` says for each plane where to: last-good, a revision, a time, or '' for what fits the others.

    `again` is for looking whether a plan still holds: as `connector.Recalling` says, and without asking who reverts.
    `past` tells what was live at a time; without it a time is a name like any other.

    Raises Missing where there is no target at all, Refused where nobody knows what was live then, Unsupported when a
    plane cannot be switched, Unavailable when what is live cannot be read, InputError for a time that cannot be.
    """
    looked = _look(platform, service, wanted, again=again, past=past)
    chosen: dict[planes.Plane, revisions.Revision] = {}
    checks: list[plans.Check] = []
    there: list[str] = []
    for plane in sorted(wanted, key=lambda plane: (not wanted[plane], ORDER.index(plane))):
        name, then = _named(looked, plane, wanted[plane] or _companion(looked, plane, chosen))
        why = _is_there(looked, plane, name)
        if why:
            there.append(why)
            continue
        target, told = _target(looked, plane, name, then)
        if target.is_same(looked.live[plane]) and all(check.state is not signals.State.BAD for check in told):
            there.append(f"{plane} is at {_bytes(target)} already")
            continue
        chosen[plane] = target
        checks += told
    moves = tuple(plans.Move(plane, looked.live[plane], chosen[plane]) for plane in ORDER if plane in chosen)
    if not moves:
        return Proposal(plans.Plan(service, ()), looked.live, there="; ".join(there))
    return dataclasses.replace(_proposal(looked, moves, checks), there="; ".join(there))


def _named(looked: _Looked, plane: planes.Plane, to: str) -> tuple[str, when.LiveThen | None]:
    """What is typed as the name of a revision: a time is first turned into what was live then."""
    if looked.past is None or to in (planner.LAST_GOOD, looked.live[plane].name):
        return to, None
    try:
        at = when.parse(to, looked.on.clock.now())
    except InputError:
        if not isinstance(looked.find(plane, to), revisions.Revision):
            raise
        return to, None
    if at is None or isinstance(looked.find(plane, to), revisions.Revision):
        return to, None  # a revision may be called like a time
    then = when.live_at(looked.past, looked.service, plane, at)
    return then.revision.name, then


def _look(
    platform: platforms.Platform,
    service: str,
    wanted: Mapping[planes.Plane, str],
    *,
    again: bool,
    past: when.Past | None,
) -> _Looked:
    board = views.fold(platform.journal.events())
    live, unread = {}, {}
    for plane in wanted:
        acting = apply.switchable(platform, service, plane)
        live[plane] = apply.live(apply.again(acting) if again else acting)
    for plane in platform.service(service).planes:
        if plane not in live:
            try:
                live[plane] = apply.live(platform.plane(service, plane))
            except DdrError as problem:
                unread[plane] = problem.message
    good = tuple(release for release in reversed(board.releases.get(service, [])) if release.known_good)
    return _Looked(platform, service, board, live, unread, good, again, past)


def _is_there(looked: _Looked, plane: planes.Plane, to: str) -> str:
    """Why the plane needs no switch, '' when it does. What is blocked is not where anybody wants to be."""
    live = looked.live[plane]
    if to not in (planner.LAST_GOOD, live.name):
        return ""
    recorded = targets.recorded(plane, live, looked.good)
    if to == live.name:
        others = [
            release.revisions[plane]
            for release in looked.good
            if plane in release.revisions and release.revisions[plane].name == live.name
        ]
        if others and recorded is None:
            return ""  # the name is live with other bytes: the target says so
        return f"{plane} is at {_bytes(live)} already"
    if recorded is None or targets.why_blocked(live, looked.blocked(plane)):
        return ""
    since = timetext.format_clock(targets.first_good(plane, recorded, looked.good))
    return f"{plane} is at {_bytes(live)}, known good since {since}, bytes intact"


def _bytes(revision: revisions.Revision) -> str:
    known = f" ({digest.short(revision.digest)})" if revision.digest else " (bytes not known)"
    return f"{revision.object} {revision.name}{known}"


def _companion(looked: _Looked, plane: planes.Plane, chosen: Mapping[planes.Plane, revisions.Revision]) -> str:
    """The newest good revision of a plane that goes along, such that it fits, else that asked an index of this
    embedder; last-good where none did."""
    after = {**looked.live, **chosen}
    ways = [
        (release, release.revisions[plane])
        for release in looked.good
        if plane in release.revisions and not release.revisions[plane].is_same(looked.live[plane])
    ]
    fitting = [found for release, found in ways if fits.fit({**after, plane: found}, looked.live, release)]
    near = [found for release, found in ways if fits.is_of_its_embedder(release, after)]
    return next((found.name for found in (*fitting, *near)), planner.LAST_GOOD)


def _target(
    looked: _Looked, plane: planes.Plane, to: str, then: when.LiveThen | None
) -> tuple[revisions.Revision, list[plans.Check]]:
    """Raises Missing where there is none, with what is still possible."""
    live, blocked = looked.live[plane], looked.blocked(plane)
    found: targets.Found = None
    if to == planner.LAST_GOOD:
        target, checks = targets.last_good(plane, live, looked.good, _Lazily(looked, plane), blocked)
    else:
        found = looked.find(plane, to)
        target, checks = targets.named(plane, live, to, looked.good, {to: found}, blocked)
    if target is None:
        why = "; ".join(check.detail for check in checks) or "no release of it is recorded as known good"
        left = _possible(looked, plane, to)
        if to != planner.LAST_GOOD and found is None and not _was_seen(looked, plane, to):
            raise UnknownName(
                f"{looked.service}: there is no {live.object} {to}; nothing was touched",
                hint=f"known good: {_vouched_for(looked, plane, left)}; a time is written like {when.FORMS}",
            )
        hint = f"still possible: {', '.join(f'--to {name}' for name in left)}" if left else ""
        raise Missing(
            f"{looked.service}: the {plane} plane cannot go to {to}: {why}",
            hint=hint
            or f"nothing known good is left of {plane}; name a revision that you vouch for with --to, "
            f"or contain it: ddr contain {looked.service}",
        )
    told = list(checks)
    if then is not None:
        told.append(when.as_then(target, then))
    return target, told


def _vouched_for(looked: _Looked, plane: planes.Plane, left: Sequence[str]) -> str:
    """The names one can go to, and the one that is live where it is good."""
    live = looked.live[plane]
    recorded = targets.recorded(plane, live, looked.good)
    is_good = recorded is not None and not targets.why_blocked(live, looked.blocked(plane))
    return ", ".join([*left, *([f"{live.name} (it is live)"] if is_good else [])]) or "nothing"


def _was_seen(looked: _Looked, plane: planes.Plane, name: str) -> bool:
    """Whether any release, good or not, had it: then it was there once, and no slip of the pen."""
    releases_ = looked.board.releases.get(looked.service, ())
    return any(release.revisions[plane].name == name for release in releases_ if plane in release.revisions)


class _Lazily(Mapping[str, targets.Found]):
    """What is there under each name, looked up when it is asked for: hashing every old model would take minutes."""

    def __init__(self, looked: _Looked, plane: planes.Plane) -> None:
        self._looked, self._plane = looked, plane
        self._known: dict[str, targets.Found] = {}

    def __getitem__(self, name: str) -> targets.Found:
        if name not in self._known:
            self._known[name] = self._looked.find(self._plane, name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _possible(looked: _Looked, plane: planes.Plane, but: str) -> tuple[str, ...]:
    """Names of good revisions that stand, newest first."""
    found: list[str] = []
    for release in looked.good:
        recorded = release.revisions.get(plane)
        if recorded is None or recorded.name in (*found, but) or len(found) == _ALTERNATIVES:
            continue
        now = looked.find(plane, recorded.name)
        intact = isinstance(now, revisions.Revision) and now.is_same(recorded)
        if intact and not recorded.is_same(looked.live[plane]):
            assert isinstance(now, revisions.Revision)
            found += [] if targets.why_blocked(now, looked.blocked(plane)) else [recorded.name]
    return tuple(found)


def _proposal(looked: _Looked, moves: tuple[plans.Move, ...], checks: list[plans.Check]) -> Proposal:
    on, service = looked.on, looked.service
    moved = {move.plane: move.target for move in moves}
    after = {**looked.live, **moved}
    each = (fits.checks(move.plane, after, looked.live, looked.good, looked.unread) for move in moves)
    fit = list(dict.fromkeys(itertools.chain.from_iterable(each)))
    if planes.Plane.MODEL in moved or planes.Plane.CODE in moved:
        fit.append(fits.runtime(after, looked.live, looked.good))
    wrong = any(check.state is signals.State.BAD for check in fit)
    whole = _smallest(looked, moves, after) if wrong else {}
    refused = any(check.state is signals.State.BAD for check in checks)
    made = {move.plane: looked.acting(move.plane) for move in moves}
    stays = {plane: revision for plane, revision in looked.live.items() if plane not in moved}
    has_server = service in on.servers and any(move.plane in planes.ROLLED_BACK for move in moves)
    behind = _behind(looked, stays) if has_server else None
    asked = () if looked.again else moved
    reverters = tuple(found for plane in asked for found in reverting.who_reverts(on, service, plane))
    held = (behind, *(reverting.unfrozen(acting, plane) for plane, acting in made.items()))
    return Proposal(
        plan=plans.Plan(service, moves, (*checks, *_vouched(looked, moves), *fit, *(check for check in held if check))),
        stays=stays,
        companions=whole,
        possible=_possible(looked, moves[-1].plane, moves[-1].target.name) if refused else (),
        reverters=reverters,
        writes=tuple(_write(on, service, made[move.plane], move) for move in moves),
        blind=tuple(_blind(looked, moves, reverters)),
        freezable=tuple(plane for plane in moved if isinstance(made[plane], connector.Freezable)),
        markable=tuple(plane for plane in moved if isinstance(made[plane], connector.Markable)),
        refreshable=tuple(plane for plane in moved if isinstance(made[plane], connector.Refreshable)),
        has_server=has_server,
    )


def _vouched(looked: _Looked, moves: Sequence[plans.Move]) -> Sequence[plans.Check]:
    """Going away from what somebody vouched for is worth a second look: it would be blocked as well."""
    found = []
    for move in moves:
        recorded = targets.recorded(move.plane, move.live, looked.good)
        if recorded is not None and recorded.digest and not targets.why_blocked(move.live, looked.blocked(move.plane)):
            what = f"{move.live.object} {move.live.name} is known good itself; --no-mark leaves it unblocked"
            found.append(plans.Check("live", signals.State.UNKNOWN, what))
    return found


def _smallest(
    looked: _Looked, moves: Sequence[plans.Move], after: Mapping[planes.Plane, revisions.Revision]
) -> Mapping[planes.Plane, revisions.Revision]:
    """The fewest planes that would have to go along; none where no known-good combination fits."""
    found = fits.smallest(moves[-1].plane, after, looked.live, looked.good)
    return found[0] if found else {}


def _write(on: platforms.Platform, service: str, acting: apply.Acting, move: plans.Move) -> str:
    if isinstance(acting, connector.Spoken):
        return acting.write(move.target, move.live)
    name = on.service(service).planes[move.plane]
    return f"switch {move.plane} from {move.live.name} to {move.target.name} by the connector {name}"


def _behind(looked: _Looked, stays: Mapping[planes.Plane, revisions.Revision]) -> plans.Check | None:
    """Rolling a server loads every plane: what it does not hold yet of the planes that stay comes along."""
    try:
        loaded = looked.on.server(looked.service).loaded()
    except DdrError as problem:
        return plans.Check("server", signals.State.UNKNOWN, f"what it has loaded cannot be asked: {problem.message}")
    late = [
        f"{plane} {pointed.name} (it holds {loaded[plane].name})"
        for plane, pointed in stays.items()
        if plane in loaded and not revisions.is_held(pointed, loaded[plane])
    ]
    if not late:
        return None
    what = f"rolling it also loads {', '.join(late)}, which it does not hold yet"
    return plans.Check("server", signals.State.UNKNOWN, what)


def _blind(looked: _Looked, moves: Sequence[plans.Move], reverters: Sequence[plans.Reverter]) -> Sequence[str]:
    """What this plan cannot know."""
    found = [f"{plane}: {why}" for plane, why in looked.unread.items()]
    if looked.service not in looked.on.servers:
        found.append("what serving has loaded: ddr.yaml names no server (serving: CONNECTOR)")
    for move in moves:
        if not move.target.digest:
            found.append(f"whether the bytes of {move.plane} {move.target.name} are what they were")
        if not any(reverter.plane is move.plane for reverter in reverters):
            found.append(f"who else moves {move.plane}: its system names nobody (promoters: in ddr.yaml)")
    return found
