"""What a connector implements so that its system can be backed up and restored."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from ddr.domain import snapshots
from ddr.errors import Damaged, InputError
from ddr.lib import rowbatch

Kind = Literal["file", "folder", "link"]
Policy = Literal["fail", "skip", "update", "recreate"]
"""What to do with what is there already: refuse all, leave it, overwrite it, delete and make it anew."""

Progress = Callable[[str, int, int], None]
"""(what, done, of): told now and then while something long is at work; `of` is 0 where that is not known."""


@dataclass(frozen=True)
class FileSeen:
    """One entry of a tree, `path` relative with slashes.

    `mark` changes whenever the content may have changed (inode and change time, an ETag with its time): with the same
    mark, size and time as in the parent snapshot the file is not read again. '' is always read.
    """

    path: str
    kind: Kind
    size_bytes: int = 0
    mtime_ns: int = 0
    mode: int = 0o644
    mark: str = ""
    target: str = ""


class FileTree(Protocol):
    """Files somewhere: a folder, a bucket."""

    def entries(self) -> Iterator[FileSeen]:
        """Each file, link and folder once, sorted by the parts of its path; a folder comes before what is in it."""
        ...

    def local(self, seen: FileSeen) -> Path | None:
        """Where the file lies on this machine, None when it does not: then it is `read`."""
        ...

    def read(self, seen: FileSeen) -> Iterator[bytes]:
        """The content in pieces of at most some MiB. Missing when it is gone by now, Unavailable."""
        ...


class Sink(Protocol):
    """Where a connector puts what it captures. Everything is streamed: no argument holds a whole table or file."""

    parent: snapshots.Component | None
    """What the newest snapshot has of the same component: for comparing, never for reading bytes."""

    def fact(self, name: str, value: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def redacted(self, what: str) -> None:
        """Something was left out on purpose, and what a person has to do about it after a restore."""
        ...

    def reference(self, reference: snapshots.Reference) -> None: ...

    def table(
        self, name: str, columns: Sequence[snapshots.Column], batches: Iterable[rowbatch.Batch]
    ) -> snapshots.Table:
        """Raises Refused when a value in it looks like a secret (and so do the next two)."""
        ...

    def stream(self, name: str, pieces: Iterable[bytes]) -> snapshots.Stream: ...

    def tree(self, name: str, files: FileTree) -> snapshots.Tree:
        """A file that is gone or changes while it is read is a warning, not the end."""
        ...


@dataclass(frozen=True)
class FileStored:
    """A file, link or folder as the snapshot has it."""

    path: str
    kind: Kind
    size_bytes: int = 0
    mtime_ns: int = 0
    mode: int = 0o644
    target: str = ""


class FilesLost(Damaged):
    """Some files cannot be had back; all others were written. `paths` are theirs in the tree."""

    def __init__(self, message: str, paths: Sequence[str], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.paths = tuple(paths)


class Source(Protocol):
    """One component of one snapshot, read back. Damaged, with what is affected, when bytes are not what they were."""

    component: snapshots.Component

    def rows(self, table: str) -> Iterator[rowbatch.Batch]: ...

    def stream(self, name: str) -> Iterator[bytes]: ...

    def files(self, tree: str) -> Iterator[FileStored]:
        """In the order of `FileTree.entries`."""
        ...

    def read(self, tree: str, path: str) -> Iterator[bytes]: ...

    def matches(self, tree: str, path: str, pieces: Iterable[bytes]) -> bool:
        """Whether these are the bytes that the snapshot has of the file: how a restored file is proved."""
        ...

    def matcher(self, tree: str, path: str) -> Callable[[Iterable[bytes]], bool]:
        """`matches` of one file, to be called later, also on another thread."""
        ...

    def write(self, tree: str, to: Callable[[FileStored], Path | None], progress: Progress | None = None) -> int:
        """Write files into folders of this machine: each to the path that `to` names, None leaves it out.

        Much faster than `read` of each. Paths must not be there yet. Gives the number of files. FilesLost, when all
        others are written, for those that cannot be read; of these a part may lie there.
        """
        ...


@dataclass(frozen=True)
class RestoreOptions:
    """What a person asks for. `target` is where to (the connector says in which form; '' is where it came from).

    `only` are parts like `model:NAME`, `experiment:NAME`, `view:NAME`; () is all. `rewrites` replace the beginnings
    of locations: {old: new}. `more` are a connector's own wishes (`artifacts`: folder for the artifacts, or `none`).
    """

    target: str = ""
    policy: Policy = "fail"
    only: tuple[str, ...] = ()
    rewrites: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)


def check_wishes(options: RestoreOptions, known: Mapping[str, str], *, rewrites: bool = False) -> None:
    """InputError for a wish that the connector does not know: one that is left unheard restores something else than was
    asked for. `known` says of each what its value is, `rewrites` whether it has locations that can be rewritten."""
    if options.rewrites and not rewrites:
        raise InputError("--rewrite: this component has no locations to rewrite", hint="leave it out")
    for name in options.more:
        if name not in known:
            there = ", ".join(f"{one}={value}" for one, value in known.items()) or "none"
            close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}? " if close else ""
            raise InputError(f"--with {name}: no such wish for this component", hint=f"{hint}there is: {there}")


@dataclass(frozen=True)
class PlanLine:
    """One thing the restore would do or leave. `does`: create, update, recreate, skip (there already, the same), leave
    (there already and different, and it stays), delete (there and not in the snapshot), conflict, rewrite, note,
    enter-again (a secret that no backup has)."""

    does: Literal[
        "create", "update", "recreate", "skip", "leave", "delete", "conflict", "rewrite", "note", "enter-again"
    ]
    what: str
    detail: str = ""


@dataclass(frozen=True)
class RestorePlan:
    """Computed without touching anything. `refusals` keep it from being applied."""

    component: str
    target: str
    options: RestoreOptions
    lines: tuple[PlanLine, ...] = ()
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """One proof: a table's rows and digest, a tree's bytes; `expected` is what the snapshot has."""

    what: str
    expected: str
    found: str

    @property
    def is_equal(self) -> bool:
        return self.expected == self.found


@runtime_checkable
class Capturable(Protocol):
    def capture(self, sink: Sink) -> None:
        """Put everything into the sink, from one moment where the system allows. Repeatable, changes nothing.

        Raises Unavailable, Damaged, Refused; what was put in before that is kept as a partial component.
        """
        ...


@runtime_checkable
class Restorable(Capturable, Protocol):
    def plan_restore(self, source: Source, options: RestoreOptions) -> RestorePlan:
        """Only looks. Raises InputError where the options do not fit, Unavailable."""
        ...

    def restore(self, plan: RestorePlan, source: Source, progress: Progress | None = None) -> None:
        """Do what the plan says. Repeatable: cut off and called again it comes to the same end.

        Raises Conflict when the world is not as the plan saw it, and then nothing was changed.
        """
        ...

    def compare(self, plan: RestorePlan, source: Source) -> Sequence[Comparison]:
        """What was restored held against the snapshot: rows and digest of every table, size and digest of files."""
        ...


@runtime_checkable
class Upgradable(Restorable, Protocol):
    def upgrade(self, plan: RestorePlan) -> str:
        """Bring what was restored and compared to the schema of the installed program; what was done, for people.

        Raises Refused where that fails, Unsupported where there is none.
        """
        ...


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsed restore came to: seconds of each phase, what was compared, and what did not hold."""

    phases: Mapping[str, float]
    compared: tuple[Comparison, ...] = ()
    problems: tuple[str, ...] = ()


@runtime_checkable
class Rehearsable(Restorable, Protocol):
    def rehearse(self, source: Source, folder: Path, progress: Progress | None = None) -> Rehearsal:
        """Restore into `folder`, which is there and empty, start there what serves it, ask it for what the snapshot
        says, and stop it. Touches nothing outside of the folder, loads no code or pickle of the snapshot.
        """
        ...
