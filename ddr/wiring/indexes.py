"""The index side of a configuration: from a name to its corpus, home, work folder and engine."""

from __future__ import annotations

import functools
import os
import random
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ddr.domain import index_records, indexes
from ddr.errors import Damaged, DdrError, InputError, Missing, UnknownName
from ddr.index import check, codec, gate, plans, stages, workfolders, workshop
from ddr.index import work as works
from ddr.index.embedders import embedding as embedders
from ddr.index.homes import bucket, folder, home, publishing, reading
from ddr.index.sources import corpus, opening, places
from ddr.lib import clock as clocks
from ddr.lib import legible
from ddr.ports import store
from ddr.wiring import index_embedding, index_releases, index_settings

if TYPE_CHECKING:
    from ddr.wiring import build as wirings

WORKER_FOLDER = Path(".ddr-work")
_BUCKET = "s3://"
_DOCUMENTS = (".yaml", ".yml")


@dataclass(frozen=True)
class Index:
    """One index that ddr.yaml or a file of its own describes. `wired` is None for a file of its own."""

    wanted: indexes.Wanted
    entry: index_settings.IndexEntry
    base: Path
    home: home.Home
    now: Callable[[], datetime]
    wired: wirings.Wired | None = None
    services: tuple[str, ...] = ()
    """Those whose index plane lies in this home."""
    called: str = ""
    """What to type for it."""
    embedding: index_embedding.Embedding | None = None
    """Where its vectors are made of texts."""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """What references of a file of its own resolved to."""
    trouble: InputError | None = None
    """Why it is not known what makes its vectors: raised where that is asked, not where versions are kept or copied."""

    @property
    def name(self) -> str:
        return self.wanted.name

    @property
    def work_folder(self) -> Path:
        return index_settings.work_folder(self.entry, self.base, self.name)

    @property
    def embedded_folder(self) -> Path:
        return index_settings.embedded_folder(self.entry, self.base, self.name)

    @property
    def homes(self) -> tuple[Path, ...]:
        """Folders that have versions: its own home, and those of all that ddr.yaml names."""
        entries = [] if self.wired is None else self.wired.config.indexes.values()
        found = (self.wanted.home, *(index_settings.placed(one.home, self.base) for one in entries))
        return tuple(Path(one) for one in found if not one.startswith(_BUCKET))

    @property
    def depot(self) -> store.Store | None:
        """Where all machines see what is done: the bucket of the home; None for a folder, which is shared or not."""
        return self.store_of(self.wanted.home) if self.wanted.home.startswith(_BUCKET) else None

    def store_of(self, uri: str) -> store.Store:
        return _store(uri, self.entry.s3)

    @property
    def sources(self) -> stages.Sources:
        return stages.Sources(self.base, _of_others(self.entry.s3))

    def shards(self) -> tuple[indexes.Shard, ...]:
        """What lies there now. InputError for whatever is wrong with any file; Missing where texts are not embedded."""
        if self.trouble is not None:
            raise self.trouble
        if self.embedding is not None and not self.wanted.embedder:
            raise Missing(f"the texts of {self.name} are not embedded yet", hint=f"ddr index build {self.called}")
        return opening.find(self.wanted.source, self.sources.base, self.sources.buckets)

    def plan(self, *, is_measured: bool = True) -> indexes.Plan:
        """That of a build which was begun, else a new one. Touches nothing. Refused where it cannot be built here."""
        shards = self._shards_now()
        queries = self._given(shards)
        begun = plans.begun(self.work_folder, self.wanted, shards)
        here = plans.machine(self.wanted, self.work_folder)
        return begun or plans.make(self.wanted, shards, here, is_measured=is_measured, queries=queries)

    def foreseen(self, *, is_measured: bool = True) -> indexes.Plan | None:
        """As `plan` will be once the texts are embedded, with what that takes; None where they are, or are none."""
        if self.embedding is None or (self.wanted.embedder and self.embedding.is_current()):
            return None
        if self.trouble is not None:
            raise self.trouble
        found = self.embedding.foreseen(is_measured=is_measured)
        size = 4 * found.rows * found.dimension
        shards = (indexes.Shard("not embedded yet", found.rows, found.dimension, "float32", size, ""),)
        queries, here = self._given(shards), plans.machine(self.wanted, self.work_folder)
        made = plans.make(self.wanted, shards, here, is_measured=is_measured, queries=queries)
        stage = indexes.Estimate(embedders.STAGE, found.memory_mib, found.seconds)
        return replace(made, estimates=(stage, *made.estimates), reasons=(found.reason, *made.reasons))

    def _given(self, shards: tuple[indexes.Shard, ...]) -> int | None:
        """How many queries are given, each of them looked at: None where rows of the corpus are asked. InputError."""
        if not self.wanted.queries:
            return None
        rows = corpus.opened(shards, self.wanted.source, self.sources.base, self.sources.buckets)
        return len(gate.given(rows, self.wanted, gate.QUERIES))

    def _shards_now(self) -> tuple[indexes.Shard, ...]:
        """Missing when texts or model are others than when they were embedded."""
        found = self.shards()
        if self.embedding is not None and not self.embedding.is_current():
            raise Missing(
                f"the texts or the model of {self.name} changed since they were embedded",
                hint=f"ddr index build {self.called}",
            )
        return found

    def embedded(self, report: stages.Report, *, is_read: bool = False) -> Index:
        """With vectors made of its texts, where it has texts: what was made before is not made again, if its bytes are
        right (`is_read`: all are compared). What cannot be built of them is refused before."""
        if self.embedding is None:
            return self
        self.foreseen(is_measured=False)
        self.embedding.embed(report, is_read=is_read)
        return replace(self, wanted=self.embedding.sourced(self.wanted))

    def live_embedder(self) -> str:
        """Fingerprint of what makes the queries now, as far as ddr.yaml says it: "" where it does not."""
        found = self.embedding.live() if self.embedding is not None else ""
        if not found and isinstance(self.trouble, index_settings.NoFingerprint):
            raise self.trouble
        return found or self.wanted.embedder  # of vectors that a newer ddr made nothing is known

    def bench(self, plan: indexes.Plan, report: stages.Report) -> stages.Bench:
        work = works.opened(self.work_folder, plan, self.depot)
        return bench(work, self.sources, report)

    def means(
        self,
        live_embedder: str = "",
        plan: indexes.Plan | None = None,
        part: int = 0,
        version: str = "",
        report: stages.Report = lambda progress: None,
    ) -> check.Means:
        """What a check of `version` may use. `plan` is its own, for `part` made again, of which `report` hears."""
        rebuild = None
        if plan is not None:
            rebuild = functools.partial(workshop.part_again, lambda folder: self._bench(plan, folder, report))
        return check.Means(
            embedder=live_embedder or self.live_embedder(),
            golden=None if self.embedding is None else self.embedding.golden,
            corpus=self._corpus_for(version),
            rebuild=rebuild,
            part=part,
            scratch=None,
            threads=plans.machine(self.wanted).threads,
        )

    def _corpus_for(self, version: str) -> Callable[[], corpus.Corpus] | None:
        """What a version is compared with: vectors by its own embedder of the texts as they are now."""
        base, buckets = self.base, self.sources.buckets
        if self.embedding is None:
            return lambda: corpus.opened(self.shards(), self.wanted.source, base, buckets)
        embedding = self.embedding
        made_by = publishing.embedder_of(self.home, version) if version else self.wanted.embedder
        source = embedding.source_of(made_by) if made_by else None
        if source is None or made_by is None:
            return None

        def opened() -> corpus.Corpus:
            if not embedding.is_text_of(made_by):
                raise Missing("the texts changed since they were embedded", hint=f"ddr index build {self.called}")
            return corpus.opened(opening.find(source, base, buckets), source, base, buckets)

        return opened

    def _bench(self, plan: indexes.Plan, folder: Path, report: stages.Report) -> stages.Bench:
        return bench(works.opened(folder, plan), self.sources, report)

    @property
    def _folders(self) -> workfolders.Folders:
        return workfolders.Folders(self.work_folder, self.depot)

    def plan_of(self, version: str) -> indexes.Plan | None:
        """By which a version was built, as far as its manifest or the record of moves tell."""
        return self._folders.plan_of(self.home, version)

    def left_of(self, plan: indexes.Plan) -> stages.Bench | None:
        """What is left of the work by a plan; None when its folder is gone. Touches nothing."""
        if not works.is_begun(self.work_folder, plan):
            return None
        return bench(works.of(self.work_folder, plan, self.depot), self.sources, lambda progress: None)

    def old_work(self) -> workfolders.Old:
        """Work folders, and vectors of other embedders, that are of no use any more."""
        try:
            shards = self.shards()
        except DdrError:
            shards = None  # not at hand, for whatever reason
        old = self._folders.old(self.home, self.wanted, shards)
        if self.embedding is None or old.why or shards is None:
            return old
        live = publishing.embedder_of(self.home, self.home.current() or "")
        if live is None:
            return old
        known = (self.wanted.embedder, live)
        vectors = self.embedding.folders_but(known)
        if not vectors:
            return old
        begun = self.embedding.live()  # nothing but the model itself says for what an embedding was begun
        if not begun:
            return old.with_kept(vectors, "the model cannot be read here, and these may be its vectors")
        return self._folders.with_vectors(old, self.embedding.folders_but((*known, begun)))

    def prove(
        self, version: str, report: check.Report = lambda *told: None, told: publishing.Report = lambda text: None
    ) -> indexes.Check:
        """Levels 0 to 2: what is proved before a pointer moves."""
        means = check.Means(scratch=None, threads=2)
        look = functools.partial(check.check, self.home, version, means, report=report)
        return reading.proved(self.home, version, look, told)

    def embedder(self) -> indexes.Embedder:
        """What made the vectors, with golden documents where ddr made them."""
        if self.embedding is not None and self.wanted.embedder:
            return self.embedding.embedder()
        return indexes.Embedder(fingerprint=self.wanted.embedder)

    def intend(self, before: str = "", after: str = "", removed: tuple[str, ...] = ()) -> None:
        """Record what is about to be done. Where that raises, nothing may be done, and the error says so."""
        try:
            said = legible.text(before)  # what others put there may have any name
            self.record(index_records.IndexIntended(self.name, self.home.name, said, after, removed))
        except DdrError as problem:
            nothing = "nothing was removed" if removed else f"{self.home.name} stays at {before or 'nothing'}"
            problem.message = f"{nothing}: {problem.message}"
            raise

    def record(self, what: object) -> None:
        """Into the journal, where there is one."""
        if self.wired is not None:
            self.wired.platform.journal.append(what)  # type: ignore[arg-type]


