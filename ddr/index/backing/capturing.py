"""A home of indexes into a sink.

A manifest says what every byte of its version must be, so bytes are hashed on their way and what is not as it was
published does not go in: the version's record does, the component is partial, and its problem names the damage. A file
that nobody has written since the parent snapshot took it is not read again; it was proved then. What rots on a disk
without a write is found by `ddr index check`, and the backup still has the bytes that were proved.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddr.domain import indexes, snapshots
from ddr.errors import Damaged, Missing, Unavailable
from ddr.index import check, codec
from ddr.index.backing import record
from ddr.index.homes import hashing, home, naming
from ddr.lib import digest, jsonl, legible
from ddr.ports import restorable

_KEPT_MOVES = 100
_COUNT, _HAD = "versions", "had versions"
_PIECE_BYTES = 1 << 20
_REPAIR = "`ddr index repair`"
_MOUNTED = "is its disk mounted? `ddr restore` brings them back; `backup.indexes` leaves it out"


class VersionDamaged(Damaged):
    """A file of `version` is not what was published, or cannot be read."""

    def __init__(self, version: str, file: str, what: str, hint: str = "") -> None:
        super().__init__(f"{version}/{file} {what}", hint=hint or _way(version))
        self.version = version


@dataclass(frozen=True)
class _Seen:
    """`lost`: a file that it needs and that no backup takes, "" for none."""

    version: record.Version
    documents: Mapping[str, bytes]
    marks: Mapping[str, str]
    manifest: indexes.Manifest | None = None
    lost: str = ""


def capture(of: home.Home, wanted: indexes.Wanted | None, choice: indexes.Kept, sink: restorable.Sink) -> None:
    """Raises Damaged, with all else in the sink, for what is not as it was published; Unavailable, also where a home
    that had versions has none: then it is gone."""
    names = of.versions()
    if not names and (had := _had(sink.parent)):
        sink.fact(_HAD, had)  # so that the next backup knows it, too
        raise Unavailable(f"{of.name} had {had} version{'' if had == '1' else 's'} and has none", hint=_MOUNTED)
    troubles: list[Damaged] = []
    moves = _moves(of)
    current = _current(of, troubles)
    pinned = of.pins()
    served = current or (moves[-1].after if moves else "")  # of a lost pointer what it named last
    with_bytes = {"records": set(), "serving": {served}, "pinned": {served, *pinned}}.get(choice, set(names))
    seen = [one for name in names if (one := _look(of, name, name in with_bytes, troubles, sink)) is not None]
    chosen = {one.version.name: one for one in seen if one.version.name in with_bytes}
    kept = _bytes(of, chosen, troubles, sink)
    versions = tuple(dataclasses.replace(one.version, is_kept=one.version.name in kept) for one in seen)
    pins = {name: why for name, why in pinned.items() if record.can_name(name)}
    told = tuple(legible.text(one.message) for one in troubles)
    place, last = legible.text(of.name), tuple(_as_text(move) for move in moves[-_KEPT_MOVES:])
    made = record.Record(place, current, versions, pins, last, wanted, told)
    sink.tree(record.RECORDS, _Documents({"": {record.HOME: codec.encode(made)}, **_documents(seen)}))
    _facts(of, made, next((one for one in seen if one.version.name == current), None), sink)
    if told:
        ways = dict.fromkeys(one.hint for one in troubles)
        raise Damaged("; ".join(told), hint=f"{'; '.join(ways)}; then back up again")


def _is_still_there(of: home.Home, version: str) -> bool:
    """Unavailable where the home is away as a whole: a folder that is not mounted any more has no versions."""
    names = of.versions()
    if not names:
        raise Unavailable(f"{of.name} has none of its versions any more", hint=_MOUNTED)
    return version in names


def _way(version: str) -> str:
    """What mends it."""
    if naming.is_ours(version):
        return _REPAIR
    return f"whoever put {version} there makes it whole, of plain files with names in UTF-8, or takes it away"


def _as_text(move: home.Move) -> home.Move:
    before, after, actor, summary = map(legible.text, (move.before, move.after, move.actor, move.summary))
    return dataclasses.replace(move, before=before, after=after, actor=actor, summary=summary)


def _had(parent: snapshots.Component | None) -> str:
    """How many versions the home had when it was last there, "" for none."""
    found = "" if parent is None else parent.facts.get(_COUNT) or parent.facts.get(_HAD, "")
    return found if found != "0" else ""


def _moves(of: home.Home) -> tuple[home.Move, ...]:
    """Of a bucket they lie in the pointer: what is wrong with that is told of the pointer."""
    try:
        return tuple(of.moves())
    except home.LostPointer:
        return ()


def _current(of: home.Home, troubles: list[Damaged]) -> str:
    try:
        found = check.pointed(of)
    except Unavailable as problem:  # where it is lost, versions are looked at for a way back
        of.versions()
        what = f"the pointer of {of.name} cannot be followed: {problem.message}: {problem.hint}"
        troubles.append(Damaged(what, hint=problem.hint))
        return ""
    if isinstance(found, str):
        if found and not record.can_name(found):
            what = f"the pointer of {of.name} names {found}, which is no UTF-8: a backup does not say so"
            troubles.append(Damaged(what, hint="give that version another name and point there"))
            return ""
        return found
    troubles += [Damaged(f"the pointer of {of.name}: {one.what}", hint=one.next) for one in found.findings]
    return found.version if record.can_name(found.version) else ""


def _look(of: home.Home, name: str, is_wanted: bool, troubles: list[Damaged], sink: restorable.Sink) -> _Seen | None:
    """`is_wanted`: with its bytes."""
    if not record.can_name(name):
        what = f"the name of version {name} is no UTF-8: a backup leaves it out"
        if is_wanted:
            troubles.append(Damaged(what, hint=_way(name)))
        else:
            sink.warn(what)
        return None
    try:
        return _ours(of, name) if naming.is_ours(name) else _foreign(of, name, sink)
    except codec.Newer as problem:
        troubles.append(Damaged(f"{problem.message}: {problem.hint}", hint=problem.hint))
    except Damaged as problem:
        troubles.append(Damaged(problem.message, hint=_way(name)))
    except Missing:
        if _is_still_there(of, name):
            what = f"{name}/{naming.MANIFEST} is not there: what its bytes must be is not known"
            troubles.append(Damaged(what, hint=_way(name)))
        else:
            sink.warn(f"{name} was taken away before it could be looked at")
    except Unavailable as problem:
        of.versions()  # of a home that is away as a whole this says so
        what = f"{name} cannot be looked at: {problem.message}: {problem.hint}"
        troubles.append(Damaged(what, hint=problem.hint))
    return None


def _ours(of: home.Home, name: str) -> _Seen:
    manifest = of.manifest(name)
    version = record.Version(name, manifest.files)
    return _Seen(version, {naming.MANIFEST: codec.encode(manifest)}, of.marks(name), manifest)


def _foreign(of: home.Home, name: str, sink: restorable.Sink) -> _Seen | None:
    folder = of.local(name)
    if folder is None:
        sink.warn(f"{name} was not published by `ddr index`: it is left out")
        return None
    strays = of.strays(name)
    documents = {}
    for document in (record.CARD, naming.MANIFEST):
        if document not in strays and (content := jsonl.content(folder / document)) is not None:
            documents[document] = content
    known = _digests(folder, documents)
    sizes = {file: size for file, size in of.sizes(name).items() if file not in documents}
    named = {file: size for file, size in sizes.items() if record.can_name(file)}
    needed = {*known, *set(strays).intersection(naming.FILES)}
    if out := [file for file in (*strays, *sizes) if file not in named and file not in needed]:
        told = ", ".join(out[:5]) + (f" and {len(out) - 5} more" if len(out) > 5 else "")
        sink.warn(f"{name} has {told}, which a backup leaves out: it takes plain files with names in UTF-8")
    files = tuple(indexes.File(file, size, known.get(file, "")) for file, size in named.items())
    version = record.Version(name, files, tuple(sorted(documents)), is_ours=False)
    lost = min(needed - {*named, *documents}, default="")
    return _Seen(version, documents, of.marks(name), lost=lost)


def _digests(folder: Path, documents: Iterable[str]) -> Mapping[str, str]:
    """`files: {name: sha256}` or `files: [{name, sha256}]` of its documents; nothing where nobody wrote them."""
    found: dict[str, str] = {}
    for document in documents:
        files = (jsonl.of_file(folder / document) or {}).get("files")
        if isinstance(files, dict):
            pairs = list(files.items())
        else:
            listed = files if isinstance(files, list) else []
            pairs = [(one.get("name"), one.get("sha256")) for one in listed if isinstance(one, dict)]
        found |= {str(name): digest.PREFIX + str(said).removeprefix(digest.PREFIX) for name, said in pairs if said}
    return found


def _documents(seen: Sequence[_Seen]) -> dict[str, Mapping[str, bytes]]:
    return {one.version.name: one.documents for one in seen}


def _bytes(of: home.Home, chosen: dict[str, _Seen], troubles: list[Damaged], sink: restorable.Sink) -> set[str]:
    """The versions that went in whole. What is found in one costs the others nothing but being read again."""
    for name, one in list(chosen.items()):
        if problem := _misfit(of, one):
            troubles.append(_left_out(of, name, problem))
            del chosen[name]
    while chosen:
        with contextlib.ExitStack() as leases:
            for name in list(chosen):
                try:
                    if of.local(name) is not None:  # in a bucket a lease would be a write
                        leases.enter_context(of.lease(name))
                except Missing as problem:
                    troubles.append(_left_out(of, name, Damaged(problem.message, hint=problem.hint)))
                    del chosen[name]
                except Unavailable:  # this file system has no locks: what goes meanwhile is told when it is read
                    pass
            if not chosen:
                break
            try:
                made = sink.tree(record.VERSIONS, _Bytes(of, dict(chosen)))
            except VersionDamaged as problem:
                troubles.append(_left_out(of, problem.version, problem))
                del chosen[problem.version]
                continue
        if made.files == sum(len(one.version.files) for one in chosen.values()):
            return set(chosen)
        troubles.append(Damaged(f"not all files of {', '.join(chosen)} could be read", hint=_REPAIR))
        return set()
    return set()


def _left_out(of: home.Home, version: str, problem: Damaged) -> Damaged:
    """What could not be read may have been taken away, or the whole home with it: that is no damage."""
    what, hint = problem.message, problem.hint
    if not _is_still_there(of, version):
        what, hint = f"{version} was taken away while it was backed up", "`ddr index list` says what there is"
    return Damaged(f"{what}; its bytes are not in this backup", hint=hint)


def _misfit(of: home.Home, seen: _Seen) -> Damaged | None:
    """Files that are not there or have another size: told without reading them."""
    version = seen.version
    if seen.lost:
        return VersionDamaged(version.name, seen.lost, "is not there as a plain file")
    try:
        found = of.sizes(version.name) if version.is_ours else {file.name: file.size_bytes for file in version.files}
    except (Missing, Unavailable) as problem:
        return Damaged(f"{version.name} cannot be looked at: {problem.message}", hint=problem.hint)
    for file in version.files:
        if file.name not in found:
            return VersionDamaged(version.name, file.name, "is not there")
        if found[file.name] != file.size_bytes:
            what = f"has {found[file.name]:,} bytes, not {file.size_bytes:,}"
            return VersionDamaged(version.name, file.name, what)
    return None


def _facts(of: home.Home, made: record.Record, serving: _Seen | None, sink: restorable.Sink) -> None:
    sink.fact("home", of.name)
    sink.fact("serves", made.current or "nothing")
    sink.fact(_COUNT, str(len(made.versions)))
    kept = [one.name for one in made.versions if one.is_kept]
    sink.fact("bytes of", ", ".join(kept) or "no version")
    if unproved := [one.name for one in made.versions if one.is_kept and not all(file.sha256 for file in one.files)]:
        sink.fact("as they are", f"{', '.join(unproved)}: nobody wrote down what its bytes must be")
    if made.pins:
        sink.fact("pinned", ", ".join(made.pins))
    if serving is not None and serving.manifest is not None:
        manifest = serving.manifest
        sink.fact("rows", str(manifest.scan.kept))
        sink.fact("kind", manifest.plan.shape.kind)
        for recall in manifest.quality.recalls:
            if recall.k == manifest.plan.wanted.k:
                sink.fact(f"recall@{recall.k}", f"{recall.share:.4f}")
        if manifest.embedder.fingerprint:
            sink.fact("embedder", manifest.embedder.fingerprint)
    if not kept and made.versions:
        sink.warn("no bytes of an index are in this backup: what serves comes back by building it again")


@dataclass(frozen=True)
class _Documents:
    """Implements FileTree: small, and in memory already."""

    folders: Mapping[str, Mapping[str, bytes]]
    """"" is what lies in none; no version has a name that sorts before that file's."""

    def entries(self) -> Iterator[restorable.FileSeen]:
        for folder, documents in sorted(self.folders.items()):
            if folder:
                yield restorable.FileSeen(folder, "folder", mode=0o755)
            for name, content in sorted(documents.items()):
                path = f"{folder}/{name}" if folder else name
                yield restorable.FileSeen(path, "file", len(content), 0, 0o444)

    def local(self, seen: restorable.FileSeen) -> Path | None:
        return None

    def read(self, seen: restorable.FileSeen) -> Iterator[bytes]:
        folder, _, name = seen.path.rpartition("/")
        if content := self.folders[folder][name]:
            yield content


