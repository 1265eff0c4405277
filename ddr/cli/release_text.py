"""Releases as text for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from ddr.cli import output

if TYPE_CHECKING:
    from ddr.domain import changes, differences, moments, releases
    from ddr.journal import views
    from ddr.release import deployable, marking
    from ddr.release import discovery as discoveries


def release(entry: releases.Release, board: views.Board | None = None) -> str:
    """Its head, one line a plane, and one line of what it was made of."""
    rows = [(plane, str(revision), _block(board, entry, plane)) for plane, revision in entry.revisions.items()]
    made = made_of(entry.lineage)
    return "\n".join([_head(entry), output.table(rows), *([f"  {made}"] if made else [])])


def _head(entry: releases.Release) -> str:
    good = click.style("known good", fg="green") if entry.known_good else "not vouched for"
    by = f"by {entry.by}" if entry.by else ""
    head = f"{output.heading(entry.id)}  {entry.service}  {entry.at:%Y-%m-%d %H:%M:%SZ}  {good}  {by}  {entry.note}"
    return head.rstrip()


def _block(board: views.Board | None, entry: releases.Release, plane: object) -> str:
    revision = next(one for name, one in entry.revisions.items() if name == plane)
    why = board.blocked_why(entry.service, revision) if board else ""
    return click.style(f"blocked: {why}", fg="red") if why else ""


def made_of(lineage: releases.Lineage) -> str:
    """`commit 1a2b3c  data train@…  accuracy=0.91`; '' where nothing is known."""
    from ddr.lib import digest

    said = [
        (field.name, str(getattr(lineage, field.name)))
        for field in dataclasses.fields(lineage)
        if field.name != "evaluation" and getattr(lineage, field.name)
    ]
    parts = [f"{name} {digest.short(value) if value.startswith(digest.PREFIX) else value}" for name, value in said]
    return "  ".join([*parts, *(f"{name}={value:g}" for name, value in lineage.evaluation.items())])


def whole(entry: releases.Release, board: views.Board) -> str:
    """As `release`, with every fact."""
    lines = [_head(entry)]
    for plane, revision in entry.revisions.items():
        lines.append(output.table([(output.heading(plane), str(revision), _block(board, entry, plane))]))
        lines += [output.table([(name, _cut(value)) for name, value in revision.facts.items()], indent=6)]
    made = made_of(entry.lineage)
    return "\n".join(line for line in [*lines, f"  {made}" if made else ""] if line)


def _cut(text: str) -> str:
    return text if len(text) <= 90 else f"{text[:87]}…"


def then(
    service: str,
    at: datetime,
    found: Sequence[moments.Then],
    entry: releases.Release | None,
    silent: Sequence[str],
) -> str:
    from ddr.domain import timelines
    from ddr.lib import timetext

    if not found:
        return f"nothing is recorded of {service} at {timetext.format_clock(at)}"
    colours = {"seen": "green", "told": "green", "inferred": "cyan", "open": "yellow", "unknown": "yellow"}
    rows = []
    for one in found:
        what = str(one.revision) if one.revision else "?"
        what += f" or {timelines.with_digest(one.other)}" if one.other else ""
        rows.append((one.plane, what, click.style(one.certainty, fg=colours[one.certainty]), one.why))
    good = "known good" if entry and entry.known_good else "not vouched for"
    which = f"newest release until then: {entry.id} of {timetext.format_clock(entry.at)}, {good}" if entry else ""
    lines = [f"{output.heading(service)} at {timetext.format_clock(at)}", output.table(rows)]
    lines += [f"  {which}"] if which else ["  no release was recorded until then"]
    return "\n".join([*lines, *(f"  not asked: {one}" for one in silent)])


def compared(one: releases.Release, other: releases.Release, found: differences.Comparison) -> str:
    head = f"{output.heading(one.id)} → {output.heading(other.id)}"
    if found.is_same:
        return f"{head}\n  the same on every plane"
    lines = [head]
    for plane in found.planes:
        before, after = (str(side) if side else "not there" for side in (plane.before, plane.after))
        if plane.is_same:
            lines.append(f"  {output.mark('ok')} {plane.plane}  {before}, the same")
        else:
            lines.append(
                f"  {click.style('≠', fg='yellow', bold=True)}  {output.heading(plane.plane)}  {before} → {after}"
            )
        lines += [f"       {difference}" for difference in plane.facts if difference.before and difference.after]
        lonely = [difference.name for difference in plane.facts if not (difference.before and difference.after)]
        lines += [f"       said of one side only: {', '.join(lonely)}"] if lonely else []
    lines += [f"  {click.style('≠', fg='yellow', bold=True)}  {difference}" for difference in found.lineage]
    return "\n".join(lines)


def discovery(seen: discoveries.Discovery) -> str:
    from ddr.lib import timetext

    name = output.heading(seen.live.service)
    if seen.compared_with is None:
        lines = [f"{name}: the first look; from here on differences are told", release(seen.live)]
    else:
        since = f"since {timetext.format_clock(seen.compared_with)}"
        if seen.found:
            count = "1 change" if len(seen.found) == 1 else f"{len(seen.found)} changes"
            lines = [f"{name}: {click.style(f'{count} not recorded by anyone', fg='yellow', bold=True)} {since}"]
            lines += [_found(change) for change in seen.found]
            lines.append(f"  next: ddr diagnose {seen.live.service}   or, if it is meant: ddr release record")
        else:
            lines = [f"{name}: nothing that nobody recorded, {since}"]
        lines += [f"  announced: {change.name} by {change.actor}" for change in seen.announced]
    kept = "recorded" if seen.is_recorded else "nothing was recorded"
    return "\n".join([*lines, *(f"  not asked: {one}" for one in seen.silent), f"  ({kept})"])


def _found(change: changes.Change) -> str:
    from ddr.lib import timetext

    between = f"first seen {timetext.format_clock(change.at)}"
    if change.not_before:
        between += f", not before {timetext.format_clock(change.not_before)}"
    inside = f"\n      inside: {change.detail}" if change.detail else ""
    return f"  {change.name}: {change.summary}\n      {between}{inside}"


def marked(done: marking.Marked, verdict: str) -> str:
    verb = "may be used again" if verdict == "good" else "blocked"
    lines = [_head(done.release), *(f"  {one.plane} {one}: {verb}" for one in done.marked)]
    return "\n".join([*lines, *(f"  {output.mark('unknown')} {trouble}" for trouble in done.troubles)])


def verified(found: Sequence[deployable.Verified], window: timedelta | None) -> str:
    return "\n\n".join(_verified(one, window) for one in found)


def _verified(found: deployable.Verified, window: timedelta | None) -> str:
    from ddr.lib import timetext

    of = f"the recovery window of {timetext.format_duration(window)}" if window is not None else "all time"
    count = len(found.verdicts)
    able = sum(verdict.is_deployable for verdict in found.verdicts)
    lines = [f"{output.heading(found.service)}: {able} of {count} known-good releases of {of} can be deployed today"]
    if found.why:
        lines += [f"  {output.mark('bad')} {found.why}", f"  next: {found.next}"]
    for verdict in found.verdicts:
        state = "bad" if verdict.findings else "ok" if verdict.is_deployable else "unknown"
        lines.append(f"  {output.mark(state)} {verdict.release}  {timetext.format_clock(verdict.at)}")
        for part in verdict.parts:
            if part.standing != "ok":
                lines.append(f"       {part.what} {part.name}: {click.style(part.standing, bold=True)}: {part.why}")
            if part.loads:
                lines.append(f"       {part.what} {part.name}: loads: {part.loads}")
            if part.next:
                lines.append(f"       next: {part.next}")
    return "\n".join(lines)
