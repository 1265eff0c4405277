"""What `ddr doctor` says of indexes: the faiss that is installed, each index's corpus, home and way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddr.domain import signals
from ddr.errors import DdrError
from ddr.wiring import build, visits

if TYPE_CHECKING:
    from ddr.wiring import indexes


def visit(wired: build.Wired) -> tuple[visits.Visit, ...]:
    """Nothing where ddr.yaml names no index; then also faiss is nobody's business. Reads headers, no row."""
    if not wired.config.indexes:
        return ()
    from ddr.wiring import indexes

    known = indexes.Indexes(wired, wired.config.indexes)
    return (_faiss(), *(_index(name, known) for name in known.known))


def _faiss() -> visits.Visit:
    from ddr.index.engines import picking

    found = picking.distributions()
    if not found:
        return visits.Visit(
            "faiss",
            signals.State.BAD,
            "is not installed\n      next: pip install 'ddr[faiss]'",
            cannot=("build an index",),
        )
    if trouble := picking.trouble(found):
        names = " ".join(one.name for one in found)
        remedy = f"next: pip uninstall -y {names} && pip install {found[-1].name}"
        return visits.Visit("faiss", signals.State.BAD, f"{trouble}\n      {remedy}")
    return visits.Visit("faiss", signals.State.OK, f"{found[0].name} {found[0].version}")


def _index(name: str, known: indexes.Indexes) -> visits.Visit:
    what = f"index {name}"
    try:
        index = known.get(name)
        current = index.home.current()
        shards = index.shards()
    except DdrError as problem:
        return visits.Visit(what, signals.State.BAD, f"{problem.message}\n      next: {problem.hint}")
    rows = sum(shard.rows for shard in shards)
    serves = f"serves {current}" if current else "serves nothing yet"
    others = [version for version in index.home.versions() if version != current]
    can = (f"build from {rows:,} rows in {len(shards)} files", *([f"go back to {', '.join(others)}"] if others else []))
    cannot = () if index.wanted.embedder else ("tell another embedder: `embedder` names none",)
    return visits.Visit(what, signals.State.OK, f"{index.home.name} {serves}", can, cannot)
