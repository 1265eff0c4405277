"""Numbers and findings in words, the same in the terminal, in HTML and wherever else a report is read."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ddr.domain import accounts, gamedays, measures, planes, revisions, signals
from ddr.lib import timetext

SYMPTOMS = "symptoms"
RESPONSE = "response"
"""The two lanes of a timeline that are no plane."""

MARKS = {
    gamedays.Standing.MET: "✓",
    gamedays.Standing.MISSED: "✗",
    gamedays.Standing.NOT_RUN: "○",
}
"""Always beside the word, never instead of it."""


def percent(rate: float) -> str:
    """`4.1 %`; more digits where it is small."""
    return measures.percent(rate)


def value(number: float | None, detector: str, unit: str) -> str:
    """A reading the way its detector means it."""
    return measures.value(number, detector, unit)


def measure(detector: str, unit: str) -> str:
    """What stands at the y axis."""
    if detector in measures.SHARES and not unit:
        return "share"
    if detector == "distribution":
        return "PSI"
    return {"s": "time", "": "value"}.get(unit, unit)


def plural(count: int, one: str, many: str = "") -> str:
    """`1 scenario`, `2 scenarios`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def clock(at: datetime) -> str:
    """`09:05`: the hour on the platform's clock, UTC."""
    return at.strftime("%H:%M:%S").removesuffix(":00")


def day(at: datetime) -> str:
    """`2 November 2026`."""
    return f"{at.day} {at.strftime('%B %Y')}"


def gap(before: accounts.Stamp | None, after: accounts.Stamp | None) -> str:
    """Platform time between two moments; '' when one of them did not come."""
    return "" if before is None or after is None else timetext.format_duration(after.at - before.at)


def wall_gap(before: accounts.Stamp | None, after: accounts.Stamp | None) -> str:
    """Seconds on the wall between two moments."""
    return "" if before is None or after is None else f"{after.wall_s - before.wall_s:.1f} s"


def span(seconds: float | timedelta) -> str:
    return timetext.format_duration(seconds)


