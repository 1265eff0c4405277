"""The score of a game day for a terminal: plain characters, so that it survives a pager and a ticket."""

from __future__ import annotations

from collections.abc import Callable

from ddr.domain import gamedays
from ddr.report import words

Paint = Callable[[str, str], str]
"""`(text, role)` with role good, bad, quiet or strong: the text as a person's terminal shows it."""


def plain(text: str, _role: str) -> str:
    return text


_ROLES = {
    gamedays.Standing.MET: "good",
    gamedays.Standing.MISSED: "bad",
    gamedays.Standing.NOT_RUN: "quiet",
}


def gameday(result: gamedays.GameDay, paint: Paint = plain) -> str:
    """Verdict, five times and score of each scenario, and where the proof is."""
    role = "good" if result.passed else "bad"
    parts = [paint(words.headline(result), role), f"  {words.lead(result)}"]
    for played in result.played:
        parts += ["", *_scenario(played, paint)]
    parts += ["", paint(f"journal {result.head.seq} {result.head.digest}", "quiet")]
    return "\n".join(parts)


def _scenario(played: gamedays.Played, paint: Paint) -> list[str]:
    standing = words.standing_of(played)
    mark = paint(f"{words.MARKS[standing]} {words.outcome(played)}", _ROLES[standing])
    lines = [f"{paint(played.name, 'strong')}  {mark}  {played.points} of {played.possible} points"]
    if played.account:
        lines += _account(played, paint)
    for expectation in played.expectations:
        standing = expectation.standing
        told = paint(f"{words.MARKS[standing]} {standing.value:7}", _ROLES[standing])
        lines.append(f"  {told} {expectation.points:3} of {expectation.possible:3}  {expectation.name}")
        if standing is not gamedays.Standing.MET:
            lines += [
                f"              {check.what}: wanted {check.expected}; found {check.found}"
                for check in expectation.checks
                if check.standing is not gamedays.Standing.MET
            ]
    named = {expectation.name for expectation in played.expectations}
    lines += [
        f"  {paint(words.MARKS[gamedays.Standing.MISSED], 'bad')} {reason}"
        for reason in words.reasons(played)
        if reason.partition(":")[0] not in named
    ]
    return lines


def _account(played: gamedays.Played, paint: Paint) -> list[str]:
    account = played.account
    assert account is not None
    lines = []
    if account.impact:
        impact = account.impact
        lines.append(
            f"  customers: {words.plural(impact.wrong, 'wrong answer')} of {impact.answers:,}"
            f" ({words.percent(impact.rate)}, usual {words.percent(impact.usual_rate)})"
        )
    if account.diagnosis and account.diagnosis.leading:
        leading = account.diagnosis.leading
        culprit = f": {leading.change.name}" if leading.change else ""
        lines.append(f"  blamed: {leading.plane or 'unknown'}, {account.diagnosis.verdict}{culprit}")
    before = None
    told = []
    for name, stamp in account.times.moments:
        if stamp is None:
            told.append(f"{name} {paint('never', 'bad')}")
            continue
        gap = f" (+{words.gap(before, stamp)})" if before else ""
        told.append(f"{name} {words.clock(stamp.at)}{gap}")
        before = stamp
    lines.append("  " + ", ".join(told))
    return lines
