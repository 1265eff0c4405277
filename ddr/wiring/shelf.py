"""The shelf for kept states, opened when something is first asked of it: most commands never do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ddr.ports import keeping, restorable
    from ddr.wiring import build


@dataclass
class LazyShelf:
    """Implements ports.keeping.Shelf on the backup repository of the configuration."""

    wired: build.Wired
    environ: Mapping[str, str]
    _made: list[keeping.Shelf] = field(default_factory=list, repr=False)

    def keep(self, object_: str, capture: Callable[[restorable.Sink], None], why: str = "") -> keeping.Kept:
        return self._shelf.keep(object_, capture, why)

    def kept(self, object_: str = "") -> Sequence[keeping.Kept]:
        return self._shelf.kept(object_)

    def open(self, object_: str, name: str) -> restorable.Source:
        return self._shelf.open(object_, name)

    @property
    def _shelf(self) -> keeping.Shelf:
        if not self._made:
            from ddr.lib import memory
            from ddr.wiring import backups

            memory.keep_freed_buffers()
            self._made.append(backups.of(self.wired, self.environ).shelf())
        return self._made[0]
