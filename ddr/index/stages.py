"""What every stage of a build is given, and what it tells while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ddr.domain import indexes
from ddr.index import work as works
from ddr.index.sources import corpus as corpora
from ddr.index.sources import places
from ddr.lib import digest

if TYPE_CHECKING:
    from ddr.index.engines import engine as engines

SCAN, QUERIES, TRAIN, MERGE, MEASURE = "scan", "queries", "train", "merge", "measure"
SAMPLE = "sample"
"""What `TRAIN` reads first: told of its own, kept by nobody."""
ROWS = "rows"
"""What a receipt calls the rows that its stage counted."""
REPAIR = "repair"
"""Its receipt names the version for which all was forgotten: a repair that was killed reads the rows again, and forgets
no more."""


def part_stage(number: int) -> str:
    return f"part-{number:05d}"


@dataclass(frozen=True)
class Progress:
    """`done` of `of` units; `of` is 0 where the end is not known. `is_kept`: it was done by an earlier call."""

    stage: str
    done: int = 0
    of: int = 0
    is_kept: bool = False
    unit: Literal["rows", "bytes"] = "rows"


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Sources:
    """From where paths of a corpus count, and how its buckets are reached."""

    base: Path
    buckets: places.Buckets

    def corpus(self, plan: indexes.Plan) -> corpora.Corpus:
        """The shards of the plan. Each read raises Conflict where one is another by now."""
        return corpora.opened(plan.shards, plan.wanted.source, self.base, self.buckets)


@dataclass(frozen=True)
class Bench:
    """What a stage works with; the engine is the plan's."""

    work: works.Work
    sources: Sources
    engine: engines.Engine
    threads: int
    report: Report

    @property
    def plan(self) -> indexes.Plan:
        return self.work.plan

    def done(self, stage: str, inputs: str, rows: int = 0, *, is_read: bool = True) -> works.Receipt | None:
        """As `Work.done`, told to whoever watches: with the rows that were counted, where the stage did so."""
        found = self.work.done(stage, inputs, is_read=is_read)
        if found is not None:
            counted = found.facts.get(ROWS, "")
            rows = int(counted) if counted.isdecimal() else rows
            self.report(Progress(stage, rows, rows, is_kept=True))
        return found

    def within(self, stage: str, of: int) -> Callable[[int], None]:
        """Tells the rows that are done so far. Not the end: that is `ended`, told by who has it on the disk."""

        def told(done: int) -> None:
            if done < of:
                self.report(Progress(stage, done, of))

        return told

    def ended(self, stage: str, rows: int) -> None:
        """Nothing is told of a stage that had nothing to do."""
        if rows:
            self.report(Progress(stage, rows, rows))


def key_of(*values: object) -> str:
    """One digest of all that a stage is made of."""
    return digest.of_value(list(values))