def bench(work: works.Work, sources: stages.Sources, report: stages.Report) -> stages.Bench:
    """What a stage works with, by the plan of the work folder."""
    from ddr.index.engines import picking

    plan = work.plan
    return stages.Bench(work, sources, picking.engine_of(plan.engine, plan.device), _threads(plan), report)


def _threads(plan: indexes.Plan) -> int:
    return plans.machine(plan.wanted).threads


def of_plan(
    path: str, report: stages.Report, s3: index_settings.S3Entry | None = None, folder: Path = WORKER_FOLDER
) -> stages.Bench:
    """For a worker: `plan.json` of a work folder, or `s3://…/plan.json` of a depot. Needs no ddr.yaml.

    `folder`: where this machine keeps what it fetches from a depot. Damaged where that plan was changed or lies
    elsewhere than where it was put: nothing is made of it.
    """
    access = s3 or index_settings.S3Entry()
    depot = None
    if path.startswith(_BUCKET):
        root, key = works.parts_of(path)
        depot = _store(root, access)
        content = depot.get(works.prefix(key) + works.PLAN)
    else:
        try:
            content = Path(path).read_bytes()
        except OSError as problem:
            raise InputError(f"{path}: {problem.strerror}", hint="the plan.json of a work folder") from problem
        place = Path(path).parent.resolve()
        folder, key = place.parent, place.name
    plan = codec.decode(indexes.Plan, content, path)
    if works.name_of(plan) != key:
        raise Damaged(
            f"{path} is not the plan that its folder is named by",
            hint="`ddr index prepare` writes it anew, and tells where",
        )
    work = works.opened(folder, plan, depot)
    return bench(work, stages.Sources(Path("/"), _of_others(access)), report)