def sentence(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    listed = list(names)
    if len(listed) < 2:
        return "".join(listed)
    return f"{', '.join(listed[:-1])} and {listed[-1]}"


def outcome(played: gamedays.Played) -> str:
    """One word for a scenario."""
    if played.passed:
        return "passed"
    return "not run" if played.why_not and not played.points else "failed"


def headline(result: gamedays.GameDay) -> str:
    """The verdict in one line."""
    if result.passed:
        return "Every expectation was met"
    if not result.played:
        return "Nothing was played"
    if result.was_stopped:
        return "The game day was stopped"
    if not result.ended:
        return "The game day was cut off"
    failed = sum(not played.passed for played in result.played)
    if failed == len(result.played):
        return "The scenario did not pass" if failed == 1 else "No scenario passed"
    return f"{failed} of {len(result.played)} scenarios did not pass"


def lead(result: gamedays.GameDay) -> str:
    """What stands under the headline."""
    parts = [f"{plural(len(result.played), 'scenario')}, {result.points} of {result.possible} points."]
    wrong = [played.account.impact for played in result.played if played.account and played.account.impact]
    if wrong:
        parts.append(f"Customers got {plural(sum(impact.wrong for impact in wrong), 'wrong answer')} meanwhile.")
    if result.played and all(played.is_restored for played in result.played):
        parts.append("The platform's state has the digest it had before.")
    return " ".join(parts)


def reasons(played: gamedays.Played) -> tuple[str, ...]:
    """Everything that keeps a scenario from having passed; empty when it has."""
    found = [played.why_not] if played.why_not else []
    for expectation in played.expectations:
        if expectation.standing is not gamedays.Standing.MET:
            missed = [check.what for check in expectation.checks if check.standing is not gamedays.Standing.MET]
            found.append(f"{expectation.name}: {'; '.join(missed) or 'not run'}")
    for invariant in played.invariants:
        if invariant.standing is gamedays.Standing.MISSED:
            found.append(f"{invariant.signal} did not stay green ({len(invariant.broken)} of {invariant.judged} looks)")
        elif invariant.standing is gamedays.Standing.NOT_RUN:
            found.append(f"{invariant.signal} was never looked at")
    if not played.steady.held_before and not played.why_not:
        found.append("the steady state was not there before")
    if played.account and not played.is_restored:
        found.append("the platform's state is not what it was before" if played.state_after else "state not compared")
    if played.account and not played.steady.held_after:
        found.append("the steady state did not come back" if played.steady.after else "steady state not judged again")
    return tuple(found)


def state(judgement: signals.Judgement) -> str:
    return {"ok": "ok", "bad": "bad", "unknown": "unknown"}[judgement.state]


def samples(series: accounts.Series) -> str:
    """`n 580-604` over all looks that had a sample."""
    counts = [judgement.n for judgement in series.judgements if judgement.n]
    if not counts:
        return "n 0"
    low, high = min(counts), max(counts)
    return f"n {low:,}" if low == high else f"n {low:,} to {high:,}"


def extreme(series: accounts.Series) -> signals.Judgement | None:
    """The judgement furthest from its threshold on the bad side, or the last one that has a value."""
    valued = [judgement for judgement in series.judgements if judgement.value is not None]
    bad = [judgement for judgement in valued if judgement.state is signals.State.BAD]
    if not bad:
        return valued[-1] if valued else None
    return max(bad, key=lambda judgement: abs((judgement.value or 0.0) - (judgement.threshold or 0.0)))


def standing_of(played: gamedays.Played) -> gamedays.Standing:
    """The mark of a whole scenario."""
    by_word = {"passed": gamedays.Standing.MET, "not run": gamedays.Standing.NOT_RUN}
    return by_word.get(outcome(played), gamedays.Standing.MISSED)


def lane(happening: accounts.Happening) -> str:
    """Where a happening stands in a timeline."""
    if happening.plane is not None:
        return happening.plane.value
    return SYMPTOMS if happening.kind is accounts.Kind.SIGNAL else RESPONSE


def typed(command: accounts.Command) -> str:
    """The command as it can be pasted."""
    return shlex.join(("ddr", *command.words))


def exit_meaning(code: int) -> str:
    """Exit codes that need a word, as `: waits for approval`."""
    meanings = {1: "failed", 2: "with findings", 3: "conflict", 4: "waits for approval", 64: "bad usage"}
    return f": {meanings[code]}" if code in meanings else ""


@dataclass(frozen=True)
class Cell:
    """One plane at one moment; `moved` says that it is not what it was at the moment before."""

    revision: revisions.Revision | None
    moved: bool


@dataclass(frozen=True)
class PlaneRow:
    plane: planes.Plane
    cells: tuple[Cell, ...]


def plane_rows(views: Sequence[accounts.View]) -> tuple[PlaneRow, ...]:
    """The views as a table with a row for each plane."""
    by_view = [{revision.plane: revision for revision in view.revisions} for view in views]
    rows = []
    for plane in planes.Plane:
        found = [live.get(plane) for live in by_view]
        if not any(found):
            continue
        cells = []
        for before, revision in zip([found[0], *found], found, strict=False):
            moved = revision is not None and before is not None and not revision.is_same(before)
            cells.append(Cell(revision, moved))
        rows.append(PlaneRow(plane, tuple(cells)))
    return tuple(rows)


def first_bad_note(account: accounts.Account) -> str:
    """What the first of the five times means on a game day, and what the response made of it."""
    told = "On a game day the first bad moment is known: the fault is in force."
    found = account.diagnosis
    if found is None or found.onset_from is None or found.onset_to is None:
        return told
    return f"{told} The diagnosis put the beginning between {clock(found.onset_from)} and {clock(found.onset_to)}."
