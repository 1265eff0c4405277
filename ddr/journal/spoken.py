"""Events as a person reads them: one line each, and as JSON values."""

from __future__ import annotations

import json
from typing import Any

from ddr.domain import backup_records, events, index_records, journal_records, records
from ddr.lib import decode, digest


def line(event: events.Event) -> str:
    """What happened, on one line, without when and by whom."""
    return " ".join(of(event.record).split())


def document(event: events.Event) -> dict[str, Any]:
    """The event as JSON values: its envelope, and the record's fields under `body`."""
    record = event.record
    envelope = {
        "seq": event.seq,
        "id": event.id,
        "at": event.at,
        "wall": event.wall,
        "mono_s": event.mono_s,
        "actor": event.actor,
        "host": event.host,
        "kind": record.kind,
        "previous": event.previous,
        "digest": event.digest,
    }
    if isinstance(record, records.Foreign):
        original = json.loads(record.original)
        return {**decode.encode(envelope), "kind": original.get("kind", record.kind), "body": original.get("body")}
    return {**decode.encode(envelope), "body": decode.encode(record)}


def of(record: records.Record) -> str:
    """The record as a sentence. A note says exactly what was noted."""
    match record:
        case records.IncidentNoted():
            return record.text
        case records.IncidentDeclared():
            return f"{record.severity} declared: {record.title}"
        case records.IncidentMoved():
            return _because(f"incident is {record.status}", record.why)
        case records.DiagnosisMade():
            return _diagnosis(record)
        case records.ReleaseRecorded(release=release):
            good = "known good" if release.known_good else "seen live"
            return _because(f"release {release.id} of {release.service} is {good}", release.note)
        case records.RevisionMarked():
            verb = "may be used again" if record.good else "blocked"
            return _because(f"{record.plane} {record.object}@{record.name} {verb}", record.why)
        case records.ChangeRecorded(change=change):
            return _because(f"{change.name} by {change.actor}", change.summary)
        case records.MessagePosted():
            sent = "told" if record.delivered else f"could not tell ({record.why})"
            return f"{sent} {record.channel}: {record.text}"
        case _:
            return _of_run(record)


def _of_run(record: records.Record) -> str:
    match record:
        case records.RunStarted():
            return f"run {record.run} started: {record.title}"
        case records.RunClaimed():
            return f"run {record.run} claimed by process {record.pid} until {record.until:%H:%M:%SZ}"
        case records.StepIntended():
            again = f" (attempt {record.attempt})" if record.attempt > 1 else ""
            return f"{record.step}{again} is about to: {record.will}"
        case records.StepEnded():
            adopted = ", found done" if record.adopted else ""
            return _because(f"{record.step} {record.outcome.status}{adopted}", record.outcome.summary)
        case records.UndoIntended():
            return f"{record.step} is about to be taken back"
        case records.UndoEnded():
            return _because(f"undo of {record.step} {record.outcome.status}", record.outcome.summary)
        case records.ApprovalRequested():
            plan = digest.short(record.plan_digest)
            return f"approval of plan {plan} asked of {', '.join(record.approvers)}: {'; '.join(record.summary)}"
        case records.ApprovalDecided():
            verb = "granted" if record.granted else "denied"
            glass = ", breaking the glass" if record.break_glass else ""
            return _because(f"plan {digest.short(record.plan_digest)} {verb}{glass}", record.why)
        case records.RunPaused():
            return _because(f"run {record.run} paused", record.why)
        case records.RunEnded():
            return _because(f"run {record.run} {record.status}", record.why)
        case _:
            return _of_gameday(record)


def _of_gameday(record: records.Record) -> str:
    match record:
        case records.GameDayStarted():
            return f"game day {record.gameday} started: {', '.join(record.scenarios)}"
        case records.ScenarioStarted():
            return f"scenario {record.scenario} started"
        case records.ScenarioReached():
            return _because(f"scenario {record.scenario}: {record.phase}", record.why)
        case records.ScenarioScored():
            met = f"{sum(record.points.values())} of {sum(record.possible.values())} points"
            return f"scenario {record.scenario} {'passed' if record.passed else 'not passed'}: {met}"
        case records.GameDayEnded():
            return _because(f"game day {record.gameday} {'passed' if record.passed else 'not passed'}", record.why)
        case records.SignalsJudged():
            bad = [judgement.signal for judgement in record.judgements if judgement.state == "bad"]
            return f"{len(record.judgements)} signals of {record.service}: {', '.join(bad) or 'none'} bad"
        case records.PlanesObserved():
            seen = ", ".join(f"{revision.plane} {revision}" for revision in record.revisions)
            return f"{record.service} at {record.moment}: {seen}"
        case records.CommandEnded():
            return f"ddr {' '.join(record.words)} (by {record.by}) ended with {record.exit_code}"
        case records.ImpactMeasured(service=service, impact=impact):
            return f"{service}: {impact.wrong} of {impact.answers} answers were wrong"
        case records.Foreign():
            return "written by a newer ddr; not understood here"
        case _:
            return _of_backup(record)


