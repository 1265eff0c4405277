"""An MLflow out of a snapshot: into a new database, into an empty one, or into one that has rows already.

A new SQLite file is built beside and renamed; PostgreSQL gets everything in one transaction. So a restore that is cut
off leaves the database as it was, and called again it does all of it. Files come first: no row names what is not there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from ddr.connectors.mlflow import dump, relocate, schema, work
from ddr.connectors.tables import merge, readers, reflect, targets
from ddr.errors import Conflict, Damaged, Refused, Unavailable
from ddr.lib import durable, redact, rowdigest, sqlitefile
from ddr.ports import restorable

State = Literal["absent", "empty", "blank", "foreign", "full"]
DATABASE = "database"
_OF_A_FRESH_SERVER = frozenset({reflect.REVISIONS, "workspaces", "experiments"})


def plan(job: work.Work) -> restorable.RestorePlan:
    """Only looks."""
    component = job.source.component
    lines: list[restorable.PlanLine] = []
    refusals: list[str] = []
    state = look(job)
    too_long = list(job.too_long())
    if too_long:
        refusals += too_long
    elif is_fresh(job, state):
        lines += _fresh_lines(job, state)
        if state == "foreign" and job.place.path is None:
            refusals.append(
                f"{job.place.label} has tables of another schema; make an empty database and restore into that"
            )
    elif state == "foreign":
        refusals.append(
            f"{job.place.label} is not at the schema revision {job.revision} of the snapshot: bring it there with "
            "`mlflow db upgrade`, or restore into a new database"
        )
    else:
        with _looked_at(job) as target:
            found, problems = _merge_lines(job, _counted(job, target, write=False))
        lines += found
        refusals += problems
    lines += _table_notes(job)
    found, problems = _file_lines(job)
    lines += [*found, *(restorable.PlanLine("enter-again", what) for what in component.redactions)]
    return restorable.RestorePlan(component.name, job.place.label, job.options, tuple(lines), (*refusals, *problems))


def restore(job: work.Work, progress: restorable.Progress | None) -> None:
    """Refused where the plan would refuse, Conflict where rows or files collide; then nothing was changed."""
    state = look(job)
    if state == "foreign" and (job.place.path is None or not is_fresh(job, state)):
        raise Refused(f"{job.place.label} has another schema than the snapshot", hint="plan again: it says what to do")
    if not is_fresh(job, state):
        with _looked_at(job) as target:
            _, problems = _merge_lines(job, _counted(job, target, write=False))
        if problems:
            raise Conflict(problems[0], hint="nothing was changed; restore into an empty place, or say another policy")
    job.files.write(job.options.policy, progress)
    if not is_fresh(job, state):
        with _written_to(job) as target:
            for _ in _counted(job, target, write=True):
                pass
            target.advance()
    elif job.place.path is not None:
        _new_file(job, job.place.path, progress)
    else:
        _new_server(job, state, progress)


def compare(job: work.Work, *, is_whole: bool) -> Sequence[restorable.Comparison]:
    """`is_whole`: the target has nothing but the snapshot's rows, so that digests of tables are comparable."""
    made = []
    if is_whole:
        with _opened(job) as reader:
            shapes = {shape.name: shape for shape in reader.shapes}
            for table in job.tables:
                digest = "no such table"
                if table.name in shapes:
                    digest = rowdigest.of_batches(dump.rows(reader, shapes[table.name]))
                made.append(restorable.Comparison(job.explained(table.name), job.expected(table), digest))
            if job.place.path is not None:
                dangling = len(reader.ask("PRAGMA foreign_key_check"))
                made.append(restorable.Comparison("foreign keys", "0 dangling", f"{dangling} dangling"))
    else:
        with _looked_at(job) as target:
            for counts in _counted(job, target, write=False):
                total = counts.new + counts.same + counts.other
                kept = counts.same + (counts.other if job.options.policy == "skip" else 0)
                made.append(restorable.Comparison(job.explained(counts.table), f"{total} rows", f"{kept} rows"))
    return [*made, *(job.files.compare(tree) for tree in job.files.trees)]


