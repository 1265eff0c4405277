"""An open backup repository: its configuration, its keys, its snapshots. Knows every object, decides nothing."""

from __future__ import annotations

import dataclasses
import hmac
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import blake3
import msgspec

from ddr.backup import chunk_index, chunks, keys, layout, sealing
from ddr.domain import snapshots
from ddr.errors import Damaged, Missing, Refused, UnknownName, Unsupported
from ddr.ports import store

FORMAT = 1
DROP = "`ddr backup repair --drop-damaged` sets what nobody can read aside, so that it stands in nobody's way"
_FEATURES: frozenset[str] = frozenset()
"""Of the features a repository may require, those that this version knows."""


class OtherVersion(Damaged):
    """A snapshot that is whole and written by another version: nothing to give up."""


@dataclass(frozen=True)
class Config:
    """As stored, in JSON. `features` a reader must know; `mac` keeps anybody without the key from changing it: it is
    made of the stored bytes with its own value taken out."""

    format: int
    repository: str
    created_at: datetime
    large: int = chunks.LARGE
    small: int = chunks.SMALL
    features: tuple[str, ...] = ()
    mac: str = ""


@dataclass(frozen=True)
class Head:
    """A snapshot by its name alone; nothing of it was read."""

    key: str
    id: str
    at: datetime

    @property
    def is_state(self) -> bool:
        """Whether it is the kept state of a plane and no backup."""
        return self.key.startswith(layout.KEPT)

    @property
    def what(self) -> str:
        """As findings and errors call it."""
        return f"{'kept state' if self.is_state else 'snapshot'} {self.id[:8]}"


