"""What the journal records of itself: that a person let it begin anew, and that lost events were brought back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class JournalAdopted:
    """A person took the journal as it was found. `seen` and `seen_digest` are the newest event that was known of the
    one before, `lost` the events that were left out, `joined_again` how many behind them were written anew, `aside`
    where the old bytes are kept.
    """

    kind: ClassVar[str] = "journal.adopted"
    seen: int
    seen_digest: str
    newest: int
    aside: str
    why: str = ""
    lost: tuple[int, ...] = ()
    joined_again: int = 0


@dataclass(frozen=True)
class JournalMended:
    """Events that were missing or changed and were brought back: the same bytes, by their digests in the chain."""

    kind: ClassVar[str] = "journal.mended"
    events: tuple[int, ...]
    sources: tuple[str, ...]
    aside: tuple[str, ...] = ()
