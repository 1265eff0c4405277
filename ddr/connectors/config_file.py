"""One configuration file that a service reads. It is watched, not switched: a way back is its deployer's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ddr.domain import changes, differences, health, planes, revisions, signals
from ddr.errors import DdrError, Missing, Unavailable
from ddr.lib import clock as clocks
from ddr.lib import digest, jsonl, located, redact, settings


@dataclass(frozen=True)
class Settings:
    """`deployments` is the log beside the file that says who changed it."""

    path: str
    deployments: str = "deployments.jsonl"


@dataclass(frozen=True)
class Binding:
    """A plane says nothing more: one file is one plane."""


@dataclass(frozen=True)
class ConfigFile:
    path: Path
    log: Path

    def plane(self, binding: Binding, plane: planes.Plane) -> ConfigPlane:
        del binding
        return ConfigPlane(self.path, self.log, plane)


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> ConfigFile:
    del clock
    path = base / settings.path
    return ConfigFile(path, path.parent / settings.deployments)


@dataclass(frozen=True)
class ConfigPlane:
    """Implements Observable. A revision is named by the first digits of the file's digest; its settings are facts, so
    that two revisions can be told apart when the file of one is gone. Secrets are not among them (`lib.settings`)."""

    path: Path
    log: Path
    which: planes.Plane

    def revision(self) -> revisions.Revision:
        content = self._content()
        found = digest.of_bytes(content)
        said = settings.plain(content.decode(errors="replace"))
        facts = {f"{differences.SETTING}{key}": value for key, value in said.items()}
        return revisions.Revision(self.which, self.path.name, digest.short(found), found, facts)

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        return changes.of_deployments(jsonl.read(self.log).objects, since, self.which, self.path.name, str(self.log))

    def health(self) -> health.Health:
        cannot = ("switch it: change the file where it is deployed from",)
        try:
            content = self._content()
        except DdrError as problem:
            return health.Health.of(problem, cannot)
        complaint = _complaint(self.path, content)
        if complaint:
            return health.Health(signals.State.BAD, f"{self.path}: {complaint}", (), cannot)
        return health.Health(signals.State.OK, f"{self.path} is readable", (), cannot)

    def _content(self) -> bytes:
        try:
            return self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(f"there is no {self.path}", hint="look at the path in ddr.yaml") from None
        except OSError as problem:
            raise Unavailable(
                f"{self.path} cannot be read: {redact.foreign(problem)}", hint="look at its rights"
            ) from problem


def _complaint(path: Path, content: bytes) -> str:
    """Why the program that reads the file will not get far, '' when nothing speaks against it."""
    try:
        if path.suffix in (".yaml", ".yml"):
            located.parse_yaml(content.decode())
        elif path.suffix == ".json":
            json.loads(content)
    except (located.Malformed, ValueError) as problem:
        return redact.foreign(problem)
    return ""
