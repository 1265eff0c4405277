"""Releases as folders with a link that says which one is current: `releases/1.4.0`, `current -> releases/1.4.0`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ddr.connectors import linked_folders
from ddr.domain import health, planes, revisions, signals
from ddr.errors import Damaged, DdrError
from ddr.lib import clock as clocks
from ddr.lib import digest, jsonl, pointer, redact

_FACTS = (
    "version", revisions.COMMIT, "built_at", revisions.INPUTS_SCHEMA, revisions.EMBEDDER,
    revisions.PYTHON, revisions.REQUIREMENTS,
)  # fmt: skip
_LOCKS = ("requirements.lock", "requirements.txt", "uv.lock", "poetry.lock")
_ONE_LINE = {revisions.PYTHON: ".python-version", revisions.COMMIT: "REVISION"}
_LONGEST_LINE = 200


@dataclass(frozen=True)
class Settings:
    """`root` holds the folder `releases`, the link `current` and the log `deployments`.

    `lock` is the file of a release that lists its packages; without it, the first that is there of requirements.lock,
    requirements.txt, uv.lock, poetry.lock.
    """

    root: str
    releases: str = "releases"
    current: str = "current"
    deployments: str = "deployments.jsonl"
    card: str = "release.json"
    lock: str = ""


@dataclass(frozen=True)
class Binding:
    """A plane says nothing more: one root is one plane."""


@dataclass(frozen=True)
class ReleaseFolder:
    root: Path
    settings: Settings

    def plane(self, binding: Binding, plane: planes.Plane) -> ReleasePlane:
        del binding
        link = pointer.Pointer(self.root / self.settings.current, self.root / self.settings.releases)
        return ReleasePlane(plane, self.root.name, link, self.root / self.settings.deployments, self.settings)


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> ReleaseFolder:
    del clock
    return ReleaseFolder(base / settings.root, settings)


@dataclass(frozen=True)
class ReleasePlane(linked_folders.LinkedPlane):
    """Implements Observable and Switchable. What a release says of itself stands in its card, and, where the card is
    silent, in the files that say so by custom: the lock of its packages, `.python-version`, `REVISION`."""

    settings: Settings

    def facts(self, folder: Path) -> Mapping[str, str]:
        said = jsonl.of_file(folder / self.settings.card) or {}
        lock = self.settings.lock or next((name for name in _LOCKS if (folder / name).is_file()), "")
        found = {name: _first_line(folder / file) for name, file in _ONE_LINE.items()}
        found |= _packages(folder / lock) if lock else {}
        found |= {name: str(said[name]) for name in _FACTS if said.get(name)}
        return {name: value for name, value in found.items() if value}

    def health(self) -> health.Health:
        try:
            live = self.revision()
            written = jsonl.read(self.deployments)
        except DdrError as problem:
            return health.Health.of(problem, (pointer.UNLOCKED,))
        why = f"{self.pointer.link} is at {live.name}"
        if written.objects and written.objects[-1].get("to") != live.name:
            last = written.objects[-1].get("to")
            why += f"; {self.deployments.name} ends with {last}: moved since, outside of that log"
        if written.bad:
            why += f"; {self.deployments}: {written.bad} lines cannot be read"
        return health.Health(signals.State.OK, why, self.can, (pointer.UNLOCKED,))


def _first_line(path: Path) -> str:
    try:
        return path.read_text()[:_LONGEST_LINE].strip().partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return ""


def _packages(lock: Path) -> Mapping[str, str]:
    """Damaged when the file that lists the packages cannot be read: a release cannot be built without it."""
    try:
        content = lock.read_bytes()
        text = content.decode()
        if lock.name.endswith((".txt", ".lock")) and "[[package]]" in text:
            import tomllib

            listed = tomllib.loads(text).get("package", ())
            text = "\n".join(f"{one['name']}=={one['version']}" for one in listed if "version" in one)
    except (OSError, ValueError, KeyError) as problem:
        raise Damaged(
            f"{lock} cannot be read: {redact.foreign(problem)}", hint="publish the release again, or correct `lock`"
        ) from problem
    return {revisions.REQUIREMENTS: digest.of_bytes(content), revisions.PACKAGES: revisions.packages_of(text)}