@dataclass(frozen=True)
class _Bytes:
    """Implements FileTree. `read` raises VersionDamaged behind the last byte when they are not what they must be."""

    of: home.Home
    chosen: Mapping[str, _Seen]

    def entries(self) -> Iterator[restorable.FileSeen]:
        for name in sorted(self.chosen):
            one = self.chosen[name]
            yield restorable.FileSeen(name, "folder", mode=0o755)
            for file in sorted(one.version.files, key=lambda file: file.name):
                mark = one.marks.get(file.name, "")
                mark = f"{mark} {digest.short(file.sha256)}" if mark else ""
                yield restorable.FileSeen(f"{name}/{file.name}", "file", file.size_bytes, 0, 0o444, mark)

    def local(self, seen: restorable.FileSeen) -> Path | None:
        return None  # every byte goes by here

    def read(self, seen: restorable.FileSeen) -> Iterator[bytes]:
        version, _, name = seen.path.partition("/")
        file = next(one for one in self.chosen[version].version.files if one.name == name)
        sha256, what = hashlib.sha256(), ""
        try:
            for piece in self._pieces(version, name):
                sha256.update(piece)
                yield piece
            if file.sha256 and digest.PREFIX + sha256.hexdigest() != file.sha256:
                what = self._damage(version, file)
        except (Damaged, Missing, Unavailable) as problem:
            hint = problem.hint if isinstance(problem, Unavailable) else ""
            raise VersionDamaged(version, name, f"cannot be read: {problem.message}", hint) from problem
        if what:
            raise VersionDamaged(version, name, what)

    def _pieces(self, version: str, name: str) -> Iterator[bytes]:
        for content in self.of.read(version, name):
            for at in range(0, len(content), _PIECE_BYTES):
                yield content[at : at + _PIECE_BYTES]

    def _damage(self, version: str, file: indexes.File) -> str:
        """Read once more, to say where."""
        with hashing.Hashing() as hashes:
            for piece in self.of.read(version, file.name):
                hashes.add(piece)
            found = hashes.file(file.name)
        return home.difference(file, found) or "was read as other bytes once, and as its own then: look at the disk"
