"""What differs between two snapshots: tables by rows and digest, files by name. Equal folders are not opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ddr.backup import listings, reading
from ddr.domain import snapshots
from ddr.lib import rowbatch

_MOST_ROWS, _MOST_CHUNKS = 1_000_000, 64
"""Beyond that many rows, and chunks that differ, rows are not counted one by one."""

How = Literal["added", "removed", "changed"]


@dataclass(frozen=True)
class Difference:
    """`what` is a component, table, stream, fact or file; `before` and `after` are sizes, rows or texts, '' without."""

    component: str
    what: str
    how: How
    before: str = ""
    after: str = ""


def differences(reader: reading.Reader, before: snapshots.Snapshot, after: snapshots.Snapshot) -> Iterator[Difference]:
    """In the order of the later snapshot, what only the earlier one has last."""
    for component in after.components:
        was = before.component(component.name)
        if was is None:
            yield Difference(component.name, "component", "added", "", f"{component.size_bytes} bytes")
            continue
        yield from _facts(was, component)
        yield from _tables(reader, was, component)
        yield from _streams(was, component)
        yield from _trees(reader, was, component)
    for component in before.components:
        if after.component(component.name) is None:
            yield Difference(component.name, "component", "removed", f"{component.size_bytes} bytes")


def _facts(was: snapshots.Component, now: snapshots.Component) -> Iterator[Difference]:
    for name in sorted({*was.facts, *now.facts}):
        one, other = was.facts.get(name, ""), now.facts.get(name, "")
        if one != other:
            yield Difference(now.name, f"fact {name}", _how(one, other), one, other)


def _how(one: object, other: object) -> How:
    return "added" if not one else "removed" if not other else "changed"


def _tables(reader: reading.Reader, was: snapshots.Component, now: snapshots.Component) -> Iterator[Difference]:
    names = dict.fromkeys([*(table.name for table in now.tables), *(table.name for table in was.tables)])
    for name in names:
        one, other = was.table(name), now.table(name)
        if one is None or other is None or one.digest != other.digest:
            before, after = (f"{table.rows} rows" if table else "" for table in (one, other))
            if one is not None and other is not None:
                after += _told_rows(reader, one, other)
            yield Difference(now.name, f"table {name}", _how(one, other), before, after)


def _told_rows(reader: reading.Reader, one: snapshots.Table, other: snapshots.Table) -> str:
    """How many rows are new and gone, by what is in them: a changed row is one of each. Chunks that both have are not
    read; nothing is told where what differs is too much to hold in memory."""
    before, after = Counter(one.chunks), Counter(other.chunks)
    if one.rows + other.rows > _MOST_ROWS and sum(((before - after) + (after - before)).values()) > _MOST_CHUNKS:
        return ""
    gone, new = (_rows(reader, chunks) for chunks in (before - after, after - before))
    told = [(new - gone).total(), (gone - new).total()]
    return f" ({told[0]} new or changed, {told[1]} gone or changed)"


def _rows(reader: reading.Reader, chunks: Counter[str]) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for content in reader.read([bytes.fromhex(chunk) for chunk in chunks.elements()]):
        lanes = rowbatch.decode(content).hashes()
        found.update(zip(lanes[0].tolist(), lanes[1].tolist(), strict=True))
    return found


def _streams(was: snapshots.Component, now: snapshots.Component) -> Iterator[Difference]:
    ones = {stream.name: stream for stream in was.streams}
    others = {stream.name: stream for stream in now.streams}
    for name in dict.fromkeys([*others, *ones]):
        one, other = ones.get(name), others.get(name)
        if one is None or other is None or one.digest != other.digest:
            before, after = (f"{stream.size_bytes} bytes" if stream else "" for stream in (one, other))
            yield Difference(now.name, f"stream {name}", _how(one, other), before, after)


def _trees(reader: reading.Reader, was: snapshots.Component, now: snapshots.Component) -> Iterator[Difference]:
    names = dict.fromkeys([*(tree.name for tree in now.trees), *(tree.name for tree in was.trees)])
    for name in names:
        one, other = was.tree(name), now.tree(name)
        roots = (one.root if one else (), other.root if other else ())
        yield from _folders(reader, now.name, name, roots[0], roots[1])


def _folders(
    reader: reading.Reader, component: str, path: str, one: tuple[str, ...], other: tuple[str, ...]
) -> Iterator[Difference]:
    if one == other:
        return
    before = {entry.name: entry for entry in listings.read(reader, [bytes.fromhex(chunk) for chunk in one])}
    after = {entry.name: entry for entry in listings.read(reader, [bytes.fromhex(chunk) for chunk in other])}
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        folders = [entry is not None and entry.k == "d" for entry in (was, now)]
        below = f"{path}/{name}"
        if any(folders):
            inside = tuple(entry.c if entry is not None and entry.k == "d" else () for entry in (was, now))
            yield from _folders(reader, component, below, inside[0], inside[1])
        if not all(folders) and _content(was) != _content(now):
            sizes = ["" if entry is None or entry.k == "d" else f"{entry.s} bytes" for entry in (was, now)]
            if any(sizes):
                yield Difference(component, below, _how(sizes[0], sizes[1]), sizes[0], sizes[1])


def _content(entry: listings.Entry | None) -> object:
    return None if entry is None or entry.k == "d" else (entry.k, entry.c, entry.target, entry.m)
