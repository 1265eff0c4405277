"""Kept states of a feature table: its values beside the program that wrote them. `v2+1f2e3d4c5b6a` names both.

A release of the program has a name, the values it wrote have not: they are called by twelve digits of their digest. A
note beside the table says which state was put back last, and what was there before; it counts as long as the values are
still those. The next materialization writes over them, and then the plane is at the program's release again.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ddr.domain import snapshots
from ddr.errors import Damaged, DdrError, Missing, Unavailable
from ddr.lib import digest, durable, redact, rowbatch, rowdigest, sqlitefile, sqlitetable
from ddr.ports import keeping, restorable

SEPARATOR = "+"
_VALUES, DIGEST, _RELEASE, _DIGITS = "values", "values_digest", "release", 12
_FAMILIES = {"INT": "int", "REAL": "float", "FLOA": "float", "DOUB": "float", "BLOB": "bytes"}


@dataclass(frozen=True)
class Note:
    """What was put back, and what was there before; each the name of a state."""

    name: str
    before: str


@dataclass
class TableStates:
    """States of one table. `kept_as` is what they are kept under; `facts` says more of the values as they are now."""

    path: Path
    table: str
    kept_as: str
    note_path: Path
    facts: Callable[[], Mapping[str, str]] = dict
    _shelf: list[keeping.Shelf] = field(default_factory=list, repr=False)

    def put_on(self, shelf: keeping.Shelf) -> None:
        self._shelf[:] = [shelf]

    def digest(self) -> str:
        """Of the values now; every row is read."""
        with sqlitefile.opened(self.path) as online:
            return rowdigest.of_batches(sqlitetable.batches(online, self.table, self._columns(online)))

    def keep(self, release: str, why: str, instead: Mapping[str, rowbatch.Cell] | None = None) -> keeping.Kept:
        """The values now, as those of this release; with `instead` each row has these in the place of its own."""

        def put(sink: restorable.Sink) -> None:
            with sqlitefile.opened(self.path) as online:
                columns = self._columns(online)
                values = {name: _stored(value, dict(columns)[name]) for name, value in (instead or {}).items()}
                rows = (_replaced(one, values) for one in sqlitetable.batches(online, self.table, columns))
                made = sink.table(_VALUES, _declared(columns), rows)
            for name, value in self.facts().items():
                sink.fact(name, value)
            sink.fact(_RELEASE, release)
            sink.fact(DIGEST, made.digest)
            sink.fact(keeping.REVISION, named(release, made.digest))

        return self._place().keep(self.kept_as, put, why)

    def kept(self) -> Sequence[keeping.Kept]:
        return self._place().kept(self.kept_as) if self._shelf else ()

    def find(self, name: str) -> keeping.Kept:
        """The newest kept state of this name, every byte of it read. Missing, Damaged."""
        found = next((one for one in reversed(self.kept()) if one.facts.get(keeping.REVISION) == name), None)
        if found is None:
            raise Missing(f"no state {name!r} of {self.table} is kept", hint="`ddr features list` shows those that are")
        if rowdigest.of_batches(self._rows(found)) != found.facts.get(DIGEST):
            raise Damaged(
                f"the kept state {name} of {self.table} is not what was kept",
                hint="`ddr backup verify` says what is affected; `ddr features list` shows the others",
            )
        return found

    def put(self, kept: keeping.Kept, expected: str) -> None:
        """These values in the place of those with the digest `expected`. Conflict, and nothing was changed."""
        with sqlitefile.opened(self.path) as online:
            columns = self._columns(online)
            names = [name for name, _ in columns]
            wanted = kept.facts[DIGEST]
            sqlitetable.exchange(
                online, self.table, columns, names, lambda: self._rows(kept), expected=expected, wanted=wanted
            )

    def put_back(self, name: str, release: str) -> None:
        """The values of this state; those that are there are kept before, as those of `release`.

        The note comes first: it counts when the values are there. Cut off and called again, what was there before
        stays what was there before.
        """
        target, note, now = self.find(name), self.note(), self.digest()
        if note is None or note.name != name or now != target.facts[DIGEST]:
            before = self.keep(release, f"before {name} takes its place")
            now = before.facts[DIGEST]
            self.write_note(Note(name, before.facts[keeping.REVISION]))
        self.put(target, now)

    def is_there(self, name: str) -> bool:
        """Whether the values are those of this state, and it is still kept."""
        try:
            if named(name.partition(SEPARATOR)[0], self.digest()) != name:
                return False
            return any(one.facts.get(keeping.REVISION) == name for one in self.kept())
        except Missing:
            return False

    def count(self) -> int:
        """How many states are kept; 0 where nobody can say."""
        with contextlib.suppress(DdrError):
            return len(self.kept())
        return 0

    def note(self) -> Note | None:
        try:
            said = json.loads(self.note_path.read_bytes())
            return Note(str(said["name"]), str(said["before"]))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            return None
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def write_note(self, note: Note) -> None:
        try:
            durable.replace(self.note_path, json.dumps({"name": note.name, "before": note.before}).encode())
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def drop_note(self) -> None:
        try:
            self.note_path.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                durable.sync_folder(self.note_path.parent)
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def _rows(self, kept: keeping.Kept) -> Iterator[rowbatch.Batch]:
        return self._place().open(self.kept_as, kept.name).rows(_VALUES)

    def _place(self) -> keeping.Shelf:
        if not self._shelf:
            raise Missing("there is no place to keep states in", hint="`backup:` in ddr.yaml names the repository")
        return self._shelf[0]

    def _columns(self, online: sqlite3.Connection) -> list[tuple[str, str]]:
        found = sqlitefile.columns(online, self.table)
        if not found:
            raise Missing(f"{self.path} has no table {self.table}", hint="look at `table` in ddr.yaml")
        return [(name, _FAMILIES.get(kind[:4].upper(), "text")) for name, kind in found]

    def _unwritable(self, problem: OSError) -> Unavailable:
        return Unavailable(
            f"{self.note_path.parent}: {redact.foreign(problem)}", hint="look at the folder's rights and its disk"
        )


def named(release: str, values: str) -> str:
    """The name of a state."""
    return f"{release}{SEPARATOR}{digest.short(digest.of_value(values), _DIGITS)}"


def _stored(value: rowbatch.Cell, family: str) -> rowbatch.Cell:
    """As SQLite gives it back out of such a column: 0 is 0.0 among numbers with a point."""
    if family == "float" and isinstance(value, int):
        return float(value)
    if family == "int" and (isinstance(value, bool) or (isinstance(value, float) and value.is_integer())):
        return int(value)
    if family == "text" and isinstance(value, int | float):
        return str(int(value) if isinstance(value, bool) else value)
    return value


def _replaced(batch: rowbatch.Batch, values: Mapping[str, rowbatch.Cell]) -> rowbatch.Batch:
    for name, value in values.items():
        batch = batch.with_cells(name, [value] * batch.size)
    return batch


def _declared(columns: Sequence[tuple[str, str]]) -> tuple[snapshots.Column, ...]:
    return tuple(snapshots.Column(name, family) for name, family in columns)  # type: ignore[arg-type]