@dataclass(frozen=True)
class Repository:
    store: store.Store
    ring: keys.Keyring
    config: Config

    def heads(self, among: str = layout.SNAPSHOTS) -> tuple[Head, ...]:
        """Every snapshot, oldest first; among `layout.KEPT` the kept states of planes.

        Names that are none are left to `verify`. Names have whole seconds: of the snapshots of one second it is read
        which was made last, so that `latest` means that one.
        """
        found = []
        for entry in self.store.list(among):
            try:
                found.append(Head(entry.key, layout.hash_in(entry.key)[: layout.ID_DIGITS], layout.time_in(entry.key)))
            except ValueError:
                continue
        if among == layout.SNAPSHOTS:
            second = Counter(head.at for head in found)
            found.sort(key=lambda head: (head.at, self._made_at(head) if second[head.at] > 1 else head.at, head.key))
        return tuple(found)

    def _made_at(self, head: Head) -> datetime:
        """To the microsecond; the beginning of its second where it cannot be read."""
        try:
            return self._read(head).at
        except (Damaged, Missing):
            return head.at

    def all_heads(self) -> tuple[Head, ...]:
        """Everything that needs chunks: snapshots, and the kept states of planes."""
        return (*self.heads(), *self.heads(layout.KEPT))

    def head(self, wanted: str) -> Head:
        """The one that is meant: `latest`, or the beginning of an id. Raises Missing, UnknownName."""
        known = self.heads()
        if not known:
            raise Missing(f"{self.store.name} has no snapshot", hint="`ddr backup run` makes one")
        if wanted in ("", "latest"):
            return known[-1]
        found = [head for head in known if head.id.startswith(wanted.lower())]
        if len(found) != 1:
            why = "is the beginning of several" if found else "is none of its snapshots"
            there = ", ".join(head.id[:8] for head in known[-5:])
            raise UnknownName(f"{self.store.name}: {wanted!r} {why}", hint=f"the newest are: {there}")
        return found[0]

    def read(self, head: Head) -> snapshots.Snapshot:
        """Raises Damaged, which names the next older one that can be read; Missing when it was forgotten meanwhile."""
        try:
            return self._read(head)
        except OtherVersion:
            raise
        except Damaged as problem:
            raise Damaged(problem.message, hint=f"{self._older(head)}; {DROP}") from problem

    def _older(self, than: Head) -> str:
        """The move of who wanted a snapshot that is damaged."""
        among = than.key[: than.key.rindex("/") + 1]
        for head in reversed([one for one in self.heads(among) if one.at <= than.at and one.key != than.key]):
            try:
                self._read(head)
            except (Damaged, Missing):
                continue
            return f"the next older one that can be read is {head.id[:8]}, of {head.at:%Y-%m-%d %H:%M} UTC"
        return "no older one can be read; is there a copy (`backup.copies`)?"

    def _read(self, head: Head) -> snapshots.Snapshot:
        what = head.what
        try:
            stored = self.store.get(head.key)
        except Missing as problem:
            raise Missing(
                f"{self.store.name}: {what} is gone: it was forgotten just now",
                hint="`ddr backup list` shows the others",
            ) from problem
        try:
            content = sealing.unseal(self.ring, "snapshot", stored, what)
            layout.check_name(head.key, stored, what)
            found = msgspec.json.decode(content, type=snapshots.Snapshot)
        except msgspec.MsgspecError as problem:
            raise OtherVersion(f"{what} was written by another version: {problem}", hint="use a newer ddr") from problem
        if found.at.replace(microsecond=0) != head.at:
            raise Damaged(f"{what} was made at {found.at:%Y-%m-%d %H:%M:%S} and its name says another time")
        return dataclasses.replace(found, id=head.id)

    def newest(self) -> snapshots.Snapshot | None:
        """The newest one that can be read, None without any."""
        for head in reversed(self.heads()):
            try:
                return self.read(head)
            except (Damaged, Missing):
                continue
        return None

    def commit(self, snapshot: snapshots.Snapshot, among: str = layout.SNAPSHOTS) -> snapshots.Snapshot:
        """Store it; from then on it exists. The one commit point of a backup."""
        stored = sealing.seal(self.ring, "snapshot", msgspec.json.encode(dataclasses.replace(snapshot, id="")))
        name = layout.name_of(stored)
        key = layout.snapshot_key(snapshot.at, name, among)
        try:
            layout.create_named(self.store, key, stored)
        except store.Full:
            self.store.delete(key)  # it may lie there and its folder not be synced; its packs go now
            raise
        return dataclasses.replace(snapshot, id=name[: layout.ID_DIGITS])

    def forget(self, head: Head) -> None:
        """The snapshot is gone; its chunks stay until a prune finds that nobody needs them."""
        self.store.delete(head.key)

    def index(self) -> chunk_index.ChunkIndex:
        """What is stored and really there, from all index objects. Damaged names the object that is."""
        found, broken = self.index_with_problems()
        if broken:
            raise broken[0]
        self.drop_absent(found)
        return found

    def drop_absent(self, index: chunk_index.ChunkIndex) -> None:
        """Take packs out that are gone or have another size: a chunk that lies elsewhere, too, is found there."""
        there = {layout.hash_in(entry.key): entry.size_bytes for entry in self.store.list(layout.PACKS)}
        index.drop(pack for pack in index.pack_names if there.get(pack) != index.size_of(pack))

    def is_whole(self, pack: str) -> bool:
        """Whether the pack has the bytes that its name says; it is read for that."""
        try:
            return layout.name_of(self.store.get(layout.pack_key(pack))) == pack
        except Missing:
            return False

    def index_with_problems(self) -> tuple[chunk_index.ChunkIndex, tuple[chunk_index.DamagedIndex, ...]]:
        """As `index`, going on where an object is damaged."""
        loaded, broken = chunk_index.ChunkIndex(), []
        for key in self._index_keys():
            try:
                listed = chunk_index.read_object(self.store, self.ring, key)
            except Missing:
                continue  # merged since it was listed: the merged one was written before; the next look finds it
            except chunk_index.DamagedIndex as problem:
                broken.append(problem)
                continue
            for name, size_bytes, places in listed:
                loaded.take(name, size_bytes, places)
            loaded.objects[layout.hash_in(key)] = tuple(name for name, _, _ in listed)
        return loaded, tuple(broken)

    def _index_keys(self) -> Iterator[str]:
        """Listed again until nothing is new: whoever merges writes the new object before the old ones go."""
        seen: set[str] = set()
        while True:
            new = [entry.key for entry in self.store.list(layout.INDEX) if entry.key not in seen]
            if not new:
                return
            seen.update(new)
            yield from new


def exists(at: store.Store) -> bool:
    return at.head(layout.CONFIG) is not None


