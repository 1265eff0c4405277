"""Documents to nouns: every problem, each with its line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

import pytest

from ddr.lib import decode, located


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Leaf:
    name: str
    wait_for: timedelta = timedelta(0)


@dataclass(frozen=True)
class Tree:
    kind: Literal["x", "y"]
    leaves: tuple[Leaf, ...]
    weights: Mapping[str, float] = field(default_factory=dict)
    at: datetime | None = None
    colour: Colour = Colour.RED
    fine: bool = True
    odd: int = field(default=1, metadata={"key": "odd-one"})

    def __post_init__(self) -> None:
        if self.odd % 2 == 0:
            raise ValueError(f"odd-one is {self.odd}, must be odd")


def read(text: str) -> tuple[Tree | None, list[str]]:
    complaints: list[decode.Complaint] = []
    tree = decode.decode(Tree, located.parse_yaml(text), complaints)
    return tree, [f"{entry.line}: {entry.key}: {entry.what}" for entry in complaints]


def test_a_good_document_becomes_its_noun_and_goes_back() -> None:
    tree, complaints = read(
        "kind: x\nleaves: [{name: a, waitFor: 1h30m}, {name: 7}]\nweights: {b: 2}\n"
        "at: 2026-11-21T03:13:00Z\ncolour: blue\nodd-one: 3\n"
    )
    assert complaints == []
    assert tree == Tree(
        "x",
        (Leaf("a", timedelta(minutes=90)), Leaf("7")),
        {"b": 2.0},
        datetime(2026, 11, 21, 3, 13, tzinfo=UTC),
        Colour.BLUE,
        odd=3,
    )
    assert decode.encode(tree) == {
        "kind": "x",
        "leaves": [{"name": "a", "wait_for": "1h30m"}, {"name": "7", "wait_for": "0s"}],
        "weights": {"b": 2.0},
        "at": "2026-11-21T03:13:00.000Z",
        "colour": "blue",
        "fine": True,
        "odd": 3,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind: z\nleaves: []", ["1: kind: is 'z', must be one of x, y"]),
        ("leaves: []", ["1: kind: is missing; it must be one of x, y"]),
        ("kind: x\nleaves: 3", ["2: leaves: is 3, must be a list"]),
        ("kind: x\nleaves:\n- {nam: a}", ["3: leaves[0].nam: is not known here; did you mean name?",
                                          "3: leaves[0].name: is missing; it must be text"]),
        ("kind: x\nleaves: []\nweights: {a: b}", ["3: weights.a: is 'b', must be a number"]),
        ("kind: x\nleaves: []\nat: soon", ["3: at: 'soon' is no time; write it like 2026-11-21T03:13:00Z"]),
        ("kind: x\nleaves: [{name: a, waitFor: 5}]",
         ["2: leaves[0].waitFor: '5' is no duration; write a number and a unit: 90s, 15m, 1h30m, 7d"]),
        ("kind: x\nleaves: []\ncolour: green", ["3: colour: is 'green', must be one of red, blue"]),
        ("kind: x\nleaves: []\nfine: 1", ["3: fine: is 1, must be true or false"]),
        ("kind: x\nleaves: []\nodd-one: 2.5", ["3: odd-one: is 2.5, must be a whole number"]),
        ("kind: x\nleaves: []\nodd-one: 2", ["1: : odd-one is 2, must be odd"]),
        ("- 1", ["1: : is a list, must be a mapping"]),
        ("", ["1: kind: is missing; it must be one of x, y", "1: leaves: is missing; it must be given"]),
    ],
)  # fmt: skip
def test_every_problem_has_its_line(text: str, expected: list[str]) -> None:
    tree, complaints = read(text)
    assert tree is None
    assert complaints == expected


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\na: 2", 2, "stands here twice"),
        ("a: !!python/object:os.system x", 1, "not read here"),
        ("a: !secret x", 1, "not read here"),
        ("a: [1, 2", 1, "no YAML"),
        ("a: *b", 1, "no YAML"),
        ("a: 1\n\tb: 2", 2, "no YAML"),
        ("a: 1\n---\nb: 2", 2, "no YAML"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(text: str, line: int, what: str) -> None:
    with pytest.raises(located.Malformed) as problem:
        located.parse_yaml(text)
    assert what in problem.value.what
    assert abs(problem.value.line - line) <= 1


def test_a_value_of_any_kind_stays_plain() -> None:
    @dataclass(frozen=True)
    class Free:
        inputs: Mapping[str, Any]

    complaints: list[decode.Complaint] = []
    free = decode.decode(Free, located.parse_yaml("inputs: {a: [1, {b: c}], d: null}"), complaints)
    assert free is not None
    assert free.inputs == {"a": [1, {"b": "c"}], "d": None}
