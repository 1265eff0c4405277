"""Data as DVC pins it: proved to be there, restored beside the live files, pointed at; and what may be wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.domain import revisions, signals
from ddr.errors import Conflict, Damaged, DdrError, Missing, Refused, Unavailable
from ddr.lib import digest
from tests.unit.connectors import rigs
from tests.unit.connectors.rigs_code_data import data_plane, data_repository, data_with_link, git, kept, md5


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return data_with_link(tmp_path)


def live_files(root: Path) -> str:
    return (
        digest.of_tree(root / "ml", (".git",))
        + git(root / "ml", "status", "--porcelain")
        + git(root / "ml", "rev-parse", "HEAD")
    )


def objects(root: Path) -> list[Path]:
    return sorted(path for path in (root / "remote").rglob("*") if path.is_file())


def wanted_by(root: Path, tag: str) -> list[Path]:
    """The objects that a commit needs, folders' own included."""
    plane = data_plane(root)
    found = plane._pins(plane._repository.commit(tag))
    files = plane._objects().proved(found)
    return [root / "remote" / pin.keys[0] for pin in (*(pin for pin in found if pin.is_folder), *files)]


def test_a_commit_is_restored_beside_the_live_files(root: Path) -> None:
    plane = data_plane(root)
    before, live = live_files(root), plane.revision()
    target = plane.find("v1")
    assert target.facts == {revisions.COMMIT: target.name, "outs": "3", "objects": "4", "only_here": "0"}
    assert "is restored first" in plane.write(target, live)
    assert plane.switch(target, live).is_same(target)
    tree = root / "versions" / target.name
    assert (root / "current").resolve() == tree
    assert (root / "current" / "data" / "train.csv").read_bytes() == b"a,b\n1,v1\n" * 50
    assert (root / "current" / "images" / "deep" / "v1.png").read_bytes() == b"v1"
    assert (root / "current" / "model" / "weights.bin").read_bytes() == b"weights of v1"
    assert not (root / "current" / "model" / "note.txt").exists(), "it is kept in no cache"
    assert (root / "current" / "train.py").is_file(), "the code of that commit comes along"
    assert not os.access(tree / "data" / "train.csv", os.W_OK) or os.geteuid() == 0
    assert live_files(root) == before
    assert plane.health().state is signals.State.OK
    back = plane.find("v2")
    assert plane.switch(back, target).is_same(back)
    assert tree.is_dir(), "going back never deletes"
    assert live_files(root) == before


def test_every_object_that_is_gone_stops_it_before_anything_is_made(root: Path) -> None:
    plane = data_plane(root)
    target, live = plane.find("v1"), plane.revision()
    before = live_files(root)
    wanted = wanted_by(root, "v1")
    for path in wanted:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(Damaged) as raised:
            plane.find("v1")
        assert raised.value.hint
        with pytest.raises(Damaged):
            plane.switch(target, live)
        assert not (root / "versions").exists()
        path.write_bytes(content)
    assert live_files(root) == before
    assert len(wanted) == 5
    print(f"{len(wanted)} objects")


def test_every_object_with_other_bytes_stops_it_before_the_link_moves(root: Path) -> None:
    """Presence does not prove bytes; restoring does. What was begun is made anew when the remote is whole again."""
    plane = data_plane(root)
    target, live = plane.find("v1"), plane.revision()
    for path in wanted_by(root, "v1"):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(Damaged) as raised:
            plane.switch(target, live)
        assert raised.value.hint
        assert plane.revision().is_same(live)
        path.write_bytes(content)
    assert plane.switch(target, live).is_same(target)
    assert (root / "current" / "model" / "weights.bin").read_bytes() == b"weights of v1"


def test_a_damaged_cache_is_passed_over_for_the_remote(root: Path) -> None:
    plane = data_plane(root)
    for path in objects(root):
        there = root / "ml" / ".dvc" / "cache" / path.relative_to(root / "remote")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(b"damaged")
    target = plane.find("v1")
    assert plane.switch(target, plane.revision()).is_same(target)
    assert (root / "current" / "data" / "train.csv").read_bytes() == b"a,b\n1,v1\n" * 50


def test_what_is_in_the_cache_alone_is_restored_and_said(root: Path) -> None:
    plane = data_plane(root)
    shutil.move(root / "remote", root / "ml" / ".dvc" / "cache")
    target = plane.find("v1")
    assert int(target.facts["only_here"]) == 5
    assert plane.switch(target, plane.revision()).is_same(target)


