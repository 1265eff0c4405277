"""What a plan says in words, for who reads it before it is done: the one who asks, and the one who approves. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ddr.domain import plans, revisions, services
from ddr.lib import digest, timetext
from ddr.rollback import proof, proposal


def revision(one: revisions.Revision) -> str:
    bytes_ = f", bytes {digest.short(one.digest)}" if one.digest else ", bytes not known"
    return f"{one.plane} {one.object} {one.name}{bytes_}"


def good(checks: Sequence[plans.Check], move: plans.Move) -> str:
    """What is known of the target, without its name again."""
    names = (f"{move.target.object} {move.target.name}, ", f"{move.target.object} {move.target.name}: ")
    for check in checks:
        for name in names:
            if check.name == "target" and check.detail.startswith(name):
                return f"; {check.detail.removeprefix(name)}"
    return ""


def worth_saying(checks: Sequence[plans.Check]) -> Sequence[plans.Check]:
    """All but a target that is fine: its row says so."""
    return [check for check in checks if check.name != "target" or check.state != "ok"]


def reverter(one: plans.Reverter) -> str:
    state = " (stopped)" if one.is_stopped else ""
    return f"{one.name}{state}: {one.how}" + (f"; stop: {one.stop}" if one.stop else "")


def proved_by(
    found: proposal.Proposal, service: services.Service, *, waits: bool, window_s: float, patience_s: float
) -> str:
    """How it is seen that it helped. Without `waits` nobody waits for that."""
    if not waits:
        return "none is waited for (--no-wait): the server's memory and the other planes are looked at once"
    first = f"watched {timetext.format_duration(window_s)} for who takes it back, other planes the same digests"
    awaited = [spec.name for spec in proof.awaited(service, found.moved)]
    if not awaited:
        return f"{first}; the service has no signal for it, so nobody can say that it helped"
    most = timetext.format_duration(patience_s)
    return f"{first}; then, on what comes after the switch, {most} at most, all of: {', '.join(awaited)}"


def beside_the_writes(found: proposal.Proposal, proof_: str) -> tuple[str, ...]:
    """What an approver reads beside the writes: where from and where to, what speaks for and against, who reverts."""
    rows = []
    for move in found.plan.moves:
        rows.append(f"now: {revision(move.live)}")
        rows.append(f"target: {revision(move.target)}{good(found.plan.checks, move)}")
    rows += [f"{check.state}: {check.name}: {check.detail}" for check in worth_saying(found.plan.checks)]
    rows += [f"reverts: {reverter(one)}" for one in found.reverters]
    rows += [f"unknown: {text}" for text in found.blind]
    return (*rows, f"proof: {proof_}")
