"""More than one layer broken: both are named, none is ruled out by the other, and no culprit comes after the onset."""

from __future__ import annotations

from ddr.diagnose import evidence
from ddr.domain import diagnoses, planes
from tests.unit.diagnose import scenes

CODE, MODEL, FEATURES = planes.Plane.CODE, planes.Plane.MODEL, planes.Plane.FEATURES
CONFIRMED = diagnoses.Verdict.CONFIRMED


def _frozen_then(fault: str, seed: int = 1) -> scenes.Scene:
    """The features stop, and hours later the model goes bad as well."""
    scene = scenes.hurt("features frozen", seed, after_hours=2.0)
    scenes.FAULTS[fault][1](scene.world)
    scene.world.advance(1)
    return scene


def test_frozen_features_are_not_ruled_out_by_a_bad_model() -> None:
    """A swap of the features alone restores nothing where the model is bad too: that says nothing for them."""
    told = 0
    for fault in ("weights overwritten", "bad model promoted"):
        for seed in range(3):
            found = _frozen_then(fault, seed).diagnose()
            told += 1
            assert set(found.together) == {MODEL, FEATURES}, (fault, seed, found)
            assert found.verdict is CONFIRMED
            assert not any(line.startswith(("features", "model")) for line in found.ruled_out), found.ruled_out
            by_plane = {one.plane: one.probability for one in found.candidates}
            assert by_plane[MODEL] > 0.7
            assert by_plane[FEATURES] > 0.7
            assert "broken too" in found.caution
    print(f"{told} times two layers")


def test_both_are_in_the_headline_with_evidence_and_commands() -> None:
    found = _frozen_then("weights overwritten").diagnose()
    text = scenes.printed(found)
    assert " and ".join(found.together) in text.splitlines()[0]
    assert "more than one layer is broken" in text
    assert "feature-age bad: 3h" in text
    assert "`ddr runbook run stale-online-features --service digits`" in found.caution or (
        "`ddr runbook run bad-model-promotion --service digits`" in found.caution
    )


def test_a_change_behind_the_onset_is_said_to_be_behind_it() -> None:
    scene = _frozen_then("weights overwritten")
    found = scene.diagnose()
    (model,) = [one for one in found.candidates if one.plane is MODEL]
    assert model.change is not None
    assert found.onset_to is not None
    assert model.change.at > found.onset_to
    (line,) = [one for one in model.evidence if one.test == evidence.CO_TIMING]
    assert line.says.endswith("AFTER the onset")
    assert line.ratio == 1.0


def test_one_fault_is_one_layer() -> None:
    for fault, (plane, _) in scenes.FAULTS.items():
        found = scenes.hurt(fault, decoys=True).diagnose()
        assert (found.together, found.leading and found.leading.plane) == ((), plane), fault


def test_bad_code_is_not_a_bad_model_although_the_golden_set_speaks_of_the_model() -> None:
    scene = scenes.healthy()
    scene.world.planes[MODEL].contents["4"] = b"right=0.97 as good"
    scene.world.promote("4")
    scene.world.advance(0.2)
    scene.world.release_code("1.5.0")
    scene.world.advance(1)
    found = scene.diagnose()
    assert (found.verdict, found.leading and found.leading.plane, found.together) == (CONFIRMED, CODE, ())


def test_two_that_are_wrong_only_together_need_one_to_go_back() -> None:
    scene = scenes.healthy()
    scene.world.planes[CODE].contents["1.6.0"] = b"right=1.0 rounds"
    scene.world.planes[MODEL].contents["4"] = b"right=0.97 brittle"
    scene.world.release_code("1.6.0")
    scene.world.promote("4")
    scene.world.advance(1)
    assert scene.diagnose().together == ()
