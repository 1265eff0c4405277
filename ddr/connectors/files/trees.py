"""Trees of data: one folder for each commit, checked out by git and filled with what the commit pins.

A tree is filled before anybody is pointed at it, and what was written is sealed: size, time and inode of each file, so
that a file that was changed later is found without reading all.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddr.connectors.files import pins
from ddr.errors import Conflict, Damaged, Refused, Unavailable
from ddr.lib import commits, durable, jsonl, openfiles, redact

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Trees:
    """`folder` holds `<commit>` for each tree, and beside it `.<commit>.json`, its seal. `below` is where in a checkout
    the data's own root lies."""

    folder: Path
    repository: commits.Repository
    below: str = ""
    lock_timeout_s: float = 600.0

    def path(self, commit: str) -> Path:
        return self.folder / commit

    def root(self, commit: str) -> Path:
        return self.path(commit) / self.below if self.below else self.path(commit)

    def is_made(self, commit: str) -> bool:
        return self._seal(commit).is_file() and self.path(commit).is_dir()

    def changed(self, commit: str) -> Sequence[str]:
        """Files that are not what was written. Damaged when the seal cannot be read."""
        return [name for name, was in self._sealed(commit).items() if _mark(self.root(commit) / name) != was]

    def make(self, commit: str, files: Sequence[pins.Pin], objects: pins.Objects) -> Path:
        """The tree, whole. Of two callers at once one makes it. Conflict when one is there that was changed.

        What was cut off before its seal was written is made anew.
        """
        tree = self.path(commit)
        try:
            durable.make_folder(self.folder)
            with openfiles.locked(self.folder / f".{commit}.lock", self.lock_timeout_s):
                if self.is_made(commit):
                    self._check_unchanged(commit)
                    return tree
                if tree.is_dir():
                    self.repository.drop(tree)
                self.repository.check_out(commit, tree)
                marks = {pin.path: self._write(self.root(commit), pin, objects) for pin in files}
                durable.settle(self.folder)
                durable.replace(self._seal(commit), json.dumps(marks).encode())
        except OSError as problem:
            hint = durable.advice(problem, tree) or "look at the disk and its rights, then try again"
            raise Unavailable(f"{tree} cannot be written: {redact.foreign(problem)}", hint=hint) from problem
        return tree

    def _check_unchanged(self, commit: str) -> None:
        changed = self.changed(commit)
        if changed:
            raise Conflict(
                f"{self.path(commit)} is there, and {len(changed)} of its files were changed: {changed[0]}",
                expected="the files as they were restored", found="other files",
                hint=f"move it away; delete {self._seal(commit).name} beside it, and it is made anew",
            )  # fmt: skip

    def _write(self, root: Path, pin: pins.Pin, objects: pins.Objects) -> list[int]:
        """One file from the first place whose bytes have its hash; what it was when it was written."""
        path = root / pin.path
        if not path.parent.resolve().is_relative_to(root.resolve()):
            raise Refused(f"{pin.where}: {pin.path} lies behind a link that leads elsewhere", hint="restore it by hand")
        path.parent.mkdir(parents=True, exist_ok=True)
        for pieces in objects.pieces(pin):
            if _poured(path, pin, pieces):
                path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
                return _mark(path)
        path.unlink(missing_ok=True)
        raise Damaged(
            f"{pin.where}: {pin.path}: no place has the bytes of {pin.hash}; nothing was switched",
            hint="`dvc push` from a machine that has it, or restore the remote from a backup",
        )

    def _sealed(self, commit: str) -> Mapping[str, list[int]]:
        said = jsonl.of_file(self._seal(commit)) or {}
        return {name: mark for name, mark in said.items() if isinstance(mark, list)}

    def _seal(self, commit: str) -> Path:
        return self.folder / f".{commit}.json"


def _poured(path: Path, pin: pins.Pin, pieces: Iterator[bytes]) -> bool:
    """Whether what was written has the hash. DVC before 3 counted text without its carriage returns."""
    raw = hashlib.md5(usedforsecurity=False)
    text = hashlib.md5(usedforsecurity=False)
    held = b""
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            raw.update(piece)
            if pin.is_legacy:
                held += piece
                cut = len(held) - held.endswith(b"\r")
                text.update(held[:cut].replace(b"\r\n", b"\n"))
                held = held[cut:]
    text.update(held)
    return pins.is_hash_of(pin, raw.hexdigest()) or (pin.is_legacy and pins.is_hash_of(pin, text.hexdigest()))


def _mark(path: Path) -> list[int]:
    try:
        found = os.lstat(path)
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def hash_of(path: Path) -> str:
    """MD5 as DVC says it, 'none' where there is no file to read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        return "none"
