"""What speaks for and against each plane: independent tests with fixed likelihood ratios.

Ratios as in the design, to be learnt later from our own scenarios: how much more often a test comes out like this
when the plane is the cause than when it is not. Within one plane the signals are alternatives (stale values, zeros
and nulls are different ways to be broken), so the strongest counts for all of them, and only when all of them are
clean do they speak against the plane, once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta

from ddr.diagnose import scene as scenes
from ddr.diagnose import swap
from ddr.domain import changes, diagnoses, measures, planes, revisions, services, signals, timelines
from ddr.lib import digest, timetext

IDENTITY = "identity"
SWAP = "swap"
CO_TIMING = "co-timing"

MISMATCH_RATIO = 100.0
SWAP_RATIO = 100.0
CLEAN_RATIO = 0.1
CO_TIMING_RATIO = 2.0
UPSTREAM_RATIO = 10.0

_NEW_VERSION_RATIO = 50.0  # a test fails on the new version and passed on the known-good one
_SILENT_RATIO = 20.0
_INFRA_RATIO = 5.0  # loud infrastructure noise accompanies most incidents and causes few
_RATIOS: dict[services.DetectorKind, float] = {
    "identity": MISMATCH_RATIO,
    "columns": 30.0,
    "shift": 30.0,
    "ceiling": 20.0,
    "floor": 20.0,
    "share": 5.0,
    "distribution": 5.0,
}

HORIZON = timedelta(hours=24)
"""How long before the onset a change may have been made: all planes, features of one daily cadence included."""

FADING = timedelta(hours=6)
"""The time in which a change's co-timing loses a factor e."""


def of_plane(
    scene: scenes.Scene, plane: planes.Plane, swaps: swap.Report, *, is_one_of_several: bool = False
) -> tuple[diagnoses.Evidence, ...]:
    """Every line about this plane, also the neutral ones.

    Where it is one of several broken layers, a swap of it alone that restores nothing does not speak against it, and
    its change may have come when another one was broken already.
    """
    lines = [
        *of_silence(scene, plane),
        *_identity(scene, plane),
        *_signals(scene, plane),
        *_timing(scene, plane, late=is_one_of_several),
    ]
    in_vain = 1.0 if is_one_of_several else CLEAN_RATIO
    others = ", ".join(test.plane for test in swaps.tests if test.restores and test.plane is not plane)
    for test in swaps.tests:
        if test.plane is plane:
            lines.append(diagnoses.Evidence(SWAP, str(test), SWAP_RATIO if test.restores else in_vain))
            if test.restores and others:
                says = f"taking back {others} restores too: they are wrong only together"
                lines.append(diagnoses.Evidence("interaction", says, 1.0))
    return tuple(lines)


def _identity(scene: scenes.Scene, plane: planes.Plane) -> Iterable[diagnoses.Evidence]:
    was, now, held = scene.recorded(plane), scene.live.get(plane), scene.loaded.get(plane)
    if was and now and scene.good and scene.is_overwritten(plane):
        yield diagnoses.Evidence(
            IDENTITY,
            f"overwritten in place: {now.object} {now.name} has bytes {digest.short(now.digest)}, "
            f"release {scene.good.id} has {digest.short(was.digest)} (limit: equal, n=1)",
            MISMATCH_RATIO,
        )
    if now and held and scene.is_served_otherwise(plane):
        yield diagnoses.Evidence(IDENTITY, _served_otherwise(now, held), _mismatch_ratio(scene, plane))
    if scene.good and now and scene.is_as_recorded(plane):
        # The features' revision is their program; that says nothing about the values it wrote.
        counts = scene.has_stayed(plane) and plane is not planes.Plane.FEATURES
        again = " again" if scene.has_come_back(plane) else ""
        says = f"{now} is{again} byte for byte that of release {scene.good.id}"
        yield diagnoses.Evidence(IDENTITY, says, CLEAN_RATIO if counts else 1.0)


def _served_otherwise(now: revisions.Revision, held: revisions.Revision) -> str:
    if held.name != now.name:
        return f"the server holds {held.object} {held.name}, its plane points at {now.name} (limit: equal, n=1)"
    return (
        f"the server holds {held.object} {held.name} with bytes {digest.short(held.digest)}, "
        f"its plane has {digest.short(now.digest)} (limit: equal, n=1)"
    )


def _mismatch_ratio(scene: scenes.Scene, plane: planes.Plane) -> float:
    """One overwriting shows in both. A server that has not left the good revision yet gives no wrong answers by it."""
    if scene.is_overwritten(plane) or (scene.bad and scene.is_served_as_recorded(plane)):
        return 1.0
    return MISMATCH_RATIO


def of_silence(scene: scenes.Scene, plane: planes.Plane) -> tuple[diagnoses.Evidence, ...]:
    """That what has to be there does not answer. It is strong where nothing else is known, weak beside bad signals."""
    ratio = _INFRA_RATIO if scene.bad else _SILENT_RATIO
    if plane in scene.unread:
        return (diagnoses.Evidence("unread", f"cannot be read: {scene.unread[plane].why}", ratio),)
    if plane is planes.Plane.INFRA and scene.silent_server and not scene.unread:
        says = f"the server does not say what it has loaded: {scene.silent_server.why}"
        return (diagnoses.Evidence("server", says, ratio),)
    return ()


