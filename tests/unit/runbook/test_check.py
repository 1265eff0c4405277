"""Bad runbooks: every problem at once, each with its line, what is wrong, and what is allowed."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest

from ddr.actions import catalog
from ddr.domain import planes
from ddr.errors import BadDocument, Missing
from ddr.ports import connector
from ddr.ports import platform as platforms
from ddr.runbook import check, parse, shelf
from tests import recovery
from tests.unit.runbook import bad_books, shipped, toys

GOOD = (shelf.folder() / "bad-model-promotion.yaml").read_text()


def problems(text: str, on: platforms.Platform | None = None) -> list[str]:
    """What is said of a runbook on the world in memory; [] when it may run."""
    on = on or recovery.World().platform()
    try:
        document = parse.read_text(text, "book.yaml")
        check.require(document, catalog.build(on), on.service("postcode"), {})
    except BadDocument as problem:
        return [str(found).removeprefix("book.yaml:") for found in problem.problems]
    return []


def changed(*changes: tuple[str, str]) -> list[str]:
    """The problems of the shipped runbook after replacing text in it."""
    text = GOOD
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    return problems(text)


def test_the_shipped_one_is_good() -> None:
    assert problems(GOOD) == []


SHAPE = """\
apiVersion: ddr/v2
kind: Runbook
metadata: {name: x, owner: y, severity: SEV9, reviewed: 2026-11-01}
summary: 5
signal: golden
impact: {customers: a}
changes: {window: soon, planes: [weather]}
target: {plane: model, too: last-good, containment: contain}
roles: {incidentCommander: a, decisionMaker: b}
validation: [check]
steps:
  - name: both
    probe: signals.read
    action: comms.post
  - name: none
  - {name: often, action: comms.post, maxAttempts: 0}
  - {name: text, action: comms.post, timeoutSeconds: ten}
