"""Backups as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from ddr.cli import output
from ddr.lib import timetext

if TYPE_CHECKING:
    from ddr.backup import (
        comparing,
        copying,
        drill,
        keeping,
        locks,
        missing,
        prune,
        repair,
        repository,
        retention,
        shrink,
        undeleting,
        verify,
    )
    from ddr.domain import snapshots

KEEP_THE_KEY = "print `ddr backup key export` and lock it away: without a key nobody reads it, not even you"
SNAPSHOTS = "backup/snapshots/"
_SHORT = 8


def share_of(text: str) -> tuple[int, int]:
    """`3/7` as (3, 7); `today/7` is another one each day. Raises UsageError."""
    first, _, of = text.partition("/")
    if first == "today" and of.isdigit() and int(of):
        return datetime.now(UTC).toordinal() % int(of) + 1, int(of)
    if not first.isdigit() or not of.isdigit() or not 1 <= int(first) <= int(of):
        raise click.UsageError(f"--share is {text!r}; write it like 3/7, the third of seven parts, or today/7")
    return int(first), int(of)


def id_in(key: str) -> str:
    return key.rpartition("-")[2][:16]


def made(
    snapshot: snapshots.Snapshot, shrunk: Sequence[shrink.Shrink], lock: locks.Standing | None, now: datetime
) -> str:
    """How a backup ended, what it could not take, what to do."""
    is_whole = snapshot.status == "complete"
    name = output.heading(snapshot.id[:_SHORT])
    head = f"{output.mark('ok' if is_whole else 'unknown')} snapshot {name} {snapshot.status}"
    sizes = f"{output.size(snapshot.size_bytes)} in {snapshot.took_s:.1f} s, {output.size(snapshot.added_bytes)} new"
    lines = [f"{head}: {sizes}"]
    for component in snapshot.components:
        fidelity = component.facts.get("fidelity", "")
        lines += [f"  {component.name}: fidelity {fidelity}"] if fidelity and not component.problem else []
        lines += [f"  {component.name}: {component.problem}"] if component.problem else []
        lines += [f"  {component.name}: {text}" for text in component.warnings[:5]]
        more = len(component.warnings) - 5
        lines += [f"  {component.name}: and {more} more warnings (`ddr backup show`)"] if more > 0 else []
        lines += [f"  {component.name}: left out: {text}" for text in component.redactions]
    lines += [f"  {output.mark('bad')} {finding}" for finding in shrunk]
    if shrunk:
        lines.append(
            "      until it is back each run says so; where that is meant: `shrunkAccepted: TIME` under `backup:`, or "
            "the last one before it stays"
        )
    lines += [f"  {line}" for line in locked(lock, now).splitlines()] if lock else []
    lines.append("  next: ddr backup verify" if is_whole else "  next: mend what is named above, then run it again")
    return "\n".join(lines)


def listed(
    found: Sequence[snapshots.Snapshot],
    unread: Sequence[tuple[repository.Head, str]],
    verified: Mapping[str, datetime],
    states: Sequence[keeping.Found] = (),
    *,
    lacking: Sequence[str] = (),
    is_only_kept: bool = False,
) -> str:
    """One line a snapshot, and below them one line a kept state of a plane."""
    rows = [
        (
            snapshot.id[:_SHORT],
            f"{snapshot.at:%Y-%m-%d %H:%M}",
            snapshot.status,
            output.size(snapshot.size_bytes),
            f"+{output.size(snapshot.added_bytes)}",
            "verified" if snapshot.id in verified else "",
            ", ".join(
                component.name + (" (SHRUNK)" if "shrunk" in component.facts else "")
                for component in snapshot.components
            ),
        )
        for snapshot in found
    ]
    lines = [output.table(rows)] if rows else []
    lines += [f"  {output.mark('bad')} {head.id[:_SHORT]}  {problem}" for head, problem in unread]
    lines += [
        f"  {output.mark('bad')} {snapshot.id[:_SHORT]} {one.name}: {one.facts['shrunk']}; the newest that was full is "
        f"{one.facts.get('shrunk.full', '')[:_SHORT]}"
        for snapshot in found[-1:]
        for one in snapshot.components
        if "shrunk" in one.facts
    ]
    lines += lacking
    nothing = (
        "no state is kept\n  next: ddr features snapshot" if is_only_kept else "no snapshot yet\n  next: ddr backup run"
    )
    lines = lines or ([nothing] if not (is_only_kept and states) else [])
    return "\n".join([*lines, *_states(states)])


def gone(found: Sequence[missing.Gone], ways: str) -> list[str]:
    """Snapshots that are gone without a word, each with its time, and what to do."""
    lines = [f"  {output.mark('bad')} {one.id[:_SHORT]}  {missing_since(one)}" for one in found]
    return [*lines, f"      next: {ways}"] if found else []


def missing_since(one: missing.Gone) -> str:
    return f"{one.taken_at:%Y-%m-%d %H:%M}  MISSING: the journal tells of it, nobody forgot it, and it is not there"


def _states(found: Sequence[keeping.Found]) -> list[str]:
    if not found:
        return []
    rows = [
        (
            one.head.id[:_SHORT], f"{one.kept.at:%Y-%m-%d %H:%M}", output.size(one.kept.size_bytes),
            f"+{output.size(one.snapshot.added_bytes)}", one.kept.object, one.kept.why,
        )
        for one in found
    ]  # fmt: skip
    return [output.heading("kept states of planes"), output.table(rows)]


def shown(found: snapshots.Snapshot, files: Mapping[str, Sequence[str]]) -> str:
    """Everything about one snapshot but its bytes."""
    lines = [
        f"{output.heading(found.id[:_SHORT])}  {found.at:%Y-%m-%d %H:%M:%S} UTC  {found.status}",
        f"  by {found.actor} on {found.host}, ddr {found.version}, {found.took_s:.1f} s"
        + (f", after {found.parent[:_SHORT]}" if found.parent else ""),
        f"  {output.size(found.size_bytes)}, of it {output.size(found.added_bytes)} stored anew",
    ]
    for one in found.components:
        lines += ["", f"{output.heading(one.name)}  {one.kind}  {one.source}"]
        lines += [f"  {output.mark('bad')} {one.problem}"] if one.problem else []
        lines += [f"  {name}: {value}" for name, value in one.facts.items()]
        tables = [table for table in one.tables if table.rows]
        if one.tables:
            lines.append(f"  {len(one.tables)} tables, {one.rows:,} rows; with rows:")
            lines.append(output.table([(table.name, f"{table.rows:,}") for table in tables], indent=4))
        lines += [f"  stream {stream.name}: {output.size(stream.size_bytes)}" for stream in one.streams]
        lines += [
            f"  tree {tree.name}: {tree.files:,} files in {tree.folders:,} folders, {output.size(tree.size_bytes)}"
            for tree in one.trees
        ]
        lines += [
            f"  secret {entry.name} ({entry.kind}): {', '.join(entry.keys)}  {entry.origin}".rstrip()
            for entry in one.references
        ]
        lines += [f"  left out: {text}" for text in one.redactions]
        lines += [f"  warning: {text}" for text in one.warnings]
        lines += [f"    {path}" for path in files.get(one.name, ())]
    return "\n".join(lines)


def differences(found: Sequence[comparing.Difference]) -> str:
    """One line a difference."""
    signs = {"added": "+", "removed": "-", "changed": "~"}
    rows = [
        (signs[one.how], one.component, one.what, " → ".join(part for part in (one.before, one.after) if part))
        for one in found
    ]
    return output.table(rows) or "no difference"


def verified(report: verify.Report, took_s: float, now: datetime) -> str:
    """What was looked at, each finding with what it affects and what to do."""
    state = "bad" if report.findings else "ok"
    looked = f"{report.packs} packs" + (f", {output.size(report.checked_bytes)} read" if report.checked_bytes else "")
    head = f"{output.mark(state)} {report.level}: {len(report.whole)} of {report.snapshots} snapshots whole"
    head += f", {len(report.whole_states)} of {report.states} kept states" if report.states else ""
    lines = [f"{head} ({looked}, {took_s:.1f} s)"]
    for finding in report.findings:
        lines.append(f"  {output.heading(finding.object)}: {finding.what}")
        lines += [f"      affects {line}" for line in finding.affected]
        lines += [f"      next: {finding.next_move}"] if finding.next_move else []
    lines += [f"  newest snapshot: {locked(report.lock, now)}"] if report.lock and report.lock.holds else []
    return "\n".join([*lines, *(f"  note: {note}" for note in report.notes)])


def locked(found: locks.Standing, now: datetime) -> str:
    """How long nobody can delete what the kept snapshots need, and what is not locked."""
    longer = f", {found.extended:,} of them locked longer now" if found.extended else ""
    if found.until is None:
        head = f"{output.mark('bad')} not all is locked ({found.mode}, {found.objects:,} objects{longer})"
        lines = [head]
        lines += [f"    {found.unlocked:,} objects have no lock"] if found.unlocked else []
        return "\n".join([*lines, *(f"    {problem}" for problem in found.problems), "    next: ddr backup lock"])
    left = round((found.until - now).total_seconds() / 86_400)
    day = f"{found.until:%Y-%m-%d}"
    ends = f"until {day}, {left} days left" if found.until > now else f"since {day} no more"
    state = output.mark("ok" if found.holds and found.until > now else "bad")
    return f"{state} locked ({found.mode}) {ends}: {found.objects:,} objects{longer}"


def undeleted(lost: Sequence[undeleting.Lost], problems: Sequence[str], *, is_applied: bool) -> str:
    """What was hidden, by kind and day, and what of it is still there."""
    if not lost:
        return "nothing is hidden: every object has the bytes that its name says, or was never there"
    groups: dict[tuple[str, str, str, bool], int] = {}
    for one in lost:
        group = (one.kind, one.how, f"{one.at:%Y-%m-%d %H:%M}", one.found is not None)
        groups[group] = groups.get(group, 0) + 1
    rows = [
        (f"{count:,} {kind}", f"{how} {when}", "still there beneath" if is_there else "GONE: no version has its bytes")
        for (kind, how, when, is_there), count in groups.items()
    ]
    lines = [output.table(rows), *(f"  {output.mark('bad')} {problem}" for problem in problems)]
    back = sum(one.found is not None for one in lost) - len(problems)
    if is_applied:
        lines.append(f"  {back:,} objects are back\n  next: ddr backup verify --level structure; change the S3 keys")
    elif back:
        lines.append("  nothing was changed; next: ddr backup undelete --apply")
    return "\n".join(lines)


def drill_document(done: drill.Drill) -> dict[str, object]:
    """For `--json`."""
    return {
        "snapshot": done.snapshot.id,
        "taken_at": done.snapshot.at,
        "passed": done.passed,
        "took_s": done.took_s,
        "parts": done.parts,
        "why": done.why,
        "left_behind": done.left_behind,
    }


def drilled(done: drill.Drill) -> str:
    """Each component: what was compared, how long each phase took, what did not hold."""
    state = output.mark("ok" if done.passed else "bad")
    word = "restores" if done.passed else "does NOT restore as it should"
    lines = [f"{state} snapshot {done.snapshot.id[:_SHORT]} {word}: measured recovery time {done.took_s:.1f} s"]
    if not done.passed and all(part.holds for part in done.parts):
        lines.append(f"  {done.why}")
    for part in done.parts:
        mark = output.mark("ok" if part.holds else "bad")
        phases = ", ".join(f"{name} {took:.1f} s" for name, took in part.phases.items())
        lines.append(f"  {mark} {part.component}: {part.compared} compared; {phases}")
        lines += [f"      {problem}" for problem in part.problems]
        lines += [f"      left out: {part.left_out}"] if part.left_out else []
        lines += [f"      {one.what}: {one.expected} expected, {one.found} found" for one in part.unequal[:10]]
    return "\n".join([*lines, *([f"  {done.left_behind}"] if done.left_behind else [])])


def repaired(done: repair.Repaired, *, is_shut: bool = False) -> str:
    lines = [f"the index lists {done.chunks:,} chunks of {done.packs} packs"]
    for pack, count in done.lost:
        lines.append(f"  {output.mark('bad')} pack {pack[:12]}: {'all' if count < 0 else count} chunks are lost")
    lines += [f"  {output.mark('bad')} snapshot {one[:_SHORT]} cannot be read" for one in done.damaged]
    lines += [f"  set aside: {key}" for key in done.aside]
    lines += ["  next: ddr backup repair --drop-damaged (its bytes stay, below backup/aside/)"] if done.damaged else []
    shut = "  next: ddr backup key add --recovery --key-file PATH (or --passphrase): what ddr.yaml names opens nothing"
    return "\n".join([*lines, shut if is_shut else "  next: ddr backup run, then ddr backup verify"])


def decisions(found: Sequence[retention.Decision]) -> list[dict[str, object]]:
    """For `--json`."""
    return [
        {"snapshot": one.snapshot.id, "keeps": type(one).__name__ == "Kept", "reasons": one.reasons} for one in found
    ]


def pruned(
    found: Sequence[retention.Decision],
    plan: prune.Plan,
    grace: timedelta,
    aged: Sequence[keeping.Aged],
    *,
    is_dry: bool,
) -> str:
    """What stays and why, what goes and when."""
    rows = [
        (
            "keep" if type(one).__name__ == "Kept" else "forget",
            one.snapshot.id[:_SHORT],
            f"{one.snapshot.at:%Y-%m-%d %H:%M}",
            "; ".join(one.reasons),
        )
        for one in found
    ]
    would = "would be " if is_dry else ""
    later = timetext.format_duration(grace)
    lines = [output.table(rows)] if rows else []
    if aged:
        gone = sum(one.is_forgotten for one in aged)
        lines.append(f"  kept states of planes: {len(aged) - gone} stay, {gone} {would}forgotten")
    lines.append(f"  {len(plan.delete)} packs ({output.size(plan.deleted_bytes)}) {would}deleted now")
    waiting = len(plan.bury) + len(plan.thin)
    lines.append(f"  {waiting} packs ({output.size(plan.buried_bytes)}) {would}deleted by a prune {later} from now")
    for until in sorted({one.until.date() for one in plan.held}):
        those = [one.key for one in plan.held if one.until.date() == until]
        counts = {kind: sum(key.split("/")[1] == kind for key in those) for kind in ("snapshots", "kept", "packs")}
        words = [f"{count} {'kept states' if kind == 'kept' else kind}" for kind, count in counts.items() if count]
        shown = " and ".join(words)
        lines.append(f"  {shown} would go, too, and cannot: locked until {until}; a prune after that takes them")
    return "\n".join(lines)


def files(found: Mapping[str, str]) -> str:
    """Each with its name above it, where there are several."""
    if len(found) == 1:
        return next(iter(found.values())).rstrip("\n")
    return "\n".join(f"# --- {name}\n{content}" for name, content in found.items()).rstrip("\n")


def copied(done: copying.Copied, to: str, lock: locks.Standing | None, now: datetime) -> str:
    lines = [f"{done.objects} objects ({output.size(done.size_bytes)}) copied to {to}; {done.there} were there"]
    lines += [f"  {done.by_server} packs by the server itself, unread here"] if done.by_server else []
    lines += [f"  {output.mark('bad')} left out, damaged here: {key}" for key in done.skipped]
    lines += [f"  {line}" for line in locked(lock, now).splitlines()] if lock else []
    return "\n".join([*lines, *(["  next: ddr backup verify"] if done.skipped else [])])
