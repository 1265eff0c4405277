"""An MLflow out of a snapshot: its files, then its rows, so that no row names what is not there.

What holds for the rows of any database is in `tables.restore`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ddr.connectors.mlflow import work
from ddr.connectors.tables import restore as tables
from ddr.connectors.tables import work as table_work
from ddr.ports import restorable


def plan(job: work.Work, users: table_work.Work | None) -> restorable.RestorePlan:
    """Only looks. `users` is the restore of the database of users, where there is one."""
    component = job.source.component
    refusals = list(job.too_long())
    lines: list[restorable.PlanLine] = []
    if not refusals:
        lines, refusals = tables.plan(job)
    if users is not None:
        more, said = tables.plan(users)
        lines += more
        refusals += said
    files, problems = _file_lines(job)
    lines += [*files, *(restorable.PlanLine("enter-again", what) for what in component.redactions)]
    return restorable.RestorePlan(component.name, job.place.label, job.options, tuple(lines), (*refusals, *problems))


def restore(job: work.Work, users: table_work.Work | None, progress: restorable.Progress | None) -> None:
    """Refused where the plan would refuse, Conflict where rows or files collide; then nothing was changed."""
    databases = [job, *([users] if users is not None else [])]
    states = [tables.check(database) for database in databases]
    job.files.write(job.options.policy, progress)
    for database, state in zip(databases, states, strict=True):
        tables.restore(database, state, progress)


def compare(
    job: work.Work, users: table_work.Work | None, lines: Sequence[restorable.PlanLine]
) -> Sequence[restorable.Comparison]:
    """`lines` are those of the plan: they tell which database was made anew."""
    made = []
    for database in [job, *([users] if users is not None else [])]:
        is_whole = any(line.what == f"{tables.DATABASE} {database.place.label}" for line in lines)
        made += tables.compare(database, is_whole=is_whole)
    return [*made, *(job.files.compare(tree) for tree in job.files.trees)]


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
