"""Damage, find, mend, ask again: one harm after another on a published index, all by commands of `ddr index`."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.corpus import harms

ANSWERS = 10
ALIKE = 0.9
"""Of the answers, where the corpus has another text: lists are trained anew, and find a little else."""


@dataclass(frozen=True)
class Done:
    """What a command said. `out` is one JSON document."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Say = Callable[..., Done]
"""`ddr index COMMAND NAME WORDS --json`: `say("check", "--level", "1")`."""


class Wrong(Exception):
    """A command did otherwise than it must; the story ends there."""


@dataclass(frozen=True)
class Told:
    """One row: what was done, which level found it with which exit code, what mended it, and how long each took."""

    kind: str
    harm: str
    level: str
    code: int
    mend: str
    alike: float
    """Share of the answers that are those of before."""
    found_s: float
    mended_s: float


@dataclass(frozen=True)
class Story:
    """An index with two versions at least, the last of which serves and is whole. `queries`: n x d."""

    place: harms.Place
    say: Say
    queries: npt.NDArray[np.float32]

    def answers(self) -> list[list[str]]:
        """What whoever serves `current` answers: plain faiss, without ddr."""
        import faiss

        index = faiss.read_index(str(self.place.live / harms.INDEX))
        names = json.loads((self.place.live / harms.NAMES).read_text())
        return [[names[label] for label in row] for row in index.search(self.queries, ANSWERS)[1].tolist()]

    def told(self, harm: harms.Harm) -> Told:
        """Do it, find it, mend it, and see the answers of before. Wrong."""
        version, answers = self.place.live.name, self.answers()
        undo = harm.do(self.place)
        began = time.perf_counter()
        found = self.said(harm.name, "check", "--level", str(max(harm.level, harm.look)))
        found_s = time.perf_counter() - began
        _must(found.code == harm.code, harm, f"a check ended with {found.code}, not {harm.code}", found)
        level = level_of(found.document)
        _must(not level.isdigit() or level == str(harm.level), harm, f"level {level} found it, not {harm.level}", found)
        is_loaded = bool(set(found.document["levels"]) & {2, 3, 4})
        _must(harm.level > 1 or harm.look > 1 or not is_loaded, harm, "it was loaded", found)
        began = time.perf_counter()
        if undo is not None:
            undo()
        if harm.mend:
            self._mend(harm, version)
        mended_s = time.perf_counter() - began
        whole = self.said("what was mended", "check", "--level", str(max(2, harm.level, harm.look)))
        _must(whole.code == 0, harm, "it is not whole again", whole)
        if harm.mend == harms.ROLLBACK and self.place.live.name != version:
            self._forward(harm)
        same = alike(answers, self.answers())
        _must(same >= (ALIKE if harm.kind == harms.CORPUS else 1), harm, f"{same:.0%} of the answers are alike", whole)
        mend = ", ".join(filter(None, ("by hand" if undo is not None else "", harm.mend)))
        return Told(harm.kind, harm.name, level, found.code, mend, same, found_s, mended_s)

    def _mend(self, harm: harms.Harm, version: str) -> None:
        command, *words = harm.mend.split()
        if harm.kind == harms.POINTER:
            words += ["--to", version]
        done = self.said(harm.name, command, *words)
        _must(done.code == 0, harm, f"`ddr index {harm.mend}` ended with {done.code}", done)

    def _forward(self, harm: harms.Harm) -> None:
        """What was damaged stays as it is; the same corpus is served again by a version of its own."""
        done = self.said(harm.name, "build", "--publish")
        _must(done.code == 0, harm, f"`ddr index build --publish` ended with {done.code}", done)

    def swept(self) -> None:
        """Versions between the first and the one that serves go, for room: `ddr index gc` spares those of today."""
        for version in self.place.others[1:]:
            shutil.rmtree(version)

    def said(self, what: str, command: str, *words: str) -> Done:
        done = self.say(command, *words)
        if done.code == 70 or "Traceback" in done.err:
            raise Wrong(f"{what}: `ddr index {command}` ends in a defect:\n{done.err[-2000:]}")
        return done


def _must(holds: bool, harm: harms.Harm, what: str, done: Done) -> None:
    if not holds:
        raise Wrong(f"{harm.name}: {what}\n{done.out[-2000:]}{done.err[-1000:]}")


def alike(before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> float:
    """Share of the answers that both have."""
    both = sum(len(set(a) & set(b)) for a, b in zip(before, after, strict=True))
    return both / sum(len(answer) for answer in before)


def level_of(document: Any) -> str:
    """Which level of a check found something: the first that was looked at and did not pass."""
    if document["findings"] and all(one["trouble"] == "other-embedder" for one in document["findings"]):
        return "fingerprint" if len(document["findings"]) == 1 else "fingerprint, golden"
    passed = document["passed"]
    for level in document["levels"]:
        if not any(line.startswith(f"level {level}:") and "golden" not in line for line in passed):
            return str(level)
    where = document["findings"][0]["where"] if document["findings"] else ""
    return "manifest" if where.endswith(harms.MANIFEST) else "pointer" if where == "current" else "none"


def table(rows: Sequence[Told]) -> str:
    """As it goes into a terminal or a README."""
    lines = [f"{'damage':<52}{'level':>19}{'exit':>6}  {'mended by':<27}{'alike':>6}{'found':>7}{'mended':>8}"]
    kind = ""
    for row in rows:
        if row.kind != kind:
            kind = row.kind
            lines.append(f"-- {kind}")
        head = f"{row.harm:<52}{row.level:>19}{row.code:>6}  {row.mend:<27}"
        lines.append(f"{head}{row.alike:>6.0%}{row.found_s:>6.1f}s{row.mended_s:>7.1f}s")
    return "\n".join(lines)


def short(rows: Sequence[Told]) -> str:
    """A line for each kind of harm."""
    lines = [f"{'damage':<18}{'ways':>5}  {'found at level':<32}{'exit':<11}mended by"]
    for kind in dict.fromkeys(row.kind for row in rows):
        those = [row for row in rows if row.kind == kind]
        levels, codes, mends = (
            ", ".join(dict.fromkeys(sorted(str(getattr(row, name)) for row in those)))
            for name in ("level", "code", "mend")
        )
        lines.append(f"{kind:<18}{len(those):>5}  {levels:<32}{codes:<11}{mends}")
    least = min((row.alike for row in rows), default=1.0)
    last = (
        f"{'in all':<18}{len(rows):>5}  all found; afterwards {least:.0%} of the answers at least are those of before"
    )
    return "\n".join([*lines, last])
