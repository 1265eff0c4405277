"""A symbolic link that says which of several folders is current: `current -> releases/1.4.0`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ddr.errors import Away, Conflict, Damaged, Missing, Unavailable
from ddr.lib import digest, durable, openfiles, redact

LOCK = ".lock"  # beside the link; whoever moves the link holds it
UNLOCKED = "stop a deployer who moves the link without its lock"


@dataclass(frozen=True)
class Pointer:
    """`link` lies beside or above `folder`, which holds one folder for each name."""

    link: Path
    folder: Path
    lock_timeout_s: float = 5.0

    def names(self) -> tuple[str, ...]:
        """What the pointer could point at, sorted as text. Nothing when the folder is not there."""
        try:
            entries = sorted(self.folder.iterdir())
        except OSError:
            return ()
        return tuple(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))

    def path(self, name: str) -> Path:
        """The folder of `name`. Missing, with what there is; Away where there is no folder of them all."""
        plain = name not in ("", ".", "..") and "/" not in name and "\0" not in name
        if not self.folder.is_dir():
            raise Away(f"there is no folder {self.folder}", hint="look at the path in ddr.yaml, and at its disk")
        if not plain or not (self.folder / name).is_dir():
            known = ", ".join(self.names()) or "nothing"
            raise Missing(f"there is no {name!r} in {self.folder}", hint=f"there is: {known}")
        return self.folder / name

    def digest(self, name: str) -> str:
        """Digest of the folder of `name`, read now. Missing; Unavailable when a file of it cannot be read."""
        folder = self.path(name)
        try:
            return digest.of_tree(folder)
        except OSError as problem:
            raise Unavailable(
                f"{folder} cannot be read: {redact.foreign(problem)}", hint="look at its rights and its disk"
            ) from problem

    def read(self) -> str:
        """The name it points at. Missing when there is no link or no target, Damaged when it is no such link."""
        try:
            target = self.link.readlink()
        except FileNotFoundError:
            if not self.folder.is_dir():
                place = self.folder if self.link.parent.is_dir() else self.link.parent
                raise Away(
                    f"there is no folder {place}", hint="look at the path in ddr.yaml, and at its disk"
                ) from None
            raise Missing(
                f"there is no {self.link}", hint=f"point it at one of: {', '.join(self.names()) or 'nothing'}"
            ) from None
        except OSError as problem:
            raise Damaged(
                f"{self.link} is no symbolic link: {problem.strerror}",
                hint=f"it must be a link into {self.folder}; a folder there is a deployment that was copied by hand",
            ) from problem
        place = Path(os.path.normpath(self.link.parent / target))
        if place.parent.resolve() != self.folder.resolve():
            raise Damaged(f"{self.link} points at {target}, outside {self.folder}", hint="point it back by hand")
        if not place.is_dir():
            known = ", ".join(self.names()) or "nothing"
            raise Missing(f"{self.link} points at {target}, which is not there", hint=f"there is: {known}")
        return place.name

    def swap(self, expect: str, to: str, then: Callable[[], None] = lambda: None) -> None:
        """Point at `to` if it points at `expect`: of two callers at once, one wins. `then` is called before the next
        one may move it.

        Conflict when it points elsewhere, and nothing was changed; Missing when `to` is not there; Unavailable when
        somebody keeps the lock.
        """
        with openfiles.locked(self.link.with_name(LOCK), self.lock_timeout_s):
            found = self.read()
            if found != expect:
                raise Conflict(
                    f"{self.link} points at {found}, not at {expect}; nothing was changed",
                    expected=expect,
                    found=found,
                    hint="someone moved it since the plan: plan again",
                )
            target = self.path(to)
            durable.point(self.link, os.path.relpath(target, self.link.parent))
            then()
