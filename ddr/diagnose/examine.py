"""Which plane is to blame. Looks at everything once, then concludes; touches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from ddr.diagnose import affected, evidence, ranking, swap
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
    runbooks: Mapping[planes.Plane, str] | None = None,
    incident: str = "",
) -> diagnoses.Diagnosis:
    """The verdict on a service as it is now.

    `changes` is the timeline since `horizon`; without it only what differs from the known-good release is known.
    `replay` allows the swap test. `runbooks` names the runbook of each plane for the next command,
    `incident` the incident it belongs to.
    """
    scene = scenes.look(platform, service, changes)
    mismatched = tuple(plane for plane in scene.live if _is_mismatched(scene, plane))
    if not scene.bad and not mismatched:
        return _quiet(scene)
    if not mismatched and len(scene.seasonal) == len(scene.bad):
        return _seasonal(scene)
    report = swap.Report((), () if replay else ("swap test: switched off",))
    if replay and scene.bad:
        report = swap.run(platform, scene, _worth_swapping(scene))
    suspects = [plane for plane in planes.Plane if _is_candidate(scene, plane, report)]
    lines = {plane: evidence.of_plane(scene, plane, report) for plane in suspects}
    culprits = {plane: evidence.culprit(scene, plane) for plane in suspects}
    ranked = ranking.rank(lines, culprits, _for_unknown(suspects, report))
    verdict = ranking.verdict(ranked)
    blamed = None if verdict is diagnoses.Verdict.INCONCLUSIVE else ranked[0].plane
    reached = affected.of(platform, scene, blamed) if scene.bad else affected.Affected()
    return diagnoses.Diagnosis(
        service=service,
        at=scene.at,
        verdict=verdict,
        candidates=ranked,
        onset_from=scene.onset.since if scene.onset else None,
        onset_to=scene.onset.until if scene.onset else None,
        live=tuple(scene.live.values()),
        ruled_out=_ruled_out(scene, suspects, ranked),
        not_checked=(*_unswapped(scene, report), *scene.not_checked),
        impaired=reached.impaired,
        exposed=reached.exposed,
        cleared=reached.cleared,
        next_command=_next(scene, blamed, runbooks, incident),
        caution=_caution(scene, blamed),
    )


def _is_mismatched(scene: scenes.Scene, plane: planes.Plane) -> bool:
    return scene.is_overwritten(plane) or scene.is_served_otherwise(plane)


def _quiet(scene: scenes.Scene) -> diagnoses.Diagnosis:
    """Nothing is bad: healthy where a symptom was measured and every plane could be read, else nothing is known."""
    symptoms = [one for one in scene.judged if one.plane is None] or scene.judged
    measured = any(one.state is signals.State.OK for one in symptoms) and set(scene.service.planes) <= set(scene.live)
    return diagnoses.Diagnosis(
        service=scene.service.name,
        at=scene.at,
        verdict=diagnoses.Verdict.HEALTHY if measured else diagnoses.Verdict.INCONCLUSIVE,
        candidates=(),
        live=tuple(scene.live.values()),
        not_checked=scene.not_checked,
        cleared=(scene.service.name,) if measured else (),
    )


def _seasonal(scene: scenes.Scene) -> diagnoses.Diagnosis:
    """It is bad as it was at this hour a week ago: a habit of the data, until somebody knows better."""
    lines = tuple(diagnoses.Evidence("season", told, 1.0) for told in scene.seasonal)
    return diagnoses.Diagnosis(
        service=scene.service.name,
        at=scene.at,
        verdict=diagnoses.Verdict.INCONCLUSIVE,
        candidates=(diagnoses.Candidate(None, 1.0, lines),),
        live=tuple(scene.live.values()),
        not_checked=scene.not_checked,
        next_command=_next(scene, None),
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
    scene: scenes.Scene, suspects: list[planes.Plane], ranked: tuple[diagnoses.Candidate, ...]
) -> tuple[str, ...]:
    """Planes that are no candidate, changes that came too late, and candidates whose swap restored nothing."""
    told = []
    for candidate in ranked:
        for line in candidate.evidence:
            if candidate.plane and line.test == evidence.SWAP and line.ratio < 1:
                told.append(f"{candidate.plane}: {line.says}")
    for plane in scene.live:
        if plane in suspects:
            continue
        clean = [str(one) for one in scene.spoken_of(plane, signals.State.OK)]
        if scene.is_as_recorded(plane) and scene.good:
            clean.insert(0, f"byte for byte that of release {scene.good.id}")
        told.append(f"{plane}: " + "; ".join(clean or ["no change in the horizon"]))
    if planes.Plane.INFRA not in suspects and planes.Plane.INFRA not in scene.live:
        clean = [str(one) for one in scene.spoken_of(planes.Plane.INFRA, signals.State.OK)]
        told += ["infra: " + "; ".join(clean)] if clean else []
    told += [
        f"{change.name} came at {timetext.format_clock(change.at)}, after it was bad"
        for change in scene.changes
        if evidence.is_too_late(scene, change)
    ]
    return tuple(told)


def _unswapped(scene: scenes.Scene, report: swap.Report) -> tuple[str, ...]:
    config = planes.Plane.CONFIG
    if report.tests and evidence.in_horizon(scene, config):
        return (*report.not_made, f"swap of {config}: a replay cannot change this plane")
    return report.not_made


def _caution(scene: scenes.Scene, plane: planes.Plane | None) -> str:
    """What to know before typing the next command: overwritten bytes cannot be switched back to."""
    if plane is None or not scene.is_overwritten(plane):
        return ""
    now, held = scene.live[plane], scene.loaded.get(plane)
    told = [
        f"the good bytes of {now.object} {now.name} are gone from the {plane} plane: it cannot be taken back to them"
    ]
    if held is not None and scene.good is not None and scene.good.revisions[plane].is_same(held):
        told.append("the server still holds the good bytes: do not restart or roll it before they are saved")
    if scene.has_earlier(plane):
        told.append("the runbook goes back to the known-good one before it")
    else:
        told.append("the runbook can only contain, unless `-p to=VERSION` names an older one that you vouch for")
    return "; ".join(told)


def _next(
    scene: scenes.Scene,
    plane: planes.Plane | None,
    runbooks: Mapping[planes.Plane, str] | None = None,
    incident: str = "",
) -> str:
    service = scene.service.name
    if plane is None:
        return f"ddr changes {service} --since 48h"
    if scene.has_come_back(plane) and not scene.spoken_of(plane, signals.State.BAD):
        return f"ddr status {service}   # {plane} is as recorded again; the windows still hold answers from before"
    if runbooks and plane in runbooks:
        belongs = f" --incident {incident}" if incident else ""
        return f"ddr runbook run {runbooks[plane]} --service {service}{belongs}"
    return f"ddr runbook list   # and run the one for the {plane} plane with --service {service}"
