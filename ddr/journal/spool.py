"""Events that wait on this machine until the store has them: one durable file each, numbered in their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddr.journal import codec
from ddr.lib import durable

_NAME = re.compile(r"\d{12}\.json")


@dataclass(frozen=True)
class Waiting:
    """A draft in the spool. It is not among the store's events up to number `base`, but may be behind."""

    path: Path
    base: int
    draft: codec.Draft


class Spool:
    """A folder. Every process of this machine that writes to the same journal uses the same one.

    There is no lock: a process that stops while it holds one would stop everybody. Two that join the same event are
    told apart by the store, where only one of them can create it behind all events both have looked at.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.folder = folder
        self._warn = warn

    def waiting(self) -> Sequence[Waiting]:
        """What is there, in order. A file that cannot be read is left alone and told of. OSError."""
        found = []
        for name in self._names():
            path = self.folder / name
            try:
                found.append(Waiting(path, *codec.decode_waiting(path.read_bytes())))
            except FileNotFoundError:
                continue  # another process has joined it since
            except codec.Torn as problem:
                self._warn(f"{path} in the journal's spool cannot be read ({problem}); it is left there")
        return found

    def unreadable(self) -> Sequence[Path]:
        """The files that are no draft. OSError."""
        readable = {entry.path for entry in Spool(self.folder, lambda text: None).waiting()}
        return [path for path in map(self.folder.joinpath, self._names()) if path not in readable and path.exists()]

    def add(self, base: int, draft: codec.Draft) -> Waiting:
        """Durable when it returns. OSError: then it may be there all the same; it is known by its id."""
        content = codec.encode_waiting(base, draft)
        durable.make_folder(self.folder)
        names = self._names()
        number = int(names[-1][:12]) + 1 if names else 1
        while True:
            path = self.folder / f"{number:012d}.json"
            try:
                durable.create(path, content)
            except FileExistsError:
                number += 1
            else:
                return Waiting(path, base, draft)

    def remove(self, entry: Waiting) -> None:
        """The store has it. A crash may bring the file back; then it is found by its id and removed again. OSError."""
        entry.path.unlink(missing_ok=True)

    def _names(self) -> list[str]:
        try:
            return sorted(path.name for path in self.folder.iterdir() if _NAME.fullmatch(path.name))
        except FileNotFoundError:
            return []
