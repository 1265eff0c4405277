"""An MLflow out of a snapshot: its files, then its rows, so that no row names what is not there.

What holds for the rows of any database is in `tables.restore`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ddr.connectors.mlflow import files, work
from ddr.connectors.tables import restore as tables
from ddr.connectors.tables import work as table_work
from ddr.errors import Damaged
from ddr.ports import restorable


def plan(job: work.Work, users: table_work.Work | None) -> restorable.RestorePlan:
    """Only looks. `users` is the restore of the database of users, where there is one."""
    job.check_rewrites()
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
    todo = {tree: job.objects.check(tree, job.options.policy) for tree in job.files.trees}
    job.files.write(job.options.policy, progress)
    for tree, those in todo.items():
        job.objects.write(tree, those, progress)
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
    for tree in job.files.trees:
        in_bucket = job.objects.compare(tree)
        on_disk = job.files.compare(tree)
        if in_bucket is None or on_disk.expected != files.NO_FILES:
            made.append(on_disk)
        made += [in_bucket] if in_bucket is not None else []
    return made


def _file_lines(job: work.Work) -> tuple[Sequence[restorable.PlanLine], Sequence[str]]:
    lines: list[restorable.PlanLine] = []
    problems: list[str] = []
    if job.options.more.get("artifacts") == work.ROWS_ALONE:
        return [restorable.PlanLine("note", "files", "left as they are: the rows alone are restored")], ()
    for tree in job.files.trees:
        try:
            counted = (("files", job.files.count(tree)), ("objects", job.objects.count(tree)))
        except Damaged as problem:
            raise Damaged(
                f"{tree}: {problem.message}",
                hint="which files there were cannot be read; the rows alone: `--with artifacts=none`; or take an older "
                "snapshot",
            ) from problem
        for what, counts in counted:
            more, said = _count_lines(f"{what} of {tree}", what, counts, job.options.policy)
            lines += more
            problems += said
    return lines, problems


def _count_lines(
    what: str, noun: str, counts: files.Counts, policy: restorable.Policy
) -> tuple[Sequence[restorable.PlanLine], Sequence[str]]:
    lines: list[restorable.PlanLine] = []
    if counts.new:
        lines.append(restorable.PlanLine("create", what, f"{counts.new} {noun}"))
    if counts.same:
        lines.append(restorable.PlanLine("skip", what, f"{counts.same} {noun} are there already"))
    if counts.links:
        lines.append(restorable.PlanLine("note", what, f"{counts.links} symbolic links stay out: a bucket has none"))
    if counts.elsewhere:
        detail = f"{counts.elsewhere} {noun} belong where ddr does not write; they stay where they are"
        lines.append(restorable.PlanLine("note", what, detail))
    if not counts.other:
        return lines, ()
    shown = f"{counts.other} {noun} with other content, like {', '.join(counts.examples)}"
    does = {"fail": "conflict", "skip": "leave", "update": "update", "recreate": "recreate"}
    lines.append(restorable.PlanLine(does[policy], what, shown))  # type: ignore[arg-type]
    return lines, ((f"{what}: {shown}",) if policy == "fail" else ())
