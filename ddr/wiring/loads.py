"""Loading what a release needs, to see that it can be loaded: in a limited child, never in this process.

Digests say that bytes are as they were; that a reader of today can still read them only reading shows. `release` and
`index` are on one floor and do not know each other: here the one gets what the other can do.
"""

from __future__ import annotations

from pathlib import Path

from ddr.connectors import faiss_index
from ddr.domain import planes
from ddr.errors import Damaged
from ddr.release import deployable
from ddr.wiring import build


def of(wired: build.Wired) -> deployable.Loads:
    """'' for a revision that nobody here can load. Damaged when it cannot be loaded."""

    def loads(service: str, plane: planes.Plane, name: str) -> str:
        from ddr.index.homes import naming

        acting = wired.platform.plane(service, plane)
        if not isinstance(acting, faiss_index.IndexPlane):
            return ""
        folder = acting.pointer.path(name)
        is_proved = naming.is_ours(name) and (folder / naming.MANIFEST).is_file()
        if is_proved and folder.parent.name == "versions":
            return _as_published(folder, wired)
        return _alone(folder)

    return loads


def _as_published(folder: Path, wired: build.Wired) -> str:
    """The manifest knows rows, ids and what the probes answered."""
    from ddr.index import check
    from ddr.index.homes import folder as homes

    home = homes.FolderHome(folder.parent.parent, wired.platform.clock.now, wired.platform.actor)
    found = check.check(home, folder.name, check.Means(), levels=(2,))
    if found.findings:
        first = found.findings[0]
        raise Damaged(f"{first.where} {first.what}", hint=first.next)
    return "; ".join(text.partition(": ")[2] for text in found.passed)


def _alone(folder: Path) -> str:
    """Published by something else: it can be loaded, and has a name for each row."""
    from ddr.index import child, loading
    from ddr.index.homes import naming

    path, names = folder / naming.INDEX, folder / naming.NAMES
    question = loading.Question(str(path), str(names) if names.is_file() else "")
    limits = child.Limits.of_file(path.stat().st_size + (names.stat().st_size if names.is_file() else 0))
    head = loading.ask(question, limits).head
    if head.names not in (-1, head.rows):
        raise Damaged(f"{path} has {head.rows:,} rows and {names.name} {head.names:,} names")
    return f"{head.rows:,} rows of {head.dimension}; no probes were kept with it"
