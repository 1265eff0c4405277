"""`ddr.yaml`: its shape, and its check as a whole. Every problem is reported with its line.

What a connector's own keys mean is decided by the connector (its `Settings` and `Binding`); this file puts them
together and says where they do not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ddr.domain import planes, services
from ddr.errors import BadDocument, InputError, Problem
from ddr.lib import decode, located, redact
from ddr.wiring import backup_settings, connector_types, references, repository_settings

if TYPE_CHECKING:
    from ddr.wiring import index_settings

NAME = "ddr.yaml"


@dataclass(frozen=True)
class Sandbox:
    """Present only in a sandbox: ddr then lives by its virtual clock and may break it."""

    root: str


@dataclass(frozen=True)
class Notify:
    """Where messages go: a file that a person or a program follows."""

    type: Literal["file"] = "file"
    path: str = "messages.jsonl"


@dataclass(frozen=True)
class SignalEntry:
    source: str = field(metadata={"note": "the connector that measures it"})
    series: str = field(metadata={"note": "which of its series"})
    detector: services.DetectorKind
    plane: planes.Plane | None = None
    limit: float | None = None
    window: timedelta = timedelta(hours=1)
    reference: timedelta = timedelta(hours=6)
    min_samples: int = 1
    unit: str = ""


@dataclass(frozen=True)
class ServiceEntry:
    planes: Mapping[str, located.Node] = field(metadata={"note": "plane: {connector: NAME, ...}"})
    objectives: services.Objectives = field(metadata={"note": "{rpo: 1h, rto: 15m, detectWithin: 1h}"})
    owners: services.Owners = field(metadata={"note": "{team, oncall, decisionMaker, approvers, escalation}"})
    signals: Mapping[str, SignalEntry] = field(default_factory=dict)
    customers: str = ""
    consumers: tuple[str, ...] = ()
    serving: str = ""
    promoters: tuple[services.Promoter, ...] = ()


@dataclass(frozen=True)
class _Document:
    api_version: Literal["ddr/v1"]
    repository: located.Node = field(metadata={"note": "{type: local, path: FOLDER} or {type: s3, bucket: NAME}"})
    services: Mapping[str, ServiceEntry] = field(metadata={"note": "a mapping of names to services"})
    connectors: Mapping[str, located.Node] = field(default_factory=dict)
    sandbox: Sandbox | None = None
    notify: Notify = field(default_factory=Notify)
    backup: backup_settings.BackupEntry | None = None
    recovery_window: timedelta = backup_settings.RECOVERY_WINDOW
    indexes: Mapping[str, located.Node] = field(default_factory=dict)


@dataclass(frozen=True)
class ConnectorEntry:
    """One connector: its type's name and its decoded `Settings`."""

    type: str
    settings: Any


@dataclass(frozen=True)
class PlaneEntry:
    """Which connector a plane uses, and its decoded `Binding` (None where the connector needs none)."""

    connector: str
    binding: Any


@dataclass(frozen=True)
class Config:
    """A whole, checked `ddr.yaml`. Relative paths count from `base`, the folder it stands in; both are absolute, as
    other processes start in other folders."""

    path: Path
    base: Path
    repository: repository_settings.Repository
    connectors: Mapping[str, ConnectorEntry]
    services: Mapping[str, services.Service]
    planes: Mapping[str, Mapping[planes.Plane, PlaneEntry]]
    sandbox: Sandbox | None
    notify: Notify
    redact: redact.Redactor
    backup: backup_settings.BackupEntry | None = None
    copies: Mapping[str, repository_settings.Repository] = field(default_factory=dict)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    recovery_window: timedelta = backup_settings.RECOVERY_WINDOW
    indexes: Mapping[str, index_settings.IndexEntry] = field(default_factory=dict)


