"""`ddr diagnose`: which plane is to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ddr.cli import openruns, output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import diagnoses


@click.command()
@click.argument("service", required=False)
@click.option("--incident", metavar="INC", default="", help="Write the diagnosis into this incident's timeline.")
@click.option("--no-replay", is_flag=True, help="Skip the swap test (it replays logged requests, read-only).")
@sessions.also_as_option
@sessions.json_option
@sessions.pass_session
def command(session: sessions.Session, service: str | None, incident: str, no_replay: bool) -> int:
    """Say which plane is to blame, with the evidence.

    CONFIRMED needs an identity mismatch or a swap test that restores right answers; LIKELY, POSSIBLE and
    INCONCLUSIVE follow. HEALTHY needs every plane, signal and the server to answer. It only looks; with --incident
    it writes one line into the journal. Without it the next command names the service's only open incident.

    Exit codes: 0 healthy or a plane was named, 2 inconclusive, or the journal cannot be read to its end, 69
    nothing answers.
    """
    from ddr.diagnose import advice, examine
    from ddr.domain import diagnoses, records
    from ddr.release import timeline
    from ddr.runbook import shelf

    wired = session.looking()
    name = session.service(service).name
    changes = timeline.changes(wired.platform, name, examine.horizon(wired.platform.clock.now()))
    found = examine.examine(
        wired.platform,
        name,
        changes=changes,
        replay=not no_replay,
        hand=advice.Hand(
            runbooks=shelf.by_plane(),
            roll=shelf.rolling(),
            incident=incident or _only_open(session, name),
            lift=openruns.lifting(session, name),
            waiting=next((run.next_command for run in openruns.of(session, name)), ""),
        ),
    )
    if incident and wired.trouble:
        session.notice(f"nothing was written into {incident}: the journal is damaged or gone")
    elif incident:
        wired.platform.journal.append(records.DiagnosisMade(name, found, incident))
    session.show(found, lambda: text(found))
    session.warn_interrupted()
    return session.code(2 if found.verdict is diagnoses.Verdict.INCONCLUSIVE else 0)


def _only_open(session: sessions.Session, service: str) -> str:
    """The service's incident, where there is one and no doubt about it."""
    found = session.board().open_incidents(service)
    return found[0].id if len(found) == 1 else ""


def text(found: diagnoses.Diagnosis) -> str:
    """At most 27 lines: verdict, evidence, what was ruled out, what was not checked, the next command."""
    leading = found.leading
    who = leading.plane.value if leading and leading.plane else "no plane"
    who = " and ".join(found.together) or who
    who = "" if found.verdict == "HEALTHY" else f": {who}"
    lines = [f"{output.heading(found.verdict)}  {found.service}{who}" + _culprit(leading)]
    if found.together:
        lines.append("  more than one layer is broken, each by a sign of its own")
    if found.onset_from and found.onset_to:
        lines.append(f"  began between {found.onset_from:%H:%M:%S} and {found.onset_to:%H:%M:%S} UTC")
    for candidate in found.candidates[:3]:
        name = candidate.plane or "something else"
        lines.append(f"  {candidate.probability:4.0%}  {name}")
        most = 4 if candidate is leading else 2 if candidate.plane in found.together else 1
        shown = sorted(candidate.evidence, key=lambda entry: -abs(entry.ratio - 1))[:most]
        lines += [f"        {entry.says}" for entry in shown]
    others = found.candidates[3:]
    if others:
        rest = ", ".join(candidate.plane or "something else" for candidate in others)
        lines.append(f"  {sum(candidate.probability for candidate in others):4.0%}  {rest}")
    lines += [f"  ruled out: {entry.partition('; ')[0]}" for entry in found.ruled_out[:5]]
    lines += [f"  not checked: {entry}" for entry in found.not_checked[:3]]
    for label, names in (("impaired", found.impaired), ("exposed", found.exposed), ("cleared", found.cleared)):
        if names:
            lines.append(f"  {label}: {', '.join(names)}")
    lines += [f"  {click.style('mind:', fg='yellow', bold=True)} {found.caution}"] if found.caution else []
    lines += [f"  {click.style('mend:', fg='yellow', bold=True)} {entry}" for entry in found.mend]
    if found.next_command:
        lines.append(f"  {output.heading('next:')} {found.next_command}")
    return "\n".join(lines)


def _culprit(leading: diagnoses.Candidate | None) -> str:
    if leading is None or leading.change is None:
        return ""
    change = leading.change
    who = f"by {change.actor}" if change.actor != "unknown" else "nobody recorded who"
    who = who if change.recorded else "not recorded by anyone"
    return f"\n  culprit: {change.name} at {change.at:%H:%M:%S} UTC, {who}"
