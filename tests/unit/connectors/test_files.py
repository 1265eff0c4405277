"""Files by glob with real git repositories, and what DVC's files name."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors.files import connector, dvc
from ddr.domain import snapshots
from ddr.errors import InputError, Missing
from ddr.lib import clock, git, yamlmask
from ddr.ports import restorable
from tests import captures
from tests.unit.connectors.rigs import NOW
from tests.unit.connectors.test_folder_restore import state
from tests.unit.connectors.test_folder_tree import RAW, lay

CANARY = "c4n4ry-Zx81qPw"


def run(folder: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main", *words],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


def repository(root: Path) -> Path:
    lay(root, "pipelines/train.yaml", "pipelines/deep/score.yaml", "code.py", "README")
    run(root, "init")
    run(root, "add", ".")
    run(root, "commit", "-m", "first")
    return root


def made(root: Path, **settings: Any) -> connector.Files:
    return connector.connect(connector.Settings(root.name, **settings), root.parent, clock.ManualClock(NOW))


def captured(files: connector.Files) -> captures.Capture:
    sink = captures.Capture("configs", "files")
    files.capture(sink)
    return sink


def test_files_are_captured_and_come_back(tmp_path: Path) -> None:
    root = repository(tmp_path / "repo")
    files = made(root, include=("pipelines/**",))
    assert isinstance(files, restorable.Restorable)
    sink = captured(files)
    assert sorted(sink.files["files"]) == [
        "pipelines", "pipelines/deep", "pipelines/deep/score.yaml", "pipelines/train.yaml",
    ]  # fmt: skip
    source: Any = sink.source()
    options = restorable.RestoreOptions(str(tmp_path / "to"), only=("path:*.yaml",))
    plan = files.plan_restore(source, options)
    files.restore(plan, source)
    assert all(one.is_equal for one in files.compare(plan, source))
    kept = {path: said for path, said in state(root / "pipelines").items() if said[0] == "file"}
    assert {path: said for path, said in state(tmp_path / "to" / "pipelines").items() if said[0] == "file"} == kept
    back = files.plan_restore(source, restorable.RestoreOptions(policy="recreate"))
    assert (back.target, {line.does for line in back.lines}) == (str(root), {"skip"})
    for bad in (restorable.RestoreOptions("to"), restorable.RestoreOptions(only=("model:x",))):
        with pytest.raises(InputError):
            files.plan_restore(source, bad)


def test_git_says_commit_branch_remotes_and_what_is_not_committed(tmp_path: Path) -> None:
    root = repository(tmp_path / "repo")
    run(root, "remote", "add", "origin", f"https://bot:{CANARY}@git.example.com/team/repo.git?token={CANARY}")
    run(root, "remote", "add", "tokened", f"https://{CANARY}@git.example.com/team/repo.git")
    run(root, "remote", "add", "shell", "git@git.example.com:team/repo.git")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True).stdout
    sink = captured(made(root))
    expected = {
        "git.commit": head.strip(),
        "git.branch": "main",
        "git.clean": "yes",
        "git.pushed": "no",
        "git.remote.origin": "https://git.example.com/team/repo.git",
        "git.remote.tokened": "https://git.example.com/team/repo.git",
        "git.remote.shell": "git@git.example.com:team/repo.git",
    }
    assert {name: value for name, value in sink.facts.items() if name.startswith("git")} == expected
    assert ["on no remote" in text for text in sink.warnings] == [True]
    (root / "code.py").write_text("changed")
    run(root, "mv", "README", "README.md")
    lay(root, "pipelines/new.yaml", RAW)
    sink = captured(made(root))
    assert (sink.facts["git.clean"], sink.facts["git.uncommitted"]) == ("no", "4")
    assert set(git.look(root).changed) == {"README.md", "code.py", RAW, "pipelines/new.yaml"}
    assert git.look(root / "pipelines").changed == ("new.yaml",)
    assert CANARY not in repr(sink)


def test_a_repository_starts_no_program(tmp_path: Path) -> None:
    root = repository(tmp_path / "repo")
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    hooks = root / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (hooks / name).write_text(trap.read_text())
        (hooks / name).chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "core.sshCommand", "core.askPass"):
        run(root, "config", key, str(trap))
    (root / "code.py").write_text("changed")
    index = (root / ".git" / "index").read_bytes()
    assert git.look(root).changed == ("code.py",)
    assert not (tmp_path / "sprung").exists()
    assert (root / ".git" / "index").read_bytes() == index
    subprocess.run(["git", "status"], cwd=root, check=True, capture_output=True)
    assert (tmp_path / "sprung").exists(), "the trap works"


def test_no_git_no_repository_no_commit_and_no_answer_are_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = lay(tmp_path / "plain", "x")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert captured(made(plain)).facts["git"] == "no git repository"
    assert git.look(plain, program="no-such-git").why == "git is not installed"
    assert git.look(tmp_path / "nowhere").why == "there is no such folder"
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    assert git.look(plain, program=str(slow), timeout_s=0.1).why == "git did not answer within 0.1 s"
    monkeypatch.delenv("GIT_DIR")
    run(plain, "init")
    assert git.facts(git.look(plain)) == {
        "git.commit": "none yet", "git.clean": "no", "git.uncommitted": "1", "git.pushed": "no remote",
    }  # fmt: skip


def test_a_pushed_commit_is_known_to_be_pushed(tmp_path: Path) -> None:
    root = repository(tmp_path / "repo")
    (tmp_path / "far").mkdir()
    run(tmp_path / "far", "init", "--bare")
    run(root, "remote", "add", "origin", str(tmp_path / "far"))
    run(root, "push", "origin", "main")
    assert git.look(root).is_pushed is True
    assert captured(made(root)).warnings == []


def test_credential_files_are_named_and_left_out(tmp_path: Path) -> None:
    root = lay(tmp_path / "repo", "keep.yaml")
    for path in (".env", "deep/.netrc", ".dvc/config.local", "home/.aws/credentials", ".git-credentials"):
        lay(root, path)
        (root / path).write_text(f"password={CANARY}")
    (root / ".dvc" / "config").write_text(
        f"[core]\n    remote = far\n['remote \"far\"']\n    url = https://me:{CANARY}@dvc.example.com/x\n"
        f"    password = {CANARY}\n    user = me\n"
    )
    sink = captured(made(root))
    assert CANARY not in repr(sink)
    assert CANARY.encode() not in b"".join(content for _, content in sink.files["files"].values())
    assert len(sink.redactions) == 6
    assert {path for path, (one, _) in sink.files["files"].items() if one.kind == "file"} == {
        "keep.yaml", ".dvc/config",
    }  # fmt: skip
    assert b"user = me" in sink.files["files"][".dvc/config"][1]
    source: Any = sink.source()
    plan = made(root).plan_restore(source, restorable.RestoreOptions(str(tmp_path / "to")))
    assert sum(line.does == "enter-again" for line in plan.lines) == 6


def test_nothing_there_is_told(tmp_path: Path) -> None:
    lay(tmp_path / "repo", "x")
    sink = captured(made(tmp_path / "repo", include=("*.yaml",)))
    assert sink.trees["files"] == snapshots.Tree("files", (), 0, 0, 0)
    assert ["nothing was captured" in text for text in sink.warnings] == [True]
    with pytest.raises(Missing):
        captured(made(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="pattern"):
        connector.Settings("x", include=("/",))


# DVC


def put(place: Path, content: bytes, *, suffix: str = "", is_legacy: bool = False) -> str:
    name = hashlib.md5(content).hexdigest() + suffix
    path = place / dvc.keys_of(name, is_legacy=is_legacy)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return name


def project(root: Path) -> tuple[Path, Path, Path]:
    """A project with a remote folder, both empty of data."""
    lay(root, "train.py")
    far, cache = root.parent / "far", root / ".dvc" / "cache"
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    remote = far\n['remote \"far\"']\n    url = ../../far\n")
    return root, cache, far


def listing(far: Path, **files: bytes) -> str:
    listed = [{"md5": put(far, content), "relpath": name} for name, content in sorted(files.items())]
    return put(far, json.dumps(listed).encode(), suffix=".dir")


def test_every_hash_that_dvc_names_is_looked_for(tmp_path: Path) -> None:
    root, cache, far = project(tmp_path / "repo")
    there, only_here = put(far, b"there"), put(cache, b"here")
    lost = hashlib.md5(b"lost").hexdigest()
    old = put(far, b"old", is_legacy=True)
    images = listing(far, a=b"one", b=b"two", c=b"three")
    (far / dvc.keys_of(hashlib.md5(b"two").hexdigest())[0]).unlink()
    (root / "data.dvc").write_text(f"outs:\n- {{md5: {there}, size: 5, hash: md5, path: data}}\n")
    (root / "old.dvc").write_text(f"outs:\n- {{md5: {old}, path: old}}\n- {{path: free, md5: {lost}, cache: false}}\n")
    (root / "images.dvc").write_text(f"outs:\n- {{md5: {images}, hash: md5, path: images, nfiles: 3}}\n")
    (root / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: python train.py\n    outs: [model]\n    metrics:\n    - m.json: {cache: false}\n"
    )
    (root / "dvc.lock").write_text(
        f"schema: '2.0'\nstages:\n  train:\n    cmd: x\n    deps:\n    - {{path: train.py, hash: md5, md5: {lost}}}\n"
        f"    outs:\n    - {{path: model, hash: md5, md5: {only_here}}}\n"
        f"    - {{path: m.json, hash: md5, md5: {lost}}}\n"
        f"  score:\n    cmd: y\n    outs:\n    - {{path: scores, hash: md5, md5: {lost}}}\n"
    )
    sink = captured(made(root))
    assert {name: value for name, value in sink.facts.items() if name.startswith("dvc")} == {
        "dvc.outs": "5", "dvc.objects": "8", "dvc.missing": "2", "dvc.only-in-cache": "1", "dvc.remote": f"far {far}",
    }  # fmt: skip
    assert sorted(sink.warnings) == [
        f"dvc.lock: stage score: scores: {lost[:12]}… neither in the cache nor in the remote: it cannot be restored",
        f"dvc.lock: stage train: model: {only_here[:12]}… only in the cache of this machine: `dvc push`",
        "images.dvc: images: 1 of 4 objects, the first images/b, neither in the cache nor in the remote: it cannot be restored",  # noqa: E501
    ]


def test_a_remote_that_cannot_be_asked_is_told_and_its_login_is_not(tmp_path: Path) -> None:
    root, cache, _ = project(tmp_path / "repo")
    here, lost = put(cache, b"here"), hashlib.md5(b"lost").hexdigest()
    (root / ".dvc" / "config.local").write_text(
        f"['remote \"far\"']\n    url = https://me:{CANARY}@dvc.example.com/x\n    password = {CANARY}\n"
    )
    (root / "data.dvc").write_text(f"outs:\n- {{md5: {here}, path: a}}\n- {{md5: {lost}, path: b}}\n")
    sink = captured(made(root))
    assert CANARY not in repr(sink)
    assert sink.facts["dvc.remote"] == "far https://dvc.example.com/x"
    assert sum("was not asked" in text for text in sink.warnings) == 1

    class Bucket:
        trouble = ""

        def which(self, keys: Sequence[str]) -> Mapping[str, bool | None]:
            return {key: lost in key.replace("/", "") for key in keys}

        def read(self, key: str) -> bytes | None:
            return None

    report = dvc.examine(root, lambda remote: Bucket())
    assert report is not None
    assert (report.facts["dvc.missing"], report.facts["dvc.only-in-cache"]) == ("0", "1")


@pytest.mark.parametrize("text", ["a: [", "just text", "outs: 3", "outs: [3, {md5: 7}]", "stages: {x: 3}", ""])
def test_broken_dvc_files_do_not_stop_a_backup(text: str, tmp_path: Path) -> None:
    root, _, _ = project(tmp_path / "repo")
    (root / "broken.dvc").write_text(text)
    (root / "dvc.lock").write_text(text)
    assert captured(made(root)).trees["files"].files == 4
    assert dvc.examine(lay(tmp_path / "other", "x")) is None


DVC = Path.home() / ".cache" / "ddr-test" / "dvc-3" / "bin" / "dvc"


@pytest.mark.long
@pytest.mark.skipif(not DVC.exists(), reason=f"no DVC in {DVC.parent.parent}")
def test_against_dvc_itself(tmp_path: Path) -> None:
    root = repository(tmp_path / "repo")
    lay(root, "data/a", "data/b/c", "one.bin")

    def told(*words: str) -> None:
        environ = {**os.environ, "DVC_NO_ANALYTICS": "1", "HOME": str(tmp_path)}
        subprocess.run([DVC, *words], cwd=root, env=environ, check=True, capture_output=True)

    told("init")
    told("remote", "add", "-d", "far", str(tmp_path / "far"))
    told("add", "data", "one.bin")
    told("stage", "add", "-n", "s", "-d", "code.py", "-o", "out", "-M", "m.json", "cp one.bin out && echo 1 > m.json")
    told("repro")
    before = captured(made(root, exclude=("out",))).facts
    assert (before["dvc.outs"], before["dvc.objects"], before["dvc.only-in-cache"]) == ("3", "5", "5")
    told("push")
    after = captured(made(root)).facts
    assert (after["dvc.missing"], after["dvc.only-in-cache"]) == ("0", "0")
    for path in (tmp_path / "far").rglob("*"):
        if path.is_file():
            path.unlink()
            break
    assert captured(made(root)).facts["dvc.only-in-cache"] >= "1"


MASKS = [
    ("password: hunter22", 'password: "[redacted]"'),
    ("a: {api_key: 'x y', name: n}", 'a: {api_key: "[redacted]", name: n}'),
    ("db_token: |\n  one\n  two\nnext: 1\n", 'db_token: "[redacted]"\nnext: 1\n'),
    ("url: postgresql://me:pw@host/db # c", 'url: "postgresql://me:[redacted]@host/db" # c'),
    ("conn: host:6379,password=x,db=1", 'conn: "host:6379,password=[redacted],db=1"'),
    ("password: ${REDIS_PASSWORD}\ntoken: $TOKEN", "password: ${REDIS_PASSWORD}\ntoken: $TOKEN"),
    ("secret_path: /etc/x\ntoken_url: https://x/y", "secret_path: /etc/x\ntoken_url: https://x/y"),
    ("list: [{secret: a}, {secret: b}]", 'list: [{secret: "[redacted]"}, {secret: "[redacted]"}]'),
    ("é: 😀\npassword: 😀x", 'é: 😀\npassword: "[redacted]"'),
    ("x: &a {password: p}\ny: *a", 'x: &a {password: "[redacted]"}\ny: *a'),
]


@pytest.mark.parametrize(("text", "expected"), MASKS)
def test_secrets_are_taken_out_of_yaml_and_the_rest_stays(text: str, expected: str) -> None:
    assert yamlmask.masked(text).text == expected
    assert yamlmask.masked(expected).text == expected


def test_yaml_that_cannot_be_read_is_not_quoted() -> None:
    with pytest.raises(yamlmask.Unreadable) as problem:
        yamlmask.masked(f"a: [\npassword: '{CANARY}")
    assert CANARY not in str(problem.value)


def test_git_speaks_of_what_is_kept_alone(tmp_path: Path) -> None:
    """ddr's own repository, and files that nobody asked for, are nobody's uncommitted work."""
    root = repository(tmp_path / "repo")
    lay(root, ".ddr/backup/packs/aa/pack", ".ddr/journal/000000000001", "notes.txt")
    files = made(root, include=("pipelines/**",))
    assert captured(files).facts["git.clean"] == "yes"
    assert "notes.txt" in git.look(root).changed
    lay(root, "pipelines/new.yaml")
    sink = captured(files)
    assert (sink.facts["git.clean"], sink.facts["git.uncommitted"]) == ("no", "1")
    everything = captured(made(root))
    assert everything.facts["git.uncommitted"] == "2"
    assert not any(".ddr" in text for text in everything.warnings)
