"""What a runbook step or a fault calls: an action that knows its undo, or a probe that only looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from ddr.domain import outcomes, services


@dataclass(frozen=True)
class Call:
    """One step with its templates filled. `key` is the idempotency key of its effect."""

    service: str
    run: str
    step: str
    key: str
    incident: str
    started_at: datetime
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """What the step will do, decided and not done. `settled` goes into the plan digest and the journal."""

    will: str
    touches: tuple[str, ...] = ()
    undo: str = ""
    settled: Mapping[str, str] = field(default_factory=dict)


class Seen(StrEnum):
    """What the world shows of an effect whose result was not recorded."""

    DONE = "done"
    NOT_DONE = "not done"
    OTHER = "other"


class Verb(Protocol):
    """`prepare`, `observe` only look. `act` and `undo` obey `settled` alone and may be repeated."""

    @property
    def name(self) -> str: ...

    @property
    def changes(self) -> bool:
        """False for a probe: then `act` only looks and `observe`, `undo` are never called."""
        ...

    def problems(self, inputs: Mapping[str, Any], service: services.Service) -> Sequence[str]:
        """Everything wrong with the call that can be known without asking any system."""
        ...

    def prepare(self, call: Call) -> Prepared:
        """Resolve against the world as it is. Raises Refused, Missing, Conflict, Unavailable."""
        ...

    def act(self, call: Call, settled: Mapping[str, str]) -> outcomes.Outcome: ...

    def observe(self, call: Call, settled: Mapping[str, str]) -> Seen: ...

    def undo(self, call: Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        """SKIPPED when there is nothing to take back. Conflict when someone else changed the world since."""
        ...


@runtime_checkable
class Described(Protocol):
    """What a verb may say about itself beside the call, for the checker and the preview."""

    gives: tuple[str, ...]
    """Names of the values its outcome has when it is OK; what `{{ steps.NAME.VALUE }}` may ask for."""

    waits: bool
    """It needs time on the platform's clock before it can say anything. A preview does not run it."""

    may_fail: bool
    """Its failure never stops anything, so a step that calls it must say `isCritical: false`."""


@runtime_checkable
class Rechecked(Protocol):
    """A look whose answer may be another one when a paused run goes on."""

    again: bool
    """Look again before people decide on what follows, and before the first effect behind their decision."""


@runtime_checkable
class Sensible(Protocol):
    """A verb that can tell a slip of the pen from a decision, by looking."""

    def mistakes(self, call: Call) -> Sequence[str]:
        """Names in the call that do not exist. Asked before a run begins; what does not answer is no mistake."""
        ...


@runtime_checkable
class Shaped(Protocol):
    """A verb whose inputs can be checked where there is no service."""

    def shape_problems(self, inputs: Mapping[str, Any]) -> Sequence[str]: ...


@runtime_checkable
class Told(Protocol):
    """What a fault says about itself, for the list of faults."""

    about: str
    """One line."""

    takes: Mapping[str, str]
    """Its inputs, each with what is allowed."""


@runtime_checkable
class Layered(Protocol):
    """A verb whose undo needs the world as its `act` left it: what was done on top of it has to go first."""

    def layer(self, settled: Mapping[str, str]) -> str:
        """A name for what it changes. Of two effects on one layer the newer is taken back first."""
        ...


@runtime_checkable
class Weighed(Protocol):
    """A verb whose undo may bring back what was thought bad."""

    def undo_needs_a_yes(self, settled: Mapping[str, str]) -> str:
        """Why somebody has to agree before it is taken back, '' where nobody has to. Only looks."""
        ...


Catalog = Mapping[str, Verb]
