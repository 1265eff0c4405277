"""`ddr rollback data` as a person types it: pinned data comes back beside the live files, and again away."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddr.lib import digest
from tests.unit.cli import calls
from tests.unit.connectors.rigs_code_data import data_repository, git

CONFIG = """\
apiVersion: ddr/v1
repository: {type: local, path: .ddr}
connectors:
  pinned: {type: dvc, root: ml, versions: versions, current: current}
services:
  trainer:
    planes:
      data: {connector: pinned}
    objectives: {rpo: 1h, rto: 15m, detectWithin: 1h}
    owners: {team: ml, oncall: ann, decisionMaker: ann, approvers: [], escalation: []}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Recorded as known good at v1, and then v2 was checked out."""
    data_repository(tmp_path, ("v1", "v2"))
    (tmp_path / "current").symlink_to("ml")
    (tmp_path / "ddr.yaml").write_text(CONFIG)
    git(tmp_path / "ml", "checkout", "-q", "v1")
    recorded = calls.ddr(tmp_path, "release", "record", "trainer", "--known-good")
    assert recorded.code == 0, recorded.err
    git(tmp_path / "ml", "checkout", "-q", "main")
    return tmp_path


def test_it_is_restored_beside_the_live_files_and_taken_back(root: Path) -> None:
    live = digest.of_tree(root / "ml", (".git",))
    good = git(root / "ml", "rev-parse", "v1")
    plan = calls.ddr(root, "rollback", "data", "trainer", "--json")
    assert plan.code == 0, plan.out + plan.err
    (move,) = plan.document["plan"]["plan"]["moves"]
    assert (move["plane"], move["target"]["name"]) == ("data", good)
    assert "is restored first" in " ".join(plan.document["plan"]["writes"])
    assert plan.document["proved_by"] == []
    assert (root / "current").readlink() == Path("ml"), "a plan touches nothing"
    done = calls.ddr(root, "rollback", "data", "trainer", "--apply", "--json")
    assert (done.code, done.document["status"]) == (0, "switched"), done.out + done.err
    assert (root / "current").resolve() == root / "versions" / good
    assert (root / "current/data/train.csv").read_bytes() == b"a,b\n1,v1\n" * 50
    assert digest.of_tree(root / "ml", (".git",)) == live
    assert calls.ddr(root, "rollback", "undo", "--yes").code == 0
    back = (root / "current/data/train.csv.dvc").read_bytes()
    assert back == (root / "ml/data/train.csv.dvc").read_bytes(), "the data of v2 again"
    assert digest.of_tree(root / "ml", (".git",)) == live


def test_no_row_is_wider_than_the_terminal_and_a_pipe_has_it_whole(root: Path) -> None:
    """A commit's name alone has forty characters."""
    assert calls.ddr(root, "rollback", "data", "trainer", "--apply").code == 0
    commands = (
        ("rollback", "list"),
        ("rollback", "data", "trainer", "--to", "v2"),
        ("release", "show", "--at", "now"),
        ("release", "list"),
        ("changes",),
    )
    wider = 0
    for words in commands:
        seen, whole = calls.on_terminal(root, *words, columns=80), calls.ddr(root, *words).out
        rows = [row for row in seen.splitlines() if not row.lstrip().startswith(("next:", "ddr "))]
        assert max(map(len, rows)) <= 80, (words, seen)
        if words != ("rollback", "data", "trainer", "--to", "v2"):  # a plan has a width of its own
            assert len(seen.split()) == len(whole.split()), words  # the clock goes on meanwhile
        wider += max(map(len, whole.splitlines())) > 80
    assert wider >= 4


def test_what_is_gone_from_the_remote_refuses_before_anything_is_made(root: Path) -> None:
    wanted = git(root / "ml", "show", "v1:data/train.csv.dvc").split("md5: ")[1].split()[0]
    (root / "remote/files/md5" / wanted[:2] / wanted[2:]).unlink()
    done = calls.ddr(root, "rollback", "data", "trainer", "--apply")
    assert done.code == 1, done.out + done.err
    assert not (root / "versions").exists()
    assert (root / "current").readlink() == Path("ml")
