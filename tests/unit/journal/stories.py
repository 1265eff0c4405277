"""Stories that a journal tells, one platform minute an event, and what is told in them."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from ddr.domain import events, outcomes, records
from ddr.journal import views
from tests.unit.journal import samples

AT = samples.AT
MINUTE = timedelta(minutes=1)


class Story:
    """Events as they would be read, one platform minute apart."""

    def __init__(self) -> None:
        self.events: list[events.Event] = []

    def tell(self, *told: records.Record, by: str = "ana", host: str = "laptop") -> Story:
        for record in told:
            seq = len(self.events) + 1
            at = AT + seq * MINUTE
            self.events.append(events.Event(seq, f"e{seq}", at, at, seq, by, host, record, "", f"sha256:{seq}"))
        return self

    def board(self) -> views.Board:
        return views.fold(self.events)


def started(
    run: str = "run-1", incident: str = "", purpose: Literal["runbook", "faults"] = "runbook"
) -> records.RunStarted:
    return records.RunStarted(
        run, "bad-model-promotion", purpose, "steps: []", "sha256:0", "postcode", incident=incident
    )


def claimed(run: str = "run-1", pid: int = 7, boot: str = "here", minutes: int = 60) -> records.RunClaimed:
    return records.RunClaimed(run, pid, "ticks", boot, AT + minutes * MINUTE)


def intended(step: str, attempt: int = 1) -> records.StepIntended:
    return records.StepIntended("run-1", step, attempt, "plane.switch", f"run-1/{step}", {"to": "2"}, "3 → 2", "2 → 3")


def ended(step: str, status: outcomes.Status = outcomes.Status.OK, attempt: int = 1) -> records.StepEnded:
    return records.StepEnded("run-1", step, attempt, outcomes.Outcome(status, f"{step} is {status}"))


def run_of(*told: records.Record) -> views.Run:
    return Story().tell(started(), claimed(), *told).board().runs["run-1"]


def alive(value: bool | None) -> views.Alive:
    return lambda pid, process_started, boot: value


ASKED = records.ApprovalRequested("run-1", "approve", "sha256:plan", ("3 → 2",), ("lead", "head"), 2, True, AT)


def decided(plan: str = "sha256:plan", *, granted: bool = True) -> records.ApprovalDecided:
    return records.ApprovalDecided("run-1", plan, granted)
