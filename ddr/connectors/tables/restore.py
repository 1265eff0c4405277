"""A database out of a snapshot: into a new one, into an empty one, or into one that has rows already.

A new SQLite file is built beside and renamed; everything else is one transaction. So a restore that is cut off leaves
the rows as they were, and called again it does all of it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ddr.connectors.tables import dump, merge, readers, reflect, statements, targets, work
from ddr.errors import Conflict, Damaged, Refused, Unavailable
from ddr.lib import durable, redact, rowdigest, sqlitefile
from ddr.ports import restorable

State = Literal["absent", "empty", "blank", "hollow", "foreign", "shared", "full"]
"""Nothing there; tables of others only; tables without rows; of another schema and without rows, on a server; of
another schema; full, in a file with tables of others; full."""

DATABASE = "database"


def plan(job: work.Work) -> tuple[list[restorable.PlanLine], list[str]]:
    """Lines and refusals. Only looks."""
    lines: list[restorable.PlanLine] = []
    refusals: list[str] = []
    state = look(job)
    if is_fresh(job, state):
        lines += _fresh_lines(job, state)
        if state == "foreign" and job.place.path is None:
            refusals.append(
                f"{job.place.label} has tables of another schema; make an empty database and restore into that"
            )
    elif state in ("foreign", "hollow"):
        wanted = f"at the schema revision {job.revision}" if job.versions else "of the schema"
        way = "bring it there with its own migrations, or restore" if job.versions else "restore"
        if state == "hollow":
            way = f"its tables have no rows: --policy recreate drops them and makes them anew, or {way}"
        refusals.append(f"{job.place.label} is not {wanted} of the snapshot: {way} into a new database")
    else:
        with job.place.looked_at() as target:
            found, problems = _merge_lines(job, _counted(job, target, write=False))
        lines += found
        refusals += problems
    for table in job.tables:
        why = job.note(table.name)
        if why and table.rows:
            does: Literal["rewrite", "note"] = "rewrite" if "locations" in why else "note"
            lines.append(restorable.PlanLine(does, f"table {job.prefix}{table.name}", why))
    return lines, refusals


def check(job: work.Work) -> State:
    """What is at the target; Refused or Conflict where the plan would refuse, and nothing was changed."""
    state = look(job)
    is_lost = state == "foreign" and job.place.path is None
    if state in ("foreign", "hollow") and (is_lost or not is_fresh(job, state)):
        raise Refused(f"{job.place.label} has another schema than the snapshot", hint="plan again: it says what to do")
    if not is_fresh(job, state):
        with job.place.looked_at() as target:
            _, problems = _merge_lines(job, _counted(job, target, write=False))
        if problems:
            raise Conflict(problems[0], hint="nothing was changed; restore into an empty place, or say another policy")
    return state


def restore(job: work.Work, state: State, progress: restorable.Progress | None) -> None:
    """`state` as `check` gave it."""
    if not is_fresh(job, state):
        with job.place.written_to() as target:
            for _ in _counted(job, target, write=True):
                pass
            target.advance()
    elif job.place.path is not None and state not in ("empty", "shared"):
        _new_file(job, job.place.path, progress)
    else:
        if state == "hollow":
            _drop_hollow(job)
        _in_place(job, progress)


def compare(job: work.Work, *, is_whole: bool) -> list[restorable.Comparison]:
    """`is_whole`: its tables have nothing but the snapshot's rows, so that their digests are comparable."""
    made = []
    if is_whole:
        with job.place.opened() as reader:
            shapes = {shape.name: shape for shape in reader.shapes}
            for table in job.tables:
                digest = "no such table"
                if table.name in shapes:
                    digest = rowdigest.of_batches(dump.rows(reader, shapes[table.name]))
                made.append(restorable.Comparison(job.explained(table.name), job.expected(table), digest))
            if job.place.path is not None:
                dangling = len(reader.ask("PRAGMA foreign_key_check"))
                made.append(restorable.Comparison(f"{job.prefix}foreign keys", "0 dangling", f"{dangling} dangling"))
    else:
        with job.place.looked_at() as target:
            for counts in _counted(job, target, write=False):
                total = counts.new + counts.same + counts.other
                found = f"{counts.same} rows"
                if counts.other and job.options.policy == "skip":
                    found += f"; {counts.other} were left as they are and differ"
                found += f" and {counts.gone} that it lacks" if counts.gone else ""
                made.append(restorable.Comparison(job.explained(counts.table), f"{total} rows", found))
    return made


