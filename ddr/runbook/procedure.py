"""What the engine runs: the steps of a runbook, or a plain list of steps such as the faults of a game day.

A plain list is written as a document of its own (`kind: Steps`), so that it is frozen into the run like a runbook.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ddr.domain import records, runbooks
from ddr.lib import decode, digest
from ddr.runbook import parse

Purpose = Literal["runbook", "faults"]


@dataclass(frozen=True)
class Procedure:
    """`validation` are the steps without which nothing counts as recovered, `containment` is the way out."""

    title: str
    purpose: Purpose
    document: str
    steps: tuple[runbooks.Step, ...]
    approval: runbooks.Approval = field(default_factory=runbooks.Approval)
    validation: tuple[str, ...] = ()
    containment: str = ""

    @property
    def digest(self) -> str:
        return digest.of_bytes(self.document.encode())

    def step(self, name: str) -> runbooks.Step:
        """Raises KeyError."""
        return next(step for step in self.steps if step.name == name)

    def position(self, name: str) -> int:
        """1 for the first step."""
        return next(at for at, step in enumerate(self.steps, start=1) if step.name == name)


@dataclass(frozen=True)
class _StepsDocument:
    api_version: Literal["ddr/v1"]
    kind: Literal["Steps"]
    title: str
    steps: tuple[runbooks.Step, ...]


def of_runbook(document: parse.Document) -> Procedure:
    book = document.book
    return Procedure(
        book.name, "runbook", document.text, book.steps, book.approval, book.validation, book.target.containment
    )


def of_steps(title: str, steps: Sequence[runbooks.Step]) -> Procedure:
    """A list of actions as a procedure that ends as `injected`."""
    written = {"apiVersion": "ddr/v1", "kind": "Steps", "title": title, "steps": [_write(step) for step in steps]}
    text = json.dumps(written, indent=1, ensure_ascii=False)
    return Procedure(title, "faults", text, tuple(steps))


def _write(step: runbooks.Step) -> dict[str, Any]:
    """A step as documents write it, defaults left out."""
    plain = runbooks.Step("", action="-")
    written: dict[str, Any] = {"name": step.name, step.kind: step.verb}
    if step.inputs:
        written["with"] = decode.encode(step.inputs)
    for name in ("why", "on_failure", "is_critical", "timeout_seconds", "max_attempts"):
        if getattr(step, name) != getattr(plain, name):
            written[decode.document_key(name)] = getattr(step, name)
    return written


def of_run(started: records.RunStarted) -> Procedure:
    """The procedure that was frozen into a run. Raises BadDocument where this version cannot read it."""
    path = f"run {started.run}"
    if started.purpose == "runbook":
        return of_runbook(parse.read_text(started.document, path))
    complaints: list[decode.Complaint] = []
    found = decode.decode(_StepsDocument, parse.read_yaml(started.document, path), complaints)
    if found is None:
        raise parse.bad(path, complaints)
    return Procedure(found.title, "faults", started.document, found.steps)
