"""The approval gate in a run: what is asked, what was answered, whether an action still is what was approved."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import timedelta

from ddr.domain import outcomes, records, runbooks
from ddr.errors import ApprovalRequired, DdrError
from ddr.journal import run_view
from ddr.lib import digest, timetext
from ddr.ports import verb
from ddr.runbook import approval, flow, history, progress
from ddr.runbook import work as works


def command(run: str, plan_digest: str) -> str:
    """What an approver pastes."""
    return f"ddr runbook approve {run} --plan {digest.short(plan_digest)}"


def ask_undo(work: works.Work) -> bool:
    """Whether taking the run back may begin: True where nobody has to agree, or somebody has. False: it was denied.

    Raises ApprovalRequired while people have not decided, and where nobody can say what it would bring back.
    """
    seen = work.seen()
    whys = undo_needs(work)
    if not whys:
        return True
    acted = [step for step in reversed(seen.steps.values()) if step.intended is not None]
    settled = {step.name: approval.of_step(f"undo {i.verb}", i.settled) for step in acted if (i := step.intended)}
    told = tuple(f"{step.name}: {step.intended.undo}" for step in seen.to_undo if step.intended is not None)
    lines = tuple(line for line in told if not line.partition(": ")[2].startswith("nothing"))
    asked = approval.Asked(settled, (*lines, *(f"mind: {why}" for why in whys)))
    return _settle(work, runbooks.UNDO, asked).status is outcomes.Status.OK


def undo_needs(work: works.Work, only: Sequence[str] = ()) -> tuple[str, ...]:
    """What taking the run (or `only` these steps) back would bring that was marked bad; nothing where the service names
    no approvers: then going forward has asked nobody either."""
    if not work.service.owners.approvers:
        return ()
    found = []
    for step in work.seen().to_undo:
        verb_: object = work.tools.catalog.get(step.intended.verb) if step.intended else None
        if step.intended and isinstance(verb_, verb.Weighed) and (not only or step.name in only):
            found.append(verb_.undo_needs_a_yes(step.intended.settled))
    return tuple(why for why in found if why)


def ask(work: works.Work, gate: runbooks.Step) -> outcomes.Outcome:
    """The gate's outcome once people have decided. Raises ApprovalRequired while they have not."""
    try:
        asked = _following(work, gate)
    except DdrError as problem:
        so = "so nobody was asked" if not work.seen().approvals else "so what was asked or approved before is void"
        return outcomes.Outcome(outcomes.Status.FAILED, f"what follows cannot be planned, {so}: {problem.message}")
    return _settle(work, gate.name, asked)


def require_approved(
    work: works.Work, step: runbooks.Step, found: verb.Verb, prepared: verb.Prepared
) -> outcomes.Outcome | None:
    """None when the action may act; an outcome when it was rejected. Raises ApprovalRequired.

    An action behind an approval must be settled on exactly what was approved. When the world has moved since, the
    approval is void and everything that is left is asked for anew.
    """
    seen = work.seen()
    if not seen.approvals or not _is_behind_approval(work, seen):
        return None
    newest = _newest(seen, "")
    if newest is None:
        return None
    covered = newest.request.settled.get(step.name) == approval.of_step(found.name, prepared.settled)
    approvers = work.service.owners.approvers
    if covered and newest.request.step != step.name and approval.was_granted(newest, seen.requester, approvers):
        return None
    outcome = _settle(work, step.name, _following(work, step))
    return None if outcome.status is outcomes.Status.OK else outcome


def _is_behind_approval(work: works.Work, seen: run_view.Run) -> bool:
    """Whether an approval gate was passed. Where it failed, the way out that the runbook names needs none."""
    ended = history.outcomes_of(seen)
    gates = [step.name for step in work.procedure.steps if step.verb == runbooks.APPROVAL]
    return any(name in ended and flow.passed(ended[name]) for name in gates)


def _following(work: works.Work, start: runbooks.Step) -> approval.Asked:
    """Every action that can run from `start` on, prepared now. Raises what `prepare` raises."""
    settled: dict[str, str] = {}
    summary: list[str] = []
    seen = work.seen()
    gate = next((step for step in work.procedure.steps if step.verb == runbooks.APPROVAL), start)
    says = [str(line) for line in gate.inputs.get(runbooks.SAYS, ())] if gate.verb == runbooks.APPROVAL else []
    shown = str(gate.inputs.get(runbooks.PLAN, "")) if gate is start and gate.verb == runbooks.APPROVAL else ""
    intended = {step.name for step in flow.intended(work.procedure.steps, start)}
    for step in flow.reachable(work.procedure.steps, start):
        if step.kind != "action":
            continue
        found = work.verb_of(step)
        call = work.call(step, seen)
        prepared = _prepare(work, step, found, call)
        settled[step.name] = approval.of_step(found.name, prepared.settled)
        only = "" if step.name in intended else "only if a step fails: "
        summary.append(f"{step.name}: {only}{prepared.will}")
    return approval.Asked(settled, (*summary, *says), shown)


