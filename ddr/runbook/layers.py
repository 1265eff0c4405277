"""What lies on what: of effects that build on one another the newest is taken back first.

A fault that promoted version 5 where another had promoted 4 goes back to 4; when 4 is gone, nobody can take it back
any more. So the older one is refused while the newer one stands, and the run that stands in the way is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ddr.errors import Refused
from ddr.journal import run_view, views
from ddr.ports import journal, verb


def require_on_top(log: journal.Journal, catalog: verb.Catalog, seen: run_view.Run) -> None:
    """Raises Refused with the run to take back first, where newer effects of other runs lie on those of this one."""
    runs = views.fold(log.events()).runs
    mine = [(_when(runs, seen, step), layer) for step, layer in _layers(catalog, seen)]
    newer = [
        (_when(runs, run, step), run)
        for run in runs.values()
        if run.id != seen.id and run.started.service == seen.started.service
        for step, layer in _layers(catalog, run)
        if any(layer == other and _when(runs, run, step) > at for at, other in mine)
    ]
    if newer:
        _, top = max(newer, key=lambda found: found[0])
        raise Refused(
            f"run {seen.id} is not taken back: what run {top.id} ({top.started.title}) did lies on it",
            hint=f"`ddr runbook undo {top.id}` first, then `ddr runbook undo {seen.id}`",
        )


def above(catalog: verb.Catalog, seen: run_view.Run, name: str) -> str:
    """The newer step of the same run that lies on step `name` and could not be taken back, '' where there is none."""
    layers = {step.name: layer for step, layer in _layers(catalog, seen)}
    newer = list(seen.steps)[list(seen.steps).index(name) + 1 :]
    return next((other for other in newer if name in layers and layers.get(other) == layers[name]), "")


def _layers(catalog: verb.Catalog, run: run_view.Run) -> Iterator[tuple[run_view.Step, str]]:
    """The steps whose effect may still be there, with what they build on."""
    for step in run.to_undo:
        intent = step.intended
        if intent is None:
            continue
        found: object = catalog.get(intent.verb)
        if isinstance(found, verb.Layered):
            yield step, found.layer(intent.settled)


def _when(runs: Mapping[str, run_view.Run], run: run_view.Run, step: run_view.Step) -> tuple[object, ...]:
    """Platform time may stand still between two runs; then the one that the journal has later is newer."""
    return (step.intended_at, list(runs).index(run.id), list(run.steps).index(step.name))