def test_a_remote_that_cannot_be_asked_is_no_proof(root: Path) -> None:
    config = root / "ml" / ".dvc" / "config"
    config.write_text(config.read_text().replace("../../remote", "ssh://host/data"))
    with pytest.raises(Unavailable, match="cannot be proved") as raised:
        data_plane(root).find("v1")
    assert raised.value.hint
    config.write_text("")
    with pytest.raises(Unavailable, match="no default remote"):
        data_plane(root).find("v1")


def test_pins_that_were_edited_by_hand_are_another_revision(root: Path) -> None:
    plane = data_plane(root)
    live, target = plane.revision(), plane.find("v1")
    lock = root / "ml" / "dvc.lock"
    lock.write_text(lock.read_text().replace(md5(b"weights of v2"), kept(root / "remote", b"by hand")))
    assert plane.revision().name == live.name
    assert not plane.revision().is_same(live)
    with pytest.raises(Conflict):
        plane.switch(target, live)
    lock.write_text("stages: [")
    with pytest.raises(Damaged, match=r"dvc\.lock"):
        plane.revision()
    assert plane.health().state is signals.State.BAD
    assert plane.switch(target, plane.pointed()).is_same(target), "one can go away from it"


def test_a_file_that_was_changed_in_a_tree_is_found(root: Path) -> None:
    plane = data_plane(root)
    one, two = plane.find("v1"), plane.find("v2")
    plane.switch(one, plane.revision())
    path = root / "current" / "images" / "a.png"
    path.chmod(0o644)
    content = path.read_bytes()
    for change in (lambda: path.write_bytes(b"SAME"), lambda: path.unlink()):
        change()
        assert not plane.revision().is_same(one)
        assert plane.health().state is signals.State.BAD
        assert "images/a.png" in plane.health().why
    plane.switch(two, plane.revision())
    with pytest.raises(Conflict, match=r"images/a\.png") as raised:
        plane.switch(one, two)
    assert one.name in raised.value.hint
    assert plane.revision().is_same(two)
    path = root / "versions" / one.name / "images" / "a.png"
    path.write_bytes(content)
    with pytest.raises(Conflict):
        plane.switch(one, two)
    (root / "versions" / f".{one.name}.json").unlink()
    assert plane.switch(one, two).is_same(one), "without its seal a tree is made anew"


def test_links_that_lead_elsewhere(root: Path) -> None:
    plane = data_plane(root)
    link = root / "current"
    cases: list[tuple[Callable[[], object], type[DdrError]]] = [
        (lambda: None, Missing),
        (lambda: link.symlink_to("nowhere"), Missing),
        (lambda: link.symlink_to("remote"), Damaged),
        (lambda: link.symlink_to("versions/half"), Damaged),
        (lambda: link.mkdir(), Damaged),
    ]
    (root / "versions" / "half").mkdir(parents=True)
    for make, problem in cases:
        link.rmdir() if link.is_dir() and not link.is_symlink() else link.unlink(missing_ok=True)
        make()
        with pytest.raises(problem) as raised:
            plane.revision()
        assert raised.value.hint
        assert plane.health().state is signals.State.BAD


def test_a_link_in_the_commit_that_leads_out_is_not_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    repository = root / "ml"
    (repository / "door").symlink_to(outside)
    hashed = kept(root / "remote", b"through the door")
    (repository / "door.dvc").write_text(f"outs:\n- md5: {hashed}\n  hash: md5\n  path: door/file\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "a door")
    git(repository, "checkout", "-q", "v2")
    plane = data_plane(root)
    live, target = plane.revision(), plane.find("main")
    with pytest.raises(Refused, match="leads elsewhere"):
        plane.switch(target, live)
    assert list(outside.iterdir()) == []


def test_text_of_dvc_before_3_is_held_to_its_own_hash(root: Path) -> None:
    """`md5` without `hash`: text was counted with its line ends as on Unix, and kept as it was."""
    content = b"a\r\nb\r" * 400_000 + b"\n"
    hashed = md5(content.replace(b"\r\n", b"\n"))
    path = root / "remote" / hashed[:2] / hashed[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    repository = root / "ml"
    for file in ("dvc.lock", "images.dvc", "data/train.csv.dvc"):
        (repository / file).unlink()
    (repository / "old.txt.dvc").write_text(f"outs:\n- md5: {hashed}\n  size: 1\n  path: old.txt\n")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "old")
    git(repository, "checkout", "-q", "v2")
    plane = data_plane(root)
    plane.switch(plane.find("main"), plane.revision())
    assert (root / "current" / "old.txt").read_bytes() == content


def test_a_repository_whose_data_lies_below_its_top(tmp_path: Path) -> None:
    made, _, _ = data_repository(tmp_path / "x", ("v1",))
    top = tmp_path / "mono"
    top.mkdir()
    git(top, "init", "-q", "-b", "main")
    shutil.copytree(made, top / "team" / "ml", ignore=shutil.ignore_patterns(".git"))
    shutil.copytree(tmp_path / "x" / "remote", top / "remote")
    (top / "team" / "ml" / ".dvc" / "config").write_text(
        "[core]\n    remote = s\n['remote \"s\"']\n    url = ../../../remote\n"
    )
    (top / ".gitignore").write_text("/remote\n")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "all")
    commit = git(top, "rev-parse", "HEAD")
    git(top, "commit", "-qm", "more", "--allow-empty")
    (tmp_path / "current").symlink_to("mono/team/ml")
    plane = data_plane(tmp_path, "mono/team/ml")
    assert plane.switch(plane.find(commit), plane.revision()).name == commit
    assert (tmp_path / "current").resolve() == tmp_path / "versions" / commit
    assert (tmp_path / "current" / "team" / "ml" / "data" / "train.csv").read_bytes() == b"a,b\n1,v1\n" * 50
    assert plane.revision().is_same(plane.find(commit))