def _of_backup(record: records.Record) -> str:
    match record:
        case backup_records.BackupMade():
            size = f"{record.size_bytes >> 20} MiB, {record.added_bytes >> 20} MiB new"
            return f"backup {record.snapshot[:8]} {record.status}: {', '.join(record.components)} ({size})"
        case backup_records.BackupVerified():
            found = f"{record.findings} findings" if record.findings else "nothing wrong"
            return f"backup verified ({record.level}): {len(record.whole)} snapshots whole, {found}"
        case backup_records.BackupDrilled():
            ended = "passed" if record.passed else "FAILED"
            return _because(f"drill of {record.snapshot[:8]} {ended} in {record.took_s:.1f} s", record.why)
        case backup_records.BackupsForgotten():
            gone = ", ".join(name[:8] for name in record.snapshots) or "none"
            return f"snapshots forgotten: {gone}; {record.deleted_bytes >> 20} MiB deleted"
        case backup_records.BackupCopied():
            return f"backup copied to {record.to}: {record.objects} objects, newest {record.newest[:8]}"
        case backup_records.BackupLocked():
            ends = f"until {record.until:%Y-%m-%d}" if record.until else "not all of it"
            return f"backup locked in {record.repository}, {record.mode}: {ends} ({record.objects} objects)"
        case backup_records.BackupRestored():
            held = f"{len(record.unequal)} differ" if record.unequal else "all equal"
            where = f"{record.component} of {record.snapshot[:8]} restored into {record.target}"
            return f"{where}: {record.compared} compared, {held}"
        case _:
            return _of_index(record)


def _of_index(record: records.Record) -> str:
    match record:
        case index_records.IndexBuilt():
            found = f"recall@{record.k} {record.recall:.4f} (at least {record.recall_low:.4f})"
            return f"index {record.index} built: {record.shape}, {record.rows:,} rows, {found}; not published"
        case index_records.IndexIntended():
            if record.removed:
                return f"index {record.index} is about to lose old versions: {', '.join(record.removed)}"
            return f"index {record.index} is about to move: {record.before or 'nothing'} → {record.after}"
        case index_records.IndexMoved():
            what = f"index {record.index} {record.what}: {record.before or 'nothing'} → {record.after}"
            return _because(what, record.forced)
        case index_records.IndexChecked():
            found = f"{len(record.findings)} findings: {record.findings[0]}" if record.findings else "nothing wrong"
            levels = ", ".join(map(str, record.levels))
            return f"index {record.index} {record.version} checked (levels {levels}): {found}"
        case index_records.IndexRemoved():
            return f"index {record.index}: old versions removed: {', '.join(record.versions)}"
        case _:
            return _of_journal(record)


def _of_journal(record: records.Record) -> str:
    match record:
        case journal_records.JournalAdopted():
            lost = f", without {', '.join(map(str, record.lost))}" if record.lost else ""
            what = f"the journal was taken as found, up to event {record.newest}; {record.seen} had been seen{lost}"
            return _because(what, record.why)
        case journal_records.JournalMended():
            which = ", ".join(map(str, record.events[:20]))
            return f"lost events were brought back from {', '.join(record.sources)}: {which}"
        case _:
            return record.kind


def _diagnosis(record: records.DiagnosisMade) -> str:
    found = record.diagnosis
    leading = found.leading
    if leading is None:
        return f"{record.service}: {found.verdict}"
    who = leading.plane or "unknown"
    change = f", {leading.change.name}" if leading.change else ""
    return f"{record.service}: {found.verdict} {who} (p={leading.probability:.2f}){change}"


def _because(what: str, why: str) -> str:
    return f"{what}: {why}" if why else what
