"""What is live together, seen now and written into the journal."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ddr.domain import planes, records, releases, revisions
from ddr.errors import DdrError, InputError, Unavailable, UnknownName
from ddr.journal import views
from ddr.lib import decode, digest
from ddr.ports import platform as platforms


def board(platform: platforms.Platform) -> views.Board:
    """The part of the journal that the ledger is: releases, observations, changes, marks."""
    return views.fold(platform.journal.events(0, views.LEDGER))


def observe(platform: platforms.Platform, service: str) -> releases.Release:
    """The live revision of every plane, with the digests of the bytes read now. Writes nothing.

    A plane that cannot be read is left out and named in `note`. Unavailable when none can be read.
    """
    found, silent = {}, []
    at = platform.clock.now()
    for plane in platform.service(service).planes:
        try:
            found[plane] = platform.plane(service, plane).revision()
        except DdrError as problem:
            silent.append(f"{plane} ({problem.message})")
    if not found:
        why = "; ".join(silent) or "it names none"
        raise Unavailable(f"no plane of {service} can be read: {why}", hint="look with `ddr doctor`")
    content = digest.of_value({"service": service, "revisions": decode.encode(found)})
    return releases.Release(
        id=f"r-{at:%Y%m%dT%H%M%S}-{digest.short(content, 6)}",
        service=service,
        at=at,
        revisions=found,
        note="not read: " + ", ".join(silent) if silent else "",
    )


@dataclass(frozen=True)
class Recorded:
    """`how`: a release of its own, one that was known and is told more of, or one that was known just so."""

    release: releases.Release
    how: Literal["new", "updated", "known"]


def record(
    platform: platforms.Platform,
    service: str,
    *,
    known_good: bool = False,
    note: str = "",
    made_of: releases.Lineage | None = None,
) -> releases.Release:
    """As `enter`; the release."""
    return enter(platform, service, known_good=known_good, note=note, made_of=made_of).release


def enter(
    platform: platforms.Platform,
    service: str,
    *,
    known_good: bool = False,
    note: str = "",
    made_of: releases.Lineage | None = None,
) -> Recorded:
    """Append what is live now to the ledger; with `known_good` someone vouches for it.

    What `made_of` does not say is filled in from the facts of the planes. The same revisions as in the newest release,
    made of the same, are that release: a pipeline that is run twice appends one event. What was not known of it yet
    (who vouches, a note, an evaluation) is added to it.

    A release of which a plane could not be read is recorded, and says so. It is not recorded as known good, because
    nothing could go back to the plane that is missing: Unavailable.
    """
    seen = observe(platform, service)
    if known_good and seen.note:
        raise Unavailable(
            f"{service} is not recorded as known good: {seen.note}",
            hint="look with `ddr doctor`; without --known-good the part that can be read is recorded",
        )
    said = made_of or releases.Lineage()
    text = "; ".join(part for part in (note, seen.note) if part)
    newest = next(reversed(board(platform).releases.get(service, [])), None)
    made = dataclasses.replace(
        seen, known_good=known_good, note=text, lineage=filled(said, seen.revisions), by=platform.actor
    )
    how: Literal["new", "updated"] = "new"
    if newest is not None and releases.same_revisions(newest, seen):
        together = releases.joined(newest.lineage, said)
        if together is not None:
            how = "updated"
            made = _told_more(newest, filled(together, seen.revisions), known_good=known_good, note=text)
            if made == newest:
                return Recorded(newest, "known")
    platform.journal.append(records.ReleaseRecorded(made))
    return Recorded(made, how)


def _told_more(was: releases.Release, lineage: releases.Lineage, *, known_good: bool, note: str) -> releases.Release:
    notes = [was.note] if was.note else []
    if note and note not in was.note.split("; ") and note != was.note:
        notes.append(note)
    return dataclasses.replace(was, known_good=was.known_good or known_good, note="; ".join(notes), lineage=lineage)


def filled(said: releases.Lineage, live: Mapping[planes.Plane, revisions.Revision]) -> releases.Lineage:
    """`said`, and what the planes know where it says nothing: the commit of the code, run and data of the model."""
    code, model = (live[plane].facts if plane in live else {} for plane in (planes.Plane.CODE, planes.Plane.MODEL))
    data = live.get(planes.Plane.DATA)
    known = {
        "commit": code.get(revisions.COMMIT, ""),
        "lock": code.get(revisions.REQUIREMENTS, ""),
        "run": model.get(revisions.RUN, ""),
        "data": model.get(revisions.DATA, "") or (f"{data.object}@{data.name}" if data else ""),
    }
    lacking: dict[str, Any] = {name: value for name, value in known.items() if not getattr(said, name)}
    return dataclasses.replace(said, **lacking)


def find(
    platform: platforms.Platform, service: str, release: str, known: views.Board | None = None
) -> releases.Release:
    """By its id, a beginning of it that no other has, or `newest` or `last-good`. Raises UnknownName, InputError."""
    platform.service(service)
    on = known or board(platform)
    found = on.releases.get(service, [])
    if release in ("newest", "last-good"):
        one = (found[-1] if found else None) if release == "newest" else on.last_good(service)
        if one is None:
            raise UnknownName(
                f"there is no {release} release of {service}", hint=f"`ddr release record {service} --known-good`"
            )
        return one
    fitting = [entry for entry in found if entry.id == release] or [
        entry for entry in found if entry.id.startswith(release)
    ]
    if len(fitting) > 1:
        raise InputError(
            f"{release!r} is the beginning of {len(fitting)} releases", hint=", ".join(one.id for one in fitting[-5:])
        )
    if not fitting:
        good = ", ".join(entry.id for entry in found[-5:] if entry.known_good) or "none"
        raise UnknownName(f"there is no release {release!r} of {service}", hint=f"known good: {good}")
    return fitting[0]


def withdraw(platform: platforms.Platform, service: str, release: str, why: str) -> releases.Release:
    """Nobody vouches for it any more: no rollback goes back there. Repeatable. Raises UnknownName."""
    found = find(platform, service, release)
    if not found.known_good:
        return found
    note = "; ".join(
        part for part in (found.note, f"withdrawn by {platform.actor}: {why or 'no reason given'}") if part
    )
    made = dataclasses.replace(found, known_good=False, note=note)
    platform.journal.append(records.ReleaseRecorded(made))
    return made
