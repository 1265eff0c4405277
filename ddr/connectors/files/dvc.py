"""What DVC's own files name, and whether it is there: in the cache of this machine and in the remote.

`dvc.lock` and `*.dvc` are read as YAML; DVC itself is not needed. A folder is one object that lists its files, and
these are looked for too. Layout of DVC 3: `files/md5/ab/cdef…`, of DVC 2: `ab/cdef…`.
"""

from __future__ import annotations

import configparser
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

from ddr.connectors import folder_tree
from ddr.lib import git, globs, located, redact

LOCK, PIPELINE = "dvc.lock", "dvc.yaml"
TRACKED = globs.Globs((LOCK, "*.dvc"), (".git", ".dvc", "__pycache__", ".venv", "node_modules"))
FOLDER = ".dir"  # how the hash of a folder ends
_PIECE_BYTES = 1 << 20


class LookUp(Protocol):
    """Objects of a remote by their key below its address."""

    def which(self, keys: Sequence[str]) -> Mapping[str, bool | None]:
        """Whether each is there; None where it cannot be known. Many at once are cheaper than one by one."""
        ...

    def read(self, key: str) -> bytes | None:
        """None where it is not there or cannot be read."""
        ...

    @property
    def trouble(self) -> str:
        """Why it could not answer, '' where it could."""
        ...


@dataclass(frozen=True)
class Remote:
    """`endpoint` is for an S3 that is not Amazon's; a login is in nothing of it."""

    address: str
    endpoint: str = ""
    region: str = ""


@runtime_checkable
class Streaming(Protocol):
    """A LookUp that need not hold a whole object in memory."""

    def pieces(self, key: str) -> Iterator[bytes] | None:
        """None where it is not there or cannot be read."""
        ...


class LookUps(Protocol):
    def __call__(self, remote: Remote) -> LookUp | None:
        """Where to look for a remote's objects; None for a kind of address that cannot be asked."""
        ...


@dataclass(frozen=True)
class LocalObjects:
    """Implements LookUp for a folder."""

    root: Path

    def which(self, keys: Sequence[str]) -> Mapping[str, bool | None]:
        return {key: os.path.lexists(self.root / key) for key in keys}

    def read(self, key: str) -> bytes | None:
        try:
            return (self.root / key).read_bytes()
        except OSError:
            return None

    def pieces(self, key: str) -> Iterator[bytes] | None:
        """Implements Streaming."""
        try:
            file = (self.root / key).open("rb")
        except OSError:
            return None
        return _pieces(file)

    @property
    def trouble(self) -> str:
        return ""


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def local_only(remote: Remote) -> LookUp | None:
    """Implements LookUps for folders of this machine."""
    address = remote.address
    if "://" in address and not address.startswith("file://"):
        return None
    return LocalObjects(Path(address.removeprefix("file://")))


@dataclass(frozen=True)
class Out:
    """One thing that DVC keeps. `where` names the stage or the file that needs it."""

    where: str
    path: str
    hash: str
    remote: str = ""
    is_legacy: bool = False

    def places(self) -> tuple[str, ...]:
        return keys_of(self.hash, is_legacy=self.is_legacy)


def keys_of(hashed: str, *, is_legacy: bool = False) -> tuple[str, ...]:
    old = f"{hashed[:2]}/{hashed[2:]}"
    return (old, f"files/md5/{old}") if is_legacy else (f"files/md5/{old}", old)


@dataclass(frozen=True)
class Remotes:
    """From `.dvc/config` and `config.local`: only names and addresses, which may hold no login."""

    default: str = ""
    named: Mapping[str, Remote] = field(default_factory=dict)
    cache: Path | None = None


@dataclass
class Report:
    """What was found; `facts` and `warnings` are for the snapshot."""

    facts: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def folder_of(root: Path) -> Path | None:
    """The nearest folder at or above `root` that has a `.dvc`."""
    return next((folder for folder in (root, *root.parents) if (folder / ".dvc").is_dir()), None)


def examine(root: Path, look_ups: LookUps = local_only) -> Report | None:
    """Look at everything DVC tracks below `root`; None when there is no DVC. Changes nothing."""
    base = folder_of(root.resolve())
    tracked = [seen.path for seen in folder_tree.LocalTree(root, TRACKED).entries() if seen.kind == "file"]
    if not tracked and not (base and base == root.resolve()):
        return None
    report = Report()
    outs = [out for path in tracked for out in _outs(root, path, report)]
    remotes = remotes_of(base / ".dvc", report) if base else Remotes()
    cache = LocalObjects(remotes.cache) if remotes.cache else None
    search = _Search(report, cache, {}, remotes, look_ups)
    search.ask(outs)
    for out in outs:
        search.check(out)
    search.tell(len(outs))
    return report


