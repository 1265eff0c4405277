"""Where the states of a plane are kept that has no versions of its own, so that it can be taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:  # every command asks whether a connector is Keepable, few keep or restore
    from ddr.ports import restorable


@dataclass(frozen=True)
class Kept:
    """One kept state of `object` (a feature view). `digest` is that of its content, '' of nothing; sizes in bytes."""

    name: str
    object: str
    at: datetime
    digest: str
    rows: int = 0
    size_bytes: int = 0
    why: str = ""
    facts: dict[str, str] = field(default_factory=dict)


class Shelf(Protocol):
    """Implemented on the backup repository: sealed, deduplicated, and subject to its retention."""

    def keep(self, object_: str, capture: Callable[[restorable.Sink], None], why: str = "") -> Kept:
        """What `capture` puts into the sink, committed as a whole or not at all. Unavailable, Refused."""
        ...

    def kept(self, object_: str = "") -> Sequence[Kept]:
        """Oldest first; of one object, or of all."""
        ...

    def open(self, object_: str, name: str) -> restorable.Source:
        """To read it back. Missing when it is not there (any more), Damaged."""
        ...


@runtime_checkable
class Keepable(Protocol):
    """A connector whose plane has no versions of its own: its states are kept on a shelf and found there again."""

    @property
    def keeps(self) -> str:
        """The object whose states are kept: what `Kept.object` says of them."""
        ...

    def shelved(self, shelf: Shelf) -> None:
        """Where they are kept. Called once, before anything else; nothing is asked of the shelf yet."""
        ...

    def keep(self, why: str) -> Kept:
        """The live state, now. Repeatable: what is kept already takes no room twice. As `Shelf.keep`."""
        ...


REVISION = "revision"
"""The fact of a kept state that says which revision it is: `Switchable.find` takes it."""

EVENT_NEWEST, PLATFORM_AT = "event_newest", "platform_at"
"""Facts of a kept state: the newest event in it, and when it was kept by the platform's own clock."""
