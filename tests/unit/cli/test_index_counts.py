"""What a build says that it counted is what it counted, on the first call and on every later one."""

from __future__ import annotations

import itertools
import json
import re
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from ddr.cli import index_progress, main, session, working
from ddr.index import stages
from tests.unit.index import corpora

_LINE = re.compile(r"ok (\S+) +(?:([\d,]+) rows?)?  (.+)")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a.npy", corpora.clustered(300, 8))
    np.save(tmp_path / "queries.npy", corpora.clustered(90, 8, seed=1))
    (tmp_path / "own.yaml").write_text("home: home\nvectors: [a.npy]\nqueries: queries.npy\nrecall: 0.5\n")
    return tmp_path


def test_stages_count_their_rows_and_an_index_has_one_name(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counted = {"scan": "300", "queries": "90", "part-00000": "300", "merge": "300", "measure": "90"}
    for is_again in (False, True):
        assert main.run(["index", "build", "own.yaml", "--publish"]) == 0
        said = capsys.readouterr()
        found = [match.groups() for line in said.err.splitlines() if (match := _LINE.fullmatch(line))]
        assert {stage: rows for stage, rows, _ in found if stage != "train"} == counted
        assert all((how == "there already") == is_again for _, _, how in found)
        assert re.findall(r"^ok index (\S+)", said.out, re.MULTILINE) == ["own.yaml", "own.yaml"]
        assert " 0 rows" not in said.err
    (version,) = (path.name for path in (own / "home" / "versions").iterdir())
    assert main.run(["index", "build", "own.yaml"]) == 0
    assert f"\nindex own.yaml serves {version} already, which is the same\n" in capsys.readouterr().out
    (own / "home" / "current").unlink()
    assert main.run(["index", "build", "own.yaml"]) == 0
    assert "\nnot published; next: ddr index publish own.yaml\n" in capsys.readouterr().out
    assert main.run(["index", "prepare", "own.yaml"]) == 0
    assert re.search(
        r"^ready for 1 worker: ddr index worker --plan \S+ --part 0$", capsys.readouterr().out, re.MULTILINE
    )


def test_a_check_tells_of_how_many_bytes_it_has_read(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["index", "build", "own.yaml", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["manifest"]["files"]
    for command in ("publish", "check"):
        assert main.run(["index", command, "own.yaml", "--events", "--json"]) == 0
        _is_read(capsys.readouterr().err, sum(file["size_bytes"] for file in files))
        assert main.run(["index", command, "own.yaml"]) == 0
        assert capsys.readouterr().err == ""


def test_a_repair_and_a_way_back_tell_of_their_proof(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for recall in (0.5, 0.6):
        (own / "own.yaml").write_text(f"home: home\nvectors: [a.npy]\nqueries: queries.npy\nrecall: {recall}\n")
        assert main.run(["index", "build", "own.yaml", "--publish"]) == 0
    (own / "home" / "current" / "index.faiss").unlink()
    for command in ("repair", "rollback"):
        capsys.readouterr()
        assert main.run(["index", command, "own.yaml", "--apply", "--events", "--json"]) == 0
        events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        told = [stage for stage, _ in itertools.groupby(events, lambda one: one["stage"])]
        assert told[-3:] == ["level 0", "level 1", "level 2"], (command, told)
        assert [one["done"] for one in events if one["of"]][-1] > 0, command


def _is_read(told: str, size_bytes: int) -> None:
    events = [json.loads(line) for line in told.splitlines()]
    assert list(dict.fromkeys(one["stage"] for one in events)) == ["level 0", "level 1", "level 2"]
    (last,) = (one for one in events if one["of"])
    assert last["done"] == last["of"] == size_bytes
    assert last["bytes_per_s"] > 0
    assert last["eta_s"] == 0


class _Line(working.AtWork):
    """Keeps what it would show."""

    last = ""

    def told(self, what: str, done: int, of: int) -> None:
        self.last = what


def _telling(monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], _Line, index_progress.Telling]:
    """The clock, to be set; what is shown; what tells it."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    here = session.Session()
    line = _Line(here)
    return now, line, index_progress.Telling(here, line, is_json=False)


@pytest.mark.parametrize(("unit", "pace"), [("rows", "2,097,152 rows/s"), ("bytes", "2.0 MiB/s")])
def test_what_moves_has_a_rate_of_its_unit_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch, unit: Literal["rows", "bytes"], pace: str
) -> None:
    now, line, tell = _telling(monkeypatch)
    now[0] = 2.0
    tell(stages.Progress("level 1", 4 << 20, 24 << 20, unit=unit))
    assert line.last == f"level 1  {pace}, 10 s left"


@pytest.mark.parametrize("what", ["a copy", "a level that counts nothing"])
def test_a_proof_is_as_fast_as_it_reads_whatever_was_done_before(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    now, line, tell = _telling(monkeypatch)
    now[0] = 600.0
    tell.said("proving it") if what == "a copy" else tell.checked("level 1", 0, 0)
    now[0] = 602.0
    tell.checked("level 1", 4 << 20, 24 << 20)
    assert line.last == "level 1  2.0 MiB/s, 10 s left"


def test_one_is_one(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(own / "a.npy", corpora.clustered(1, 8))
    assert main.run(["index", "plan", "own.yaml"]) == 0
    assert re.search(r"^index own\.yaml .*\n  corpus +1 row of 8, 1 shard$", capsys.readouterr().out, re.MULTILINE)
