"""A game-day scenario: a steady state, faults and decoys, and what is expected of the response.

Field names follow Chaos Toolkit (`steady-state-hypothesis`, `method`, `rollbacks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from ddr.domain import incidents, planes


@dataclass(frozen=True)
class Metadata:
    name: str
    owner: str
    severity: incidents.Severity = "SEV2"


@dataclass(frozen=True)
class SteadyState:
    """The signals that must be ok before, and again after everything is undone."""

    title: str
    signals: tuple[str, ...]


@dataclass(frozen=True)
class Injection:
    """One fault or decoy. `at` is platform time counted from the start of the method."""

    name: str
    fault: str
    inputs: Mapping[str, Any] = field(default_factory=dict, metadata={"key": "with"})
    at: timedelta = timedelta(0)
    decoy: bool = False


@dataclass(frozen=True)
class ExpectDetect:
    signals: tuple[str, ...]
    within: timedelta


@dataclass(frozen=True)
class ExpectDiagnose:
    """`not_named` are injections (the decoys) that must not be called the culprit."""

    plane: planes.Plane
    not_named: tuple[str, ...] = ()
    rank: int = 1


@dataclass(frozen=True)
class ExpectAffected:
    services: tuple[str, ...]


@dataclass(frozen=True)
class ExpectRecover:
    """`within` counts from the detection to the proof, or to the containment where nothing better is `ends`.

    `only` are the planes that may be moved; none of the others.
    """

    runbook: str
    within: timedelta
    only: tuple[planes.Plane, ...] = ()
    ends: Literal["recovered", "contained"] = "recovered"


@dataclass(frozen=True)
class Expect:
    detect: ExpectDetect
    diagnose: ExpectDiagnose
    affected: ExpectAffected
    recover: ExpectRecover


@dataclass(frozen=True)
class Scenario:
    api_version: Literal["ddr/v1"]
    kind: Literal["Scenario"]
    metadata: Metadata
    title: str
    story: str
    service: str
    steady_state: SteadyState = field(metadata={"key": "steady-state-hypothesis"})
    method: tuple[Injection, ...]
    invariants: tuple[str, ...] = field(metadata={"note": "signals that must stay green all along"})
    expect: Expect
    scoring: Mapping[str, int]
    seed: int = 20261121
    warm_up: timedelta = timedelta(hours=2)
    give_up_after: timedelta = timedelta(hours=6)
    hypothesis: str = ""

    @property
    def name(self) -> str:
        return self.metadata.name
