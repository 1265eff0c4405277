"""What an online store can do for one view. Rows are `lib.rowbatch`; their columns are the store's own matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ddr.connectors.feast.online import definition
from ddr.domain import signals, snapshots
from ddr.lib import rowbatch

Opened = Callable[[], Iterator[rowbatch.Batch]]
"""The rows of a kept state from the first on, as often as it is called."""


@dataclass(frozen=True)
class Rows:
    """What a store has of a view: `compared` are the columns that make up its values, the others may differ."""

    columns: tuple[snapshots.Column, ...]
    compared: tuple[str, ...]
    batches: Iterator[rowbatch.Batch]


@dataclass(frozen=True)
class Times:
    """Event times in seconds since 1970, None without rows; `entities` is how many have a value."""

    oldest_s: float | None = None
    newest_s: float | None = None
    entities: int = 0


@dataclass(frozen=True)
class Sample:
    """Event times of some entities, seconds; how many have no value, by feature. `is_all`: none was left out."""

    times_s: tuple[float, ...]
    nulls: Mapping[str, signals.Share] = field(default_factory=dict)
    is_all: bool = True


class Counter(Protocol):
    """Looks at batches on their way."""

    def add(self, batch: rowbatch.Batch) -> None: ...

    @property
    def times(self) -> Times: ...


class Online(Protocol):
    """Use as a context; nothing is open outside of it. Missing, Unavailable, Damaged, Refused."""

    label: str

    def rows(self, view: definition.Definition) -> Rows:
        """Every row of the view once. Not from one moment where the store has no such thing."""
        ...

    def knows(self, digest: str) -> None:
        """What all rows that were just read came to. Where the store sees that nobody wrote since, `exchange` needs no
        second look at them."""
        ...

    def counter(self) -> Counter: ...

    def exchange(self, before: Opened, target: Opened, expected: str, wanted: str) -> None:
        """Put `target` in the place of `before`, and touch nothing else. Repeatable after a crash, from anywhere in
        between: a row may be as in either. `expected` and `wanted` are the digests of what is compared of both.

        Conflict when somebody wrote something else, and then nothing of `target` stays.
        """
        ...

    def replaced(self, batch: rowbatch.Batch, values: Mapping[str, tuple[bytes, str | None]]) -> rowbatch.Batch:
        """The rows with other values of these features: encoded, and in plain text."""
        ...

    def sample(self, view: definition.Definition, limit: int) -> Sample: ...

    def count(self, view: definition.Definition) -> int:
        """How many entities have values."""
        ...

    def mark(self, name: str) -> str:
        """A note beside the values that everyone sees, '' without one."""
        ...

    def set_mark(self, name: str, text: str) -> bool:
        """False when there is one already; of two at once one wins."""
        ...

    def drop_mark(self, name: str) -> None: ...

    def generation(self) -> str:
        """Another one after every `passed`, so that of two who looked at the same time one finds out."""
        ...

    def passed(self) -> None: ...


def family(columns: Sequence[snapshots.Column]) -> list[tuple[str, str]]:
    return [(column.name, column.family) for column in columns]