"""


def test_a_document_of_the_wrong_shape() -> None:
    assert problems(SHAPE) == [
        "1: apiVersion: is 'ddr/v2', must be one of ddr/v1",
        "1: postIncident: is missing: post-incident actions: [{do, owner, due}]",
        "3: metadata.severity: is 'SEV9', must be one of SEV1, SEV2, SEV3, SEV4",
        "5: signal: is 'golden', must be a list",
        "6: impact.business: is missing; it must be text",
        "7: changes.planes[0]: is 'weather', must be one of code, model, features, index, config, infra, data",
        "7: changes.window: 'soon' is no duration; write a number and a unit: 90s, 15m, 1h30m, 7d",
        "8: target.to: is missing; it must be text",
        "8: target.too: is not known here; did you mean to?",
        "12: steps[0]: step 'both' must have exactly one of probe, action, gate",
        "15: steps[1]: step 'none' must have exactly one of probe, action, gate",
        "16: steps[2]: step 'often': maxAttempts and timeoutSeconds must be 1 or more",
        "17: steps[3].timeoutSeconds: is 'ten', must be a whole number",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", ["2: no YAML: did not find expected node content"]),
        ("a: 1\na: 2\n", ["2: 'a' stands here twice; the first is on line 1"]),
        ("- list\n", ["1: is a list, must be a mapping"]),
    ],
)
def test_text_that_is_no_document(text: str, said: list[str]) -> None:
    assert problems(text) == said


def test_all_seven_fields_of_the_template_are_asked_for() -> None:
    said = problems("apiVersion: ddr/v1\nkind: Runbook\n")
    assert said == [
        "1: changes: is missing: recent changes to look at: {window, planes}",
        "1: impact: is missing: customer and business impact: {customers, business}",
        "1: metadata: is missing; it must be a mapping with name, owner, severity, reviewed, reviewEveryDays",
        "1: postIncident: is missing: post-incident actions: [{do, owner, due}]",
        "1: roles: is missing: {incidentCommander, decisionMaker, escalation}",
        "1: signal: is missing: detection signal: what starts this runbook",
        "1: steps: is missing; it must be given",
        "1: summary: is missing; it must be text",
        "1: target: is missing: rollback or containment target: {plane, to, containment}",
        "1: validation: is missing: names of the steps that prove the recovery",
    ]


@pytest.mark.parametrize(("change", "said"), bad_books.ALL)
def test_what_does_not_fit(change: tuple[str, str], said: str) -> None:
    found = [problem.partition(": ")[2] for problem in changed(change)]
    assert said in found


def test_every_problem_is_reported_at_once_and_in_order() -> None:
    changes = [change for change, _ in (*bad_books.VERBS[:4], *bad_books.NAMES[:1])]
    found = changed(*changes)
    assert len(found) == len(changes)
    lines = [int(problem.partition(":")[0]) for problem in found]
    assert lines == sorted(lines)
    print(f"{len(bad_books.ALL)} wrong documents, each refused with its line")


def test_a_connector_without_the_port_is_refused_before_anything_runs() -> None:
    world = recovery.World()
    on = world.platform()

    class OnlyLooks:
        revision, health, changes = world.model.revision, world.model.health, world.model.changes

    seen: dict[planes.Plane, connector.Observable] = {
        planes.Plane.MODEL: OnlyLooks(),
        planes.Plane.FEATURES: world.features,
    }
    it = "the connector registry of the model plane"
    poor = dataclasses.replace(on, planes={"postcode": seen}, servers={})
    assert problems(GOOD, poor) == [
        f"64: steps[4].with.plane: promotions.freeze: {it} cannot be frozen",
        f"72: steps[5].with.plane: target.check: {it} can be observed, not switched",
        f"84: steps[7].with.plane: plane.switch: {it} can be observed, not switched",
        f"92: steps[8].with.plane: revision.block: {it} cannot look up a revision",
        "98: steps[9].with: serving.roll: service postcode names no server (serving: CONNECTOR)",
        f"127: steps[13].with.plane: promotions.thaw: {it} cannot be frozen",
        "149: steps[16].with: serving.fallback: service postcode names no server (serving: CONNECTOR)",
    ]


def test_parameters() -> None:
    on = recovery.World().platform()
    text = GOOD.replace("steps:\n", "  version: {description: the bad version, required: true}\nsteps:\n", 1)
    document = parse.read_text(text, "book.yaml")
    verbs, entry = catalog.build(on), on.service("postcode")
    assert check.check(document, verbs, entry).problems == (), "at lint time a required parameter counts as given"
    said = [str(found) for found in check.check(document, verbs, entry, parameters={"vresion": "2"}).problems]
    assert said == [
        "book.yaml:29: parameters: vresion is no parameter of this runbook; known: to, version",
        "book.yaml:32: parameters.version: is required: the bad version",
    ]
    assert check.require(document, verbs, entry, {"version": "3"}) == {"version": "3", "to": "last-good"}


def test_a_review_that_is_long_past_is_a_warning() -> None:
    world = recovery.World()
    on = world.platform()
    document = shipped.document("bad-model-promotion")
    later = world.clock.now() + timedelta(days=91)
    found = check.check(document, catalog.build(on), on.service("postcode"), at=later)
    assert found.problems == ()
    assert [str(warning).partition("bad-model-promotion.yaml:")[2] for warning in found.warnings] == [
        "4: metadata.reviewed: was 92 days ago; team-ml-platform reviews it every 90 days"
    ]


def test_a_signal_the_service_does_not_watch_is_a_warning() -> None:
    on = recovery.World().platform()
    document = parse.read_text(GOOD.replace("signal: golden,", "signal: gold,"), "book.yaml")
    found = check.check(document, catalog.build(on), on.service("postcode"))
    assert [str(warning) for warning in found.warnings] == [
        "book.yaml:8: signal[0].signal: service postcode does not watch 'gold'"
    ]


def test_a_bad_document_starts_nothing() -> None:
    stage = toys.Stage()
    before = len(stage.world.journal.written)
    problem = toys.raised(stage.start, toys.PLAIN.replace("cell.set", "cell.sett"))
    assert isinstance(problem, BadDocument)
    assert problem.hint == "mend the lines above; nothing was started"
    assert len(stage.world.journal.written) == before


def test_the_shelf(tmp_path: Path) -> None:
    assert shelf.names() == ("bad-model-promotion", "stale-online-features", "stale-server")
    assert shelf.by_plane() == {
        planes.Plane.MODEL: "bad-model-promotion",
        planes.Plane.FEATURES: "stale-online-features",
    }
    assert shelf.rolling() == "stale-server", "it takes no plane back"
    own = tmp_path / "mine.yaml"
    own.write_text(GOOD)
    assert shelf.find(str(own)) == own
    assert parse.read(shelf.find("bad-model-promotion")).book.name == "bad-model-promotion"
    with pytest.raises(Missing, match="no runbook 'bad-model'") as problem:
        shelf.find("bad-model")
    assert problem.value.hint == "did you mean bad-model-promotion?"
    with pytest.raises(Missing, match="no such file"):
        shelf.find(str(tmp_path / "other.yaml"))
    (tmp_path / "broken.yaml").write_text("a: [")
    assert shelf.by_plane(tmp_path) == {planes.Plane.MODEL: "mine"}, "a broken file hides no other"
    assert shelf.rolling(tmp_path) == ""