def look(job: work.Work) -> State:
    """What is at the target now."""
    if job.place.path is not None and not job.place.path.exists():
        return "absent"
    with _opened(job) as reader:
        if not reader.shapes:
            return "empty"
        if list(readers.revisions(reader)) != job.revision.split():
            return "foreign"
        for shape in reader.shapes:
            some = len(reader.ask(f"SELECT 1 FROM {sqlitefile.quoted(shape.name)} LIMIT 2"))  # noqa: S608
            if some > (1 if shape.name in _OF_A_FRESH_SERVER else 0):
                return "full"
    return "blank"


def is_fresh(job: work.Work, state: State) -> bool:
    """Whether all tables are written anew; else the rows are added to those that are there."""
    return state in ("absent", "empty", "blank") or (job.options.policy == "recreate" and not job.options.only)


def _fresh_lines(job: work.Work, state: State) -> Iterator[restorable.PlanLine]:
    does: Literal["create", "recreate"] = "create" if state in ("absent", "empty") else "recreate"
    how = f"{job.place.dialect}, schema {job.revision}"
    if job.place.dialect != "sqlite" or not job.ddl:
        how += ", tables made by MLflow's own migrations"
    yield restorable.PlanLine(does, f"{DATABASE} {job.place.label}", how)
    for table in job.tables:
        if table.rows and table.name not in relocate.TRANSIENT:
            detail = f"{table.rows} rows" if job.chosen is None else f"the chosen ones of {table.rows} rows"
            yield restorable.PlanLine("create", f"table {table.name}", detail)


def _table_notes(job: work.Work) -> Iterator[restorable.PlanLine]:
    for table in job.tables:
        why = job.moves.why(table.name)
        if why and table.rows:
            yield restorable.PlanLine("rewrite" if "locations" in why else "note", f"table {table.name}", why)


def _merge_lines(
    job: work.Work, counted: Iterator[merge.Counts]
) -> tuple[Sequence[restorable.PlanLine], Sequence[str]]:
    """What would be done to each table, and why it may not be."""
    lines, problems = [], []
    policy = job.options.policy
    all_new = 0
    for counts in counted:
        what = f"table {counts.table}"
        if counts.same:
            lines.append(restorable.PlanLine("skip", what, f"{counts.same} rows are there already"))
        if counts.new:
            lines.append(restorable.PlanLine("create", what, f"{counts.new} rows"))
        all_new += counts.new
        if counts.other:
            shown = f"{counts.other} rows, like {', '.join(counts.examples)}"
            if policy == "fail":
                lines.append(restorable.PlanLine("conflict", what, shown))
                problems.append(f"{what}: {shown}: the same id with other content")
            elif policy == "skip":
                lines.append(restorable.PlanLine("skip", what, f"{shown}: left as they are"))
            else:
                lines.append(restorable.PlanLine("update" if policy == "update" else "recreate", what, shown))
    if policy == "fail" and not job.options.only and all_new:
        problems.append(f"{job.place.label} is not empty and lacks {all_new} rows of the snapshot")
    return lines, problems


def _file_lines(job: work.Work) -> tuple[Sequence[restorable.PlanLine], Sequence[str]]:
    lines: list[restorable.PlanLine] = []
    problems = []
    for tree in job.files.trees:
        counts = job.files.count(tree)
        what = f"files of {tree}"
        if counts.new:
            lines.append(restorable.PlanLine("create", what, f"{counts.new} files"))
        if counts.same:
            lines.append(restorable.PlanLine("skip", what, f"{counts.same} files are there already"))
        if counts.elsewhere:
            detail = f"{counts.elsewhere} files stay where they are: ddr writes them to a folder (artifacts) only"
            lines.append(restorable.PlanLine("note", what, detail))
        if counts.other:
            shown = f"{counts.other} files with other content, like {', '.join(counts.examples)}"
            does = {"fail": "conflict", "skip": "skip", "update": "update", "recreate": "recreate"}
            lines.append(restorable.PlanLine(does[job.options.policy], what, shown))  # type: ignore[arg-type]
            if job.options.policy == "fail":
                problems.append(f"{what}: {shown}")
    return lines, problems


