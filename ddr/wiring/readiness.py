"""How ready everybody is for the worst day, from the journal and ddr.yaml. Of the store nothing is asked but the names
of its snapshots (`gone`): of what is not there nobody can be ready."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime

from ddr.backup import metrics, missing, objectives
from ddr.domain import backup_records, status
from ddr.errors import DdrError
from ddr.journal import backup_view, views
from ddr.lib import endpoint, timetext
from ddr.wiring import build, repository_settings

ITSELF = "repository"


def gone(wired: build.Wired, board: views.Board) -> tuple[missing.Gone, ...]:
    """Snapshots that the journal tells of and that are surely gone. None where the store does not answer: it is asked
    once, as who looks at the worst moment has no time."""
    from ddr.wiring import repository

    if not board.backups.made:
        return ()
    try:
        return missing.surely(missing.look(repository.make_store(wired.config), board.backups))
    except DdrError:
        return ()


def judge(
    wired: build.Wired, board: views.Board, now: datetime | None = None, lacking: Sequence[missing.Gone] = ()
) -> objectives.Readiness:
    """The promises of every service against what was verified and rehearsed and is there. Times are real ones."""
    known = board.backups.without([one.id for one in lacking])
    verified = known.newest_verified
    drills = [objectives.Drill(at, record.took_s, record.passed) for at, record in known.drills]
    promised = {name: service.objectives for name, service in wired.platform.services.items()}
    return objectives.judge(
        promised,
        now or datetime.now(UTC),
        verified.taken_at if verified else None,
        drills,
        _repositories(wired, known),
    )


def _repositories(wired: build.Wired, known: backup_view.Backups) -> list[objectives.Repository]:
    """The first repository and its copies; of a copy the journal knows when it was brought up to date."""
    complete = [one.taken_at for one in known.made.values() if one.status == "complete"]
    itself = _repository(ITSELF, wired.config.repository, max(complete, default=None))
    newest_made = max(known.made.values(), key=lambda one: one.taken_at, default=None)
    found = [_locked(itself, _place(wired.config.repository, wired), newest_made, known)]
    for name, settings in wired.config.copies.items():
        place = _place(settings, wired)
        copied = (known.copied or {}).get(place)
        newest = known.made.get(copied[1]) if copied else None
        one = _repository(name, settings, newest.taken_at if newest else None)
        found.append(_locked(one, place, newest, known))
    return found if known.made else []


def _locked(
    of: objectives.Repository, place: str, newest: backup_records.BackupMade | None, known: backup_view.Backups
) -> objectives.Repository:
    """With the lock on its newest snapshot, as the last look found it. A lock on an older one says nothing of it."""
    lock = known.locked.get(place)
    if lock is None or newest is None or lock.snapshot != newest.snapshot:
        return of
    return dataclasses.replace(of, locked_until=lock.until, lock_mode=lock.mode)


def _repository(
    name: str, settings: repository_settings.Repository, newest_at: datetime | None
) -> objectives.Repository:
    """A folder may be a mount of another site: whether it is off site is not known. A bucket is, unless its address is
    this machine, or one of a private network."""
    if isinstance(settings, repository_settings.LocalRepository):
        return objectives.Repository(name, "local disk", None if name != ITSELF else False, newest_at)
    where = settings.endpoint or settings.region or "default region"
    return objectives.Repository(name, f"s3 {where}", endpoint.is_elsewhere(settings.endpoint), newest_at)


def _place(settings: repository_settings.Repository, wired: build.Wired) -> str:
    from ddr.wiring import repository

    return repository.store_of(settings, wired.config.base).name


def standing(
    service: str, board: views.Board, found: objectives.Readiness, lacking: Sequence[missing.Gone] = ()
) -> status.BackupStanding | None:
    """What `ddr status` shows of it; None where there never was a backup."""
    if not board.backups.made:
        return None
    newest = max(board.backups.made.values(), key=lambda one: one.taken_at)
    verified = board.backups.without([one.id for one in lacking]).newest_verified
    rpo, rto = found.rpo.get(service), found.rto.get(service)
    return status.BackupStanding(
        newest_at=newest.taken_at,
        verified_at=verified.taken_at if verified else None,
        rpo=f"{rpo.verdict}: {rpo.why}" if rpo else "",
        rto=f"{rto.verdict}: {rto.why}" if rto else "",
        score=found.score,
        missing=found.missing,
        is_ok=found.is_ok and not lacking,
        gone=tuple(str(one) for one in lacking),
    )


def platform_standing(
    board: views.Board, found: objectives.Readiness, lacking: Sequence[missing.Gone] = ()
) -> status.BackupStanding | None:
    """As `standing`, of the whole platform: backups are there also where no service promises anything. RPO and RTO are
    then what was measured."""
    one = standing("", board, found, lacking)
    if one is None:
        return None
    p95 = "no drill passed yet; an RTO is measured, not estimated"
    if found.rto_p95_s is not None:
        counted = "1 drill" if found.drills == 1 else f"{found.drills} drills"
        p95 = f"p95 of {counted} is {timetext.format_duration(found.rto_p95_s)}"
    rpo = "" if found.rpo else "no service promises one"
    return dataclasses.replace(one, rpo=rpo, rto=p95 + ("" if found.rto else "; no service promises one"))


def missed(wired: build.Wired, board: views.Board, found: objectives.Readiness, names: list[str]) -> tuple[str, ...]:
    """The RPO and RTO of these services that do not hold, one line each; what is not known does not hold. Empty where
    ddr.yaml says nothing of backups and none was ever made: then they are somebody else's."""
    if wired.config.backup is None and not board.backups.made:
        return ()
    kinds = (("RPO", found.rpo), ("RTO", found.rto))
    return tuple(
        f"{name} {kind} {points[name].verdict}: {points[name].why}"
        for name in names
        for kind, points in kinds
        if name in points and points[name].verdict is not objectives.Verdict.OK
    )


def facts(wired: build.Wired, board: views.Board) -> metrics.Facts:
    """For the Prometheus textfile."""
    lacking = gone(wired, board)
    known, found = board.backups.without([one.id for one in lacking]), judge(wired, board, lacking=lacking)
    verified = known.newest_verified
    newest = max(known.made.values(), key=lambda one: one.taken_at, default=None)
    complete = [one for one in known.made.values() if one.status == "complete"]
    last = max(complete, key=lambda one: one.taken_at, default=None)
    names = dict.fromkeys(name for one in known.made.values() for name in one.components)
    passed = [at for at, record in known.drills if record.passed]
    objectives_ = {name: service.objectives for name, service in wired.platform.services.items()}
    return metrics.Facts(
        components=[
            metrics.ComponentFacts(
                name,
                last_success_at=last.taken_at if last and name in last.components else None,
                duration_s=newest.took_s if newest else None,
                size_bytes=newest.size_bytes if newest else None,
                is_complete=newest.status == "complete" if newest else None,
            )
            for name in names
        ],
        last_verified_at=verified.taken_at if verified else None,
        last_drill_at=max(passed, default=None),
        added_bytes=newest.added_bytes if newest else None,
        rpo_s=(datetime.now(UTC) - verified.taken_at).total_seconds() if verified else None,
        rto_s=found.rto_p95_s,
        score=found.score,
        rpo_objective_s={name: one.rpo.total_seconds() for name, one in objectives_.items()},
        rto_objective_s={name: one.rto.total_seconds() for name, one in objectives_.items()},
    )
