"""The sandbox's index is damaged in every way, found before anything loads it, mended and gone back from by command.

The same story is told of a real corpus by `python -m benchmarks.corpus`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.corpus import harms, story
from ddr.cli import main
from tests import sandboxes

FEW = (
    "index.faiss: one bit",
    "index.faiss: gone",
    "ids.json: two ids changed places",
    "manifest.json: gone",
    "all ids shifted by one",
    "one id missing, another one too many",
    "current: points at what is not there",
    "current: a file where a link was",
)


class Sandbox:
    """Commands run in this process: faiss is loaded once."""

    def __init__(self, root: Path, captured: Callable[[], Any]) -> None:
        self.root, self._captured = root, captured

    def say(self, command: str, *words: str) -> story.Done:
        self._captured()
        head = ["--config", str(self.root / "ddr.yaml"), "--as", "oncall-ml", "index", command, "lookalikes"]
        code = main.run([*head, *words, "--json"])
        said = self._captured()
        return story.Done(code, said.out, said.err)

    def two_versions(self) -> story.Story:
        """The first one of fewer parcels."""
        corpus = self.root / "index" / "corpus"
        vectors, names = np.load(corpus / "vectors.npy"), json.loads((corpus / "ids.json").read_text())
        for rows in (800, len(vectors)):
            np.save(corpus / "vectors.npy", vectors[:rows])
            (corpus / "ids.json").write_text(json.dumps(names[:rows]))
            done = self.say("build", "--publish")
            assert done.code == 0, done.err
        return story.Story(harms.Place(self.root / "index"), self.say, vectors[:20])


@pytest.fixture
def sandbox(
    tmp_path: Path,
    pristine_sandbox: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Sandbox:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Sandbox(sandboxes.copy(pristine_sandbox, tmp_path / "platform"), capsys.readouterr)


def chosen(names: Sequence[str]) -> list[harms.Harm]:
    found = [harm for harm in harms.all_of() if harm.name in names]
    assert len(found) == len(names)
    return found


@pytest.mark.parametrize(
    "told", [FEW, pytest.param([harm.name for harm in harms.all_of()], marks=pytest.mark.long)], ids=["few", "all"]
)
def test_every_damage_is_found_mended_and_answered_as_before(
    sandbox: Sandbox, told: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    made = sandbox.two_versions()
    rows = [made.told(harm) for harm in chosen(told)]
    capsys.readouterr()
    print(story.table(rows))
    assert {row.code for row in rows} == {10, 11}
    assert sandbox.say("check", "--level", "3").code == 0


def test_a_plan_of_a_repair_touches_nothing_and_no_way_leads_to_what_is_damaged(sandbox: Sandbox) -> None:
    made = sandbox.two_versions()
    live, (older,) = made.place.live, made.place.others
    harms.written(older / harms.INDEX, harms.flipped((older / harms.INDEX).read_bytes()), is_silent=True)
    refused = sandbox.say("rollback", "--to", older.name, "--apply")
    assert refused.code == 10
    assert made.place.live == live

    harms.written(live / harms.INDEX, harms.flipped((live / harms.INDEX).read_bytes()), is_silent=True)
    assert sandbox.say("repair").code == 2
    assert made.place.live == live
    assert sandbox.say("rollback", "--apply").code == 1, "neither is whole"
    assert sandbox.say("repair", "--apply").code == 0
    assert made.place.live not in (live, older)


def test_a_pointer_that_was_lost_is_told_with_the_way_back(sandbox: Sandbox) -> None:
    made = sandbox.two_versions()
    link, version = made.place.home / "current", made.place.live.name
    link.unlink()
    found = sandbox.say("check")
    assert found.code == 10
    assert found.document["findings"][0]["next"] == f"`ddr index rollback lookalikes --to {version} --apply`"
    assert sandbox.say("repair", "--apply").code == 10
    link.symlink_to("versions/v1")
    assert sandbox.say("check").code == 1, "v1 was not published by ddr index: nothing says what it must be"


def test_doctor_promises_no_version_that_is_damaged(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    made = sandbox.two_versions()
    live, (older,) = made.place.live, made.place.others

    def told() -> dict[str, Any]:
        capsys.readouterr()
        main.run(["--config", str(sandbox.root / "ddr.yaml"), "doctor", "--json"])
        visits: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["visits"]
        return next(one for one in visits if one["what"] == "index lookalikes")

    assert f"go back to {older.name}" in told()["can"], "and not to v1, which `ddr index rollback` refuses"
    harms.written(older / harms.MANIFEST, harms.flipped((older / harms.MANIFEST).read_bytes()))
    said = told()
    assert not any("go back" in one for one in said["can"])
    assert any(older.name in one for one in said["cannot"])
    (live / harms.INDEX).unlink()
    said = told()
    assert said["state"] == "bad"
    assert "ddr index repair lookalikes" in said["why"]
