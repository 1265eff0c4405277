"""The response, as an on-call engineer would give it: every step a real `ddr` command, nothing known beforehand.

declare → diagnose → the runbook that the diagnosis names → approved by somebody else → resume → resolve.
What the scenario expects is not looked at here; the response follows the diagnosis, right or wrong.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.domain import scenarios, services, signals
from ddr.errors import EXIT_APPROVAL, EXIT_FAILED, EXIT_FINDING, EXIT_INTERRUPTED, EXIT_OK
from ddr.gameday import commands, stage
from ddr.lib import digest

AGAIN = timedelta(minutes=15)
"""What could not be judged yet is tried again after so much platform time: truths become known late."""

MOST_APPROVALS = 3


@dataclass(frozen=True)
class Responder:
    """`requester` types the commands, `approver` is somebody else."""

    on: stage.Stage
    service: services.Service
    scenario: scenarios.Scenario
    pass_time: Callable[[datetime], object]
    after_command: Callable[[], None] = lambda: None

    @property
    def requester(self) -> str:
        return self.service.owners.oncall

    @property
    def approver(self) -> str:
        owners = self.service.owners
        return next(
            (name for name in (*owners.approvers, owners.decision_maker) if name != owners.oncall), owners.oncall
        )

    def respond(self, symptom: signals.Judgement, give_up: datetime) -> str:
        """The id of the runbook's run, '' when there was none. Raises CommandFailed."""
        incident = self._declare(symptom)
        words = self._diagnose(incident, give_up)
        if not words:
            return ""
        run, status = self._run(words, give_up)
        if status in ("recovered", "contained"):
            self._type(["incident", "resolve", incident, "--why", f"{run} {status}"])
        return run

    def _type(self, words: list[str], *, by: str = "", allowed: tuple[int, ...] = (EXIT_OK,)) -> commands.CommandResult:
        result = self.on.type(by or self.requester, words)
        self.after_command()
        if result.exit_code not in allowed:
            raise commands.CommandFailed(
                f"`ddr {shlex.join(words)}` ended with exit code {result.exit_code}: {commands.spoken(result)}"
            )
        return result

    def _declare(self, symptom: signals.Judgement) -> str:
        title = f"{symptom.signal} is bad while the infrastructure is green"
        words = ["incident", "declare", self.service.name, "--severity", self.scenario.metadata.severity]
        words += ["--title", title]
        return str(commands.document(words, self._type(words)).get("id", ""))

    def _diagnose(self, incident: str, give_up: datetime) -> list[str]:
        """The words of the next command, [] when the diagnosis names none until `give_up`."""
        words = ["diagnose", self.service.name, "--incident", incident]
        while True:
            result = self._type(words, allowed=(EXIT_OK, EXIT_FINDING))
            found = shlex.split(str(commands.document(words, result).get("next_command", "")))
            if found[:3] == ["ddr", "runbook", "run"]:
                return [*found[1:], *([] if "--incident" in found else ["--incident", incident])]
            if not self._wait(give_up):
                return []

    def _run(self, words: list[str], give_up: datetime) -> tuple[str, str]:
        """(run, status) once it waits for nobody and nothing, or patience has ended."""
        ends = (EXIT_OK, EXIT_FAILED, EXIT_FINDING, EXIT_APPROVAL, EXIT_INTERRUPTED)
        result = self._type(words, allowed=ends)
        found = commands.document(words, result)
        run = str(found.get("run", ""))
        approvals = 0
        while result.exit_code in (EXIT_APPROVAL, EXIT_INTERRUPTED):
            if result.exit_code == EXIT_APPROVAL:
                approvals += 1
                if approvals > MOST_APPROVALS:
                    break
                plan = digest.short(str(found.get("plan_digest", "")))
                self._type(["runbook", "approve", run, *(["--plan", plan] if plan else [])], by=self.approver)
            elif not self._wait(give_up):
                break
            words = ["runbook", "resume", run]
            result = self._type(words, allowed=ends)
            found = commands.document(words, result)
        return run, str(found.get("status", ""))

    def _wait(self, give_up: datetime) -> bool:
        """Let a while pass before the same is tried again; False when patience has ended."""
        again = self.on.now() + AGAIN
        if again > give_up:
            return False
        while self.on.now() < again:
            self.pass_time(again)
        return True