def _outs(root: Path, path: str, report: Report) -> Iterator[Out]:
    try:
        document = located.parse_yaml((root / path).read_text()).plain()
    except (OSError, UnicodeDecodeError, located.Malformed) as problem:
        why = problem.what if isinstance(problem, located.Malformed) else redact.foreign(problem)
        report.warnings.append(f"{path} cannot be read, what it needs was not looked for: {why}")
        return
    if not isinstance(document, dict):
        return
    if path.rpartition("/")[2] != LOCK:
        yield from listed(document, path, {})
        return
    unkept = _unkept((root / path).with_name(PIPELINE))
    for name, stage in mapping(document.get("stages")).items():
        if isinstance(stage, dict):
            yield from listed(stage, f"{path}: stage {name}", unkept.get(str(name).partition("@")[0], {}))


def listed(holder: Mapping[str, Any], where: str, unkept: Mapping[str, Any]) -> Iterator[Out]:
    """What a stage of `dvc.lock` or a `.dvc` file keeps in a remote."""
    for entry in entries(holder.get("outs")):
        if not isinstance(entry, dict) or entry.get("cache") is False or entry.get("push") is False:
            continue
        path = str(entry.get("path", ""))
        if unkept.get(path) is False:
            continue
        remote = str(entry.get("remote") or "")
        for one in entries(entry.get("files")) or [entry]:  # a remote with versions lists the files of a folder itself
            if isinstance(one, dict) and one.get("md5"):
                name = f"{path}/{one['relpath']}" if one.get("relpath") else path
                yield Out(where, name, str(one["md5"]), remote, "hash" not in entry)


def _unkept(pipeline: Path) -> dict[str, dict[str, bool]]:
    try:
        return unkept_in(located.parse_yaml(pipeline.read_text()).plain())
    except (OSError, UnicodeDecodeError, located.Malformed):
        return {}


def unkept_in(document: object) -> dict[str, dict[str, bool]]:
    """For each stage of `dvc.yaml` the outs that DVC keeps in no cache, as False."""
    found: dict[str, dict[str, bool]] = {}
    for name, stage in mapping(mapping(document).get("stages")).items():
        told = mapping(mapping(stage).get("do", stage))
        for kind in ("outs", "metrics", "plots"):
            for entry in entries(told.get(kind)):
                for path, said in mapping(entry).items():
                    if mapping(said).get("cache") is False or mapping(said).get("push") is False:
                        found.setdefault(str(name), {})[str(path)] = False
    return found


def mapping(value: object) -> dict[str, Any]:
    """A file that another program wrote may have anything anywhere."""
    return value if isinstance(value, dict) else {}


def entries(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def remotes_of(folder: Path, report: Report) -> Remotes:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    for name in ("config", "config.local"):
        try:
            parser.read_string((folder / name).read_text())
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, configparser.Error):
            report.warnings.append(f".dvc/{name} cannot be read: remotes may be missing here")
    named = {}
    for section in parser.sections():
        kind, _, quoted = section.strip("'").partition(" ")
        url = parser.get(section, "url", fallback="")
        if kind == "remote" and url:
            address = url if "://" in url else os.path.normpath(folder / url)
            endpoint = parser.get(section, "endpointurl", fallback="")
            named[quoted.strip('"')] = Remote(address, endpoint, parser.get(section, "region", fallback=""))
    cache = parser.get("cache", "dir", fallback="")
    return Remotes(parser.get("core", "remote", fallback=""), named, folder / (cache or "cache"))


