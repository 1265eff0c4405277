"""Release folders as a deployment pipeline leaves them: `releases/X/`, a pointer `current`, a deployment log.

Published folders are never changed. Everything here may be repeated and is atomic step by step: a folder is
renamed into place whole, the pointer and the log are replaced.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ddr.errors import Conflict
from ddr.lib import digest, durable, jsonl, openfiles, pointer, process, timetext

PIPELINE = "ci-bot"
_LEFTOVER = re.compile(r"\..*\.(\d+)-[0-9a-f]{8}\.tmp")


@dataclass(frozen=True)
class Deployment:
    """One line of `deployments.jsonl`."""

    at: datetime
    before: str
    after: str
    summary: str
    actor: str = PIPELINE

    def line(self) -> str:
        return json.dumps({"at": timetext.format_time(self.at), **self._said()})

    def is_said_by(self, line: str) -> bool:
        """Whether the line speaks of this deployment, whenever it says it was."""
        told = jsonl.parse(line.encode()) or {}
        return {key: told.get(key) for key in self._said()} == self._said()

    def _said(self) -> dict[str, str]:
        return {"actor": self.actor, "from": self.before, "to": self.after, "summary": self.summary}


@dataclass(frozen=True)
class Channel:
    """Where one plane is deployed: `folder` of releases (`releases` or `versions`) below `root`."""

    root: Path
    folder: str = "releases"

    @property
    def pointer(self) -> pointer.Pointer:
        return pointer.Pointer(self.root / "current", self.root / self.folder)

    @property
    def log(self) -> Path:
        return self.root / "deployments.jsonl"

    @property
    def lock(self) -> Path:
        """Held by whoever moves the pointer or writes the log."""
        return self.root / pointer.LOCK

    def path(self, name: str) -> Path:
        return self.root / self.folder / name

    def live(self) -> str:
        """What the pointer names. Missing, Damaged."""
        return self.pointer.read()

    def card(self, name: str) -> Mapping[str, object]:
        """`release.json` of a release, {} where there is none."""
        return jsonl.of_file(self.path(name) / "release.json") or {}

    def publish(self, name: str, files: Mapping[str, bytes], card: Mapping[str, object]) -> None:
        """Put the release there, whole. The same one again is no error; Conflict where another has its name."""
        content = {**files, "release.json": json.dumps(card, indent=2).encode() + b"\n"}
        target = self.path(name)
        if target.exists():
            if self.card(name).get("commit") != card.get("commit"):
                raise Conflict(f"{target} was published by someone else", found=str(self.card(name).get("commit")))
            return
        beside = target.with_name(f".{name}.building")
        shutil.rmtree(beside, ignore_errors=True)
        durable.make_folder(beside)
        for file, text in content.items():
            durable.replace(beside / file, text)
        beside.rename(target)
        durable.sync_folder(target.parent)

    def retract(self, name: str, commit: str) -> bool:
        """Remove the release of that commit, finished or half-built. False where there was nothing to remove."""
        beside = self.path(name).with_name(f".{name}.building")
        gone = self.path(name).with_name(f".{name}.retracted")
        found = beside.exists() or gone.exists()
        if self.card(name).get("commit") == commit:
            shutil.rmtree(gone, ignore_errors=True)
            self.path(name).rename(gone)
            found = True
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(gone, ignore_errors=True)
        return found

    def begin(self, name: str) -> None:
        """The first pointer of a new channel."""
        durable.point(self.root / "current", f"{self.folder}/{name}")

    def move(self, expect: str, to: str) -> bool:
        """Make `to` live if `expect` is. True where `to` is live afterwards, False where something else is."""
        try:
            self.pointer.swap(expect, to)
        except Conflict:
            return self.live() == to
        return True

    def announce(self, deployment: Deployment) -> None:
        """Append to the deployment log, if it does not say so already."""
        with openfiles.locked(self.lock):
            lines = self._lines()
            if not any(deployment.is_said_by(line) for line in lines):
                durable.replace(self.log, _text([*lines, deployment.line()]))

    def retract_announcement(self, deployment: Deployment) -> bool:
        """Take it out of the deployment log. False where it is not there."""
        with openfiles.locked(self.lock):
            lines = self._lines()
            kept = [line for line in lines if not deployment.is_said_by(line)]
            if kept == lines:
                return False
            durable.replace(self.log, _text(kept))
            return True

    def is_announced(self, deployment: Deployment) -> bool:
        return any(deployment.is_said_by(line) for line in self._lines())

    def _lines(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


def card(
    name: str, at: datetime, summary: str, commit: str = "", facts: Mapping[str, str] | None = None
) -> Mapping[str, object]:
    """A `release.json`."""
    made = commit or digest.short(digest.of_value([name, summary]))
    return {"version": name, "built_at": timetext.format_time(at), "commit": made, "summary": summary, **(facts or {})}


def _text(lines: list[str]) -> bytes:
    return "".join(line + "\n" for line in lines).encode()


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left beside their files."""
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _LEFTOVER.fullmatch(path.name)
        if match and not process.is_alive(int(match[1])):
            path.unlink(missing_ok=True)
