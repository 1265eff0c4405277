"""A rollback or a containment as a procedure of the runbook engine: written from what was planned, every name pinned.

So a rollback is a run like any other: `ddr runbook resume | undo | approve`, `ddr status` and the reports know it. The
document is frozen into the run; what was planned is in it word for word, so resuming it never goes anywhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ddr.domain import planes, plans, revisions, runbooks, services
from ddr.lib import digest, timetext
from ddr.rollback import proof, proposal, spoken

SOURCE = "ddr rollback"
"""The source of every run that this room wrote: how they are found again."""

CONTAIN = "contain"
APPROVAL_S = 1800
WINDOW = timedelta(seconds=10)
"""How long a rollback is watched for somebody who takes it back."""

PATIENCE = timedelta(minutes=5)
"""How long fresh observations are waited for."""


@dataclass(frozen=True)
class Options:
    """How a rollback is carried out. `window` and `patience` are platform time; without `prove` nobody waits."""

    mark: bool = True
    prove: bool = True
    window: timedelta = WINDOW
    patience: timedelta = PATIENCE
    keep_frozen: bool = False


def digest_of(found: proposal.Proposal, options: Options) -> str:
    """What `--plan` takes and what is approved: where from and where to, with which bytes, and what else is done.

    How long is watched and waited is not in it: that changes nothing in the world.
    """
    doings = {
        "plan": found.plan.digest,
        "freeze": list(found.freezable),
        "thaw": [] if options.keep_frozen else list(found.freezable),
        "refresh": list(found.refreshable),
        "block": list(found.moved) if options.mark else [],
        "prove": options.prove,
    }
    return digest.of_value(doings)


def proof_of(found: proposal.Proposal, service: services.Service, options: Options) -> str:
    """In words."""
    seconds = options.window.total_seconds(), options.patience.total_seconds()
    return spoken.proved_by(found, service, waits=options.prove, window_s=seconds[0], patience_s=seconds[1])


def title(moved: Sequence[planes.Plane]) -> str:
    return "-".join(["rollback", *moved])


def of_rollback(service: services.Service, found: proposal.Proposal, options: Options, at: datetime) -> str:
    """check → approval → freeze → switch → refresh → load → mark → hold → prove → thaw.

    A materialization is thawed before the proof: rows that nobody writes any more grow old.
    """
    moves = [_move(move) for move in found.plan.moves]
    stays = [_stays(revision) for revision in found.stays.values()]
    pinned = {"moves": moves, "stays": stays}
    plan = digest_of(found, options)
    says = spoken.beside_the_writes(found, proof_of(found, service, options))
    shown = {runbooks.PLAN: plan, runbooks.SAYS: [_plain(line) for line in says]}
    checked = {**pinned, runbooks.PLAN: plan}
    steps = [
        _step("check", "gate", "rollback.check", checked, "The world is still the one that was planned for.", 3),
        *_approve(service, "A second person reads exactly what will be done.", shown),
    ]
    for plane in found.freezable:
        why = "Whoever obeys the mark promotes nothing while we work."
        steps.append(_step(f"freeze-{plane}", "action", "promotions.freeze", {"plane": plane}, why, 3, critical=False))
    for at_, move in enumerate(moves):
        inputs = {**move, "rolls": at_ == 0}
        why = "Only this plane goes back, and only from where it was seen."
        steps.append(_step(f"take-back-{move['plane']}", "action", "rollback.switch", inputs, why, 3))
    for plane in found.refreshable:
        why = "Rows do not go back with the program; it writes them again, and they are read back."
        steps.append(_step(f"refresh-{plane}", "action", "features.refresh", {"plane": plane}, why, 3, 900))
    if found.has_server:
        why = "The server loads it, and what it has in memory is compared with the planes."
        steps.append(_step("load", "action", "serving.roll", {}, why, 3))
    left = [_move(move) for move in found.plan.moves if move.live.name != move.target.name]  # never where it goes to
    for move in left if options.mark else ():
        blocked = {"plane": move["plane"], "revision": move["live"], "why": "taken back by a rollback"}
        why = "Nothing promotes it a second time."
        steps.append(_step(f"mark-{move['plane']}", "action", "revision.block", blocked, why, 3, critical=False))
    proofs = ["hold"]
    proves = options.prove and bool(proof.awaited(service, found.moved))
    window = timetext.format_duration(options.window if options.prove else timedelta())
    watched: dict[str, Any] = {**pinned, "window": window, **({"counts": True} if proves else {})}
    why = "It stays where it was put, the server holds it, and the other planes are what they were."
    steps.append(_step("hold", "gate", "rollback.hold", watched, why, 1, 900))
    thawed = () if options.keep_frozen else found.freezable
    jobs = tuple(plane for plane in thawed if plane in found.refreshable)
    for plane in jobs:
        why = "The good job has to run on, or the rows grow old again while they are watched."
        steps.append(_step(f"thaw-{plane}", "action", "promotions.thaw", {"plane": plane}, why, 3, critical=False))
    if proves:
        proofs.append("prove")
        patience = timetext.format_duration(options.patience)
        inputs = {"planes": list(found.moved), "patience": patience, "moves": moves}
        why = "Signals judged on what comes after the rollback say that it helped."
        steps.append(_step("prove", "gate", "rollback.prove", inputs, why, 1, 7200))
    for plane in (plane for plane in thawed if plane not in jobs):
        why = "Promotions may go on; what was marked stays marked."
        steps.append(_step(f"thaw-{plane}", "action", "promotions.thaw", {"plane": plane}, why, 3, critical=False))
    steps[-1] |= {"isEnd": True, "endStatus": "recovered" if proves else "switched"}
    summary = "; ".join(f"take {move.plane} from {move.live.name} to {move.target.name}" for move in found.plan.moves)
    return _document(
        service, title(found.moved), summary, found.moved[0], f"take-back-{found.moved[0]}", proofs, steps, at
    )


def of_containment(
    service: services.Service, doings: Sequence[Mapping[str, Any]], pinned: Sequence[plans.Move], at: datetime
) -> str:
    """`doings` are the actions as steps (see `doing`), in order; `pinned` what traffic was pinned to."""
    steps = [dict(doing) for doing in doings]
    steps[:0] = _approve(service, "A second person reads what will be stopped and what will answer instead.")
    moves = [_move(move) for move in pinned]
    inputs = {"moves": moves, "stays": [], "window": "0s", "fallback": any(s["name"] == "fallback" for s in steps)}
    steps.append(_step("holds", "gate", "rollback.hold", inputs, "What was switched is so.", 1))
    steps[-1] |= {"isEnd": True, "endStatus": "contained"}
    plane = next(iter(service.planes), planes.Plane.MODEL)
    names = [step["name"] for step in steps if "action" in step]
    first = next((name for name in ("fallback", "isolate") if name in names), names[0])
    summary = "contain: " + ", ".join(str(step["name"]) for step in doings)
    return _document(service, CONTAIN, summary, plane, first, ["holds"], steps, at)


def doing(name: str, verb: str, inputs: Mapping[str, Any], why: str) -> Mapping[str, Any]:
    """One action of a containment."""
    return _step(name, "action", verb, inputs, why, 3)


def pin(move: plans.Move) -> Mapping[str, Any]:
    """The inputs of the step that pins traffic to a revision."""
    return {**_move(move), "rolls": True}


def _step(
    name: str,
    kind: str,
    verb: str,
    inputs: Mapping[str, Any],
    why: str,
    attempts: int = 1,
    timeout_s: int = 300,
    *,
    critical: bool = True,
) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, kind: verb, "why": why}
    if inputs:
        made["with"] = dict(inputs)
    if attempts > 1:
        made["maxAttempts"] = attempts
    if timeout_s != 300:
        made["timeoutSeconds"] = timeout_s
    if not critical:
        made["isCritical"] = False
    return made


def _approve(service: services.Service, why: str, shown: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Where the service names approvers, one of them is asked."""
    return [_step("approve", "gate", "approval", shown or {}, why)] if service.owners.approvers else []


