"""Which plane is to blame. Looks at everything once, then concludes; touches nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

from ddr.diagnose import advice, affected, evidence, ranking, several, swap, ways
from ddr.diagnose import scene as scenes
from ddr.domain import diagnoses, planes, signals, timelines
from ddr.lib import timetext
from ddr.ports import platform as platforms


def horizon(now: datetime) -> datetime:
    """How far back the timeline that `examine` is given should reach: the furthest onset and a day before it."""
    return now - timedelta(days=1) - evidence.HORIZON


def examine(
    platform: platforms.Platform,
    service: str,
    *,
    changes: timelines.Timeline | None = None,
    replay: bool = True,
    hand: advice.Hand | None = None,
) -> diagnoses.Diagnosis:
    """The verdict on a service as it is now.

    `changes` is the timeline since `horizon`; without it only what differs from the known-good release is known.
    `replay` allows the swap test. `hand` is what the next command is made of.
    """
    scene, hand = scenes.look(platform, service, changes), hand or advice.Hand()
    mismatched = tuple(plane for plane in scene.live if _is_mismatched(scene, plane))
    if not scene.bad and not mismatched:
        return _quiet(scene, hand)
    if not mismatched and len(scene.seasonal) == len(scene.bad):
        return _seasonal(scene, hand)
    report = swap.Report((), () if replay else ("swap test: switched off",))
    if replay and scene.bad:
        report = swap.run(platform, scene, _worth_swapping(scene))
    suspects = [plane for plane in planes.Plane if _is_candidate(scene, plane, report)]
    broken = several.broken(scene, report)
    together = tuple(plane for plane in broken if plane in suspects) if len(broken) > 1 else ()
    lines = {plane: evidence.of_plane(scene, plane, report, is_one_of_several=plane in together) for plane in suspects}
    culprits = {plane: evidence.culprit(scene, plane, late=plane in together) for plane in suspects}
    ranked = ranking.rank(lines, culprits, () if together else _for_unknown(suspects, report), together)
    verdict = ranking.verdict(ranked)
    blamed = None if verdict is diagnoses.Verdict.INCONCLUSIVE else ranked[0].plane
    reached = affected.of(platform, scene, blamed) if scene.bad else affected.Affected()
    way = ways.look(platform, scene, blamed) if blamed in scene.live and blamed is not None else ways.Way()
    return diagnoses.Diagnosis(
        service=service,
        at=scene.at,
        verdict=verdict,
        candidates=ranked,
        onset_from=scene.onset.since if scene.onset else None,
        onset_to=scene.onset.until if scene.onset else None,
        live=tuple(scene.live.values()),
        ruled_out=_ruled_out(scene, suspects, ranked, together),
        not_checked=(*_unswapped(scene, report), *scene.not_checked),
        impaired=reached.impaired,
        exposed=reached.exposed,
        cleared=reached.cleared,
        next_command=advice.next_command(scene, blamed, hand),
        caution=advice.caution(scene, blamed, together, way, hand),
        together=tuple(one.plane for one in ranked if one.plane in together and one.plane),
        mend=advice.mend(scene),
    )


def _is_mismatched(scene: scenes.Scene, plane: planes.Plane) -> bool:
    return scene.is_overwritten(plane) or scene.is_served_otherwise(plane)


def _quiet(scene: scenes.Scene, hand: advice.Hand) -> diagnoses.Diagnosis:
    """Nothing is bad: healthy where all was looked at and all is well, else nothing is known.

    What does not answer is named first: it may be why nothing else could be measured.
    """
    is_well = bool(scene.judged) and all(one.state is signals.State.OK for one in scene.judged)
    is_healthy = is_well and not scene.unread and scene.silent_server is None and not scene.fallback
    mute = {plane: evidence.of_silence(scene, plane) for plane in (*scene.unread, planes.Plane.INFRA)}
    mute = {plane: told for plane, told in mute.items() if told}
    return diagnoses.Diagnosis(
        service=scene.service.name,
        at=scene.at,
        verdict=diagnoses.Verdict.HEALTHY if is_healthy else diagnoses.Verdict.INCONCLUSIVE,
        candidates=ranking.rank(mute, {}) if mute else (),
        live=tuple(scene.live.values()),
        not_checked=scene.not_checked,
        cleared=(scene.service.name,) if is_healthy else (),
        next_command=advice.when_healthy(hand) if is_healthy else advice.next_command(scene, None, hand),
        caution=advice.caution(scene, None, (), ways.Way(), hand),
        mend=advice.mend(scene),
    )


def _seasonal(scene: scenes.Scene, hand: advice.Hand) -> diagnoses.Diagnosis:
    """It is bad as it was at this hour a week ago: a habit of the data, until somebody knows better."""
    lines = tuple(diagnoses.Evidence("season", told, 1.0) for told in scene.seasonal)
    return diagnoses.Diagnosis(
        service=scene.service.name,
        at=scene.at,
        verdict=diagnoses.Verdict.INCONCLUSIVE,
        candidates=(diagnoses.Candidate(None, 1.0, lines),),
        live=tuple(scene.live.values()),
        not_checked=scene.not_checked,
        next_command=advice.next_command(scene, None, hand),
        mend=advice.mend(scene),
    )


def _worth_swapping(scene: scenes.Scene) -> tuple[planes.Plane, ...]:
    """Planes that are not known to be as recorded, the suspected first; features always, their values have no name."""
    possible = [
        plane
        for plane in planes.ROLLED_BACK
        if plane in scene.live and (plane is planes.Plane.FEATURES or not scene.has_stayed(plane))
    ]
    return tuple(sorted(possible, key=lambda plane: not scene.spoken_of(plane, signals.State.BAD)))


def _is_candidate(scene: scenes.Scene, plane: planes.Plane, report: swap.Report) -> bool:
    return bool(
        scene.spoken_of(plane, signals.State.BAD)
        or _is_mismatched(scene, plane)
        or scene.is_new(plane)
        or plane in scene.unread
        or (plane is planes.Plane.INFRA and scene.silent_server is not None)
        or evidence.in_horizon(scene, plane)
        or any(test.plane is plane and test.restores for test in report.tests)
    )


def _for_unknown(suspects: list[planes.Plane], report: swap.Report) -> tuple[diagnoses.Evidence, ...]:
    """No plane restores right answers: then it is none of them. Only when every suspect could be tried."""
    untried = set(suspects) & set(planes.ROLLED_BACK) - {test.plane for test in report.tests}
    if not report.tests or untried or any(test.restores for test in report.tests):
        return ()
    tried = ", ".join(test.plane for test in report.tests)
    return (
        diagnoses.Evidence(
            evidence.SWAP,
            f"swap test: taking back {tried} restores nothing (n={report.tests[0].n}): upstream data or the world",
            evidence.UPSTREAM_RATIO,
        ),
    )


def _ruled_out(
    scene: scenes.Scene,
    suspects: list[planes.Plane],
    ranked: tuple[diagnoses.Candidate, ...],
    together: tuple[planes.Plane, ...],
) -> tuple[str, ...]:
    """Planes that are no candidate, changes that came too late, and candidates whose swap restored nothing.

    No plane whose own signal is bad.
    """
    told = []
    for candidate in ranked:
        if candidate.plane and (candidate.plane in together or scene.spoken_of(candidate.plane, signals.State.BAD)):
            continue
        for line in candidate.evidence:
            if candidate.plane and line.test == evidence.SWAP and line.ratio < 1:
                told.append(f"{candidate.plane}: {line.says}")
    for plane in scene.live:
        if plane in suspects:
            continue
        clean = [evidence.said(scene, one) for one in scene.spoken_of(plane, signals.State.OK)]
        if scene.is_as_recorded(plane) and scene.good:
            clean.insert(0, f"byte for byte that of release {scene.good.id}")
        told.append(f"{plane}: " + "; ".join(clean or ["no change in the horizon"]))
    if planes.Plane.INFRA not in suspects and planes.Plane.INFRA not in scene.live:
        clean = [evidence.said(scene, one) for one in scene.spoken_of(planes.Plane.INFRA, signals.State.OK)]
        told += ["infra: " + "; ".join(clean)] if clean else []
    told += [
        f"{change.name} came at {timetext.format_clock(change.at)}, after it was bad"
        for change in scene.changes
        if evidence.is_too_late(scene, change) and change.plane not in together
    ]
    return tuple(told)


def _unswapped(scene: scenes.Scene, report: swap.Report) -> tuple[str, ...]:
    config = planes.Plane.CONFIG
    if report.tests and evidence.in_horizon(scene, config):
        return (*report.not_made, f"swap of {config}: a replay cannot change this plane")
    return report.not_made