def look(job: work.Work) -> State:
    """What is at the target now."""
    if job.place.path is not None and not job.place.path.exists():
        return "absent"
    with job.place.opened() as reader:
        mine = job.mine(reader)
        if not mine:
            return "empty"
        if not job.fits(reader):
            if not _has_rows(job, reader, mine):
                if job.is_begun(reader):
                    return "blank"
                if job.place.path is None and _are_known(job, mine):
                    return "hollow"
            return "foreign"
        is_shared = job.place.path is not None and len(mine) < len(reader.shapes)
        known = {table.name for table in job.tables}
        if _has_rows(job, reader, [shape for shape in mine if shape.name in known]):
            return "shared" if is_shared else "full"
    return "empty" if is_shared else "blank"


def _has_rows(job: work.Work, reader: readers.Reader, shapes: Sequence[reflect.Shape]) -> bool:
    """More than a program has there that has only been started."""
    for shape in shapes:
        some = len(reader.ask(f"SELECT 1 FROM {sqlitefile.quoted(shape.name)} LIMIT 2"))  # noqa: S608
        if some > (1 if shape.name in job.of_a_fresh_one | {job.versions} else 0):
            return True
    return False


def _are_known(job: work.Work, shapes: Sequence[reflect.Shape]) -> bool:
    """Only what the snapshot has too may be dropped."""
    known = {table.name for table in job.tables} | {job.versions}
    return all(shape.name in known for shape in shapes)


def is_fresh(job: work.Work, state: State) -> bool:
    """Whether all tables are written anew; else the rows are added to those that are there."""
    return state in ("absent", "empty", "blank") or (job.options.policy == "recreate" and not job.is_partial)


def _fresh_lines(job: work.Work, state: State) -> Iterator[restorable.PlanLine]:
    does: Literal["create", "recreate"] = "create" if state in ("absent", "empty") else "recreate"
    how = job.place.dialect + (f", schema {job.revision}" if job.revision else "")
    if (job.place.dialect != "sqlite" or not job.ddl) and job.made_by:
        how += f", tables made by {job.made_by}"
    if state == "hollow":
        how += "; the tables there, of another schema and without rows, are dropped"
    yield restorable.PlanLine(does, f"{DATABASE} {job.place.label}", how)
    if job.place.path is not None and not job.place.path.parent.is_dir():
        yield restorable.PlanLine("create", f"folder {job.place.path.parent}", "it is not there yet")
    for table in job.tables:
        if table.rows and table.name not in job.transient:
            chosen = sum(batch.size for batch in job.rows(table.name)) if job.is_partial else table.rows
            if not chosen:
                continue
            detail = f"{chosen} of {table.rows} rows" if job.is_partial else f"{table.rows} rows"
            yield restorable.PlanLine("create", f"table {job.prefix}{table.name}", detail)


