"""A snapshot that was taken over REST, restored into a live MLflow server: planned by looking, done, compared."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ddr.connectors.mlflow.over_rest import (
    capture,
    chosen,
    comparing,
    fidelity,
    job,
    mapping,
    scheme,
    served,
    spool,
    write_models,
    write_rest,
    write_runs,
)
from ddr.errors import Conflict, Damaged, InputError, Refused, Unavailable
from ddr.lib import durable, redact
from ddr.ports import restorable

WISHES: Mapping[str, str] = {"artifacts": "none", "mapping": "FILE", "credentials": "same"}


def plan(
    server: capture.Server, source: restorable.Source, options: restorable.RestoreOptions
) -> restorable.RestorePlan:
    """Only looks."""
    refusals: list[str] = []
    chosen.without_files(options)
    if options.more.get("credentials", "same") != "same":
        raise InputError("--with credentials: what is known is credentials=same", hint="or leave it out")
    with _opened(server, source, options) as work:
        lines = [restorable.PlanLine("note", "fidelity", fidelity.CLASS_B)]
        lines += scheme.lines(work.scheme, work.rows, work.there, work.known)
        lines += _more_lines(work)
        refusals += [f"{one.kind} {one.name}: {one.why}; say another --policy" for one in work.scheme.conflicts]
        refusals += _file_refusals(work)
        mapped = options.more.get("mapping", "")
        detail = f"old and new ids into {mapped}" if mapped else "with --with mapping=FILE they are written as CSV too"
        lines.append(restorable.PlanLine("note", f"old ids in the tag {mapping.SOURCE_ID}", detail))
    for line in fidelity.LINES:
        if line.kept in ("as a tag", "rewritten", "not kept"):
            lines.append(restorable.PlanLine("note", line.what, f"{line.kept}: {line.how}"))
    return restorable.RestorePlan(source.component.name, server.at.name, options, tuple(lines), tuple(refusals))


def restore(
    server: capture.Server,
    source: restorable.Source,
    options: restorable.RestoreOptions,
    progress: restorable.Progress | None,
    base: Path,
) -> None:
    """Repeatable. Conflict, and nothing was changed, where the plan would refuse."""
    with _opened(server, source, options) as work:
        if work.scheme.conflicts:
            one = work.scheme.conflicts[0]
            raise Conflict(f"{one.kind} {one.name}: {one.why}; nothing was changed", hint="plan again")
        refused = _file_refusals(work)
        if refused:
            raise Refused(refused[0], hint="nothing was changed; plan again")
        if progress:
            work.progress = progress
        runs = write_runs.Runs(work)
        runs.experiments()
        runs.runs()
        runs.contents()
        write_rest.Traces(work).all()
        write_rest.Files(work).all()
        models = write_models.Models(work)
        models.all()
        models.marks()
        if not options.only:
            write_rest.Others(work).all()
        runs.ends()
        _write_mapping(work, base)


def compare(
    server: capture.Server, source: restorable.Source, options: restorable.RestoreOptions
) -> Sequence[restorable.Comparison]:
    """The target captured anew, its ids turned back, table by table and file by file."""
    with _opened(server, source, options) as work:
        made = list(comparing.tables(work))
        if not chosen.without_files(options):
            made += comparing.files(work)
        return made


@contextlib.contextmanager
def _opened(server: capture.Server, source: restorable.Source, options: restorable.RestoreOptions) -> Iterator[job.Job]:
    """Both sides looked at."""
    with server.client() as client, spool.opened() as rows, spool.opened() as there:
        chosen.load(rows, source, options.only)
        names = frozenset(str(name) for (name,) in rows.ask("SELECT name FROM experiments"))
        models = frozenset(str(name) for (name,) in rows.ask("SELECT name FROM registered_models"))
        seen = capture.Gathered(client, there)
        seen.gather(capture.Scope(names, models, others=not options.only))
        if seen.doubts.texts:
            raise Unavailable(
                f"{server.at.name} cannot be looked at: {seen.doubts.texts[0]}", hint="look at the server, try again"
            )
        known = mapping.of(rows, there)
        made = scheme.decide(rows, there, options.policy)
        _forget(made, rows, known)
        yield job.Job(source, options, client, rows, there, known, made)


def _forget(made: scheme.Scheme, rows: spool.Spool, known: mapping.Map) -> None:
    """What is made anew is not there, whatever is in the one that it replaces."""
    for name, identity in rows.ask("SELECT name, experiment_id FROM experiments"):
        if made.experiments[str(name)].does == "recreate":
            for pairs, table, key in ((known.runs, "runs", "run_id"), (known.models, "logged_models", "model_id")):
                for (old,) in rows.ask(f"SELECT {key} FROM {table} WHERE experiment_id = ?", [identity]):  # noqa: S608
                    pairs.pop(str(old), None)


def _more_lines(work: job.Job) -> Iterator[restorable.PlanLine]:
    for table, words in (("scorers", "scorer versions"), ("evaluation_datasets", "evaluation data sets")):
        count = work.rows.count(table)
        left = count - min(count, work.there.count(table))
        if left:
            yield restorable.PlanLine("create", words, str(left))
    tree = work.source.component.tree(served.TREE)
    if tree is not None:
        skip = chosen.without_files(work.options)
        count = 0 if skip else tree.files
        detail = (
            "left out, as asked for"
            if skip
            else f"those of {count} that are not there byte by byte, through the server's proxy"
        )
        yield restorable.PlanLine("skip" if skip else "create", "files", detail)
    for (name, number), said in sorted(mapping.rootless(work.rows).items()):
        detail = f"what it came from is gone, and no server takes it back: {redact.foreign(said)}"
        yield restorable.PlanLine("note", f"version {number} of {name} is left out", detail)
    for name, host in work.rows.ask("SELECT name, host FROM webhooks ORDER BY name"):
        yield restorable.PlanLine("enter-again", f"webhook {name} (at {host}): its address and its secret")
    there = {(kind, _name(body)) for kind, body in work.there.ask("SELECT kind, body FROM other_objects")}
    lacking = {(kind, _name(body)) for kind, body in work.rows.ask("SELECT kind, body FROM other_objects")} - there
    for kind, name in sorted(lacking):  # MLflow makes some of them by itself for each experiment
        yield restorable.PlanLine("enter-again", f"{kind} {name}")


def _name(body: str) -> str:
    said = json.loads(body)
    return str(said.get("name") or said.get("id") or "without a name")


def _file_refusals(work: job.Job) -> Sequence[str]:
    tree = work.source.component.tree(served.TREE)
    if tree is None or not tree.files or chosen.without_files(work.options):
        return []
    query = "SELECT artifact_location FROM experiments WHERE artifact_location NOT LIKE 'mlflow-artifacts:%' LIMIT 1"
    other = work.there.ask(query)
    if not other:
        return []
    where = redact.foreign(other[0][0])
    how = "start it with --serve-artifacts, or say --with artifacts=none"
    return [f"the server keeps files in {where} and does not take them itself, so ddr cannot upload them: {how}"]


def _write_mapping(work: job.Job, base: Path) -> None:
    said = work.options.more.get("mapping", "")
    if not said:
        return
    try:
        durable.replace(base / said, work.known.table().encode())
    except OSError as problem:
        raise Damaged(
            f"restored, but the mapping could not be written to {said}: {redact.foreign(problem)}",
            hint="every object has its old id in the tag ddr.source_id; restore again to write it",
        ) from problem