def create(at: store.Store, opening: keys.Opening, now: datetime, label: str = "first") -> Repository:
    """A new repository. The key slot is stored before the configuration: what has a configuration can be opened.

    Raises Refused where there is one, or was one.
    """
    if exists(at):
        raise Refused(f"{at.name} has a backup repository already", hint="`ddr backup list` shows what is in it")
    if is_headless(at):
        raise _headless(at)
    ring = keys.new_keyring()
    keys.add(at, ring, opening, now, label)
    config, stored = _signed(ring, now)
    try:
        at.create(layout.CONFIG, stored)
    except store.Exists:
        if at.get(layout.CONFIG) != stored:  # else the answer to our own first try got lost
            raise Refused(
                f"somebody else made a backup repository in {at.name} just now", hint="run the command again"
            ) from None
    return Repository(at, ring, config)


def rewrite_config(at: store.Store, opening: keys.Opening, now: datetime) -> Repository:
    """The configuration anew, where it is damaged or gone: what is in it follows from a key slot or the recovery key.

    Raises Refused where nothing opens.
    """
    ring = keys.unlock_any(at, opening)
    mine = [slot.created_at for slot in keys.whole_slots(at).values() if slot.repository == ring.repository.hex()]
    config, stored = _signed(ring, min(mine, default=now))
    found = at.head(layout.CONFIG)
    if found is None:
        at.create(layout.CONFIG, stored)
    elif at.get(layout.CONFIG) != stored:
        at.swap(layout.CONFIG, stored, found.version)
    return Repository(at, ring, config)


def _signed(ring: keys.Keyring, now: datetime) -> tuple[Config, bytes]:
    plain = Config(FORMAT, ring.repository.hex(), now)
    config = dataclasses.replace(plain, mac=_mac(ring, msgspec.json.encode(plain)))
    return config, msgspec.json.encode(config)


def is_headless(at: store.Store) -> bool:
    """Whether there are snapshots or packs without a configuration. (Key slots alone: a creation was cut off.)"""
    return any(next(iter(at.list(kind)), None) is not None for kind in (layout.SNAPSHOTS, layout.PACKS))


def _headless(at: store.Store) -> Damaged:
    what, way = "", "`ddr backup repair` writes it anew from a key slot"
    if not keys.whole_slots(at):
        what = ", and so are its key slots"
        way = "`ddr backup repair --recovery` writes it anew, then `ddr backup key add --recovery` a slot"
    return Damaged(
        f"{at.name}: {layout.CONFIG} is gone{what}, and there are backups",
        hint=f"{way}; extract.py reads everything without it",
    )


def open_(at: store.Store, opening: keys.Opening) -> Repository:
    """Raises Missing where there is none, Refused where nothing opens it, Damaged, Unsupported."""
    try:
        stored = at.get(layout.CONFIG)
    except Missing:
        if is_headless(at):
            raise _headless(at) from None
        raise Missing(
            f"{at.name} has no backup repository yet", hint="`ddr backup run` makes it with the first snapshot"
        ) from None
    try:
        config = msgspec.json.decode(stored, type=Config)
        repository = bytes.fromhex(config.repository)
    except (msgspec.MsgspecError, ValueError) as problem:
        raise _damaged(at) from problem
    unknown = set(config.features) - _FEATURES
    if config.format > FORMAT or unknown:
        what = f"format {config.format}" if config.format > FORMAT else f"the feature {', '.join(sorted(unknown))}"
        raise Unsupported(f"{at.name} needs {what}, which this ddr does not know", hint="use a newer ddr")
    try:
        ring = keys.unlock(at, repository, opening)
    except Refused:
        known = {slot.repository for slot in keys.whole_slots(at).values()}
        if known and config.repository not in known:
            raise _damaged(at) from None  # no wonder that nothing opens
        raise
    if not hmac.compare_digest(_mac(ring, stored.replace(config.mac.encode(), b"")).encode(), config.mac.encode()):
        raise _damaged(at)
    return Repository(at, ring, config)


def _damaged(at: store.Store) -> Damaged:
    return Damaged(
        f"{at.name}: {layout.CONFIG} is damaged or was changed",
        hint="`ddr backup repair` writes it anew from a key slot; extract.py reads everything without it",
    )


def _mac(ring: keys.Keyring, plain: bytes) -> str:
    return blake3.blake3(plain, key=ring.derive("config")).hexdigest()