def _merge_lines(
    job: work.Work, counted: Iterator[merge.Counts]
) -> tuple[Sequence[restorable.PlanLine], Sequence[str]]:
    """What would be done to each table, and why it may not be."""
    lines, problems = [], []
    policy = job.options.policy
    all_new = 0
    for counts in counted:
        what = f"table {job.prefix}{counts.table}"
        if counts.same:
            lines.append(restorable.PlanLine("skip", what, f"{counts.same} rows are there already"))
        if counts.new:
            lines.append(restorable.PlanLine("create", what, f"{counts.new} rows"))
        if counts.gone:
            lines.append(restorable.PlanLine("delete", what, f"{counts.gone} rows that the snapshot lacks"))
        all_new += counts.new
        if counts.other:
            shown = f"{counts.other} rows, like {', '.join(counts.examples)}"
            if policy == "fail":
                lines.append(restorable.PlanLine("conflict", what, shown))
                problems.append(f"{what}: {shown}: the same id with other content")
            elif policy == "skip":
                lines.append(restorable.PlanLine("leave", what, shown))
            else:
                lines.append(restorable.PlanLine("update" if policy == "update" else "recreate", what, shown))
    if policy == "fail" and not job.is_partial and all_new:
        problems.append(f"{job.place.label} is not empty and lacks {all_new} rows of the snapshot")
    return lines, problems


def _counted(job: work.Work, target: targets.Target, *, write: bool) -> Iterator[merge.Counts]:
    """Every table against the target's, parents first; written too where that is asked for."""
    shapes = {shape.name: shape for shape in target.shapes}
    stored = [table for table in job.tables if table.name not in job.transient | {job.versions}]
    lacking = [table.name for table in stored if table.name not in shapes and table.rows]
    if lacking:
        raise Refused(f"{job.place.label} has no table {lacking[0]}", hint="restore into a new database")
    overwrite = job.options.policy in ("update", "recreate")
    gone = {}
    if job.options.policy == "recreate" and job.is_partial:
        doomed = job.doomed(target.reader())
        for table in reversed(stored):  # children before their parents
            if table.name in doomed:
                shape = shapes[table.name]
                gone[table.name] = merge.lacking(
                    target, shape, doomed[table.name], job.rows(table.name), write=write
                )  # fmt: skip
    for table in stored:
        if table.name in shapes and (table.rows or gone.get(table.name)):
            shape = shapes[table.name]
            counts = merge.stage(target, shape, table.columns, job.rows(table.name), job.left_alone)
            if write and (counts.new or (counts.other and overwrite)):
                merge.write(target, shape, table.columns, overwrite=overwrite, left_alone=job.left_alone)
            yield replace(counts, gone=gone.get(table.name, 0))


def _load(job: work.Work, target: targets.Target, progress: restorable.Progress | None) -> None:
    """All rows, in place of those that are there."""
    shapes = {shape.name for shape in target.shapes}
    target.empty([table.name for table in job.tables if table.name in shapes])
    for table in job.tables:
        done = 0
        for batch in job.rows(table.name):
            target.insert(table.name, table.columns, batch)
            done += batch.size
            if progress:
                progress(f"table {job.prefix}{table.name}", done, table.rows)
    target.advance()


def _in_place(job: work.Work, progress: restorable.Progress | None) -> None:
    with job.place.opened() as reader:
        there = {shape.name for shape in reader.shapes}
    if not all(table.name in there for table in job.tables):
        job.make_tables(job.place.sqlalchemy_url)
    with job.place.written_to() as target:
        _load(job, target, progress)


def _drop_hollow(job: work.Work) -> None:
    """Tables of another schema go where, looked at once more, they have no rows."""
    with job.place.written_to() as target:
        mine = job.mine(target.reader())
        if _has_rows(job, target.reader(), mine) or not _are_known(job, mine):
            raise Conflict(f"{job.place.label} got rows since the plan; nothing was changed", hint="plan again")
        target.run(f"DROP TABLE {', '.join(sqlitefile.quoted(shape.name) for shape in mine)}")


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
        job.make_tables(f"sqlite:///{beside.absolute()}")
        with targets.sqlite_file(beside, is_new=True) as target:
            _load(job, target, progress)
        return
    made = statements.of_stream(job.ddl)
    statements.make(beside, made.tables)
    with targets.sqlite_file(beside, is_new=True) as target:
        _load(job, target, progress)
    statements.make(beside, made.after)


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