def _prepare(work: works.Work, step: runbooks.Step, found: verb.Verb, call: verb.Call) -> verb.Prepared:
    return work.patiently(step, max(step.max_attempts, 2), lambda: found.prepare(call))


def _newest(seen: run_view.Run, step: str) -> run_view.Approval | None:
    """Of going forward and of taking back each has requests of its own."""
    is_undo = step == runbooks.UNDO
    return next((one for one in reversed(seen.approvals) if (one.request.step == runbooks.UNDO) is is_undo), None)


def _settle(work: works.Work, step: str, asked: approval.Asked) -> outcomes.Outcome:
    """Granted or rejected as an outcome; everything else asks (again) and raises ApprovalRequired.

    A request for other writes never bears the digest of the plan that was shown: that paper is another one.
    """
    seen = work.seen()
    newest = _newest(seen, step)
    why = ""
    before = [one.request.settled for one in seen.approvals if one.request.plan_digest == asked.shown]
    if asked.shown and any(dict(settled) != dict(asked.settled) for settled in before):
        asked = dataclasses.replace(asked, shown="")
    if newest is not None and dict(newest.request.settled) == dict(asked.settled):
        standing, decisions = approval.standing(newest, seen.requester, work.service.owners.approvers, work.now())
        if standing is approval.Standing.GRANTED:
            return outcomes.Outcome(outcomes.Status.OK, _said(decisions), values={"plan": asked.digest})
        if standing is approval.Standing.REJECTED:
            return outcomes.Outcome(outcomes.Status.FAILED, _said(decisions))
        if standing is approval.Standing.WAITING:
            raise _required(work, newest.request, f"waits for approval ({len(decisions)} of {newest.request.required})")
        why = "the last request expired"
    elif newest is not None:
        why = _void(newest, asked)
    raise _required(work, _request(work, step, asked), why or "waits for approval", why)


def _void(old: run_view.Approval, new: approval.Asked) -> str:
    """Why what was asked for before is worth nothing now."""
    plan, by = digest.short(old.request.plan_digest), ", ".join(old.granted_by)
    said = f"the approval of plan {plan} by {by} is void" if by else f"plan {plan} is void"
    return f"the plan changed since it was {'approved' if by else 'asked for'}: {_difference(old.request, new)}; {said}"


def _request(work: works.Work, step: str, asked: approval.Asked) -> records.ApprovalRequested:
    rules = work.procedure.approval
    request = records.ApprovalRequested(
        run=work.run,
        step=step,
        plan_digest=asked.digest,
        summary=asked.summary,
        approvers=work.service.owners.approvers,
        required=rules.min_required_approvals,
        separation_of_duties=rules.separation_of_duties,
        expires=work.now() + timedelta(seconds=rules.timeout_seconds),
        settled=asked.settled,
    )
    work.append(request)
    return request


def _required(work: works.Work, request: records.ApprovalRequested, why: str, anew: str = "") -> ApprovalRequired:
    paste = command(work.run, request.plan_digest)
    work.tools.report(progress.ApprovalAsked(request, paste, anew))
    until = timetext.format_clock(request.expires)
    who = ", ".join(request.approvers)
    where, then = f"step {request.step!r}", f"ddr runbook resume {work.run}"
    if request.step == runbooks.UNDO:
        where, then = "taking it back", work.seen().undo_command
    return ApprovalRequired(
        f"run {work.run}, {where}: {why}; plan {digest.short(request.plan_digest)}, valid until {until}",
        hint=f"one of {who} runs: {paste}   then: {then}",
    )


def _difference(old: records.ApprovalRequested, new: approval.Asked) -> str:
    """Which steps would now do something else."""
    changed = [name for name, settled in new.settled.items() if old.settled.get(name) != settled]
    gone = [name for name in old.settled if name not in new.settled]
    return ", ".join(changed or gone) or "order"


def _said(decisions: tuple[run_view.Decision, ...]) -> str:
    parts = []
    for decision in decisions:
        word = "rejected" if not decision.record.granted else "approved"
        if decision.record.break_glass:
            word = "GLASS BROKEN"
        parts.append(f"{word} by {decision.actor}" + (f": {decision.record.why}" if decision.record.why else ""))
    return "; ".join(parts)


def break_glass(work: works.Work, why: str) -> None:
    """Pass over the approval that is asked for now: recorded, told to everyone, never quiet."""
    work.check_fence()
    on = work.tools.platform
    request = work.seen().approvals[-1].request
    approval.decide(on, work.run, plan=request.plan_digest, why=why, break_glass=True)
    work.tools.report(progress.GlassBroken(work.run, on.actor, why))
