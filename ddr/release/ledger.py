"""What is live together, seen now and written into the journal."""

from __future__ import annotations

import dataclasses

from ddr.domain import records, releases
from ddr.errors import DdrError, Unavailable, UnknownName
from ddr.journal import views
from ddr.lib import decode, digest
from ddr.ports import platform as platforms


def observe(platform: platforms.Platform, service: str) -> releases.Release:
    """The live revision of every plane, with the digests of the bytes read now.

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


def record(platform: platforms.Platform, service: str, *, known_good: bool = False, note: str = "") -> releases.Release:
    """Append what is live now to the ledger; with `known_good` someone vouches for it.

    A release of which a plane could not be read is recorded, and says so. It is not recorded as known good, because
    nothing could go back to the plane that is missing: Unavailable.
    """
    seen = observe(platform, service)
    if known_good and seen.note:
        raise Unavailable(
            f"{service} is not recorded as known good: {seen.note}",
            hint="look with `ddr doctor`; without --known-good the part that can be read is recorded",
        )
    text = "; ".join(part for part in (note, seen.note) if part)
    made = dataclasses.replace(seen, known_good=known_good, note=text)
    platform.journal.append(records.ReleaseRecorded(made))
    return made


def withdraw(platform: platforms.Platform, service: str, release: str, why: str) -> releases.Release:
    """Nobody vouches for it any more: no rollback goes back there. Repeatable. Raises UnknownName."""
    known = {entry.id: entry for entry in views.fold(platform.journal.events()).releases.get(service, [])}
    if release not in known:
        good = ", ".join(name for name, entry in known.items() if entry.known_good) or "none"
        raise UnknownName(f"there is no release {release!r} of {service}", hint=f"known good: {good}")
    found = known[release]
    if not found.known_good:
        return found
    note = "; ".join(
        part for part in (found.note, f"withdrawn by {platform.actor}: {why or 'no reason given'}") if part
    )
    made = dataclasses.replace(found, known_good=False, note=note)
    platform.journal.append(records.ReleaseRecorded(made))
    return made
