"""The data that a commit pins: which file has which hash, by its `dvc.lock` and its `*.dvc`, and proving each is kept.

DVC itself is not needed. A folder's hash is that of a list, whose files are looked for as well.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ddr.connectors.files import dvc
from ddr.errors import Damaged, Refused, Unavailable, Unsupported
from ddr.lib import located

_SAID = 3
_EXCLUDED = {".git", ".dvc", "__pycache__", ".venv", "node_modules"}
_NEXT = "`dvc push` from a machine that has them, or restore the remote from a backup"


@dataclass(frozen=True)
class Pin:
    """One file or folder, `path` relative with slashes. `where` names the stage or the file that pins it."""

    path: str
    hash: str
    where: str
    remote: str = ""
    is_legacy: bool = False

    @property
    def is_folder(self) -> bool:
        return self.hash.endswith(dvc.FOLDER)

    @property
    def keys(self) -> tuple[str, ...]:
        return dvc.keys_of(self.hash, is_legacy=self.is_legacy)


def is_pinning(path: str) -> bool:
    name = path.rpartition("/")[2]
    return (name == dvc.LOCK or name.endswith(".dvc")) and _EXCLUDED.isdisjoint(path.split("/"))


def read(paths: Sequence[str], content: Callable[[str], bytes]) -> tuple[Pin, ...]:
    """What the pinning files among `paths` pin, sorted. Damaged, Refused for what lies outside of the tree."""
    known = set(paths)
    found: dict[str, Pin] = {}
    for path in paths:
        if is_pinning(path):
            for pin in _pins(path, content, known):
                found[pin.path] = pin
    return tuple(found[path] for path in sorted(found))


def _pins(path: str, content: Callable[[str], bytes], known: set[str]) -> Iterator[Pin]:
    folder = posixpath.dirname(path)
    document = _document(path, content)
    if path.rpartition("/")[2] != dvc.LOCK:
        yield from _placed(document, folder, str(document.get("wdir") or "."), path, {})
        return
    pipeline = posixpath.join(folder, dvc.PIPELINE)
    told = _document(pipeline, content) if pipeline in known else {}
    unkept = dvc.unkept_in(told)
    stages = dvc.mapping(told.get("stages"))
    for name, stage in dvc.mapping(document.get("stages")).items():
        plain = str(name).partition("@")[0]
        written = dvc.mapping(stages.get(plain))
        wdir = str(dvc.mapping(written.get("do", written)).get("wdir") or ".")
        yield from _placed(dvc.mapping(stage), folder, wdir, f"{path}: stage {name}", unkept.get(plain, {}))


def _document(path: str, content: Callable[[str], bytes]) -> Mapping[str, object]:
    try:
        return dvc.mapping(located.parse_yaml(content(path).decode()).plain())
    except (located.Malformed, UnicodeDecodeError) as problem:
        raise Damaged(f"{path} cannot be read: {problem}", hint="look at it, or take another commit") from problem


def _placed(
    holder: Mapping[str, object], folder: str, wdir: str, where: str, unkept: Mapping[str, bool]
) -> Iterator[Pin]:
    for entry in dvc.entries(holder.get("outs")):
        if "files" in dvc.mapping(entry) or "cloud" in dvc.mapping(entry):
            raise Unsupported(f"{where}: kept by versions of a bucket", hint="restore it with `dvc pull` itself")
    for out in dvc.listed(holder, where, unkept):
        if "${" in wdir:
            raise Unsupported(f"{where}: its wdir {wdir} is a template", hint="restore it with `dvc pull` itself")
        path = posixpath.normpath(posixpath.join(folder, wdir, out.path))
        if path.startswith(("/", "../")) or path in ("..", ".") or ".git" in path.split("/"):
            raise Refused(f"{where}: {out.path} lies outside of the tree", hint="restore it by hand")
        if not _is_hash(out.hash):
            raise Damaged(f"{where}: {out.path} has {out.hash!r} for a hash", hint="look at it, or take another commit")
        yield Pin(path, out.hash, where, out.remote, out.is_legacy)


def _is_hash(text: str) -> bool:
    plain = text.removesuffix(dvc.FOLDER)
    return len(plain) == 32 and set(plain) <= set("0123456789abcdef")


@dataclass
class Objects:
    """Where objects are looked for: first the cache of this machine, then the remote."""

    remotes: dvc.Remotes
    look_ups: dvc.LookUps
    opened: dict[str, dvc.LookUp | None] = field(default_factory=dict)
    only_here: int = 0

    def proved(self, pins: Sequence[Pin]) -> tuple[Pin, ...]:
        """All files, those of folders one by one, each there. Damaged when one is nowhere; Unavailable when nobody
        can tell."""
        self._check([pin for pin in pins if pin.is_folder])
        files = [one for pin in pins for one in (self._inside(pin) if pin.is_folder else (pin,))]
        self._check(files)
        return tuple(files)

    def pieces(self, pin: Pin) -> Iterator[Iterator[bytes]]:
        """The content of an object from each place that has it: the next one is for when the first is damaged."""
        for place in self._places(pin.remote):
            for key in pin.keys:
                if isinstance(place, dvc.Streaming):
                    found = place.pieces(key)
                else:
                    whole = place.read(key)
                    found = None if whole is None else iter((whole,))
                if found is not None:
                    yield found

    def _check(self, pins: Sequence[Pin]) -> None:
        lost: list[Pin] = []
        for name in {pin.remote for pin in pins}:
            those = [pin for pin in pins if pin.remote == name]
            keys = [pin.keys for pin in those]
            far, here = (dvc.has_each(place, keys) for place in (self._remote(name), self._cache))
            for pin, is_far, is_here in zip(those, far, here, strict=True):
                self.only_here += bool(is_here) and is_far is False
                if is_far is None and not is_here:
                    raise Unavailable(
                        f"{pin.where}: {pin.path} cannot be proved to be kept: {self._why(name)}",
                        hint="look at the remote in .dvc/config, and at the credentials in the environment",
                    )
                if not is_far and not is_here:
                    lost.append(pin)
        if lost:
            names = ", ".join(f"{pin.path} ({pin.hash[:12]})" for pin in lost[:_SAID])
            raise Damaged(
                f"{len(lost)} of {len(pins)} objects are neither in the remote nor in the cache: {names}", hint=_NEXT
            )

    def _inside(self, pin: Pin) -> Sequence[Pin]:
        for pieces in self.pieces(pin):
            content = b"".join(pieces)
            if not is_hash_of(pin, hashlib.md5(content, usedforsecurity=False).hexdigest()):
                continue
            try:
                listed = [(str(one["relpath"]), str(one["md5"])) for one in json.loads(content)]
            except (ValueError, TypeError, KeyError):
                break
            for path, hashed in listed:
                plain = posixpath.normpath(path)
                if plain.startswith(("/", "..")) or not _is_hash(hashed):
                    raise Damaged(f"{pin.where}: {pin.path}: its list names {path!r}", hint="take another commit")
            return [Pin(f"{pin.path}/{path}", hashed, pin.where, pin.remote, pin.is_legacy) for path, hashed in listed]
        raise Damaged(f"{pin.where}: {pin.path}: its list of files {pin.hash} is damaged", hint=_NEXT)

    @property
    def _cache(self) -> dvc.LookUp | None:
        return dvc.LocalObjects(self.remotes.cache) if self.remotes.cache else None

    def _remote(self, named: str) -> dvc.LookUp | None:
        name = named or self.remotes.default
        if name not in self.opened:
            known = self.remotes.named.get(name)
            self.opened[name] = self.look_ups(known) if known else None
        return self.opened[name]

    def _places(self, remote: str) -> Sequence[dvc.LookUp]:
        return [place for place in (self._cache, self._remote(remote)) if place is not None]

    def _why(self, named: str) -> str:
        place = self._remote(named)
        name = named or self.remotes.default
        if place is None:
            return f"ddr cannot look into the remote {name}" if name else "there is no default remote"
        return place.trouble or f"the remote {name} does not say"


def is_hash_of(pin: Pin, hashed: str) -> bool:
    return pin.hash.removesuffix(dvc.FOLDER) == hashed
