"""Whether everything that was stored can be read, and if not: what exactly is lost, and what to do.

Levels, each with all before it: `structure` lists and follows every reference and reads no chunk but listings;
`stored` hashes packs against their names, which needs no key; `full` opens, unpacks and hashes every chunk in them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ddr.backup import chunk_index, keeping, layout, locks, missing, packs, reading, references
from ddr.backup import repository as repositories
from ddr.errors import Damaged, DdrError, Missing

Level = Literal["structure", "stored", "full"]
Told = Callable[[str, int, int], None]

_GONE = "the pack is gone"

MOST_AFFECTED = 20
"""So many lines a finding lists; behind that it counts."""


@dataclass(frozen=True)
class Finding:
    """Something is not what was written. `object` is its key; `affected` is what cannot be restored because of it:
    `snapshot ID, component, what`."""

    object: str
    what: str
    affected: tuple[str, ...] = ()
    next_move: str = ""


@dataclass(frozen=True)
class Report:
    """`notes` are things to know that harm nothing. `whole` are the snapshots, newest last, of which every needed byte
    was found, as far as the level looks, `whole_states` the same of kept states of planes, of which there are `states`;
    `is_all` whether every pack was read. `lock` is how the locks on the newest snapshot stand, None where none are
    asked for. `damaged` are packs that no backup should build on."""

    level: Level
    is_all: bool
    snapshots: int
    packs: int
    checked_bytes: int
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    lock: locks.Standing | None = None
    states: int = 0
    whole_states: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


@dataclass
class _Harm:
    """What was found wrong: text for each pack, and the chunks that cannot be read from it."""

    objects: dict[str, str] = field(default_factory=dict)
    lost: dict[str, set[bytes]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, pack: str, problem: str, lost: list[bytes]) -> None:
        with self.lock:
            if problem:
                self.objects[pack] = problem
            if lost:
                self.lost.setdefault(pack, set()).update(lost)

    def culprit(self, index: chunk_index.ChunkIndex, chunk: bytes) -> str | None:
        """The pack to blame for a chunk that cannot be read, '' where no index knows it, None where all is well."""
        places = index.places(chunk)
        if not places:
            return ""
        return None if any(chunk not in self.lost.get(pack, ()) for pack, _ in places) else places[0][0]


def verify(
    repository: repositories.Repository,
    level: Level = "structure",
    *,
    share: tuple[int, int] = (1, 1),
    workers: int = 2,
    told: Told | None = None,
    now: datetime | None = None,
    gone: Sequence[missing.Gone] = (),
    copies: Sequence[str] = (),
) -> Report:
    """Look at everything, going on where something is damaged. `share` (n, of) takes every of-th pack from the n-th on.

    With `now` also at the locks on what the newest snapshot and the newest kept state of each plane need. `gone` are
    snapshots that somebody else knows of and that are not there, `copies` where they may be had back from.

    Raises Unavailable when the store is away.
    """
    findings = _keys(repository)
    sure = missing.surely(gone)
    findings += [Finding(layout.SNAPSHOTS, missing.said([one]), (), missing.ways(copies)) for one in sure]
    listed = repository.all_heads()  # before the index: what a backup commits later is not in it
    index, broken = repository.index_with_problems()
    findings += [Finding(one.key, one.message, (), one.hint) for one in broken]
    stored = {layout.hash_in(entry.key): entry.size_bytes for entry in repository.store.list(layout.PACKS)}
    harm = _Harm()
    for pack in index.pack_names:
        if pack not in stored:
            harm.note(pack, _GONE, [place.chunk for place in index.places_in(pack)])
        elif stored[pack] != index.size_of(pack) and level == "structure":
            _inspect(repository, index, pack, harm, deep=False)
    checked = 0
    if level != "structure":
        chosen = sorted(stored)[share[0] - 1 :: share[1]]
        checked = _read_packs(repository, index, chosen, harm, deep=level == "full", workers=workers, told=told)
    reader = reading.Reader(repository, index)
    follower = references.Follower(reader)
    hurt, needed, forgotten = _follow(repository, index, follower, harm, findings, listed)
    known = set(index.pack_names)
    unneeded = [pack for pack in stored if pack not in needed]
    notes = [f"{missing.said([one])}, or the journal lost the word of it" for one in gone if not one.is_sure]
    notes += _set_aside(index, findings) if not broken else []
    is_all_read = not any(one.object.startswith((layout.SNAPSHOTS, layout.KEPT)) for one in findings)
    if unneeded and is_all_read and not broken:  # else nobody can say who needs them
        size = sum(stored[pack] for pack in unneeded)
        notes.append(f"{len(unneeded)} packs ({size >> 20} MiB) are needed by nothing; `ddr backup prune` removes them")
    unlisted = [pack for pack in stored if pack not in known]
    if unlisted:
        notes.append(f"{len(unlisted)} packs are in no index: a backup was cut off, or is at work now")
    named = {layout.hash_in(one.object) for one in findings}
    unlamented = {pack for pack, what in harm.objects.items() if what == _GONE and pack not in named}
    if unlamented:
        notes.append(f"{len(unlamented)} packs that the index lists are gone and nobody needs them: they were pruned")
    heads = [head for head in listed if head.id not in forgotten and not head.is_state]
    states = [head for head in listed if head.id not in forgotten and head.is_state]
    lock, loose = _lock(repository, now)
    findings += loose
    return Report(
        level,
        level != "structure" and share[1] == 1,
        len(heads),
        len(stored),
        checked,
        tuple(findings),
        tuple(notes),
        tuple(head.id for head in heads if head.id not in hurt),
        lock,
        len(states),
        tuple(head.id for head in states if head.id not in hurt),
        tuple(sorted(pack for pack, what in harm.objects.items() if what != _GONE)),
    )


def _set_aside(index: chunk_index.ChunkIndex, findings: list[Finding]) -> list[str]:
    """Damaged packs that a repair took out of the index and that nothing needs are no findings any more: notes."""
    if any(one.object == layout.INDEX for one in findings):
        return []  # what is lost may have been in them
    idle = [
        one
        for one in findings
        if one.object.startswith(layout.PACKS) and not index.knows(layout.hash_in(one.object)) and not one.affected
    ]
    for one in idle:
        findings.remove(one)
    if not idle:
        return []
    counted = "1 damaged pack" if len(idle) == 1 else f"{len(idle)} damaged packs"
    return [f"{counted} that no index lists and nothing needs; `ddr backup prune` takes such away"]


def _lock(repository: repositories.Repository, now: datetime | None) -> tuple[locks.Standing | None, list[Finding]]:
    """How the locks on the newest snapshot stand, and what is loose of it and of the newest states of planes."""
    if now is None or locks.of(repository.store) is None:
        return None, []
    newest = repository.newest()
    standing = locks.look(repository, repository.head(newest.id), now) if newest is not None else None
    findings = []
    if newest is not None and standing is not None and not standing.holds:
        findings.append(_loose(repository.head(newest.id).key, "the newest snapshot", standing))
    states = {one.kept.object: one.head for one in keeping.states(repository)}
    for object_, head in states.items():
        found = locks.look(repository, head, now)
        if not found.holds:
            findings.append(_loose(head.key, f"the newest kept state of {object_}", found))
    return standing, findings


def _loose(key: str, what: str, found: locks.Standing) -> Finding:
    if found.until is not None:
        said = f"some of what {what} needs is locked until {found.until:%Y-%m-%d} only"
    elif found.unlocked:
        said = f"{found.unlocked} of {found.objects} objects that {what} needs are not locked"
    else:
        said = f"the locks on what {what} needs could not be seen: {(*found.problems, 'nothing is there')[0]}"
    return Finding(key, said, (), "`ddr backup lock` locks them; without s3:GetObjectRetention locks cannot be seen")


def _keys(repository: repositories.Repository) -> list[Finding]:
    found = []
    for entry in repository.store.list(layout.KEYS):
        if layout.name_of(repository.store.get(entry.key)) != layout.hash_in(entry.key):
            move = "remove the slot (`ddr backup key remove`) and add it anew while another key opens the repository"
            found.append(Finding(entry.key, "the key slot has other bytes than its name says", (), move))
    return found


def _read_packs(
    repository: repositories.Repository,
    index: chunk_index.ChunkIndex,
    chosen: list[str],
    harm: _Harm,
    *,
    deep: bool,
    workers: int,
    told: Told | None,
) -> int:
    """Read packs whole; gives the bytes read."""
    lock, done, size = threading.Lock(), 0, 0

    def look(pack: str) -> None:
        nonlocal done, size
        read = _inspect(repository, index, pack, harm, deep=deep)
        with lock:
            done, size = done + 1, size + read
            if told:
                told("packs", done, len(chosen))

    with futures.ThreadPoolExecutor(workers, "ddr-verify") as pool:
        list(pool.map(look, chosen))
    return size


def _inspect(
    repository: repositories.Repository, index: chunk_index.ChunkIndex, pack: str, harm: _Harm, *, deep: bool
) -> int:
    """One pack. Where its bytes are wrong every chunk is tried: most of them may be whole. Gives the bytes read."""

    def known() -> tuple[packs.Place, ...]:
        return tuple(index.places_in(pack)) if index.knows(pack) else ()

    try:
        content = memoryview(repository.store.get(layout.pack_key(pack)))
    except Missing:
        harm.note(pack, _GONE, [place.chunk for place in known()])
        return 0
    problem = "" if layout.name_of(content) == pack else "the pack has other bytes than its name says"
    if not problem and not deep:
        return len(content)
    try:
        opened = packs.Opened(repository.ring, pack, content[:64])
    except Damaged as broken:
        harm.note(pack, problem or broken.message, [place.chunk for place in known()])
        return len(content)
    try:
        places = opened.table(content)
        if problem:  # another pack may lie here: what the index expects and this table does not have is lost
            places = tuple(dict.fromkeys([*known(), *places]))
    except Damaged as broken:
        problem = problem or broken.message
        places = known()
    lost = []
    for place in places:
        start, size = packs.span_of(place)
        try:
            opened.chunk(place, content[start : start + size])
        except Damaged as broken:
            problem = problem or broken.message
            lost.append(place.chunk)
    if problem and not lost:
        problem += "; every chunk in it can still be read"
    harm.note(pack, problem, lost)
    return len(content)


def _follow(
    repository: repositories.Repository,
    index: chunk_index.ChunkIndex,
    follower: references.Follower,
    harm: _Harm,
    findings: list[Finding],
    heads: Sequence[repositories.Head],
) -> tuple[set[str], set[str], set[str]]:
    """Every reference of every snapshot; (ids of snapshots that are hurt, packs that are needed, ids of snapshots that
    were forgotten meanwhile).

    What is lost is told under the pack that is to blame; a chunk that no index knows under the index.
    """
    hurt: set[str] = set()
    needed: set[str] = set()
    found: dict[str, list[tuple[str, str]]] = {}

    def blame(chunk: bytes) -> str | None:
        return harm.culprit(index, chunk)

    judge = references.Follower(follower.reader)
    for head in heads:
        try:
            snapshot = repository.read(head)
        except DdrError as problem:
            hurt.add(head.id)
            if isinstance(problem, Missing) and repository.store.head(head.key) is None:
                continue  # forgotten since it was listed
            move = f"its data may be whole: is there a copy? {problem.hint}"
            findings.append(Finding(head.key, problem.message, (f"{head.what}, all of it",), move))
            continue
        for part in references.parts_of(snapshot):
            needed.update(pack for chunk in _readable(follower, part) for pack, _ in index.places(chunk))
            for culprit, what in judge.lost(part, blame):
                hurt.add(head.id)
                found.setdefault(culprit, []).append((head.id, f"{head.what}, {part.component}, {what}"))
    forgotten = {head.id for head in heads if head.id in hurt and repository.store.head(head.key) is None}
    affected = {
        culprit: lines
        for culprit, told in found.items()
        if (lines := [line for id_, line in told if id_ not in forgotten])
    }
    for pack, what in harm.objects.items():
        lines = affected.pop(pack, [])
        if what == _GONE and not lines:
            continue  # a prune took it
        move = f"what it has lost is told under {layout.INDEX}" if not lines and "" in affected else _move(lines)
        findings.append(Finding(layout.pack_key(pack), what, _shortened(lines), move))
    for culprit, lines in affected.items():
        if culprit:
            what, move = "a listing in it cannot be read", _move(lines)
        else:
            what, move = "chunks are in no pack that the index knows", _index_move(repository, index)
        key = layout.pack_key(culprit) if culprit else layout.INDEX
        findings.append(Finding(key, what, _shortened(lines), move))
    return hurt, needed, forgotten


def _readable(follower: references.Follower, part: references.Part) -> Iterator[bytes]:
    """The chunks of a part, as far as its listings can be read."""
    yield from part.ids
    if part.is_tree:
        with contextlib.suppress(Damaged):
            yield from follower.below(part.ids)


def _index_move(repository: repositories.Repository, index: chunk_index.ChunkIndex) -> str:
    """Whether a new index could know more: only of an index object that is damaged, or a whole pack that none lists."""
    known = set(index.pack_names)
    unlisted = [
        pack for entry in repository.store.list(layout.PACKS) if (pack := layout.hash_in(entry.key)) not in known
    ]
    _, broken = repository.index_with_problems()
    if broken or any(repository.is_whole(pack) for pack in unlisted):
        return "`ddr backup repair` rebuilds it from the packs"
    return (
        "they are lost: `ddr backup run` stores again what the source still has; restore the rest from an older "
        "snapshot or a copy; `ddr backup repair --drop SNAPSHOT` gives up what nobody has"
    )


def _move(lines: list[str]) -> str:
    if not lines:
        return "nothing is lost by it; `ddr backup repair` takes it out of use, then `ddr backup prune` away"
    return (
        "`ddr backup repair`, then `ddr backup run` stores again what the source still has; restore the rest from an "
        "older snapshot or a copy"
    )


def _shortened(lines: list[str]) -> tuple[str, ...]:
    unique = list(dict.fromkeys(lines))
    more = len(unique) - MOST_AFFECTED
    return tuple(unique if more <= 0 else [*unique[:MOST_AFFECTED], f"and {more} more"])
