"""Work folders whose plan cannot be read, or not be written: what commands tell of them and leave of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from ddr.cli import main
from ddr.index import stages, worker
from ddr.index import work as works
from tests.unit.index import corpora, published


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a build that was begun."""
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", corpora.clustered(60, 8))
    Path("a.yaml").write_text("home: home\nvectors: [a.npy]\nmemoryMib: 4096\n")
    assert main.run(["index", "plan", "a.yaml", "--write"]) == 0
    (found,) = tmp_path.glob(f"home/.work/*/{works.PLAN}")
    return found


def test_a_plan_that_cannot_be_written_is_told(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan.unlink()
    plan.mkdir()
    assert main.run(["index", "build", "a.yaml"]) == 69
    assert f"ddr: {plan} cannot be written: Is a directory; nothing was put there\n  next: " in capsys.readouterr().err


def test_a_damaged_plan_is_written_again_by_a_repair_and_not_by_its_dry_run(plan: Path) -> None:
    assert main.run(["index", "build", "a.yaml", "--publish"]) == 0
    content = plan.read_bytes()
    plan.write_text("{")
    published.loosened(Path("home/current/index.faiss")).write_bytes(b"")
    assert main.run(["index", "repair", "a.yaml"]) == 2
    assert plan.read_text() == "{"
    assert main.run(["index", "repair", "a.yaml", "--apply"]) == 0
    assert plan.read_bytes() == content


def _done(plan: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (plan.parent / "done").iterdir()}


@pytest.mark.parametrize("harmed", ["index.faiss", "trained.faiss"])
def test_a_repair_leaves_all_that_a_build_which_is_running_has_made(plan: Path, harmed: str) -> None:
    assert main.run(["index", "build", "a.yaml", "--publish"]) == 0
    published.loosened(Path("home/current/index.faiss")).write_bytes(b"")
    (plan.parent / harmed).write_bytes(b"")
    done = _done(plan)
    with works.Stages(plan.parent).held():
        assert main.run(["index", "repair", "a.yaml", "--apply"]) == 15
    assert _done(plan) == done
    assert main.run(["index", "repair", "a.yaml", "--apply"]) == 0


def test_a_repair_publishes_what_was_built_of_the_corpus_of_now(plan: Path) -> None:
    assert main.run(["index", "build", "a.yaml", "--publish"]) == 0
    np.save("a.npy", corpora.clustered(90, 8))
    assert main.run(["index", "build", "a.yaml"]) == 0
    (new,) = (one for one in plan.parent.parent.glob(f"*/{works.PLAN}") if one != plan)
    done = _done(new)
    assert main.run(["index", "repair", "a.yaml", "--level", "3", "--apply"]) == 0
    assert _done(new) == done
    assert main.run(["index", "check", "a.yaml", "--level", "3"]) == 0


class Killed(BaseException):
    pass


def test_a_repair_of_all_goes_on_where_it_was_killed_and_the_next_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The corpus became another one while sizes and times of its files stayed: all stages are made again, once."""
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("home: home\nvectors: [a.npy]\nmemoryMib: 4096\nrowsPerPart: 100\n")
    at = np.datetime64("2026-11-01", "ns").astype(int)

    def corpus_of(seed: int) -> None:
        np.save("a.npy", corpora.clustered(400, 8, seed))
        os.utime("a.npy", ns=(int(at), int(at)))

    repair = ["index", "repair", "a.yaml", "--level", "3", "--apply"]
    corpus_of(1)
    assert main.run(["index", "build", "a.yaml", "--publish"]) == 0
    (plan,) = tmp_path.glob(f"home/.work/*/{works.PLAN}")
    made, part = [], worker.part

    def killed_at_2(bench: stages.Bench, number: int) -> works.Receipt:
        made.append(number)
        if number == 2 and made.count(2) == 1:
            raise Killed
        return part(bench, number)

    for seed in (2, 3):
        before = _done(plan)
        corpus_of(seed)
        made.clear()
        monkeypatch.setattr(worker, "part", killed_at_2)
        with pytest.raises(Killed):
            main.run(repair)
        begun = _done(plan)
        first = {f"{one}.json" for one in ("scan", "queries", "train", "part-00000", "part-00001")}
        assert set(begun) == {*first, "repair.json"}
        assert not set(begun.items()) & set(before.items()), "all of it was forgotten"
        assert main.run(repair) == 0
        done, kept = _done(plan), first - {"scan.json"}
        assert {name: done[name] for name in kept} == {name: begun[name] for name in kept}, "none of it a second time"
        assert "repair.json" not in done
        assert main.run(["index", "check", "a.yaml", "--level", "3"]) == 0


@pytest.mark.parametrize("end", ["repair", "build"])
def test_what_a_killed_repair_has_made_is_held_against_the_corpus_of_now(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`end`: whether that repair came to its end later, or another build did and what it repairs serves again."""
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("home: home\nvectors: [a.npy]\nmemoryMib: 4096\nrowsPerPart: 100\n")

    def corpus_of(seed: int) -> None:
        np.save("a.npy", corpora.clustered(400, 8, seed))
        os.utime("a.npy", (0, 0))

    def part(bench: stages.Bench, number: int) -> works.Receipt:
        if number == 2:
            raise Killed
        return worker_part(bench, number)

    repair, worker_part = ["index", "repair", "a.yaml", "--level", "3", "--apply"], worker.part
    corpus_of(1)
    assert main.run(["index", "build", "a.yaml", "--publish"]) == 0
    serves = Path("home/current").resolve().name
    corpus_of(2)
    with monkeypatch.context() as patched:
        patched.setattr(worker, "part", part)
        with pytest.raises(Killed):
            main.run(repair)
    if end == "build":
        assert main.run(["index", "build", "a.yaml", "--publish"]) == 0
        assert main.run(["index", "rollback", "a.yaml", "--to", serves, "--apply"]) == 0
    corpus_of(3)
    assert main.run(repair) == 0
    assert main.run(["index", "check", "a.yaml", "--level", "3"]) == 0


@pytest.mark.parametrize(("old", "new"), [("{", ""), ('"format":1', '"format":9'), ('"seed":1234', '"seed":4321')])
def test_a_folder_whose_plan_cannot_be_read_is_told_and_stays(
    plan: Path, old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Damaged, of a newer ddr, changed by hand."""
    assert old in plan.read_text()
    plan.write_text(plan.read_text().replace(old, new))
    capsys.readouterr()
    for verb, words in (("would go", ["--dry-run"]), ("to remove", [])):
        assert main.run(["index", "gc", "a.yaml", *words]) == 0
        said = f"nothing {verb}\nkept: work folder {plan.parent}: its plan cannot be read\n"
        assert capsys.readouterr().out == said
    assert plan.exists()
