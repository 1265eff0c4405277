"""Faults to try, and what each must do to answers and golden probes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddr.ports import verb
from ddr.sandbox import faults, state
from tests.unit.sandbox import worlds

KEY = "run-1/inject/1"


@dataclass(frozen=True)
class Case:
    """A fault, and what it must do to the share of wrong answers and to the golden probes."""

    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    wrong: tuple[float, float] = (0.0, 0.04)
    golden: tuple[float, float] = (0.0, 0.04)

    def __str__(self) -> str:
        return "-".join([self.name, *map(str, self.inputs.values())])


DECOYS = [Case("decoy.code-release"), Case("decoy.config-change")]
RELEASES = [
    Case("features.freeze", wrong=(0.7, 1.0)),
    Case("features.null", wrong=(0.12, 0.6)),
    Case("features.null", {"columns": 24}, wrong=(0.4, 1.0)),
]
PROMOTIONS = [
    Case("model.promote-bad", {"kind": "labels-flipped"}, wrong=(0.2, 0.6), golden=(0.25, 0.45)),
    Case("model.promote-bad", {"kind": "stale-slice"}, wrong=(0.2, 0.6), golden=(0.2, 0.45)),
    Case("model.promote-bad", {"kind": "wrong-preprocessing"}, wrong=(0.2, 0.7), golden=(0.2, 0.6)),
]
WEIGHTS = [Case("model.promote-bad", {"kind": "weights-overwritten"}, wrong=(0.5, 1.0), golden=(0.5, 1.0))]
CODE = [Case("code.bad-release", wrong=(0.1, 0.6), golden=(0.1, 0.6))]
INDEX = [Case("index.corrupt", {"kind": kind}) for kind in ("flipped", "torn")]
ALL = [*DECOYS, *RELEASES, *PROMOTIONS, *WEIGHTS, *CODE, *INDEX]


def prepared(root: Path, case: Case) -> tuple[verb.Verb, verb.Call, Mapping[str, str]]:
    fault = faults.catalog(root)[case.name]
    call = worlds.call(case.inputs, KEY)
    assert fault.problems(case.inputs, worlds.service()) == []
    return fault, call, fault.prepare(call).settled


@contextlib.contextmanager
def as_it_was(root: Path) -> Iterator[None]:
    """Whatever is done within is taken back at its end, to the last row."""
    before, digest = state.describe(root), state.digest(root)
    yield
    assert state.describe(root) == before
    assert state.digest(root) == digest
