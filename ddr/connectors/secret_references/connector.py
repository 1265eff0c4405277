"""Which secrets the platform needs, so that a restore can say what a person has to bring."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ddr.connectors import folder_tree
from ddr.connectors.secret_references import airflow, env_files, found, manifests
from ddr.domain import snapshots
from ddr.errors import InputError, Missing, Unavailable
from ddr.lib import clock as clocks
from ddr.lib import globs, located, redact
from ddr.ports import restorable

_REFERENCE = re.compile(r"\$\{(env|file):([^}]*)\}")
_KINDS = {"env": "environment variable", "file": "file"}
_MANIFESTS = globs.Globs(("*.yaml", "*.yml", "*.json"), (".git", "node_modules", ".venv"))
_LARGEST_BYTES = 16 << 20  # a manifest of that size is none


@dataclass(frozen=True)
class Named:
    """A secret that a person names here: `kind` is what it is (vault kv, aws secret), `origin` where it is kept."""

    name: str
    kind: str = "secret"
    keys: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True)
class Settings:
    """`config` is the file whose own `${env:...}` and `${file:...}` are told, '' none.

    `env_files` are `.env` files, `manifests` files or folders of Kubernetes YAML, `airflow` are exports of Airflow's
    connections.
    """

    config: str = "ddr.yaml"
    names: tuple[Named, ...] = ()
    env_files: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    airflow: tuple[str, ...] = ()


@dataclass(frozen=True)
class SecretReferences:
    """Implements Capturable, Restorable and KnowsSecrets; restoring means saying what has to be entered again."""

    base: Path
    settings: Settings = field(default_factory=Settings)

    def capture(self, sink: restorable.Sink) -> None:
        """A source that is named and not there raises Missing at the end, when all others are told."""
        into = found.Found()
        gone: list[str] = []
        for named in self.settings.names:
            into.add(named.name, named.kind, named.keys, named.origin or "ddr.yaml")
        if self.settings.config:
            self._read(self.settings.config, _of_config, into, gone)
        for path in self.settings.env_files:
            self._read(path, env_files.read, into, gone)
        for path in self.settings.airflow:
            self._read(path, airflow.read, into, gone)
        for path in self.settings.manifests:
            self._read_manifests(path, into, gone)
        for reference in sorted(set(into.references), key=lambda one: (one.kind, one.name, one.origin, one.keys)):
            sink.reference(reference)
        for complaint in dict.fromkeys(into.complaints):
            sink.warn(complaint)
        sink.fact("references", str(len(set(into.references))))
        if gone:
            raise Missing(f"cannot be read: {', '.join(gone)}", hint="correct the paths in ddr.yaml")

    def secret_values(self) -> Mapping[str, str]:
        """What stands in the `.env` files. One that cannot be read is told by `capture`."""
        found_: dict[str, str] = {}
        for path in self.settings.env_files:
            with contextlib.suppress(OSError):
                place = self.base / path
                if place.stat().st_size <= _LARGEST_BYTES:
                    found_.update(env_files.values(place.read_text(errors="replace"), path))
        return found_

    def _read(
        self, path: str, reader: Callable[[str, str, found.Found], None], into: found.Found, gone: list[str]
    ) -> None:
        try:
            place = self.base / path
            if place.stat().st_size > _LARGEST_BYTES:
                into.complaints.append(f"{path}: too large to be what it should be, it was not read")
                return
            reader(place.read_text(errors="replace"), path, into)
        except OSError as problem:
            gone.append(f"{path} ({problem.strerror})")

    def _read_manifests(self, path: str, into: found.Found, gone: list[str]) -> None:
        place = self.base / path
        if not place.is_dir():
            self._read(path, manifests.read, into, gone)
            return
        try:
            for seen in folder_tree.LocalTree(place, _MANIFESTS, into.complaints.append).entries():
                if seen.kind == "file":
                    self._read(f"{path.rstrip('/')}/{seen.path}", manifests.read, into, gone)
        except (Missing, Unavailable) as problem:
            gone.append(redact.foreign(problem))

    def plan_restore(self, source: restorable.Source, options: restorable.RestoreOptions) -> restorable.RestorePlan:
        restorable.check_wishes(options, {})
        if options.only:
            raise InputError(
                f"{options.only[0]!r} is no part of references", hint="they are told whole, without --only"
            )
        lines = tuple(
            restorable.PlanLine("enter-again", f"{one.kind} {one.name}", _detail(one))
            for one in source.component.references
        )
        return restorable.RestorePlan(source.component.name, "", options, lines)

    def restore(
        self, plan: restorable.RestorePlan, source: restorable.Source, progress: restorable.Progress | None = None
    ) -> None:
        """Nothing: no backup has the values."""

    def compare(self, plan: restorable.RestorePlan, source: restorable.Source) -> Sequence[restorable.Comparison]:
        return ()


def _detail(one: snapshots.Reference) -> str:
    keys = f"keys {', '.join(one.keys)}" if one.keys else ""
    return "; ".join(part for part in (keys, f"from {one.origin}" if one.origin else "") if part)


def _of_config(text: str, origin: str, into: found.Found) -> None:
    try:
        root = located.parse_yaml(text)
    except located.Malformed as problem:
        into.complaints.append(f"{origin}:{problem.line}: no YAML, its references are not told")
        return
    for key, node in _texts(root, ""):
        for kind, name in _REFERENCE.findall(str(node.value)):
            into.add(name, _KINDS[kind], (), f"{origin}:{node.line} {key}")


def _texts(node: located.Node, key: str) -> Iterator[tuple[str, located.Node]]:
    for name, child in node.fields.items():
        yield from _texts(child, f"{key}.{name}" if key else name)
    for at, child in enumerate(node.entries):
        yield from _texts(child, f"{key}[{at}]")
    if isinstance(node.value, str):
        yield key, node


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> SecretReferences:
    del clock
    return SecretReferences(base, settings)
