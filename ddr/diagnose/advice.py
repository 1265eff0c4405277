"""What to do next, what to put right by hand before, and what to know before doing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ddr.diagnose import scene as scenes
from ddr.diagnose import ways
from ddr.domain import planes, signals


@dataclass(frozen=True)
class Hand:
    """What is at hand for the next command.

    `runbooks` names the runbook of each plane, `roll` the one that rolls the server alone, `incident` the incident it
    belongs to. `waiting` is the command for a run of the service that has no end yet: nothing else comes before it.
    `lift` takes the fallback off again, where a run switched it on.
    """

    runbooks: Mapping[planes.Plane, str] = field(default_factory=dict)
    roll: str = ""
    incident: str = ""
    waiting: str = ""
    lift: str = ""


def lifting(lift: str) -> str:
    """What to type while the fallback answers and nothing else is wrong."""
    return f"{lift}   # the model answers again" if lift else "ddr runbook runs   # none of them switched it on"


def mend(scene: scenes.Scene) -> tuple[str, ...]:
    """By hand. The server is named where every plane can be read: without a plane it does not answer either."""
    told = [f"{plane}: {problem.hint}" for plane, problem in scene.unread.items() if problem.hint]
    if scene.silent_server and not scene.unread:
        told.append(f"server: {scene.silent_server.hint or 'look at its log'}")
    return tuple(told)


def next_command(scene: scenes.Scene, blamed: planes.Plane | None, hand: Hand) -> str:
    service = scene.service.name
    if hand.waiting:
        return hand.waiting
    if blamed is None or blamed in scene.unread or (blamed is planes.Plane.INFRA and scene.silent_server):
        return _unblamed(scene, hand)
    if blamed is planes.Plane.INFRA:
        return "ddr doctor   # and look at the servers' logs"
    if scene.is_served_otherwise(blamed) and scene.is_pointed_well(blamed) and hand.roll:
        return _run(hand.roll, service, hand)
    if scene.fallback and scene.has_come_back(blamed):
        return lifting(hand.lift)
    if scene.has_come_back(blamed) and not scene.spoken_of(blamed, signals.State.BAD):
        return f"ddr status {service}   # {blamed} is as recorded again; the windows still hold answers from before"
    if scene.is_as_recorded(blamed):
        return f"ddr changes {service} --since 48h   # {blamed} is as recorded: look at what feeds it"
    if blamed in hand.runbooks:
        return _run(hand.runbooks[blamed], service, hand)
    return f"ddr runbook list   # and run the one for the {blamed} plane with --service {service}"


def when_healthy(hand: Hand) -> str:
    """What is left to do: a run that has no end, an incident that is over."""
    over = f'ddr incident resolve {hand.incident} --why "..."   # if it is over'
    return hand.waiting or (over if hand.incident else "")


def _unblamed(scene: scenes.Scene, hand: Hand) -> str:
    if mend(scene):
        return f"ddr diagnose {scene.service.name}   # again, when that is mended"
    if scene.bad:
        return f"ddr changes {scene.service.name} --since 48h"
    if scene.fallback and not any(scene.is_new(plane) for plane in scene.live):
        return lifting(hand.lift)
    if scene.good is None:
        return f"ddr release record {scene.service.name} --known-good   # once you vouch for what is live"
    return "ddr doctor"


def _run(runbook: str, service: str, hand: Hand) -> str:
    belongs = f" --incident {hand.incident}" if hand.incident else ""
    return f"ddr runbook run {runbook} --service {service}{belongs}"


def caution(
    scene: scenes.Scene,
    blamed: planes.Plane | None,
    together: Sequence[planes.Plane],
    way: ways.Way,
    hand: Hand,
) -> str:
    """What to know before typing the next command."""
    told = [*_of_the_fallback(scene), *_of_the_way(scene, blamed, way), *_of_the_server(scene, blamed, hand)]
    others = [plane for plane in together if plane is not blamed]
    if blamed and others:
        books = [
            f"`{_run(hand.runbooks[plane], scene.service.name, hand)}`" for plane in others if plane in hand.runbooks
        ]
        too = f" ({', '.join(books)})" if books else ""
        who = f"{' and '.join(others)} {'is' if len(others) == 1 else 'are'} broken too"
        told.append(f"{who}{too}: traffic proves no recovery before all are mended")
    return "; ".join(told)


def _of_the_fallback(scene: scenes.Scene) -> list[str]:
    return ["the fallback answers: what is measured of answers is about it"] if scene.fallback else []


def _of_the_way(scene: scenes.Scene, plane: planes.Plane | None, way: ways.Way) -> list[str]:
    """Overwritten bytes cannot be switched back to, whether they are live or the ones to go back to."""
    if plane is None or plane not in planes.ROLLED_BACK or plane not in scene.live:
        return []
    if scene.is_served_otherwise(plane) and scene.is_pointed_well(plane):
        return []
    if scene.is_overwritten(plane):
        now, held = scene.live[plane], scene.loaded.get(plane)
        gone = f"the good bytes of {now.object} {now.name} are gone from the {plane} plane"
        told = [f"{gone}: it cannot be taken back to them"]
        if held is not None and scene.good is not None and scene.good.revisions[plane].is_same(held):
            told.append("the server still holds the good bytes: do not restart or roll it before they are saved")
    elif way.lost and scene.is_new(plane):
        told = list(way.lost)
    else:
        return []
    if way.to:
        return [*told, f"the runbook goes back to the known-good one before it, {way.to}"]
    return [*told, "the runbook can only contain, unless `-p to=VERSION` names an older one that you vouch for"]


def _of_the_server(scene: scenes.Scene, plane: planes.Plane | None, hand: Hand) -> list[str]:
    if plane is None or not scene.is_served_otherwise(plane) or not scene.is_served_as_recorded(plane):
        return []
    if scene.is_overwritten(plane) or scene.is_pointed_well(plane):
        return []
    now, held = scene.live[plane], scene.loaded[plane]
    wanted = f"; where {now.name} is wanted, `{_run(hand.roll, scene.service.name, hand)} -p loads=anything`"
    return [
        f"the server still answers with the known-good {held.name} and would load {now.name} at its next start"
        + (wanted if hand.roll else "")
    ]
