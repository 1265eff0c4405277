"""The approval gate in a run: what is asked, what was answered, whether an action still is what was approved."""

from __future__ import annotations

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


def ask(work: works.Work, gate: runbooks.Step) -> outcomes.Outcome:
    """The gate's outcome once people have decided. Raises ApprovalRequired while they have not."""
    try:
        asked = _following(work, gate)
    except DdrError as problem:
        so = "so nobody was asked" if not work.seen().approvals else "so what was asked or approved before is void"
        return outcomes.Outcome(outcomes.Status.FAILED, f"what follows cannot be planned, {so}: {problem.message}")
    return _settle(work, gate, asked)


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
    newest = seen.approvals[-1]
    covered = newest.request.settled.get(step.name) == approval.of_step(found.name, prepared.settled)
    approvers = work.service.owners.approvers
    if covered and newest.request.step != step.name and approval.was_granted(newest, seen.requester, approvers):
        return None
    outcome = _settle(work, step, _following(work, step))
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
    return approval.Asked(settled, tuple(summary))


def _prepare(work: works.Work, step: runbooks.Step, found: verb.Verb, call: verb.Call) -> verb.Prepared:
    return work.patiently(step, max(step.max_attempts, 2), lambda: found.prepare(call))


def _settle(work: works.Work, step: runbooks.Step, asked: approval.Asked) -> outcomes.Outcome:
    """Granted or rejected as an outcome; everything else asks (again) and raises ApprovalRequired."""
    seen = work.seen()
    newest = seen.approvals[-1] if seen.approvals else None
    why = ""
    if newest is not None and newest.request.plan_digest == asked.digest:
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


def _request(work: works.Work, step: runbooks.Step, asked: approval.Asked) -> records.ApprovalRequested:
    rules = work.procedure.approval
    request = records.ApprovalRequested(
        run=work.run,
        step=step.name,
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
    return ApprovalRequired(
        f"run {work.run}, step {request.step!r}: {why}; plan {digest.short(request.plan_digest)}, valid until {until}",
        hint=f"one of {who} runs: {paste}   then: ddr runbook resume {work.run}",
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