def _counted(job: work.Work, target: targets.Target, *, write: bool) -> Iterator[merge.Counts]:
    """Every table against the target's, parents first; written too where that is asked for."""
    shapes = {shape.name: shape for shape in target.shapes}
    stored = [table for table in job.tables if table.name not in relocate.TRANSIENT | {reflect.REVISIONS}]
    lacking = [table.name for table in stored if table.name not in shapes and table.rows]
    if lacking:
        raise Refused(f"{job.place.label} has no table {lacking[0]}", hint="restore into a new database")
    overwrite = job.options.policy in ("update", "recreate")
    for table in stored:
        if table.name in shapes and table.rows:
            shape = shapes[table.name]
            counts = merge.stage(target, shape, table.columns, job.rows(table.name))
            if write and (counts.new or (counts.other and overwrite)):
                merge.write(target, shape, table.columns, overwrite=overwrite)
            yield counts


@contextlib.contextmanager
def _opened(job: work.Work) -> Iterator[readers.Reader]:
    if job.place.path is not None:
        with readers.sqlite(job.place.path) as reader:
            yield reader
    else:
        with readers.postgres(job.place.url) as server:
            yield server


class _Undo(Exception):
    """Ends a transaction that was for looking only."""


@contextlib.contextmanager
def _looked_at(job: work.Work) -> Iterator[targets.Target]:
    """To stage rows and to count: on a copy of the file, in a transaction that is taken back."""
    with contextlib.suppress(_Undo):
        if job.place.path is not None:
            with readers.copied(job.place.path) as copy, targets.sqlite_file(copy, is_new=True) as file:
                yield file
        else:
            with targets.postgres(job.place.url) as server:
                yield server
                raise _Undo


@contextlib.contextmanager
def _written_to(job: work.Work) -> Iterator[targets.Target]:
    if job.place.path is not None:
        with targets.sqlite_file(job.place.path, is_new=False) as file:
            yield file
    else:
        with targets.postgres(job.place.url) as server:
            yield server


def _load(job: work.Work, target: targets.Target, progress: restorable.Progress | None) -> None:
    """All rows, in place of those that the migrations made."""
    shapes = {shape.name for shape in target.shapes}
    for table in job.tables:
        if table.name not in shapes:
            if table.rows:
                raise Refused(
                    f"{table.name} is no table of MLflow at {job.revision}, and has {table.rows} rows",
                    hint="restore into the same kind of database as the snapshot's",
                )
            continue
        done = 0
        for batch in job.rows(table.name):
            target.insert(table.name, table.columns, batch)
            done += batch.size
            if progress:
                progress(f"table {table.name}", done, table.rows)
    target.advance()


def _new_file(job: work.Work, path: Path, progress: restorable.Progress | None) -> None:
    """Built beside, checked, made durable, renamed."""
    try:
        durable.make_folder(path.parent)
        beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.ddr")
        try:
            _build(job, beside, progress)
            _check(beside)
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            if path.exists():
                _let_go(path)
            beside.replace(path)
            durable.sync_folder(path.parent)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as problem:
        raise Unavailable(
            f"{path} cannot be written: {redact.foreign(problem)}", hint="look at the disk and its rights"
        ) from problem


def _build(job: work.Work, beside: Path, progress: restorable.Progress | None) -> None:
    if not job.ddl:
        schema.migrate(f"sqlite:///{beside.absolute()}", job.revision)
        with targets.sqlite_file(beside, is_new=True) as target:
            for shape in reversed(target.shapes):
                target.run(f"DELETE FROM {sqlitefile.quoted(shape.name)}")  # noqa: S608
            _load(job, target, progress)
        return
    statements = schema.of_stream(job.ddl)
    schema.make(beside, statements.tables)
    with targets.sqlite_file(beside, is_new=True) as target:
        _load(job, target, progress)
    schema.make(beside, statements.after)


def _check(path: Path) -> None:
    with sqlitefile.opened(path) as connection:
        said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    if said != ["ok"]:
        raise Damaged(f"the restored file is broken: {said[0]}", hint="look at the disk; nothing was put in place")


def _let_go(path: Path) -> None:
    """The file that is replaced must have no writer, and nothing beside that would be taken for the new file's."""
    with sqlitefile.opened(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("ROLLBACK")


def _new_server(job: work.Work, state: State, progress: restorable.Progress | None) -> None:
    if state == "empty":
        schema.migrate(job.place.url.replace("postgresql://", "postgresql+psycopg://", 1), job.revision)
    with targets.postgres(job.place.url) as target:
        names = ", ".join(sqlitefile.quoted(shape.name) for shape in target.shapes)
        target.run(f"TRUNCATE {names}")
        _load(job, target, progress)
