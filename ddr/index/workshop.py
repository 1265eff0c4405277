"""What a repair builds with: the work folder of a published version, its corpus, and the machine it runs on."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ddr.domain import indexes
from ddr.errors import DdrError, Refused, Unavailable
from ddr.index import build, check, codec, remains, repair, stages, worker
from ddr.index import work as works
from ddr.index.homes import publishing
from ddr.index.sources import scan as scans
from ddr.index.spread import sameness


class Site(Protocol):
    """An index as it is described and wired here."""

    @property
    def sources(self) -> stages.Sources: ...

    def shards(self) -> tuple[indexes.Shard, ...]:
        """Of the corpus as it is now. DdrError where it cannot be had."""
        ...

    def plan(self) -> indexes.Plan:
        """For a build of the corpus as it is now."""
        ...

    def plan_of(self, version: str) -> indexes.Plan | None:
        """By which a version was built, as far as manifest or record tell."""
        ...

    def left_of(self, plan: indexes.Plan) -> stages.Bench | None:
        """What is left of the work by a plan; None where its folder is gone."""
        ...

    def bench(self, plan: indexes.Plan, report: stages.Report) -> stages.Bench: ...

    def embedder(self) -> indexes.Embedder:
        """What makes the vectors of the corpus as it is now."""
        ...

    def now(self) -> datetime: ...


Publish = Callable[[build.Built, indexes.Manifest, str, bool], publishing.Moved]
"""What was built, its manifest, why it is published below its gate, and whether its embedder need not be asked for."""


class Workshop:
    """Implements repair.Workshop. `moved` is what its last publication did."""

    def __init__(self, site: Site, publish: Publish, report: stages.Report) -> None:
        self._site, self._publish, self._report = site, publish, report
        self.moved: publishing.Moved | None = None

    def left(self, version: str) -> repair.Left:
        shards = self._shards()
        plan = self._site.plan_of(version)
        there = None if plan is None else self._site.left_of(plan)
        is_same = plan is not None and shards == plan.shards
        if there is None:
            return repair.Left(is_source_same=is_same, has_source=shards is not None)
        parts, is_trained = remains.whole_parts(there)
        return repair.Left(parts, is_trained, is_same, shards is not None, remains.is_scanned(there))

    def _shards(self) -> tuple[indexes.Shard, ...] | None:
        try:
            return self._site.shards()
        except DdrError:
            return None  # not at hand, for whatever reason: nothing can be made of it

    def has_rows(self, manifest: indexes.Manifest) -> bool:
        plan, shards = manifest.plan, self._shards()
        if shards is None or list(map(_unmarked, shards)) != list(map(_unmarked, plan.shards)):
            return False
        try:
            found, _ = scans.scan(
                self._site.sources.corpus(dataclasses.replace(plan, shards=shards)),
                plan.wanted.policies,
                lambda done: self._report(stages.Progress(stages.SCAN, done, plan.rows)),
            )
        except Unavailable:
            raise
        except DdrError:
            return False  # nothing could be made of these
        return found.digests == manifest.scan.digests

    def rebuild(self, version: str, manifest: indexes.Manifest | None, parts: Sequence[int] | None) -> None:
        known = None if parts is None else self._site.plan_of(version)
        bench = self._site.bench(known or self._site.plan(), self._report)
        with bench.work.held():  # a build may be at it
            if parts is not None or manifest is None or codec.key(bench.plan) == manifest.plan_digest:
                _forget(bench, parts, version)  # of another plan nothing was found wrong
        is_merged = parts == () and remains.is_scanned(bench)
        built = build.merged_again(bench) if is_merged else build.build(bench)
        embedder = self._site.embedder() if known is None else self._embedder(manifest, known)
        made = build.manifest(bench, built, embedder, self._site.now())
        forced = manifest.forced if manifest else ""
        with bench.work.held():
            self.moved = self._publish(built, made, forced, known is not None)  # of the same plan is the same embedder
            bench.work.discard(stages.REPAIR)

    def _embedder(self, manifest: indexes.Manifest | None, plan: indexes.Plan) -> indexes.Embedder:
        """Without its manifest golden documents are those that were embedded last, if that was by the same one."""
        if manifest is not None:
            return manifest.embedder
        with contextlib.suppress(DdrError):
            last = self._site.embedder()
            if last.fingerprint == plan.wanted.embedder:
                return last
        return indexes.Embedder(plan.wanted.embedder)


def _unmarked(shard: indexes.Shard) -> indexes.Shard:
    """Without what is another one wherever the file lies, and whenever it was written."""
    return dataclasses.replace(shard, uri="", generation="", ids_uri="")


def _forget(bench: stages.Bench, parts: Sequence[int] | None, version: str) -> None:
    """Let these parts be made again. All of it once, however often its repair is cut off: behind that rows are read
    again, and what comes of those that are the same stays."""
    if parts is not None:
        remains.forget(bench, parts)
        return
    begun = bench.work.receipt(stages.REPAIR)
    if begun is None or begun.inputs != version:
        remains.forget(bench, None)
        bench.work.sign(works.Receipt(stages.REPAIR, version))
    else:
        bench.work.discard(stages.SCAN)


def part_again(
    bench: Callable[[Path], stages.Bench],
    number: int,
) -> check.Again:
    """Made in a folder of its own, away from what a build goes on with. Refused where this machine makes other bytes
    than the plan's."""
    with tempfile.TemporaryDirectory(prefix="ddr-rebuild-") as folder:
        made = bench(Path(folder))
        try:
            sameness.ensure(made.plan)
        except Unavailable as problem:  # to a worker another machine may be given
            raise Refused(problem.message, hint=problem.hint) from problem
        build.prepare(made)
        return check.Again(worker.part(made, number).files[0].sha256, build.scanned(made).digests)
