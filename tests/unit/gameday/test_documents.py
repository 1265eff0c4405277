"""Scenario files: the shipped ones are right, and a wrong one says everything that is wrong, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddr.errors import BadDocument, InputError, Missing
from ddr.gameday import check, parse
from ddr.lib import shipped
from ddr.runbook import shelf
from tests.unit.gameday import twin as twins

SHIPPED = shipped.folder("scenarios")
RUNBOOKS = ("bad-model-promotion",)


def problems(text: str) -> list[str]:
    """What parsing, or else checking against the world in memory, complains of."""
    twin = twins.Twin()
    try:
        source = parse.read_text(text, "s.yaml")
        check.check(source, twin.faults(), twin.platform().services["postcode"], RUNBOOKS)
    except BadDocument as problem:
        return [str(entry) for entry in problem.problems]
    return []


def changed(*pairs: tuple[str, str]) -> str:
    text = twins.SCENARIO
    for before, after in pairs:
        assert before in text, before
        text = text.replace(before, after)
    return text


def test_the_scenario_of_these_tests_is_right() -> None:
    assert problems(twins.SCENARIO) == []


@pytest.mark.parametrize("name", parse.names(SHIPPED))
def test_a_shipped_scenario_has_two_decoys_and_expectations_for_all_points(name: str) -> None:
    scenario = parse.read(parse.find(name, SHIPPED)).scenario
    assert scenario.name == name
    assert sum(injection.decoy for injection in scenario.method) >= 2
    assert {*scenario.expect.diagnose.not_named} == {entry.name for entry in scenario.method if entry.decoy}
    assert sum(scenario.scoring.values()) == 100
    assert scenario.expect.recover.runbook in shelf.names()
    assert scenario.invariants
    assert len(scenario.story) > 150


def test_there_are_scenarios_for_every_kind_of_fault() -> None:
    faults = {
        (entry.fault, str(entry.inputs.get("kind", "")))
        for name in parse.names(SHIPPED)
        for entry in parse.read(parse.find(name, SHIPPED)).scenario.method
        if not entry.decoy
    }
    assert faults == {
        ("features.freeze", ""),
        ("features.null", ""),
        ("model.promote-bad", "labels-flipped"),
        ("model.promote-bad", "stale-slice"),
        ("model.promote-bad", "weights-overwritten"),
        ("model.promote-bad", "wrong-preprocessing"),
    }


BAD: dict[str, tuple[tuple[tuple[str, str], ...], list[str]]] = {
    "a key nobody knows": (
        (("title: A bad", "titel: A bad"),),
        ["s.yaml:1: title: is missing; it must be text", "s.yaml:4: titel: is not known here; did you mean title?"],
    ),
    "no duration": (
        (("at: 10m", "at: soon"),),
        ["s.yaml:10: method[1].at: 'soon' is no duration; write a number and a unit: 90s, 15m, 1h30m, 7d"],
    ),
    "no plane": (
        (("plane: model,", "plane: weights,"),),
        [
            (
                "s.yaml:14: expect.diagnose.plane: is 'weights', must be one of code, model, features, index, config, "
                "infra, data"
            )
        ],
    ),
    "a fault nobody has": (
        (("model.promote,", "model.promot,"),),
        ["s.yaml:10: method[1].fault: 'model.promot' is no fault here; known: decoy.code, model.promote"],
    ),
    "inputs that do not fit": (
        (("fault: model.promote,", "fault: model.promote, with: {kind: x},"),),
        ["s.yaml:10: method[1].with: takes no input 'kind'"],
    ),
    "one name twice": (
        (("name: promotion,", "name: new-code,"),),
        ["s.yaml:10: method[1].name: 'new-code' stands here twice"],
    ),
    "only decoys": (
        (("at: 10m}", "at: 10m, decoy: true}"),),
        ["s.yaml:9: method: injects no fault; one entry at least must not be a decoy"],
    ),
    "a signal nobody has": (
        (("detect: {signals: [golden]", "detect: {signals: [silver]"),),
        [
            (
                "s.yaml:13: expect.detect.signals[0]: postcode has no signal 'silver'; known: errors, feature-age, "
                "feature-nulls, feature-zeros, golden, scores, wrong-answers"
            )
        ],
    ),
    "no signal at all": (
        (("invariants: [errors]", "invariants: []"),),
        [
            (
                "s.yaml:11: invariants: is empty; known signals: errors, feature-age, feature-nulls, feature-zeros, "
                "golden, scores, wrong-answers"
            )
        ],
    ),
    "green and bad at once": (
        (("invariants: [errors]", "invariants: [errors, golden]"),),
        ["s.yaml:11: invariants: golden cannot stay green and be expected to go bad"],
    ),
    "a decoy that is none": (
        (("notNamed: [new-code]", "notNamed: [promotion]"),),
        ["s.yaml:14: expect.diagnose.notNamed[0]: 'promotion' is no decoy of this method; decoys: new-code"],
    ),
    "a runbook nobody has": (
        (("runbook: bad-model-promotion", "runbook: pray"),),
        ["s.yaml:16: expect.recover.runbook: is no runbook here; known: bad-model-promotion"],
    ),
    "a plane the service lacks": (
        (("only: [model]", "only: [index]"),),
        ["s.yaml:16: expect.recover.only[0]: postcode has no such plane; it has model, features, code"],
    ),
    "points for nothing, and none for recovery": (
        (("recover: 30}", "luck: 30}"),),
        [
            "s.yaml:17: scoring.luck: is no expectation; one of detect, diagnose, affected, recover",
            "s.yaml:17: scoring: recover has no points",
        ],
    ),
    "no points": (
        (("detect: 25", "detect: 0"),),
        ["s.yaml:17: scoring.detect: must be 1 or more"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_with_its_line(name: str) -> None:
    pairs, told = BAD[name]
    assert sorted(problems(changed(*pairs))) == sorted(told)


def test_all_problems_come_at_once_in_the_order_of_the_lines() -> None:
    names = [
        "a fault nobody has",
        "a signal nobody has",
        "a decoy that is none",
        "a runbook nobody has",
        "points for nothing, and none for recovery",
    ]
    told = problems(changed(*[pair for name in names for pair in BAD[name][0]]))
    assert sorted(told) == sorted(line for name in names for line in BAD[name][1])
    lines = [int(line.split(":")[1]) for line in told]
    assert lines == sorted(lines)


@pytest.mark.parametrize("text", ["", "[", "- a", "kind: Runbook", "\x00"])
def test_what_is_no_scenario_is_refused(text: str) -> None:
    with pytest.raises(BadDocument):
        parse.read_text(text, "s.yaml")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"title: \xe4")
    for path in (tmp_path / "none.yaml", tmp_path / "latin.yaml", tmp_path):
        with pytest.raises(InputError):
            parse.read(path)


def test_a_scenario_is_found_by_path_by_name_and_by_the_path_of_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(twins.SCENARIO)
    assert parse.find("mine.yaml", SHIPPED) == Path("mine.yaml")
    for named in ("bad-model-promotion", "scenarios/bad-model-promotion.yaml"):
        assert parse.find(named, SHIPPED) == SHIPPED / "bad-model-promotion.yaml"
    with pytest.raises(Missing) as caught:
        parse.find("bad-modell", SHIPPED)
    assert "bad-model-promotion" in caught.value.hint