@dataclass
class _Search:
    report: Report
    cache: LookUp | None
    opened: dict[str, LookUp | None]
    remotes: Remotes
    look_ups: LookUps
    far: dict[tuple[str, tuple[str, ...]], bool | None] = field(default_factory=dict)
    looked: int = 0
    missing: int = 0
    only_here: int = 0

    def ask(self, outs: Sequence[Out]) -> None:
        """All that the files name themselves in one go: a remote is far away."""
        for name in {out.remote for out in outs}:
            self._ask(name, [out.places() for out in outs if out.remote == name])

    def _ask(self, name: str, wanted: Sequence[tuple[str, ...]]) -> None:
        place = self._remote(name)
        todo = [places for places in wanted if (name, places) not in self.far]
        for places, found in zip(todo, has_each(place, todo), strict=True):
            self.far[name, places] = found

    def check(self, out: Out) -> None:
        """The object, and those that it lists when it is a folder."""
        remote = self._remote(out.remote)
        wanted = [(out.path, out.places())]
        if out.hash.endswith(FOLDER):
            wanted += self._inside(out, remote)
        self._ask(out.remote, [keys for _, keys in wanted])
        kept = has_each(self.cache, [keys for _, keys in wanted])
        lost, here = [], []
        for (path, keys), is_here in zip(wanted, kept, strict=True):
            self.looked += 1
            is_far = self.far[out.remote, keys]
            if is_far is not True and not is_here and (is_far is False or remote is None):
                lost.append(path)
            elif is_far is False:
                here.append(path)
        self.missing += len(lost)
        self.only_here += len(here)
        if lost:
            self._warn(out, lost, len(wanted), "neither in the cache nor in the remote: it cannot be restored")
        if here:
            self._warn(out, here, len(wanted), "only in the cache of this machine: `dvc push`")

    def _inside(self, out: Out, remote: LookUp | None) -> list[tuple[str, tuple[str, ...]]]:
        for place in (self.cache, remote):
            for key in out.places():
                content = place.read(key) if place else None
                if content is None:
                    continue
                try:
                    listed = json.loads(content)
                    return [
                        (f"{out.path}/{one['relpath']}", keys_of(str(one["md5"]), is_legacy=out.is_legacy))
                        for one in listed
                    ]
                except (ValueError, TypeError, KeyError):
                    self.report.warnings.append(f"{out.where}: {out.path}: its list of files {out.hash} is damaged")
                    return []
        return []

    def _remote(self, named: str) -> LookUp | None:
        name = named or self.remotes.default
        known = self.remotes.named.get(name)
        if name not in self.opened:
            self.opened[name] = self.look_ups(known) if known else None
            if known and self.opened[name] is None:
                plain = git.plain_url(known.address)
                self.report.warnings.append(f"DVC remote {name}: {plain} was not asked: ddr cannot look there")
        return self.opened[name]

    def _warn(self, out: Out, paths: Sequence[str], of: int, why: str) -> None:
        count = f"{len(paths)} of {of} objects, the first {paths[0]}," if of > 1 else f"{out.hash[:12]}…"
        self.report.warnings.append(f"{out.where}: {out.path}: {count} {why}")

    def tell(self, outs: int) -> None:
        name = self.remotes.default
        known = self.remotes.named.get(name)
        address = known.address if known else ""
        if outs and not address:
            self.report.warnings.append("DVC has no default remote: its data lies only in the cache of this machine")
        for place in self.opened.values():
            self.report.warnings += [f"DVC remote: {place.trouble}"] if place and place.trouble else []
        self.report.facts.update(
            {
                "dvc.outs": str(outs),
                "dvc.objects": str(self.looked),
                "dvc.missing": str(self.missing),
                "dvc.only-in-cache": str(self.only_here),
                "dvc.remote": f"{name} {git.plain_url(address)}" if address else "none",
            }
        )


def has_each(place: LookUp | None, wanted: Sequence[tuple[str, ...]]) -> list[bool | None]:
    """True in any layout; None when it cannot be known. The other layout is asked for only where the first has none."""
    if place is None:
        return [None] * len(wanted)
    found: dict[str, bool | None] = {}
    for layout in range(max(map(len, wanted), default=0)):
        found |= place.which([keys[layout] for keys in wanted if not any(found.get(key) for key in keys[:layout])])
    return [_any([found.get(key, False) for key in keys]) for keys in wanted]


def _any(answers: Sequence[bool | None]) -> bool | None:
    return True if True in answers else (None if None in answers else False)


def masked_config(text: str) -> str:
    """`.dvc/config` without logins: values of secret names, and logins in addresses."""
    from ddr.lib import yamlmask

    lines = []
    for line in text.splitlines(keepends=True):
        name, equals, value = line.partition("=")
        if equals and value.strip():
            clean = yamlmask.masked_keys({name.strip(): value.strip()})[name.strip()]
            line = f"{name}= {clean}\n" if clean != value.strip() else line
        lines.append(line)
    return "".join(lines)
