"""Runs of a service without an end, and the command that brings each on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddr.cli import session as sessions

if TYPE_CHECKING:
    from datetime import datetime

    from ddr.domain import status
    from ddr.journal import views

_ORDER = ("interrupted", "waits for approval", "paused", "running")


def of(session: sessions.Session, service: str) -> tuple[status.OpenRun, ...]:
    """Those that need a person first; the oldest first among them."""
    from ddr.domain import status

    wired = session.wired()
    cut_off = {run.id for run in wired.interrupted()}
    now = wired.platform.clock.now()
    found = []
    for run in session.board().runs.values():
        if run.started.service == service and (run.status in ("running", "paused") or run.id in cut_off):
            step = next(reversed(run.steps), "")
            state = "waits for approval" if run.is_awaiting_approval else run.status
            state = "interrupted" if run.id in cut_off else state
            found.append(status.OpenRun(run.id, run.started.title, state, step, _next(run, state, now)))
    return tuple(sorted(found, key=lambda run: _ORDER.index(run.status)))


def _next(run: views.Run, state: str, now: datetime) -> str:
    if state == "running":
        return f"ddr runbook runs   # {run.id} is at work"
    if state == "interrupted":
        undo = f"ddr runbook undo {run.id}" if run.end else run.undo_command
        return undo if run.end or run.is_undoing else f"ddr runbook resume {run.id}   # or: {undo}"
    if run.is_undoing:
        return run.undo_command
    resume = f"ddr runbook resume {run.id}"
    if state == "waits for approval":
        request = run.approvals[-1].request
        resume = run.undo_command if run.asks_to_undo else resume
        if now < request.expires:
            plan = request.plan_digest.removeprefix("sha256:")[:12]
            return f"ddr runbook approve {run.id} --plan {plan}   # by {' or '.join(request.approvers)}; then: {resume}"
        return f"{resume}   # its approval was not given in time: it asks anew"
    return resume


def lifting(session: sessions.Session, service: str) -> str:
    """The command that takes the fallback off again and nothing else; '' where no run of ddr switched it on."""
    for run in reversed(session.board().runs.values()):
        for step in run.to_undo:
            is_it = step.intended is not None and step.intended.verb == "serving.fallback"
            if run.started.service == service and run.end is not None and is_it:
                return f"ddr runbook undo {run.id} --only {step.name}"
    return ""
