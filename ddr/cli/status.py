"""`ddr status`: how every service stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from ddr.cli import openruns, output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import revisions, services, status


_NONE = "no services yet: name one in ddr.yaml, the file explains how\n  next: ddr doctor"


@click.command()
@click.argument("service", required=False)
@click.option("--check", is_flag=True, help="Exit 2 unless every service is ok and its RPO and RTO hold.")
@sessions.also_as_option
@sessions.json_option
@sessions.pass_session
def command(session: sessions.Session, service: str | None, check: bool) -> int:
    """Show planes, live revisions, signals, open incidents, backups.

    Backups are the platform's and are shown once, also where there is no service; RPO and RTO are promised by each.

    `good` beside a revision: it is the one of the newest known-good release. `??` is unknown, never healthy.

    With the journal damaged or gone, planes and signals are shown all the same, and a line on stderr says so.

    With --check the promises of backups count, too, where ddr.yaml has `backup:` or a backup was ever made: RPO by the
    newest snapshot that was verified, RTO by measured drills. What nobody has verified or rehearsed does not hold.

    Exit codes: 0 shown, 2 with --check when a service is not ok or an objective of its backups is missed, or the
    journal cannot be read to its end, 69 the platform's clock or journal is away.
    """
    from ddr.diagnose import overview
    from ddr.domain import signals
    from ddr.wiring import readiness

    wired = session.looking()
    board = session.board()
    names = [wired.platform.service(service).name] if service else sorted(wired.platform.services)
    lacking = readiness.gone(wired, board)
    ready = readiness.judge(wired, board, lacking=lacking)
    seen = [
        dataclasses.replace(
            overview.look(wired.platform, board, name, openruns.of(session, name), openruns.lifting(session, name)),
            backups=readiness.standing(name, board, ready, lacking),
        )
        for name in names
    ]
    missed = readiness.missed(wired, board, ready, names)
    pending = wired.log.pending()
    whole = readiness.platform_standing(board, ready, lacking)
    session.show(
        {
            "services": seen,
            "backups": whole,
            "missed": missed,
            "pending_events": pending,
            "journal": wired.trouble.message if wired.trouble else "",
        },
        lambda: _screen(session, seen, whole) + _missed(missed if check else ()) + _waiting(pending),
    )
    session.warn_interrupted()
    is_well = not missed and all(entry.state is signals.State.OK for entry in seen)
    return session.code(2 if check and not is_well else 0)


def _screen(
    session: sessions.Session, seen: Sequence[status.ServiceStatus], whole: status.BackupStanding | None
) -> str:
    """It ends with the next command of a service. The backups of the platform stand with a service that is alone, else
    by themselves; who has neither services nor a word on backups is not told that there are none."""
    wired = session.wired()
    is_alone = len(seen) == 1
    parts = [_text(entry, wired.platform.service(entry.service), is_alone=is_alone) for entry in seen]
    block = []
    if not is_alone and (seen or whole or wired.config.backup is not None):
        block = ["\n".join([output.heading("backups"), *_backups(whole)])]
    return "\n\n".join([*block, *parts] if parts else [_NONE, *block])


def _missed(missed: Sequence[str]) -> str:
    if not missed:
        return ""
    lines = [f"  {output.mark('bad')} {text}" for text in missed]
    return "\n\n" + "\n".join(
        ["objectives of backups that are missed:", *lines, "  next: ddr backup run, then ddr backup verify | drill"]
    )


def _waiting(pending: int) -> str:
    if not pending:
        return ""
    told = "1 event waits" if pending == 1 else f"{pending} events wait"
    return f"\n\n{output.mark('bad')} journal: {told} on this machine, not in the store\n  next: ddr journal sync"


def _text(seen: status.ServiceStatus, service: services.Service, *, is_alone: bool) -> str:
    from ddr.lib import timetext

    detectors = {spec.name: spec.detector for spec in service.signals}

    parts = [f"{output.heading(seen.service)}  {output.mark(seen.state)}   {timetext.format_clock(seen.at)}"]
    if seen.reasons:
        parts.append(f"  because: {'; '.join(seen.reasons)}")
    parts.append(output.table([_plane_row(plane) for plane in seen.planes]))
    if seen.fallback:
        parts.append(click.style("  FALLBACK answers are being served", fg="yellow", bold=True))
    parts.append(output.table([output.judgement_row(entry, detectors[entry.signal]) for entry in seen.signals]))
    rows = [
        (f"{incident.severity} {incident.id}", f"{incident.status}: {incident.title}",
         output.age(incident.declared_at, seen.at))
        for incident in seen.incidents
    ]  # fmt: skip
    parts.append(output.table(rows) if rows else "  no open incident")
    if seen.runs:
        parts.append(output.table([_run_row(run) for run in seen.runs]))
    good = "none recorded: `ddr release record --known-good`"
    if seen.last_good:
        good = f"{seen.last_good.id}, {output.age(seen.last_good.at, seen.at)}"
    parts.append(f"  last known-good release: {good}")
    parts += _backups(seen.backups) if is_alone else _promised(seen.backups)
    parts += [f"  mend: {entry}" for entry in seen.mend]
    if seen.next_command:
        parts.append(f"  {output.heading('next:')} {seen.next_command}")
    return "\n".join(parts)


def _promised(standing: status.BackupStanding | None) -> list[str]:
    """RPO and RTO of one service."""
    if standing is None:
        return []
    return [f"  {name} {text}" for name, text in (("RPO", standing.rpo), ("RTO", standing.rto)) if text]


def _backups(standing: status.BackupStanding | None) -> list[str]:
    """Against the real clock, which a sandbox does not go by."""
    if standing is None:
        return ["  newest verified backup: never"]
    now = datetime.now(UTC)
    lines = [f"  newest verified backup: {output.age(standing.verified_at, now)}"]
    if standing.newest_at != standing.verified_at:
        lines[0] += f"; the newest of all, {output.age(standing.newest_at, now)}, is not verified"
    if standing.gone:
        counted = "1 snapshot" if len(standing.gone) == 1 else f"{len(standing.gone)} snapshots"
        lines.append(f"    {output.mark('bad')} {counted} gone that nobody forgot: {', '.join(standing.gone)}")
        lines.append("      next: ddr backup verify")
    lines += [f"    {name} {text}" for name, text in (("RPO", standing.rpo), ("RTO", standing.rto)) if text]
    lines.append(
        f"    3-2-1-1-0: {standing.score} of 5" + (f"; {'; '.join(standing.missing)}" if standing.missing else "")
    )
    return lines


def _run_row(run: status.OpenRun) -> tuple[str, str, str]:
    return (f"run {run.id}", run.title, f"{run.status}, last step {run.step}" if run.step else run.status)


def _plane_row(plane: status.PlaneStatus) -> tuple[str, str, str, str]:
    if plane.revision is None:
        return (output.mark("unknown"), plane.plane, "cannot be read", plane.problem)
    wrong = _wrong(plane, plane.revision)
    if wrong:
        state, verdict = "bad", click.style(wrong, fg="red", bold=True)
    elif plane.known_good is False:
        state, verdict = "unknown", click.style("not the known-good one", fg="yellow")
    else:
        state, verdict = "ok", "good" if plane.known_good else "nothing to compare"
    frozen = f"  frozen: {plane.frozen}" if plane.frozen else ""
    return (output.mark(state), plane.plane, str(plane.revision), verdict + frozen)


def _wrong(plane: status.PlaneStatus, pointed: revisions.Revision) -> str:
    from ddr.diagnose import overview

    told = [f"bytes of {pointed.name} changed in place"] if plane.overwritten else []
    told += [overview.served_otherwise(pointed, plane.served)] if plane.served else []
    return "; ".join(told)
