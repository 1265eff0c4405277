"""Approvals: bound to the digest of everything the following actions would do, counted by person, gone when late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ddr.domain import records
from ddr.errors import DdrError, InputError, Refused
from ddr.journal import run_view
from ddr.lib import digest, timetext
from ddr.ports import platform
from ddr.runbook import history

LEAST_DIGITS = 8
"""How many digits of a plan digest an approver must give at least."""


class Standing(StrEnum):
    """What a request is worth right now."""

    GRANTED = "granted"
    WAITING = "waiting"
    REJECTED = "rejected"
    VOID = "void"


@dataclass(frozen=True)
class Asked:
    """What would be approved: for each following action the digest of what it is settled on, and text for people."""

    settled: Mapping[str, str]
    summary: tuple[str, ...]
    shown: str = ""
    """The digest of the plan that people were shown, where this is that plan."""

    @property
    def digest(self) -> str:
        return self.shown or digest.of_value(dict(self.settled))


def of_step(verb_name: str, settled: Mapping[str, str]) -> str:
    """The digest of what one action would do."""
    return digest.of_value({"verb": verb_name, "settled": dict(settled)})


def _person(actor: str) -> str:
    return actor.strip().casefold()


def objection(request: run_view.Approval, requester: str, decision: run_view.Decision, approvers: Sequence[str]) -> str:
    """Why a decision does not count, '' when it does. `approvers` are those of the service as it is now."""
    asked, who = request.request, _person(decision.actor)
    if decision.at > asked.expires:
        return f"the approval had expired at {timetext.format_clock(asked.expires)}"
    if decision.record.break_glass:
        return "" if decision.record.why else "breaking the glass needs a reason"
    allowed = {_person(name) for name in asked.approvers} & {_person(name) for name in approvers}
    if who not in allowed:
        return f"{decision.actor} is not among the approvers: {', '.join(asked.approvers) or 'there are none'}"
    if (
        decision.record.granted
        and asked.separation_of_duties
        and who in (_person(requester), _person(request.requester))
    ):
        return f"{decision.actor} asked for it; who asks may not approve"
    return ""


def counted(request: run_view.Approval, requester: str, approvers: Sequence[str]) -> tuple[run_view.Decision, ...]:
    """The decisions that count: the newest of each person, objections left out."""
    newest: dict[str, run_view.Decision] = {}
    for decision in request.decisions:
        if not objection(request, requester, decision, approvers):
            newest[_person(decision.actor)] = decision
    return tuple(newest.values())


def standing(
    request: run_view.Approval, requester: str, approvers: Sequence[str], now: datetime
) -> tuple[Standing, tuple[run_view.Decision, ...]]:
    """How the request stands, by which decisions. A rejection wins; broken glass is enough; late is void."""
    found = counted(request, requester, approvers)
    rejections = tuple(decision for decision in found if not decision.record.granted)
    grants = tuple(decision for decision in found if decision.record.granted)
    broken = tuple(decision for decision in grants if decision.record.break_glass)
    if now > request.request.expires:
        return Standing.VOID, found
    if broken:
        return Standing.GRANTED, broken
    if rejections:
        return Standing.REJECTED, rejections
    if len(grants) >= request.request.required:
        return Standing.GRANTED, grants
    return Standing.WAITING, grants


def was_granted(request: run_view.Approval, requester: str, approvers: Sequence[str]) -> bool:
    """Whether it was granted in time, however long ago that is."""
    return standing(request, requester, approvers, request.request.expires)[0] is Standing.GRANTED


def decide(
    on: platform.Platform,
    run: str,
    *,
    plan: str,
    granted: bool = True,
    why: str = "",
    break_glass: bool = False,
) -> records.ApprovalDecided:
    """Write the decision of this platform's actor into the journal. Repeating it changes nothing.

    `plan` is the plan digest, or its first digits. Raises Missing, InputError (another plan), Refused with the
    reason why the decision would not count.
    """
    seen = history.Follower(on.journal, run).read()
    if seen.end is not None:
        raise Refused(
            f"run {run} waits for no approval: it ended as {seen.end.status}",
            hint="`ddr runbook runs` shows which run waits",
        )
    if not seen.approvals:
        raise Refused(f"run {run} waits for no approval", hint=f"`ddr runbook resume {run}` goes on")
    request = seen.approvals[-1]
    _require_plan(request.request, plan)
    record = records.ApprovalDecided(run, request.request.plan_digest, granted, why, break_glass)
    now = on.clock.now()
    approvers = on.service(seen.started.service).owners.approvers
    problem = objection(request, seen.requester, run_view.Decision(record, on.actor, now), approvers)
    if problem:
        raise Refused(f"run {run}: {problem}", hint=_way_out(run, problem))
    if _is_decided(request, seen.requester, approvers, on.actor, record):
        return record
    on.journal.append(record)
    if break_glass:
        _tell(on, seen, request.request, why)
    return record


def is_decided(on: platform.Platform, run: str, *, granted: bool, why: str, break_glass: bool) -> bool:
    """Whether this actor has said exactly this of the plan that waits now. Raises UnknownName."""
    seen = history.Follower(on.journal, run).read()
    if not seen.approvals:
        return False
    request = seen.approvals[-1]
    record = records.ApprovalDecided(run, request.request.plan_digest, granted, why, break_glass)
    approvers = on.service(seen.started.service).owners.approvers
    return _is_decided(request, seen.requester, approvers, on.actor, record)


def _is_decided(
    request: run_view.Approval,
    requester: str,
    approvers: Sequence[str],
    actor: str,
    record: records.ApprovalDecided,
) -> bool:
    said = [one for one in counted(request, requester, approvers) if _person(one.actor) == _person(actor)]
    return any(one.record == record for one in said)


def _tell(on: platform.Platform, seen: run_view.Run, request: records.ApprovalRequested, why: str) -> None:
    """Broken glass is told to the whole team. Telling may fail; that is recorded and stops nothing."""
    service = on.service(seen.started.service)
    text = f"GLASS BROKEN by {on.actor} on run {request.run} ({service.name}): {why}. Plan: "
    text += "; ".join(request.summary)
    key = f"{request.run}/break-glass/{digest.short(request.plan_digest)}"
    problem = ""
    try:
        on.notifier.post(service.owners.team, text, key)
    except DdrError as failure:
        problem = failure.message
    on.journal.append(records.MessagePosted(service.owners.team, text, key, delivered=not problem, why=problem))


def _require_plan(request: records.ApprovalRequested, plan: str) -> None:
    digits = digest.short(plan, 64)
    if len(digits) < LEAST_DIGITS or not digest.short(request.plan_digest, 64).startswith(digits):
        raise InputError(
            f"run {request.run} does not wait for plan {plan!r}; it waits for {digest.short(request.plan_digest)}",
            hint=f"the plan may have changed; `ddr runbook resume {request.run}` shows the one that waits",
        )


def _way_out(run: str, problem: str) -> str:
    if "expired" in problem:
        return f"`ddr runbook resume {run}` asks anew"
    return f"another approver decides, or: ddr runbook approve {run} --break-glass REASON (loud and recorded)"