def _signals(scene: scenes.Scene, plane: planes.Plane) -> Iterable[diagnoses.Evidence]:
    bad = scene.spoken_of(plane, signals.State.BAD)
    clean = scene.spoken_of(plane, signals.State.OK)
    strongest = max((_ratio(scene, one) for one in bad), default=1.0)
    counted = False
    for one in bad:
        ratio = _ratio(scene, one) if not counted and _ratio(scene, one) == strongest else 1.0
        counted = counted or ratio > 1.0
        yield diagnoses.Evidence(_test_name(scene, one), said(scene, one), ratio)
    for at, one in enumerate(clean):
        counts = not bad and at == 0 and not scene.has_come_back(plane)  # what is clean now may not have been then
        yield diagnoses.Evidence(_test_name(scene, one), said(scene, one), CLEAN_RATIO if counts else 1.0)


def said(scene: scenes.Scene, judgement: signals.Judgement) -> str:
    """The judgement in the units of its detector."""
    return measures.judged(judgement, scene.spec(judgement.signal).detector)


def _test_name(scene: scenes.Scene, judgement: signals.Judgement) -> str:
    return IDENTITY if scene.spec(judgement.signal).detector == "identity" else judgement.signal


def _ratio(scene: scenes.Scene, judgement: signals.Judgement) -> float:
    if judgement.plane is planes.Plane.INFRA:
        return _INFRA_RATIO
    detector = scene.spec(judgement.signal).detector
    if detector == "share" and judgement.plane is not None and scene.is_new(judgement.plane):
        return _NEW_VERSION_RATIO
    return _RATIOS[detector]


def _timing(scene: scenes.Scene, plane: planes.Plane, *, late: bool) -> Iterable[diagnoses.Evidence]:
    change = culprit(scene, plane, late=late)
    if change is None or scene.onset is None:
        return
    if is_too_late(scene, change) or (change.at > scene.onset.until and change.not_before is None):
        behind = timetext.format_duration(change.at - scene.onset.until)
        seen = "" if change.recorded else "seen "
        yield diagnoses.Evidence(CO_TIMING, f"{change.name} {seen}{behind} AFTER the onset", 1.0)
        return
    if change.at > scene.onset.until and change.not_before is not None:
        gap = max(scene.onset.since - change.not_before, timedelta(0))
        where = "from before the onset to after it" if gap else "from within the interval in which it began"
        said = f"{change.name} at some time {where}: seen {timetext.format_clock(change.at)}, nobody recorded when"
        yield diagnoses.Evidence(CO_TIMING, said, CO_TIMING_RATIO * math.exp(-gap / FADING))
        return
    gap = before_onset(scene, change)
    when = f"{timetext.format_duration(gap)} before the onset" if gap else "in the interval in which it began"
    yield diagnoses.Evidence(CO_TIMING, f"{change.name} {when}", CO_TIMING_RATIO * math.exp(-gap / FADING))


def before_onset(scene: scenes.Scene, change: changes.Change) -> timedelta:
    """How long before the onset it came, 0 inside the interval."""
    assert scene.onset is not None
    return max(scene.onset.since - change.at, timedelta(0))


def is_too_late(scene: scenes.Scene, change: changes.Change) -> bool:
    """Came after it was bad already, so it cannot be the cause. An unseen move came some time after `not_before`."""
    earliest = change.at if change.recorded or change.not_before is None else change.not_before
    return scene.onset is not None and earliest > scene.onset.until


def in_horizon(scene: scenes.Scene, plane: planes.Plane, *, late: bool = False) -> tuple[changes.Change, ...]:
    """The plane's changes that may have caused it, oldest first; with `late` also those that came after the onset.

    What only arrived (a version that was registered) is no change of what is live; a move with nothing known before it
    counts when it led to what is live. What came
    before the known-good release was vouched for with it; only features may turn bad without a further change.
    """
    since = (scene.onset.since if scene.onset else scene.at) - HORIZON
    if scene.good and plane is not planes.Plane.FEATURES:
        since = max(since, scene.good.at)
    return tuple(
        change
        for change in scene.changes
        if change.plane is plane
        and change.at >= since
        and (late or not is_too_late(scene, change))
        and not change.arrived
        and (change.before or _is_live(scene, change))
    )


def culprit(scene: scenes.Scene, plane: planes.Plane, *, late: bool = False) -> changes.Change | None:
    """The change to name: the overwriting where bytes were overwritten; else the newest before the onset that led to
    what is live; else the newest.

    Where the plane has come back, what is live now was not live then.
    """
    possible = in_horizon(scene, plane, late=late)
    if scene.is_overwritten(plane):
        bytes_now = timelines.with_digest(scene.live[plane])
        possible = tuple(change for change in possible if change.after == bytes_now) or possible
    led_here = tuple(change for change in possible if _is_live(scene, change) and not scene.has_come_back(plane))
    best = led_here or possible
    return best[-1] if best else None


def _is_live(scene: scenes.Scene, change: changes.Change) -> bool:
    """Whether it led to what the server has loaded, or the plane has where that is not known."""
    now = scene.loaded.get(change.plane) or scene.live.get(change.plane)
    return now is not None and change.after in (now.name, timelines.with_digest(now))
