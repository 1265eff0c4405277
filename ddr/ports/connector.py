"""What a connector implements for a plane. A connector says what it can do by the methods it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from ddr.domain import changes, health, outcomes, planes, plans, revisions


@runtime_checkable
class Observable(Protocol):
    """Only looks. Everything here may be repeated and touches nothing. Every Observable is a History."""

    def revision(self) -> revisions.Revision:
        """What is live, with the digest of its bytes read now. Missing, Unavailable, Damaged."""
        ...

    def health(self) -> health.Health:
        """Whether the system answers and what may be done there. Never raises for a system that is down."""
        ...

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        """What the system itself remembers, oldest first; it may remember less than happened."""
        ...


@runtime_checkable
class History(Protocol):
    """Whatever remembers changes, of any plane: a deployment log, the request log."""

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        """Oldest first; it may remember less than happened. Unavailable when it cannot be read."""
        ...


@runtime_checkable
class Switchable(Protocol):
    def find(self, name: str) -> revisions.Revision:
        """A revision by name with the digest of its bytes read now. Missing when it is not there (any more)."""
        ...

    def switch(self, to: revisions.Revision, expect: revisions.Revision) -> revisions.Revision:
        """Make `to` live if `expect` is live now; what is read back afterwards is returned.

        Conflict when something else is live, or `to` has other bytes by now, and then nothing was changed. Switching
        to what is live already is no error and changes nothing. Going back never deletes.
        """
        ...


@runtime_checkable
class Pointing(Protocol):
    def pointed(self) -> revisions.Revision:
        """As `revision`, also where what is live is damaged: then its name, without digest or facts.

        So that one can go away from it. `switch` of such a plane takes it as `expect`.
        """
        ...


@runtime_checkable
class Recalling(Protocol):
    """A plane whose bytes are costly to read."""

    def recalled(self) -> Observable:
        """The same plane for a second look: what is live is asked now, its bytes may be those that this process read
        moments ago. For looks that a strict one stands behind before anything is written; `switch` is always strict.
        """
        ...


@runtime_checkable
class Spoken(Protocol):
    def write(self, to: revisions.Revision, expect: revisions.Revision) -> str:
        """The write that `switch` would do, in the words of its own system. Touches nothing."""
        ...


@runtime_checkable
class Reverting(Protocol):
    """The place of GitOps: Argo CD, Flux, Helm, an autoscaler that owns what this plane switches."""

    def who_reverts(self) -> Sequence[plans.Reverter]:
        """Who would put back what is switched here, and what stops each. Nobody where nobody is known."""
        ...


@runtime_checkable
class Freezable(Protocol):
    """Containment: stop whatever would bring the bad revision back."""

    def freeze(self, why: str) -> None:
        """Repeatable; an existing freeze is kept."""
        ...

    def thaw(self) -> None:
        """Repeatable."""
        ...

    def frozen(self) -> str:
        """Why it is frozen, '' when it is not."""
        ...


@runtime_checkable
class Isolatable(Protocol):
    """Containment: give an agreed stand-in instead of what is there, and touch nothing else."""

    def isolate(self, why: str) -> None:
        """Repeatable; an existing isolation is kept. Refused where nothing was agreed on."""
        ...

    def join(self) -> None:
        """What was there before is given again. Repeatable. Conflict when something else was put there meanwhile."""
        ...

    def isolated(self) -> str:
        """Why it is isolated, '' when it is not."""
        ...


@runtime_checkable
class Markable(Protocol):
    def block(self, name: str, why: str) -> None:
        """Put a mark on the revision in its own system, for everyone who promotes. Repeatable."""
        ...

    def unblock(self, name: str) -> None:
        """Repeatable."""
        ...


@runtime_checkable
class Refreshable(Protocol):
    def refresh(self) -> outcomes.Outcome:
        """Run the materialization that is live now and read back what it wrote. Repeatable.

        A run that exits 0 and writes nothing is FAILED. `values['rows']` says how many rows are fresh.
        """
        ...


@runtime_checkable
class Materializable(Protocol):
    """A plane whose revisions are its values. They go back themselves, so it is not Refreshable: a materialization
    behind a rollback would write what the source says over the values that were just put back."""

    def materialize(self) -> outcomes.Outcome:
        """As `Refreshable.refresh`; what is live afterwards is another revision. Repeatable."""
        ...


@runtime_checkable
class Servable(Protocol):
    """The process that answers requests."""

    def loaded(self) -> Mapping[planes.Plane, revisions.Revision]:
        """What the server has in memory, with digests of the bytes it loaded. Unavailable when down."""
        ...

    def roll(self) -> Mapping[planes.Plane, revisions.Revision]:
        """Load what the planes point at now, without dropping requests; what is loaded then."""
        ...

    def set_fallback(self, *, on: bool) -> None:
        """Containment: answer with the fallback instead of the model. Repeatable."""
        ...

    def fallback(self) -> bool: ...
