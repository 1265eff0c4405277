"""What `ddr doctor` says of indexes: the faiss that is installed, each index's corpus, home and way back."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Sizes and manifests are looked at, no byte of a file is read: `ddr index check` does that."""
    from ddr.index.homes import history

    what = f"index {name}"
    try:
        index = known.get(name)
        current = index.home.current()
        shards = index.shards()
        ways = history.of(index.home).before(current)
        newer, damaged = _not_whole(index, (*ways, *filter(None, [current])))
    except DdrError as problem:
        return visits.failed(what, problem)
    rows = sum(shard.rows for shard in shards)
    serves = f"serves {current}" if current else "serves nothing yet"
    whole = [one for one in ways if one not in (*newer, *damaged)]
    broken = [one for one in damaged if one != current]
    can = (f"build from {rows:,} rows in {len(shards)} files", *([f"go back to {', '.join(whole)}"] if whole else []))
    cannot = (
        *(() if index.wanted.embedder else ("tell another embedder: `embedder` names none",)),
        *([f"go back to what is damaged: {', '.join(broken)}"] if broken else []),
        *([f"read what a newer ddr made: {', '.join(newer)}"] if newer else []),
    )
    if current in damaged:
        told = f"{index.home.name} {serves}, which is damaged\n      next: ddr index repair {index.called}"
        return visits.Visit(what, signals.State.BAD, told, can, cannot)
    return visits.Visit(what, signals.State.OK, f"{index.home.name} {serves}", can, cannot)


def _not_whole(index: indexes.Index, versions: Sequence[str]) -> tuple[list[str], list[str]]:
    """What a newer ddr made, and what is damaged, of those that ddr published: nothing says what the others must be."""
    from ddr.index.homes import home, naming

    found = [one for one in versions if naming.is_ours(one) and not home.is_whole_at_a_glance(index.home, one)]
    newer = [one for one in found if home.is_newer(index.home, one)]
    return newer, [one for one in found if one not in newer]
