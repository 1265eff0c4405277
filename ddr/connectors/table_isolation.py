"""Isolation of a feature table: every row gives the agreed stand-in, and the values that were there are kept before.

A note beside the table says from which kept state to which before the first write, and when the stand-in is in place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddr.connectors import table_states
from ddr.errors import Conflict, InputError, Refused, Unavailable
from ddr.lib import durable, redact
from ddr.ports import keeping

Fallback = Mapping[str, int | float | str | bool | None]
OTHERS = "*"


@dataclass(frozen=True)
class Noted:
    """`before` and `stand_in` are names of kept states."""

    why: str
    before: str
    stand_in: str
    in_place: bool


@dataclass(frozen=True)
class Isolation:
    """`columns` are the features of the table; entity and times stay as they are."""

    states: table_states.TableStates
    fallback: Fallback
    path: Path

    def isolate(self, release: str, columns: Sequence[str], why: str) -> None:
        """Repeatable. Refused without a fallback; Conflict where somebody writes meanwhile, and nothing was changed."""
        values = self._values(columns)
        noted = self.noted()
        if noted is not None and noted.in_place:
            return
        if noted is None or not self._is_on_the_way(noted):
            before = self.states.keep(release, f"before it is isolated: {why}" if why else "before it is isolated")
            stand_in = self.states.keep(release, "the fallback of ddr.yaml", values)
            names = (before.facts[keeping.REVISION], stand_in.facts[keeping.REVISION])
            noted = Noted(why or "isolated", *names, in_place=False)
            self._write(noted)
        self._exchange(noted.stand_in, noted.before)
        self._write(Noted(noted.why, noted.before, noted.stand_in, in_place=True))

    def join(self) -> None:
        """Repeatable. Conflict where somebody else has written values meanwhile: they stay."""
        noted = self.noted()
        if noted is None:
            return
        try:
            self._exchange(noted.before, noted.stand_in)
        except Conflict as problem:
            raise Conflict(
                f"{self.states.table} has other values than the fallback: somebody wrote them; they stay",
                expected=problem.expected, found=problem.found,
                hint=f"if they are right remove {self.path}, else go to {noted.before} by `ddr rollback features`",
            ) from problem  # fmt: skip
        self._drop()

    def why(self) -> str:
        """'' where it is not isolated, also while the stand-in is only on its way."""
        noted = self.noted()
        return noted.why if noted is not None and noted.in_place else ""

    def noted(self) -> Noted | None:
        try:
            said = json.loads(self.path.read_bytes())
            return Noted(str(said["why"]), str(said["before"]), str(said["stand_in"]), bool(said["in_place"]))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            return None
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def _values(self, columns: Sequence[str]) -> Fallback:
        if not self.fallback:
            raise Refused(
                f"no fallback is declared for {self.states.table}; nothing was changed",
                hint='`fallback: {COLUMN: VALUE, "*": VALUE}` at its connector in ddr.yaml, null for no value',
            )
        unknown = [name for name in self.fallback if name not in (*columns, OTHERS)]
        missing = [name for name in columns if name not in self.fallback] if OTHERS not in self.fallback else []
        if unknown or missing:
            what = f"names {', '.join(unknown)}, which it has not" if unknown else f"has no {', '.join(missing[:5])}"
            raise InputError(
                f"`fallback` of {self.states.table} in ddr.yaml {what}",
                hint='name a value for each feature, null for none; "*" is for all others',
            )
        return {name: self.fallback.get(name, self.fallback.get(OTHERS)) for name in columns}

    def _is_on_the_way(self, noted: Noted) -> bool:
        now = self.states.digest()
        return any(now == self.states.find(name).facts[table_states.DIGEST] for name in (noted.before, noted.stand_in))

    def _exchange(self, to: str, expect: str) -> None:
        self.states.put(self.states.find(to), self.states.find(expect).facts[table_states.DIGEST])

    def _write(self, noted: Noted) -> None:
        try:
            durable.replace(self.path, json.dumps(vars(noted)).encode())
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def _drop(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
            durable.sync_folder(self.path.parent)
        except OSError as problem:
            raise self._unwritable(problem) from problem

    def _unwritable(self, problem: OSError) -> Unavailable:
        return Unavailable(
            f"{self.path.parent}: {redact.foreign(problem)}", hint="look at the folder's rights and its disk"
        )
