"""The verb `model.promote-bad`: one of four ways in which a service comes to answer with a bad model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddr.domain import outcomes, services
from ddr.ports import verb
from ddr.sandbox.harm import promotion, weights

KINDS = (*promotion.KINDS, weights.KIND)


@dataclass
class PromoteBad:
    root: Path
    name: str = "model.promote-bad"
    changes: bool = True
    about: str = "the service comes to answer with a bad model; pods, latency and errors stay green"
    takes: Mapping[str, str] = field(default_factory=lambda: {"kind": f"one of {', '.join(KINDS)}"})

    def problems(self, inputs: Mapping[str, Any], service: services.Service) -> Sequence[str]:
        found = [f"{name} is not known here; allowed: kind" for name in inputs if name != "kind"]
        if inputs.get("kind") not in KINDS:
            wrong = f"kind is {inputs['kind']!r}" if "kind" in inputs else "kind is missing"
            found.append(f"{wrong}, must be one of {', '.join(KINDS)}")
        return found

    def layer(self, settled: Mapping[str, str]) -> str:
        """Of all kinds the same: weights may be those of a version that another of these faults promoted."""
        return "model"

    def prepare(self, call: verb.Call) -> verb.Prepared:
        kind = str(call.inputs["kind"])
        return weights.prepare(self.root) if kind == weights.KIND else promotion.prepare(self.root, kind)

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        if settled["kind"] == weights.KIND:
            return weights.act(self.root, call.key, settled)
        return promotion.act(self.root, call.key, settled)

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        """NOT_DONE also when it is half done: `act` completes it."""
        if settled["kind"] == weights.KIND:
            return weights.observe(self.root, call.key, settled)
        return promotion.observe(self.root, call.key, settled)

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        if settled["kind"] == weights.KIND:
            return weights.undo(self.root, call.key, settled)
        return promotion.undo(self.root, call.key, settled)