def _plain(text: str) -> str:
    """No template of a runbook: what a system calls its things is not filled in."""
    return text.replace("{{", "{ {").replace("}}", "} }")


def _move(move: plans.Move) -> dict[str, Any]:
    return {
        "plane": move.plane,
        "object": move.target.object,
        "live": move.live.name,
        "liveDigest": move.live.digest,
        "target": move.target.name,
        "targetDigest": move.target.digest,
    }


def _stays(revision: revisions.Revision) -> dict[str, str]:
    return {
        "plane": revision.plane,
        "object": revision.object,
        "name": revision.name,
        "digest": revision.digest,
    }


def _document(
    service: services.Service,
    name: str,
    summary: str,
    plane: planes.Plane,
    containment: str,
    proofs: Sequence[str],
    steps: Sequence[Mapping[str, Any]],
    at: datetime,
) -> str:
    owners = service.owners
    written = {
        "apiVersion": "ddr/v1",
        "kind": "Runbook",
        "metadata": {"name": name, "owner": owners.team, "severity": "SEV2", "reviewed": f"{at:%Y-%m-%d}"},
        "summary": summary,
        "signal": [],
        "impact": {"customers": service.customers or "not said in ddr.yaml", "business": "not said"},
        "changes": {"window": "24h", "planes": list(service.planes)},
        "target": {"plane": plane, "to": "as planned", "containment": containment},
        "roles": {"incidentCommander": owners.oncall, "decisionMaker": owners.decision_maker},
        "approval": {"minRequiredApprovals": 1, "separationOfDuties": True, "timeoutSeconds": APPROVAL_S},
        "steps": list(steps),
        "validation": list(proofs),
        "postIncident": [],
    }
    return json.dumps(written, indent=1, ensure_ascii=False)
