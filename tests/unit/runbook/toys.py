"""Verbs over a few named cells, and small runbooks made of them: what the engine does, without what verbs do."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ddr.domain import outcomes, runbooks, services
from ddr.errors import Conflict, DdrError, Refused
from ddr.ports import platform as platforms
from ddr.ports import verb
from ddr.runbook import engine, parse, progress, work
from tests import recovery

OK, FAILED = outcomes.Status.OK, outcomes.Status.FAILED


@dataclass
class Cells:
    """Values under names. `trouble[(phase, cell)]` is raised, one each call, before or `after-` the phase's work."""

    values: dict[str, str] = field(default_factory=dict)
    effects: Counter[str] = field(default_factory=Counter)
    trouble: dict[tuple[str, str], list[BaseException]] = field(default_factory=dict)

    def meet(self, phase: str, cell: str) -> None:
        waiting = self.trouble.get((phase, cell), [])
        if waiting:
            raise waiting.pop(0)

    def set(self, cell: str, was: str, to: str) -> None:
        """Compare-and-set."""
        now = self.values.get(cell, "")
        if now == to:
            return
        if now != was:
            raise Conflict(f"{cell} is {now!r}, not {was!r}")
        self.values[cell] = to
        self.effects[f"{cell}: {was} -> {to}"] += 1


class _Toy:
    gives: tuple[str, ...] = ()
    waits = False
    may_fail = False
    wants: tuple[str, ...] = ("cell",)

    def __init__(self, cells: Cells) -> None:
        self.cells = cells

    def problems(self, inputs: Mapping[str, Any], service: services.Service) -> Sequence[str]:
        return [f"{name}: is missing" for name in self.wants if name not in inputs]

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        raise AssertionError("a probe is not observed")

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        raise AssertionError("a probe is not undone")


class SetCell(_Toy):
    """Sets `cell` to `to`; a value `refuse` cannot be prepared."""

    name = "cell.set"
    changes = True
    wants = ("cell", "to")
    gives = ("cell", "was", "to")

    def prepare(self, call: verb.Call) -> verb.Prepared:
        cell, to = call.inputs["cell"], call.inputs["to"]
        self.cells.meet("prepare", cell)
        if to == "refuse":
            raise Refused(f"{cell} does not take that")
        was = self.cells.values.get(cell, "")
        return verb.Prepared(
            f"set {cell} {was} -> {to}", (cell,), f"set {cell} to {was}", {"cell": cell, "was": was, "to": to}
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        cell = settled["cell"]
        self.cells.meet("act", cell)
        self.cells.set(cell, settled["was"], settled["to"])
        self.cells.meet("after-act", cell)
        return outcomes.Outcome(OK, f"{cell} is {settled['to']}", values=dict(settled))

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        self.cells.meet("observe", settled["cell"])
        now = self.cells.values.get(settled["cell"], "")
        if now == settled["to"]:
            return verb.Seen.DONE
        return verb.Seen.NOT_DONE if now == settled["was"] else verb.Seen.OTHER

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        cell = settled["cell"]
        self.cells.meet("undo", cell)
        if self.cells.values.get(cell, "") == settled["was"]:
            return outcomes.Outcome(outcomes.Status.SKIPPED, f"{cell} is {settled['was']!r} already")
        self.cells.set(cell, settled["to"], settled["was"])
        self.cells.meet("after-undo", cell)
        return outcomes.Outcome(outcomes.Status.UNDONE, f"{cell} is {settled['was']!r} again")


class ReadCell(_Toy):
    name = "cell.read"
    changes = False
    gives = ("value",)

    def prepare(self, call: verb.Call) -> verb.Prepared:
        return verb.Prepared(f"read {call.inputs['cell']}")

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        cell = call.inputs["cell"]
        self.cells.meet("read", cell)
        value = self.cells.values.get(cell, "")
        return outcomes.Outcome(OK, f"{cell} is {value!r}", values={"value": value})


class HoldCell(ReadCell):
    """OK while `cell` has the value `is`, inconclusive while it is empty."""

    name = "cell.hold"
    waits = True
    wants = ("cell", "is")

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        seen = super().act(call, settled)
        if not seen.values["value"]:
            return replace(seen, status=outcomes.Status.INCONCLUSIVE)
        return seen if seen.values["value"] == call.inputs["is"] else replace(seen, status=FAILED)


class Say(SetCell):
    name = "say"
    may_fail = True


def catalog(cells: Cells) -> verb.Catalog:
    return {made.name: made for made in (SetCell(cells), ReadCell(cells), HoldCell(cells), Say(cells))}


def document(steps: str, *, validation: str = "check", extra: str = "") -> parse.Document:
    """A runbook around `steps`; they must have a step `check` and a step `contain`."""
    head = f"""
        apiVersion: ddr/v1
        kind: Runbook
        metadata: {{name: toy, owner: team, severity: SEV3, reviewed: 2026-11-01}}
        summary: Something is wrong.
        signal: [{{signal: golden, meaning: wrong}}]
        impact: {{customers: some, business: little}}
        changes: {{window: 24h, planes: [model]}}
        target: {{plane: model, to: last-good, containment: contain}}
        roles: {{incidentCommander: a, decisionMaker: b}}
        validation: [{validation}]
        postIncident: []
    """
    text = textwrap.dedent(head).strip() + "\n" + textwrap.dedent(extra) + "steps:\n"
    lines = [f"  {line.strip()}\n" for line in steps.strip().splitlines()]
    return parse.read_text(text + "".join(lines), "toy.yaml")


ENDING = """
- {name: check, gate: cell.hold, with: {cell: a, is: good}, onFailure: "step:contain", isEnd: true}
- {name: contain, action: cell.set, with: {cell: fallback, to: "on"}, isEnd: true, endStatus: contained}
"""

PLAIN = (
    """
- {name: one, action: cell.set, with: {cell: a, to: good}}
- {name: two, action: cell.set, with: {cell: b, to: "{{ steps.one.to }}"}}
"""
    + ENDING
)

APPROVED = (
    """
- {name: look, probe: cell.read, with: {cell: wanted}}
- {name: before, action: cell.set, with: {cell: frozen, to: "yes"}}
- {name: approve, gate: approval}
- {name: one, action: cell.set, with: {cell: a, to: "{{ steps.look.value }}"}}
- {name: two, action: cell.set, with: {cell: b, to: good}}
"""
    + ENDING
)


@dataclass
class Stage:
    """Cells, a journal and engines over them."""

    cells: Cells = field(default_factory=lambda: Cells({"a": "bad", "wanted": "good"}))
    world: recovery.World = field(default_factory=recovery.World)
    heard: list[progress.Event] = field(default_factory=list)

    def runner(self, actor: str = "anna", stop: work.Stop | None = None, owner: Any = None) -> engine.Engine:
        on = self.platform(actor)
        tools = work.Tools(on, catalog(self.cells), self.heard.append, stop or work.Stop())
        return engine.Engine(on, tools.catalog, tools=replace(tools, owner=owner) if owner else tools)

    def platform(self, actor: str = "anna") -> platforms.Platform:
        return self.world.platform(actor)

    def start(self, steps: str, run: str = "r1", actor: str = "anna", **more: Any) -> engine.Finish:
        return self.runner(actor).start(document(steps), "postcode", run=run, **more)


def raised(do: Any, *args: Any, **more: Any) -> DdrError | None:
    """The error of a call, None when it went through."""
    try:
        do(*args, **more)
    except DdrError as problem:
        return problem
    return None


def step(name: str, **more: Any) -> runbooks.Step:
    return runbooks.Step(name, action="cell.set", **more)