def test_changes_are_the_commits_that_pin_other_data(root: Path) -> None:
    repository = root / "ml"
    (repository / "train.py").write_text("print('other code')\n")
    git(repository, "commit", "-qam", "code alone")
    first, second = data_plane(root).changes(rigs.NOW.replace(year=2020))
    assert (first.before, first.actor, first.summary) == ("", "Ada", "data v1")
    assert (second.before, second.after) == (first.after, git(repository, "rev-parse", "v2"))


def test_what_is_no_repository_is_said(tmp_path: Path) -> None:
    (tmp_path / "ml").mkdir()
    (tmp_path / "current").symlink_to("ml")
    plane = data_plane(tmp_path)
    for attempt in (plane.revision, lambda: plane.find("v1")):
        with pytest.raises(Unavailable, match="no git repository"):
            attempt()
    assert plane.health().state is signals.State.UNKNOWN
    git(tmp_path / "ml", "init", "-q")
    git(tmp_path / "ml", "commit", "-qm", "empty", "--allow-empty")
    with pytest.raises(Damaged, match="pins no data"):
        plane.find("HEAD")


def test_hooks_of_the_repository_are_not_run(root: Path) -> None:
    hook = root / "ml" / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {root}/sprung\n")
    hook.chmod(0o755)
    plane = data_plane(root)
    plane.switch(plane.find("v1"), plane.revision())
    assert not (root / "sprung").exists()


@pytest.fixture
def real_dvc() -> str:
    program = shutil.which("dvc")
    if program is None:
        pytest.skip("dvc is not installed: its layout is built by hand")
    return program


def test_what_dvc_itself_made(real_dvc: str, tmp_path: Path) -> None:
    repository = tmp_path / "ml"
    repository.mkdir()
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": os.devnull}

    def run(*words: str) -> None:
        subprocess.run([real_dvc, *words], cwd=repository, env=environment, check=True, capture_output=True)

    git(repository, "init", "-q", "-b", "main")
    run("init", "-q")
    run("remote", "add", "-d", "store", str(tmp_path / "remote"))
    found = {}
    for version in ("v1", "v2"):
        (repository / "images" / "deep").mkdir(parents=True, exist_ok=True)
        (repository / "images" / "deep" / "x.png").write_bytes(version.encode())
        (repository / "train.csv").write_bytes(version.encode() * 1000)
        run("add", "images", "train.csv")
        run(
            "stage",
            "add",
            "--force",
            "-n",
            "count",
            "-d",
            "train.csv",
            "-o",
            "count.txt",
            "wc -c < train.csv > count.txt; echo " + version + " >> count.txt",
        )
        run("repro")
        run("push")
        git(repository, "add", "-A")
        git(repository, "commit", "-qm", version)
        git(repository, "tag", version)
        found[version] = (repository / "count.txt").read_bytes()
    (tmp_path / "current").symlink_to("ml")
    plane = data_plane(tmp_path)
    shutil.rmtree(repository / ".dvc" / "cache")
    target = plane.find("v1")
    assert target.facts["outs"] == "3"
    assert plane.switch(target, plane.revision()).is_same(target)
    assert (tmp_path / "current" / "images" / "deep" / "x.png").read_bytes() == b"v1"
    assert (tmp_path / "current" / "count.txt").read_bytes() == found["v1"]
    assert (repository / "count.txt").read_bytes() == found["v2"], "the live files stay"
    repository = tmp_path / "versions" / target.name
    run("fetch")  # the tree has no cache of its own
    said = subprocess.run(
        [real_dvc, "status"], cwd=repository, env=environment, check=True, capture_output=True, text=True
    )
    assert "up to date" in said.stdout, said.stdout