def _of_others(s3: index_settings.S3Entry) -> places.Buckets:
    return functools.cache(lambda name: _store(f"{_BUCKET}{name}", s3, of_others=True))


def _store(uri: str, s3: index_settings.S3Entry, *, of_others: bool = False) -> store.Store:
    from ddr.stores import retrying, s3_answers
    from ddr.stores import s3 as buckets

    name, _, prefix = uri.removeprefix(_BUCKET).partition("/")
    made = buckets.S3Store(
        bucket=name,
        prefix=prefix,
        endpoint=s3.endpoint or None,
        region=s3.region or None,
        access_key=s3.access_key or None,
        secret_key=s3.secret_key or None,
        called=s3_answers.Keys(
            "the bucket behind `s3://` in `home:` or `vectors:`",
            "behind it, as in s3://BUCKET/FOLDER",
            "`endpoint` in `s3:`",
            "`region` in `s3:`",
            "`s3:`",
        ),
        of_others=of_others,
    )
    jitter = random.Random()  # noqa: S311 - spreads retries, keeps no secret
    return retrying.Retrying(made, clocks.SystemClock(), jitter)


@dataclass(frozen=True)
class Indexes:
    """All that ddr.yaml names, by name."""

    wired: wirings.Wired
    known: Mapping[str, index_settings.IndexEntry] = field(default_factory=dict)

    def get(self, name: str | None) -> Index:
        """The named one, or the only one. UnknownName, InputError."""
        if name is None:
            if len(self.known) == 1:
                return self.get(next(iter(self.known)))
            if not self.known:
                raise InputError("ddr.yaml has no indexes", hint="name one under `indexes:`, or give a YAML file")
            raise InputError("which index?", hint=f"one of {', '.join(self.known)}")
        if name not in self.known:
            there = ", ".join(self.known) or "none"
            raise UnknownName(f"there is no index {name!r}", hint=f"ddr.yaml has: {there}; or give a YAML file")
        base, clock = self.wired.config.base, self.wired.platform.clock
        made = _index(name, self.known[name], base, self.wired.platform.actor, clock.now)
        services = index_releases.served_by(self.wired, made.wanted.home)
        return replace(made, wired=self.wired, services=services)