def find(named: str | None, environ: Mapping[str, str], here: Path) -> Path:
    """The configuration to use: as named, else $DDR_CONFIG, else `ddr.yaml` here or in a folder above. Always absolute;
    what is named from here is called as whoever stands beside it would call it, so that plans are the same ones."""
    given = named or environ.get("DDR_CONFIG")
    if given:
        path = here / given
        path = path / NAME if path.is_dir() else path
        if not path.is_file():
            raise InputError(f"{path}: there is no such file", hint="`ddr init` writes one; --config names another")
        return path if Path(given).is_absolute() else path.parent.resolve() / path.name
    for folder in (here, *here.parents):
        if (folder / NAME).is_file():
            return folder / NAME
    raise InputError(
        f"no {NAME} in {here} or above",
        hint="`ddr init` writes one, `ddr sandbox up demo` builds a platform to try with; --config names a file",
    )


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read, resolve, check. Raises BadDocument with every problem."""
    try:
        text = path.read_text()
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise BadDocument(
            [Problem(str(path), line, "", "is no UTF-8 text")],
            hint="write the file as UTF-8, such as with `iconv -t UTF-8`; nothing was started",
        ) from problem
    except OSError as problem:
        raise InputError(f"{path}: cannot be read: {redact.foreign(problem)}", hint="look at its rights") from problem
    return read(path, text, environ)


def read(path: Path, text: str, environ: Mapping[str, str]) -> Config:
    """As `load`, from text; `path` is where it stands or will stand."""
    return _Reader(path.absolute(), environ).read(text)


class _Reader:
    """Collects the complaints of all stages, so that one call reports them all."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self.path = path
        self.resolver = references.Resolver(environ, path.parent)
        self.complaints = self.resolver.complaints

    def read(self, text: str) -> Config:
        try:
            root = located.parse_yaml(text)
        except located.Malformed as problem:
            raise BadDocument(
                [Problem(str(self.path), problem.line, "", problem.what)],
                hint="mend that line, or the one above it; nothing was started",
            ) from problem
        root = self.resolver.resolve(root)
        document = decode.decode(_Document, root, self.complaints)
        connectors = self._connectors(root)
        repository = self._repository(root)
        planes_ = self._planes(root, connectors)
        copies = self._copies(document)
        indexes = self._indexes(document)
        if document is not None:
            self._cross_check(document, root, connectors)
        self._raise_complaints()
        assert document is not None
        assert repository is not None
        return Config(
            path=self.path,
            base=self.path.parent,
            repository=repository,
            connectors={name: entry for name, entry in connectors.items() if entry is not None},
            services={name: _service(name, entry, planes_[name]) for name, entry in document.services.items()},
            planes=planes_,
            sandbox=document.sandbox,
            notify=document.notify,
            redact=redact.Redactor(frozenset(self.resolver.values)),
            backup=document.backup,
            copies=copies,
            secrets=frozenset(self.resolver.values),
            recovery_window=document.recovery_window,
            indexes=indexes,
        )

    def _copies(self, document: _Document | None) -> dict[str, repository_settings.Repository]:
        found = {}
        for name, node in (document.backup.copies if document and document.backup else {}).items():
            settings = self._typed(node, f"backup.copies.{name}", repository_settings.BY_TYPE, keep_type=True)[1]
            if settings is not None:
                found[name] = settings
        return found

    def _indexes(self, document: _Document | None) -> dict[str, index_settings.IndexEntry]:
        if document is None or not document.indexes:
            return {}
        from ddr.wiring import index_settings  # only who has indexes pays for their nouns

        kind = index_settings.IndexEntry
        decoded = {
            name: decode.decode(kind, node, self.complaints, f"indexes.{name}")
            for name, node in document.indexes.items()
        }
        found = {name: entry for name, entry in decoded.items() if entry is not None}
        owners: dict[tuple[str, ...], str] = {}
        for name, entry in found.items():
            owner = owners.setdefault(index_settings.home_place(entry, self.path.parent), name)
            if owner != name:
                what = f"is the home of index {owner!r}, too; every index has one of its own"
                self._complain(document.indexes[name].fields["home"], f"indexes.{name}.home", what)
        return found

    def _complain(self, node: located.Node, key: str, what: str) -> None:
        self.complaints.append(decode.Complaint(node.line, key, what))

    def _raise_complaints(self) -> None:
        if not self.complaints:
            return
        mask = redact.Redactor(frozenset(self.resolver.values))
        unique = sorted({(complaint.line, complaint.key, mask(complaint.what)) for complaint in self.complaints})
        raise BadDocument(
            [Problem(str(self.path), line, key, what) for line, key, what in unique],
            hint="mend the lines above; nothing was started",
        )

    def _typed(
        self, node: located.Node, key: str, types: Mapping[str, type[Any]], *, keep_type: bool
    ) -> tuple[str, Any]:
        """Decode a mapping by its `type`. ('', None) where that fails."""
        if not isinstance(node.value, dict):
            self._complain(node, key, f"is {node.value!r}, must be a mapping like {{type: {sorted(types)[0]}, ...}}")
            return "", None
        kind = node.fields.get("type")
        if kind is None or not isinstance(kind.value, str) or kind.value not in types:
            what = "is missing" if kind is None else f"is {kind.value!r}, which is not known"
            self._complain(kind or node, f"{key}.type", f"{what}; one of {', '.join(sorted(types))}")
            return "", None
        if not keep_type:
            rest = {name: child for name, child in node.fields.items() if name != "type"}
            node = located.Node(node.line, rest, node.key_lines)
        return kind.value, decode.decode(types[kind.value], node, self.complaints, key)

    def _repository(self, root: located.Node) -> repository_settings.Repository | None:
        node = root.fields.get("repository")
        return None if node is None else self._typed(node, "repository", repository_settings.BY_TYPE, keep_type=True)[1]

    def _connectors(self, root: located.Node) -> dict[str, ConnectorEntry | None]:
        entries: dict[str, ConnectorEntry | None] = {}
        for name, node in _fields(root, "connectors").items():
            kind, settings = self._typed(node, f"connectors.{name}", connector_types.SETTINGS, keep_type=False)
            entries[name] = None if settings is None else ConnectorEntry(kind, settings)
        return entries

    def _planes(
        self, root: located.Node, connectors: Mapping[str, ConnectorEntry | None]
    ) -> dict[str, dict[planes.Plane, PlaneEntry]]:
        found: dict[str, dict[planes.Plane, PlaneEntry]] = {}
        for service, node in _fields(root, "services").items():
            found[service] = {}
            for name, plane_node in _fields(node, "planes").items():
                key = f"services.{service}.planes.{name}"
                entry = self._plane(plane_node, key, connectors)
                if name not in set(planes.Plane):
                    allowed = ", ".join(planes.Plane)
                    self._complain(plane_node, key, f"is no plane; one of {allowed}")
                elif entry is not None:
                    found[service][planes.Plane(name)] = entry
        return found

    def _plane(
        self, node: located.Node, key: str, connectors: Mapping[str, ConnectorEntry | None]
    ) -> PlaneEntry | None:
        named = node.fields.get("connector")
        if named is None:
            self._complain(node, f"{key}.connector", "is missing; the name of a connector")
            return None
        if not isinstance(named.value, str) or named.value not in connectors:
            known = ", ".join(connectors) or "there are none"
            self._complain(named, f"{key}.connector", f"{named.value!r} is no connector here; known: {known}")
            return None
        entry = connectors[named.value]
        if entry is None:
            return None
        binding_type = connector_types.binding_type(entry.type)
        if binding_type is None:
            self._complain(named, f"{key}.connector", f"a {entry.type} connector serves no plane")
            return None
        rest = {name: child for name, child in node.fields.items() if name != "connector"}
        binding = decode.decode(binding_type, located.Node(node.line, rest, node.key_lines), self.complaints, key)
        return None if binding is None else PlaneEntry(named.value, binding)

    def _cross_check(
        self, document: _Document, root: located.Node, connectors: Mapping[str, ConnectorEntry | None]
    ) -> None:
        known = ", ".join(connectors) or "there are none"
        for name in document.backup.connectors if document.backup else ():
            if name not in connectors:
                node = root.fields["backup"].fields["connectors"]
                self._complain(node, "backup.connectors", f"{name!r} is no connector here; known: {known}")
        self._check_backed_indexes(document, root, connectors)
        for name, service in document.services.items():
            node = root.fields["services"].fields[name]
            if service.serving and service.serving not in connectors:
                self._complain(node.fields["serving"], f"services.{name}.serving", f"is no connector here; {known}")
            for signal, entry in service.signals.items():
                at = node.fields["signals"].fields[signal]
                key = f"services.{name}.signals.{signal}"
                self._check_signal(entry, at, key, connectors, known)

    def _check_backed_indexes(
        self, document: _Document, root: located.Node, connectors: Mapping[str, ConnectorEntry | None]
    ) -> None:
        serving = [name for name, entry in connectors.items() if entry is None or entry.type == "faiss-index"]
        known = dict.fromkeys([*document.indexes, *serving])
        for name in (document.backup.indexes or ()) if document.backup else ():
            if name not in known:
                node = root.fields["backup"].fields["indexes"].fields[name]
                there = ", ".join(known) or "there are none"
                self._complain(node, f"backup.indexes.{name}", f"is no index here; known: {there}")

    def _check_signal(
        self,
        entry: SignalEntry,
        node: located.Node,
        key: str,
        connectors: Mapping[str, ConnectorEntry | None],
        known: str,
    ) -> None:
        if entry.source not in connectors:
            self._complain(node.fields["source"], f"{key}.source", f"is no connector here; known: {known}")
            return
        connector = connectors[entry.source]
        if connector is None:
            return
        series = connector_types.series(connector.type)
        if entry.series not in series:
            allowed = ", ".join(series) or f"a {connector.type} connector measures nothing"
            self._complain(node.fields["series"], f"{key}.series", f"is not measured there; known: {allowed}")
        elif series[entry.series] != SAMPLE_OF[entry.detector]:
            fits = ", ".join(kind for kind, sample in SAMPLE_OF.items() if sample == series[entry.series])
            self._complain(
                node.fields["detector"],
                f"{key}.detector",
                f"{entry.detector} cannot judge {entry.series}; fits: {fits}",
            )
        if entry.detector in ("share", "ceiling", "floor") and entry.limit is None:
            self._complain(node, f"{key}.limit", f"is missing; a {entry.detector} detector needs a number")
        if entry.detector == "share" and entry.limit is not None and not 0 <= entry.limit <= 1:
            self._complain(
                node.fields["limit"], f"{key}.limit", f"is {entry.limit:g}, a share lies between 0 and 1, 0.05 is 5 %"
            )


SAMPLE_OF: dict[services.DetectorKind, str] = {
    "share": "share",
    "shift": "share",
    "distribution": "values",
    "columns": "columns",
    "ceiling": "gauge",
    "floor": "gauge",
    "identity": "identity",
}


def _fields(node: located.Node, name: str) -> Mapping[str, located.Node]:
    child = node.fields.get(name)
    return {} if child is None else child.fields


def _service(name: str, entry: ServiceEntry, bound: Mapping[planes.Plane, PlaneEntry]) -> services.Service:
    return services.Service(
        name=name,
        planes={plane: bound[plane].connector for plane in planes.Plane if plane in bound},
        signals=tuple(
            services.SignalSpec(name=signal, **{key: getattr(spec, key) for key in spec.__dataclass_fields__})
            for signal, spec in entry.signals.items()
        ),
        objectives=entry.objectives,
        owners=entry.owners,
        customers=entry.customers,
        serving=entry.serving,
        consumers=entry.consumers,
        promoters=entry.promoters,
    )
