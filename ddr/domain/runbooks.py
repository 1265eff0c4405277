"""A runbook as it is written: the seven things every runbook says, and its steps.

Step fields follow AWS Systems Manager Automation (`onFailure`, `isCritical`, `timeoutSeconds`, `maxAttempts`,
`nextStep`, `isEnd`), probes and gates follow Chaos Toolkit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from ddr.domain import incidents, planes

StepKind = Literal["probe", "action", "gate"]
EndStatus = Literal["recovered", "contained", "switched", "failed"]
"""`switched`: done and read back, and nobody waited for proof that it helped."""

APPROVAL = "approval"
"""The one gate that is built into the engine: a person agrees to what all following actions will do."""

UNDO = "(undo)"
"""Stands where a step's name does when taking the run back is what has to be agreed to."""

PLAN, SAYS = "plan", "says"
"""What a command of ddr that wrote the document gives an approval along: the digest of the plan that it has shown, and
what stood in it beside the writes."""


@dataclass(frozen=True)
class Metadata:
    name: str
    owner: str
    severity: incidents.Severity
    reviewed: str
    review_every_days: int = 90


@dataclass(frozen=True)
class Parameter:
    description: str
    required: bool = False
    default: str = ""


@dataclass(frozen=True)
class DetectionSignal:
    """What starts the runbook; any one signal is enough."""

    signal: str
    meaning: str


@dataclass(frozen=True)
class Impact:
    customers: str
    business: str


@dataclass(frozen=True)
class RecentChanges:
    """Where to look for what changed, and how far back."""

    window: timedelta
    planes: tuple[planes.Plane, ...]


@dataclass(frozen=True)
class Target:
    """What is taken back, to where, and the way out when that is not possible."""

    plane: planes.Plane
    to: str
    containment: str


@dataclass(frozen=True)
class Role:
    """Roles are filled from the service's owners: `{{ owners.oncall }}`."""

    incident_commander: str
    decision_maker: str
    escalation: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True)
class Approval:
    """Bound to the digest of the resolved plan. Who asks may not approve."""

    min_required_approvals: int = 1
    separation_of_duties: bool = True
    timeout_seconds: int = 600


@dataclass(frozen=True)
class FollowUp:
    do: str
    owner: str
    due: timedelta


@dataclass(frozen=True)
class Step:
    """One entry. Exactly one of `probe`, `action`, `gate` names the verb; `with` are its inputs.

    `on_failure` is `Abort`, `Continue` or `step:NAME`. An `is_end` step ends the run with `end_status`.
    """

    name: str
    probe: str = ""
    action: str = ""
    gate: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict, metadata={"key": "with"})
    why: str = ""
    on_failure: str = "Abort"
    is_critical: bool = True
    is_end: bool = False
    end_status: EndStatus = "recovered"
    next_step: str = ""
    timeout_seconds: int = 300
    max_attempts: int = 1

    def __post_init__(self) -> None:
        if sum(bool(verb) for verb in (self.probe, self.action, self.gate)) != 1:
            raise ValueError(f"step {self.name!r} must have exactly one of probe, action, gate")
        if self.max_attempts < 1 or self.timeout_seconds < 1:
            raise ValueError(f"step {self.name!r}: maxAttempts and timeoutSeconds must be 1 or more")

    @property
    def verb(self) -> str:
        return self.probe or self.action or self.gate

    @property
    def kind(self) -> StepKind:
        return "probe" if self.probe else "action" if self.action else "gate"


@dataclass(frozen=True)
class Runbook:
    api_version: Literal["ddr/v1"]
    kind: Literal["Runbook"]
    metadata: Metadata
    summary: str
    signal: tuple[DetectionSignal, ...] = field(metadata={"note": "detection signal: what starts this runbook"})
    impact: Impact = field(metadata={"note": "customer and business impact: {customers, business}"})
    changes: RecentChanges = field(metadata={"note": "recent changes to look at: {window, planes}"})
    target: Target = field(metadata={"note": "rollback or containment target: {plane, to, containment}"})
    validation: tuple[str, ...] = field(metadata={"note": "names of the steps that prove the recovery"})
    roles: Role = field(metadata={"note": "{incidentCommander, decisionMaker, escalation}"})
    post_incident: tuple[FollowUp, ...] = field(metadata={"note": "post-incident actions: [{do, owner, due}]"})
    steps: tuple[Step, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    approval: Approval = field(default_factory=Approval)

    @property
    def name(self) -> str:
        return self.metadata.name

    def step(self, name: str) -> Step:
        """Raises KeyError."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)
