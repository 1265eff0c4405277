"""`ddr index`: vector indexes, from plan to publication and back."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import click

from ddr.cli import index_progress, index_proof, index_spread, index_text, index_upkeep, output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import indexes
    from ddr.errors import DdrError
    from ddr.wiring import indexes as wirings

_NO_USE = "look at what it names; no other try helps"


@click.group()
def command() -> None:
    """Build, prove, publish and take back vector indexes.

    \b
    NAME is an index of ddr.yaml:
      indexes:
        search: {home: index, vectors: [vectors/*.npy], ids: ids/*.npy, metric: cosine}
    or a YAML file (search.yaml) with the keys of one index, without `indexes:` and its name:
      {home: index, vectors: [vectors/*.npy], ids: ids/*.npy, metric: cosine}

    \b
    Other keys:
      column   of Parquet files, the one that has the vectors; without it `vector`
      work     a folder for what a build keeps; without it .work in the home,
               or .ddr-work beside the YAML file where the home is a bucket
      embed    texts of which the vectors are made, in the place of `vectors`
      recall, k, kind, memoryMib, bytesPerVector, engine, device, quality, anomalies,
      queries, rowsPerPart, seed, embedder, s3

    A build that is cut off goes on when the same command is given again.
    """


@command.command(short_help="Say what would be built, why, and what it takes.")
@click.argument("name", required=False)
@click.option("--write", is_flag=True, help="Put plan.json into its work folder, for workers on other machines.")
@sessions.json_option
@sessions.pass_session
def plan(session: sessions.Session, name: str | None, write: bool) -> int:
    """Look at the corpus and say what would be built, why, and what it takes. Touches nothing without --write.

    Texts are counted, and a few of them embedded, to say how long all of them take; for --write they must be embedded.

    Exit codes: 0 done, 1 it cannot be built here (the message says what would fit), 64 usage, or a corpus, queries or a
    model that are bad or not there, 69 a system is away.
    """
    from ddr.index import codec
    from ddr.index import work as works
    from ddr.lib import digest

    index = index_proof.opened(session, name)
    if not write and (foreseen := index.foreseen()) is not None:
        session.show(foreseen, lambda: index_text.planned(foreseen, "", str(index.work_folder), index.called))
        return 0
    made = index.plan()
    key = codec.key(made)
    place = index.work_folder / digest.short(key, 16)
    if write:
        place = works.opened(index.work_folder, made, index.depot).path(works.PLAN)
    session.show(made, lambda: index_text.planned(made, key, str(place), index.called))
    return 0


@command.command(short_help="Build it and prove its recall; --publish serves it.")
@click.argument("name", required=False)
@click.option("--publish", "is_published", is_flag=True, help="Serve it when it is good enough.")
@click.option("--force", default="", metavar="WHY", help="Publish below the gate; the reason is written down.")
@click.option("--model-also", is_flag=True, help="The embedder of the queries changes with it.")
@index_proof.instead_of_option
@click.option("--rescan", is_flag=True, help="Read every row again, also of files with the same size and time.")
@click.option(
    "--on", type=click.Choice(["here", "ray"]), default="here", show_default=True, help="Who makes the parts."
)
@index_progress.events_option
@sessions.json_option
@sessions.pass_session
def build(
    session: sessions.Session,
    name: str | None,
    is_published: bool,
    force: str,
    model_also: bool,
    instead_of: str,
    rescan: bool,
    on: str,
    events: bool,
) -> int:
    """Build the index and prove its recall; with --publish it serves then.

    Cut off at any moment, the same command goes on: every part that is done stays done. As long as the corpus is the
    same the plan is, too; whether it is the sizes and times of its files say, or with --rescan their rows.

    \b
    Exit codes:
      0   built (and published)
      1   cannot be built here: too little memory, or a recall that so few queries cannot show; or its home serves
          another index (--instead-of)
      2   what was written into the work folder is not what is read from it: the same command makes it anew
      3   somebody else moved the pointer, or the corpus changed meanwhile: the same command again
      10  the pointer is damaged (`ddr index check` says the way back), or the version that was added is
      12  the embedder is another one than that of what serves, or that is not known (--model-also)
      13  built and not good enough, so not published: its recall is below the gate, or its rows cannot be told apart
          (more than half are equal to others, or too few find themselves)
      15  another build works by this plan
      64  usage, or rows that the corpus should not have, or none that may go in
      69  a system is away
    """
    from ddr.index import build as builds
    from ddr.index.homes import publishing

    index = index_proof.opened(session, name)
    if is_published:
        publishing.ensure_same_index(index.home, index.name, instead_of)
    began = time.monotonic()
    with index_progress.telling(session, is_json=events) as tell:
        index = index.embedded(tell, is_read=rescan)
        bench = index.bench(index.plan(is_measured=False), tell)
        if rescan:
            builds.rescan(bench)
        built = builds.build(bench, index_spread.spread(on, index, bench))
    manifest = builds.manifest(bench, built, index.embedder(), index.now())
    refusals, uncompared = index_proof.refusals(index, manifest), index_proof.uncompared(index, manifest)
    took_s = time.monotonic() - began
    index_proof.note(session, index, index_proof.built_record(index, manifest, took_s))
    moved = None
    if is_published:
        with bench.work.held():
            moved = index_proof.published(
                session,
                index,
                built,
                manifest,
                refusals,
                force,
                model_also=model_also,
                instead_of=instead_of,
                is_json=events,
            )
    document = {
        "manifest": manifest,
        "refusals": refusals,
        "uncompared": uncompared,
        "moved": moved,
        "took_s": round(took_s, 3),
    }
    text = index_text.built(index.called, manifest, refusals, took_s, uncompared)
    if moved is not None:
        text += f"\n{index_text.moved(index.called, moved, index.services)}"
    elif not refusals:
        text += f"\n{_next(index, manifest)}"
    session.show(document, lambda: text)
    return 0 if moved or not refusals else 13


def _next(index: wirings.Index, manifest: indexes.Manifest) -> str:
    """What is left to do with what was built and not published."""
    from ddr.index.homes import publishing

    live = index_proof.live(index)
    if live is not None and publishing.is_same(live, manifest):
        return f"index {index.called} serves {live.version} already, which is the same"
    return f"not published; next: ddr index publish {index.called}"


@command.command(short_help="Make one part, anywhere that sees plan and corpus.")
@click.option("--plan", "path", required=True, metavar="PATH", help="plan.json of a work folder, or s3://…/plan.json.")
@click.option("--part", type=click.IntRange(min=0), required=True, envvar="JOB_COMPLETION_INDEX", help="Which part.")
@click.option("--endpoint", default="", help="Of an S3 server that is not AWS.")
@click.option("--region", default="", help="Of the buckets.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="0: all processors of this machine.")
@index_progress.events_option
@sessions.json_option
@sessions.pass_session
def worker(
    session: sessions.Session, path: str, part: int, endpoint: str, region: str, threads: int, events: bool
) -> int:
    """Make one part: the contract of a laptop, Ray and a Kubernetes Indexed Job. Needs no ddr.yaml.

    Called again it does nothing; called twice at once both write the same bytes.

    Exit codes: 0 done, 1 what comes before the parts is not done or not whole, or this is other software than the
    plan's, 3 the corpus is not the plan's any more, 14 cut off by something that may pass (call it again), 42 the
    input or the plan is bad: no use to try again, 64 usage.
    """
    from ddr.domain import indexes as nouns
    from ddr.errors import Damaged, InputError, Unavailable
    from ddr.index import worker as workers
    from ddr.index.spread import sameness
    from ddr.wiring import index_settings
    from ddr.wiring import indexes as wirings

    try:
        with index_progress.telling(session, is_json=events) as tell:
            try:
                bench = wirings.of_plan(path, tell, index_settings.S3Entry(endpoint, region))
            except Damaged as problem:
                _end(problem, nouns.EXIT_BAD_INPUT, problem.hint or _NO_USE)
                raise
            if part >= len(bench.plan.parts):
                raise InputError(f"there is no part {part}", hint=f"parts are 0 to {len(bench.plan.parts) - 1}")
            sameness.ensure(bench.plan)
            try:
                receipt = workers.part(dataclasses.replace(bench, threads=threads or bench.threads), part)
            except InputError as problem:
                _end(problem, nouns.EXIT_BAD_INPUT, problem.hint or _NO_USE)
                raise
            except Damaged as problem:  # what it wrote itself: a disk
                _end(problem, nouns.EXIT_RESUMABLE, problem.hint or "call it again")
                raise
    except Unavailable as problem:
        _end(problem, nouns.EXIT_RESUMABLE, "call it again")
        raise
    session.show(receipt, lambda: f"part {part} is made: {receipt.files[0].sha256}")
    return 0


def _end(problem: DdrError, exit_code: int, hint: str) -> None:
    """A worker ends by the code that says what comes next."""
    problem.exit_code, problem.hint = exit_code, hint


@command.command(short_help="Serve what was built last.")
@click.argument("name", required=False)
@click.option("--force", default="", metavar="WHY", help="Publish below the gate; the reason is written down.")
@click.option("--model-also", is_flag=True, help="The embedder of the queries changes with it.")
@index_proof.instead_of_option
@index_progress.events_option
@sessions.json_option
@sessions.pass_session
def publish(
    session: sessions.Session, name: str | None, force: str, model_also: bool, instead_of: str, events: bool
) -> int:
    """Serve what was built last from the corpus as it is now.

    Its digests are compared, a child loads it and answers its probes, and only then the pointer moves.

    Exit codes: as `ddr index build`; 1 when nothing was built yet.
    """
    from ddr.errors import Missing
    from ddr.index import build as builds

    index = index_proof.opened(session, name)
    bench = index.bench(index.plan(is_measured=False), lambda progress: None)
    if not builds.is_built(bench):
        raise Missing(
            f"index {index.called} is not built from this corpus and its queries",
            hint=f"ddr index build {index.called}",
        )
    built = builds.build(bench)
    manifest = builds.manifest(bench, built, index.embedder(), index.now())
    refusals, uncompared = index_proof.refusals(index, manifest), index_proof.uncompared(index, manifest)
    if uncompared:
        session.notice(f"{output.mark('unknown')} not compared: {uncompared}")
    with bench.work.held():
        moved = index_proof.published(
            session,
            index,
            built,
            manifest,
            refusals,
            force,
            model_also=model_also,
            instead_of=instead_of,
            is_json=events,
        )
    session.show(moved, lambda: index_text.moved(index.called, moved, index.services))
    return 0


@command.command(name="list", short_help="Versions: what serves, rows, recall, pins.")
@click.argument("name", required=False)
@sessions.json_option
@sessions.pass_session
def list_(session: sessions.Session, name: str | None) -> int:
    """Versions, newest last: what serves, when it was made, rows, recall, pins.

    Exit codes: 0 done, 10 a version's manifest or the pointer is damaged, 64 usage, 69 a system is away.
    """
    return index_upkeep.show_list(session, index_proof.opened(session, name))


command.add_command(index_proof.check)
command.add_command(index_proof.repair)
command.add_command(index_upkeep.rollback)
command.add_command(index_upkeep.gc)
command.add_command(index_upkeep.pin)
command.add_command(index_upkeep.unpin)
command.add_command(index_upkeep.fetch)
command.add_command(index_spread.prepare)
command.add_command(index_spread.manifests)
