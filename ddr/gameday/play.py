"""A game day: scenario after scenario, each put back before the next begins. The result is folded from the journal."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from ddr.domain import gamedays, records
from ddr.errors import Interrupted
from ddr.gameday import fold, parse, progress, scene, stage
from ddr.journal import views


def play(
    sources: Sequence[parse.Source],
    on: stage.Stage,
    *,
    gameday: str = "",
    facts: Mapping[str, str] | None = None,
) -> gamedays.GameDay:
    """Play scenarios that were checked (`check.check`). Ctrl-C once ends the day with everything undone.

    Raises Interrupted when an earlier game day left faults behind, Refused and Unavailable where the journal cannot
    be written. What goes wrong inside a scenario is in the result.
    """
    require_nothing_left(on, sources)
    name = gameday or f"gd-{on.now():%m%d}-{secrets.token_hex(2)}"
    scenarios = [source.scenario for source in sources]
    on.record(
        records.GameDayStarted(
            name,
            tuple(scenario.name for scenario in scenarios),
            scenarios[0].seed if scenarios else 0,
            on.state_digest(),
            {scenario.name: scenario.scoring for scenario in scenarios},
        )
    )
    on.report(progress.DayBegan(name, tuple(scenario.name for scenario in scenarios)))
    why = _play_all(sources, on, name)
    so_far = fold.gameday(on.platform.journal.events(), name, on.platform.services)
    passed = not why and all(played.passed for played in so_far.played)
    on.record(records.GameDayEnded(name, passed, on.state_digest(), why))
    result = fold.gameday(on.platform.journal.events(), name, on.platform.services, facts)
    on.report(progress.DayEnded(result))
    return result


def _play_all(sources: Sequence[parse.Source], on: stage.Stage, name: str) -> str:
    """Why it ended early, '' when every scenario had its turn."""
    for position, source in enumerate(sources, start=1):
        scenario = source.scenario
        on.report(progress.ScenarioBegan(scenario.name, scenario.title, position, len(sources)))
        playing = scene.Scene(on, source, name)
        playing.play()
        if playing.stopped:
            return gamedays.STOPPED
        if not playing.is_clean:
            return f"after {scenario.name} the platform is not as it was before"
    return ""


def require_nothing_left(on: stage.Stage, sources: Sequence[parse.Source]) -> None:
    """Raises Interrupted when an earlier run has no end, faults are still in, or an incident is open.

    The newest is named first: what was done last is taken back first.
    """
    wanted = {source.scenario.service for source in sources}
    board = views.fold(on.platform.journal.events())
    for name, run in reversed(board.runs.items()):
        if run.started.service not in wanted:
            continue
        is_fault = run.started.purpose == "faults"
        if is_fault and run.status != "undone":
            raise Interrupted(
                f"run {name} ({run.started.title}) broke {run.started.service} and was not taken back",
                hint=f"ddr runbook undo {name}",
            )
        if not is_fault and run.end is None:
            raise Interrupted(
                f"run {name} ({run.started.title}) of {run.started.service} has no end yet",
                hint=f"ddr runbook resume {name}   or   ddr runbook undo {name}",
            )
    for service in sorted(wanted):
        for incident in board.open_incidents(service):
            raise Interrupted(
                f"incident {incident.id} of {service} is open: {incident.title}",
                hint=f"ddr incident resolve {incident.id}",
            )
