"""The stages of a build in order: scan, queries, train, parts, merge, measure. Each goes on where it was cut off."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.errors import Damaged, DdrError, InputError, Missing
from ddr.index import codec, exact, gate, measuring, remains, stages, worker
from ddr.index import work as works
from ddr.index.engines import engine
from ddr.index.engines import files as faiss_files
from ddr.index.homes import naming
from ddr.index.sources import corpus as corpora
from ddr.index.sources import sample as samples
from ddr.index.sources import scan as scans
from ddr.lib import digest

if TYPE_CHECKING:
    from ddr.index.sources import corpus

QUERIES = gate.QUERIES
_ASKED = "asked"
_NAMES = 65536
_SELVES_SEED = 0x5E1F


@dataclass(frozen=True)
class Probes:
    probes: tuple[indexes.Probe, ...]


@dataclass(frozen=True)
class Built:
    """What lies in the work folder, whole: by its name in a version the file and where it is now."""

    scan: indexes.Scan
    quality: indexes.Quality
    probes: tuple[indexes.Probe, ...]
    files: Mapping[str, tuple[indexes.File, Path]]
    parts: tuple[str, ...]


def build(bench: stages.Bench, spread: Callable[[Sequence[indexes.Part]], None] | None = None) -> Built:
    """All stages. `spread` makes the parts that are not done yet elsewhere; without it they are made here, in order.

    Raises `work.Held` when another build works by this plan, Conflict when the corpus is not the plan's any more,
    InputError where a row is not as the policies want it.
    """
    with bench.work.held():
        prepare(bench)
        for _ in range(len(bench.plan.parts) + 1):
            parts(bench, spread)
            try:
                merged(bench)
                break
            except DamagedPart as problem:
                bench.work.discard(stages.part_stage(problem.number))
        return measured(bench)


def merged_again(bench: stages.Bench) -> Built:
    """Of what was read before: the corpus is looked into only for parts that are not made of that. DamagedPart."""
    with bench.work.held():
        for one in bench.plan.parts:
            if not remains.is_made(bench, one):
                worker.part(bench, one.number)
        merged(bench)
        return measured(bench)


def rescan(bench: stages.Bench) -> None:
    """Let every row be read again, whatever sizes and times say of the files. What comes of rows that are the same is
    not made again."""
    with bench.work.held():
        bench.work.discard(stages.SCAN)


def scanned(bench: stages.Bench) -> indexes.Scan:
    """What the scan found."""
    receipt = worker.required(bench, stages.SCAN)
    return codec.decode(indexes.Scan, bench.work.verified(receipt.file("scan.json")).read_bytes(), "scan")


class DamagedPart(Damaged):
    """Its bytes are not those that were written, or it is gone: it is made again."""

    def __init__(self, number: int, problem: DdrError) -> None:
        super().__init__(problem.message, hint=problem.hint)
        self.number = number


def prepare(bench: stages.Bench) -> None:
    """What comes before the parts, and what a worker needs: scan, queries, training."""
    _scan(bench)
    _queries(bench)
    _train(bench)


def is_built(bench: stages.Bench) -> bool:
    """Whether all stages are done: `build` then only reads."""
    done = bench.work.receipt(stages.MERGE)
    if done is None or bench.work.receipt(stages.SCAN) is None:
        return False
    asked, _ = _given(bench)
    if bench.work.done(stages.QUERIES, _queries_key(bench, asked), is_read=False) is None:
        return False  # the queries are others by now
    return bench.work.done(stages.MEASURE, stages.key_of([file.sha256 for file in done.files])) is not None


def _scan(bench: stages.Bench) -> None:
    key = codec.key(bench.plan)
    if bench.done(stages.SCAN, key, bench.plan.rows):
        return
    rows, total = bench.sources.corpus(bench.plan), bench.plan.rows
    found, left_out = scans.scan(
        rows, bench.plan.wanted.policies, lambda done: bench.report(stages.Progress(stages.SCAN, done, total))
    )
    _check_left(found)
    _check_lengths(found, bench.plan.wanted.metric)
    named = [bench.work.write(naming.NAMES, lambda write: _write_names(rows, write))] if rows.id_kind == "text" else []
    files = (
        bench.work.write_bytes("scan.json", codec.encode(found)),
        worker.save(bench, naming.DROPPED, left_out),
        *named,
    )
    bench.work.sign(works.Receipt(stages.SCAN, key, files))


def _check_left(found: indexes.Scan) -> None:
    """InputError where every row is left out."""
    if not found.kept:
        why = ", ".join(f"{count:,} {name}" for name, count in found.dropped.items())
        raise InputError(
            f"no row of {found.rows:,} is left for the index; left out: {why}",
            hint="look at what made these vectors; `anomalies:` says which rows are left out",
        )


def _check_lengths(found: indexes.Scan, metric: indexes.Metric) -> None:
    """InputError where distances would be infinite, and every answer as good as any other."""
    if metric is indexes.Metric.COSINE or not found.norms or found.norms[-1] ** 2 <= corpora.LARGEST_SQUARE:
        return
    raise InputError(
        f"a row of the corpus has the length {found.norms[-1]:.3g}: its distances do not fit into float32",
        hint=f"scale the vectors to lengths below {math.sqrt(corpora.LARGEST_SQUARE):.1g}, or take metric cosine",
    )


def _write_names(rows: corpus.Corpus, write: Callable[[memoryview], None]) -> None:
    """A JSON list, one id on a line, by position."""
    lead = b"["
    for raw in rows.raw(0, rows.rows, _NAMES, with_texts=True):
        lines = b",\n".join(json.dumps(text, ensure_ascii=False).encode() for text in raw.texts)
        write(memoryview(lead + b"\n" + lines))
        lead = b","
    write(memoryview(b"\n]\n"))


def _given(bench: stages.Bench) -> tuple[str, NDArray[np.float32] | None]:
    """The digest of the queries that were given, and themselves; "" and None where rows of the corpus are asked.

    Where their file is gone those of the last time stand: what is built is repaired without it. InputError.
    """
    wanted = bench.plan.wanted
    if not wanted.queries:
        return "", None
    try:
        asked = gate.given(bench.sources.corpus(bench.plan), wanted, QUERIES)
    except InputError:
        receipt = bench.work.receipt(stages.QUERIES)
        if receipt is None or _ASKED not in receipt.facts:
            raise
        return receipt.facts[_ASKED], None
    return digest.of_bytes(asked.tobytes()), asked


def _queries_key(bench: stages.Bench, asked: str) -> str:
    """Given queries count by their content: a file of the same name may have others."""
    scanned, wanted = worker.required(bench, stages.SCAN), bench.plan.wanted
    return stages.key_of([file.sha256 for file in scanned.files], wanted.queries, QUERIES, *filter(None, [asked]))


def _queries(bench: stages.Bench) -> None:
    wanted = bench.plan.wanted
    digested, given = _given(bench)
    key = _queries_key(bench, digested)
    if bench.done(stages.QUERIES, key, QUERIES):
        return
    rows, left_out = bench.sources.corpus(bench.plan), worker.dropped(bench)
    asked = gate.queries(rows, wanted, QUERIES, left_out) if given is None else given
    at = samples.positions(rows, QUERIES, wanted.seed ^ _SELVES_SEED, left_out)
    files = (
        worker.save(bench, "queries.npy", asked),
        worker.save(bench, "selves.npy", samples.scaled(rows.take(at), wanted.metric)),
        worker.save(bench, "selves.labels.npy", rows.labels_at(at)),
    )
    facts = {stages.ROWS: str(len(asked)), **({_ASKED: digested} if digested else {})}
    bench.work.sign(works.Receipt(stages.QUERIES, key, files, facts))
    bench.report(stages.Progress(stages.QUERIES, len(asked), len(asked)))


def _train(bench: stages.Bench) -> None:
    plan, scanned = bench.plan, worker.required(bench, stages.SCAN)
    count = min(plan.rows, engine.sample_rows(plan.shape))
    key = stages.key_of(
        [file.sha256 for file in scanned.files], codec.encode(plan.shape).decode(), plan.engine, plan.device
    )
    if bench.done(stages.TRAIN, key, count):
        return
    rows, left_out = bench.sources.corpus(plan), worker.dropped(bench)
    drawn = bench.within(stages.SAMPLE, count)
    chosen = samples.sample(rows, count, plan.shape.seed, left_out, plan.shape.metric, drawn)
    bench.ended(stages.SAMPLE, len(chosen))
    trained = bench.within(stages.TRAIN, len(chosen))
    trained(0)
    content = bench.engine.train(chosen, plan.shape, bench.threads, lambda share: trained(int(share * len(chosen))))
    file = bench.work.write_bytes(naming.TRAINED, memoryview(content))
    bench.work.sign(works.Receipt(stages.TRAIN, key, (file,), {stages.ROWS: str(len(chosen))}))
    bench.ended(stages.TRAIN, len(chosen))


def parts(bench: stages.Bench, spread: Callable[[Sequence[indexes.Part]], None] | None = None) -> None:
    """Make those that are not made."""
    if spread is not None:
        left = [one for one in bench.plan.parts if not remains.is_made(bench, one)]
        if left:
            spread(left)
    for one in bench.plan.parts:
        worker.part(bench, one.number)


def merged(bench: stages.Bench) -> works.Receipt:
    """All parts as one file, which has the search parameter that meets the recall. DamagedPart."""
    plan = bench.plan
    receipts = worker.made(bench)
    key = stages.key_of([file.sha256 for receipt in receipts for file in receipt.files])
    found = bench.done(stages.MERGE, key, plan.rows)
    if found is not None:
        return found
    bench.report(stages.Progress(stages.MERGE, 0, plan.rows))
    paths = [_verified_part(bench, number, receipt) for number, receipt in enumerate(receipts)]
    answer = exact.merged([_answer(bench, receipt) for receipt in receipts], worker.neighbours(bench.plan.wanted))
    files = (
        _merge(bench, paths, answer),
        worker.save(bench, "exact.labels.npy", answer.labels),
        worker.save(bench, "exact.distances.npy", answer.distances),
    )
    bench.report(stages.Progress(stages.MERGE, plan.rows, plan.rows))
    return bench.work.sign(works.Receipt(stages.MERGE, key, files))


def _merge(bench: stages.Bench, paths: Sequence[Path], answer: exact.Answer) -> indexes.File:
    shape, wanted, threads = bench.plan.shape, bench.plan.wanted, bench.threads
    trained = _trained(bench)
    queries = worker.load(bench, worker.required(bench, stages.QUERIES).file("queries.npy"))
    tell = bench.within(stages.MERGE, bench.plan.rows)
    if shape.kind in engine.GRAPHS:
        whole = faiss_files.merge(trained, paths, shape, threads=threads, tell=tell)
        found = measuring.settle(measuring.of_index(whole, queries, wanted.k, threads), answer, wanted, shape)
        faiss_files.set_search(whole, found)
        return bench.work.write(naming.INDEX, lambda write: faiss_files.serialize_to(whole, write))
    value = measuring.settle(measuring.of_parts(paths, queries, wanted.k, threads), answer, wanted, shape)
    return bench.work.write(
        naming.INDEX,
        lambda write: faiss_files.merge_to(trained, paths, shape, write, threads=threads, search=value, tell=tell),
    )


def _trained(bench: stages.Bench) -> bytes:
    return bench.work.verified(worker.required(bench, stages.TRAIN).file(naming.TRAINED)).read_bytes()


def _verified_part(bench: stages.Bench, number: int, receipt: works.Receipt) -> Path:
    try:
        first, *_ = [bench.work.verified(file) for file in receipt.files]
    except (Damaged, Missing) as problem:
        raise DamagedPart(number, problem) from problem
    return first


def _answer(bench: stages.Bench, receipt: works.Receipt) -> exact.Answer:
    labels, distances = (worker.load(bench, file) for file in receipt.files[1:])
    return exact.Answer(labels, distances, bench.plan.shape.metric)


def measured(bench: stages.Bench) -> Built:
    """What a reader of the file will find, and everything that goes into a version."""
    done = bench.work.receipt(stages.MERGE)
    assert done is not None
    asked, trained = worker.required(bench, stages.QUERIES), worker.required(bench, stages.TRAIN)
    key = stages.key_of([file.sha256 for file in done.files])
    measure = bench.done(stages.MEASURE, key) or _measure(bench, done, asked, key)
    quality = codec.decode(indexes.Quality, bench.work.verified(measure.file("quality.json")).read_bytes(), "quality")
    probes = codec.decode(Probes, bench.work.verified(measure.file("probes.json")).read_bytes(), "probes").probes
    scan, seen = scanned(bench), worker.required(bench, stages.SCAN)
    kept = {
        done.file(naming.INDEX),
        trained.file(naming.TRAINED),
        *(file for file in seen.files if file.name == naming.NAMES),
    }
    if scan.kept != scan.rows:
        kept.add(seen.file(naming.DROPPED))
    receipts = worker.made(bench)
    files = {file.name: (file, bench.work.path(file.name)) for file in kept}
    return Built(scan, quality, probes, files, tuple(receipt.files[0].sha256 for receipt in receipts))


def _measure(bench: stages.Bench, done: works.Receipt, asked: works.Receipt, key: str) -> works.Receipt:
    names = ("queries.npy", "selves.npy", "selves.labels.npy")
    queries, selves, labels = (bench.work.verified(asked.file(name)) for name in names)
    answer = _answer(bench, done)
    count = len(answer.labels)
    bench.report(stages.Progress(stages.MEASURE, 0, count))
    quality, found = measuring.measure(
        bench.work.verified(done.file(naming.INDEX)),
        queries,
        (selves, np.load(labels, allow_pickle=False)),
        answer,
        bench.plan,
        bench.threads,
    )
    probes = measuring.probes(np.load(queries, allow_pickle=False), answer, found)
    files = (
        bench.work.write_bytes("quality.json", codec.encode(quality)),
        bench.work.write_bytes("probes.json", codec.encode(Probes(probes))),
    )
    bench.report(stages.Progress(stages.MEASURE, count, count))
    return bench.work.sign(works.Receipt(stages.MEASURE, key, files, {stages.ROWS: str(count)}))


def manifest(bench: stages.Bench, built: Built, embedder: indexes.Embedder, created: datetime) -> indexes.Manifest:
    """All about it but what publishing adds: version, parent, whether it was forced."""
    plan = bench.plan
    return indexes.Manifest(
        version="",
        name=plan.wanted.name,
        created=created,
        plan_digest=codec.key(plan),
        plan=plan,
        scan=built.scan,
        files=tuple(sorted((file for file, _ in built.files.values()), key=lambda file: file.name)),
        quality=built.quality,
        embedder=embedder,
        probes=built.probes,
        parts=built.parts,
        is_deterministic=engine.is_deterministic(plan.shape.kind, plan.device, plan.engine),
    )