def of_file(path: Path, actor: str, environ: Mapping[str, str]) -> Index:
    """An index that a file of its own describes; nothing is written into a journal. As with ddr.yaml, what is named
    from here has the plan that it has beside its file."""
    own = index_settings.read(path, environ)
    base = path.parent if path.is_absolute() and ".." not in path.parts else path.parent.resolve()
    made = _index(path.stem.removesuffix(".index"), own.entry, base, actor, lambda: datetime.now(UTC))
    typed = f"./{path}" if str(path).startswith("-") else str(path)
    return replace(made, called=shlex.quote(typed), secrets=own.secrets)


def is_file(name: str | None) -> bool:
    return name is not None and name.endswith(_DOCUMENTS)


def _index(name: str, entry: index_settings.IndexEntry, base: Path, actor: str, now: Callable[[], datetime]) -> Index:
    trouble: InputError | None = None
    try:
        wanted = index_settings.wanted(name, entry, base)
    except index_settings.NoFingerprint as problem:
        wanted, trouble = index_settings.wanted(name, replace(entry, embedder=""), base), problem
    made = home_of(wanted.home, now, actor, entry.s3)
    index = Index(wanted, entry, base, made, now, called=shlex.quote(name), trouble=trouble)
    if entry.embed is None:
        return index
    embedding = index_embedding.Embedding(entry.embed, index.sources, index.embedded_folder, entry.device, _cores())
    try:
        wanted = embedding.sourced(wanted)
    except codec.Newer as problem:
        trouble = problem
    return replace(index, wanted=wanted, embedding=embedding, trouble=trouble)


def home_of(uri: str, now: Callable[[], datetime], actor: str, s3: index_settings.S3Entry | None = None) -> home.Home:
    """A folder, or `s3://bucket/prefix`. Touches nothing."""
    if uri.startswith(_BUCKET):
        return bucket.BucketHome(_store(uri, s3 or index_settings.S3Entry()), "", now, actor)
    return folder.FolderHome(Path(uri), now, actor)


def _cores() -> int:
    return len(os.sched_getaffinity(0))
