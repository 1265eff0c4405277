"""The swap test: logged requests answered again with one plane taken back. The plane that restores is the cause.

Read-only. Every swap is compared with the same requests replayed as they were logged, so each request is its own
control.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ddr.detect import shares, tails
from ddr.diagnose import scene as scenes
from ddr.diagnose import ways
from ddr.domain import planes
from ddr.errors import DdrError
from ddr.ports import connector, replayable
from ddr.ports import platform as platforms

MOST = 300
"""Requests replayed: a fault that makes a tenth of the answers wrong is told from chance with 100."""

FEWEST = 50
FAITHFUL = 0.98
"""Share of answers that must come out of the replay as they were given, or the replay proves nothing."""

RESTORED = 0.5
"""Share of the excess error that must be gone: most of it."""


@dataclass(frozen=True)
class Swapped:
    """One plane swapped. `fixed` answers turned right, `broken` ones turned wrong, of `n` requests."""

    plane: planes.Plane
    to: str
    n: int
    wrong_before: int
    wrong_after: int
    fixed: int
    broken: int
    p: float
    restores: bool

    def __str__(self) -> str:
        done = "recomputed features" if self.plane is planes.Plane.FEATURES else f"{self.plane} {self.to}"
        return (
            f"swap test: with {done} {self.wrong_after} of {self.n} replayed answers are wrong, "
            f"{self.wrong_before} as served ({self.fixed} fixed, {self.broken} broken, p={self.p:.1g})"
        )


@dataclass(frozen=True)
class Report:
    """The tests that were made, and why others were not."""

    tests: tuple[Swapped, ...] = ()
    not_made: tuple[str, ...] = ()


def run(
    platform: platforms.Platform,
    scene: scenes.Scene,
    wanted: Sequence[planes.Plane],
    *,
    budget_s: float = 60.0,
    timer: Callable[[], float] = time.monotonic,
) -> Report:
    """Swap each of `wanted` alone. Nothing is concluded where the replay is not faithful or there is no excess."""
    name = scene.service.name
    log, replay = platform.request_logs.get(name), platform.replays.get(name)
    if log is None or replay is None:
        missing = "request log" if log is None else "replay"
        return Report((), (f"swap test: the service has no {missing}",))
    started = timer()
    try:
        requests = _requests(log, scene)
        if len(requests) < FEWEST:
            return Report((), (f"swap test: {len(requests)} requests with a known truth, {FEWEST} are needed",))
        base = replay.replay([request.id for request in requests], {})
    except DdrError as problem:
        return Report((), (f"swap test: {_without(scene) or problem.message}",))
    void = _void(requests, base, scene.usual_error)
    if void:
        return Report((), (f"swap test: {void}",))
    tests, not_made = [], []
    for plane in wanted:
        if timer() - started > budget_s:
            not_made.append(f"swap of {plane}: {budget_s:.0f} s were up")
            continue
        made = _damaged(platform, scene, plane) or _swap(replay, scene, plane, requests, base)
        if isinstance(made, Swapped):
            tests.append(made)
        else:
            not_made.append(f"swap of {plane}: {made}")
    return Report(tuple(tests), tuple(not_made))


def _without(scene: scenes.Scene) -> str:
    """What answered is gone, so nothing can be answered again as it was."""
    gone = [str(scene.live[plane].name) for plane in scene.live if scene.is_overwritten(plane)]
    return f"the bytes of {', '.join(gone)} that were good are gone; nothing can be answered again" if gone else ""


def _damaged(platform: platforms.Platform, scene: scenes.Scene, plane: planes.Plane) -> str:
    """That the good revision cannot be loaded: said by its bytes, before a replay stumbles over them."""
    good, live, acting = scene.recorded(plane), scene.live.get(plane), platform.plane(scene.service.name, plane)
    if good is None or live is None or good.name == live.name or not isinstance(acting, connector.Switchable):
        return ""
    if plane is planes.Plane.FEATURES:  # swapped by recomputing
        return ""
    why = ways.damage(acting, good)
    return f"{why}; it cannot be the way back" if why else ""


def _swap(
    replay: replayable.Replayable,
    scene: scenes.Scene,
    plane: planes.Plane,
    requests: Sequence[replayable.Logged],
    base: Mapping[str, str],
) -> Swapped | str:
    """The test of one plane, or why it could not be made."""
    to, why_not = _target(scene, plane, requests)
    if why_not:
        return why_not
    try:
        answers = replay.replay([request.id for request in requests], {plane: to})
    except DdrError as problem:
        return problem.message
    compared = [request for request in requests if request.id in base and request.id in answers]
    if len(compared) < FEWEST:
        return f"{len(compared)} requests could be replayed, {FEWEST} are needed"
    return _compare(plane, to, compared, base, answers, scene.usual_error)


def _requests(log: replayable.RequestLog, scene: scenes.Scene) -> Sequence[replayable.Logged]:
    """The newest ones that are surely bad; where those are few, the ones that may be."""
    if scene.onset is None:
        return log.logged(scene.at - max(spec.window for spec in scene.service.signals), scene.at, MOST)
    found = log.logged(scene.onset.until, scene.at, MOST)
    return found if len(found) >= FEWEST else log.logged(scene.onset.since, scene.at, MOST)


def _void(requests: Sequence[replayable.Logged], base: Mapping[str, str], usual_error: float) -> str:
    """Why nothing can be learnt from these requests, '' when something can."""
    replayed = [request for request in requests if request.id in base]
    if len(replayed) < FEWEST:
        return f"{len(replayed)} of {len(requests)} requests could be replayed, {FEWEST} are needed"
    same = sum(base[request.id] == request.answer for request in replayed)
    if same < FAITHFUL * len(replayed):
        share = same / len(replayed)
        return f"void, replayed as logged only {share:.0%} of {len(replayed)} answers came out as they were given"
    wrong = sum(base[request.id] != request.truth for request in replayed)
    if tails.binomial_upper(wrong, len(replayed), max(usual_error, shares.FLOOR_RATE)) >= shares.ALPHA:
        return f"no excess error to explain, {wrong} of {len(replayed)} replayed answers are wrong"
    return ""


def _target(
    scene: scenes.Scene, plane: planes.Plane, requests: Sequence[replayable.Logged]
) -> tuple[replayable.Swap, str]:
    """What to swap to, and why not."""
    if plane is planes.Plane.FEATURES:
        return "recomputed", ""
    if plane not in planes.ROLLED_BACK:
        return "", "a replay cannot change this plane"
    served = Counter(request.revisions.get(plane, "") for request in requests).most_common(1)[0][0]
    good = scene.recorded(plane)
    target = good.name if good else _before(scene, plane, served)
    if not target:
        return "", "no known-good release and no change says what was there before"
    if target == served:
        if scene.is_overwritten(plane):
            return "", f"{target} has other bytes than in the known-good release; the good ones are only in a backup"
        return "", f"{target} is what answered, as in the known-good release"
    return target, ""


def _before(scene: scenes.Scene, plane: planes.Plane, served: str) -> str:
    moves = [
        change for change in scene.changes if change.plane is plane and change.after == served and not change.arrived
    ]
    return moves[-1].before if moves else ""


def _compare(
    plane: planes.Plane,
    to: str,
    requests: Sequence[replayable.Logged],
    base: Mapping[str, str],
    answers: Mapping[str, str],
    usual_error: float,
) -> Swapped:
    """McNemar's test in its exact form: of the answers that turned, how many turned right (a sign test)."""
    was = [base[request.id] == request.truth for request in requests]
    now = [answers[request.id] == request.truth for request in requests]
    fixed = sum(after and not before for before, after in zip(was, now, strict=True))
    broken = sum(before and not after for before, after in zip(was, now, strict=True))
    wrong_before, wrong_after, n = was.count(False), now.count(False), len(requests)
    p = tails.binomial_upper(fixed, fixed + broken, 0.5)
    gone = (wrong_before - wrong_after) / n
    restores = p < shares.ALPHA and gone > RESTORED * (wrong_before / n - usual_error)
    return Swapped(plane, to, n, wrong_before, wrong_after, fixed, broken, p, restores)
