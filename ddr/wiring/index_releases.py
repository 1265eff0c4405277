"""What releases say of the versions of an index: which services serve them, and which a way back still needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ddr.domain import planes
from ddr.index.homes import collecting

if TYPE_CHECKING:
    from ddr.wiring import build as wirings


def served_by(wired: wirings.Wired, home: str) -> tuple[str, ...]:
    """Services whose index plane has its versions in the same folder."""
    found = []
    for service, entries in wired.config.planes.items():
        entry = entries.get(planes.Plane.INDEX)
        if entry is None:
            continue
        root = getattr(wired.connectors[entry.connector], "root", None)
        if isinstance(root, Path) and root.resolve() == Path(home).resolve():
            found.append(service)
    return tuple(found)


def spared(chosen: collecting.Collection, wired: wirings.Wired, home: str) -> collecting.Collection:
    """Without those that a known-good release of the recovery window is made of."""
    if not served_by(wired, home):
        return chosen
    needed = wired.board().needed(wired.platform.clock.now() - wired.config.recovery_window)
    kept = [(name, f"is needed by release {needed[name]}") for name in chosen.gone if name in needed]
    gone = tuple(name for name in chosen.gone if name not in needed)
    return collecting.Collection(gone, (*chosen.kept, *kept))
