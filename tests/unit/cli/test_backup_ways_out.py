"""The journal cut or gone, the repository gone, a snapshot damaged: what a person sees then, and the way on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import sandboxes
from tests.unit.cli import calls


@pytest.fixture
def root(tmp_path: Path, pristine_sandbox: Path) -> Path:
    """A platform with two snapshots of its files and journal."""
    made = sandboxes.copy(pristine_sandbox, tmp_path / "platform")
    pipes = made / "pipes"
    pipes.mkdir()
    for number in range(40):
        (pipes / f"{number}.yaml").write_text(f"step: {number}\n")
    config = (made / "ddr.yaml").read_text()
    assert "connectors:\n" in config
    config = config.replace("connectors:\n", "connectors:\n  pipes: {type: files, root: pipes}\n", 1)
    config += (
        "\nbackup: {keyFile: backup.key, connectors: [pipes], metrics: ddr.prom,"
        " copies: {second: {type: local, path: second}}}\n"
    )
    (made / "ddr.yaml").write_text(config)
    assert calls.ddr(made, "backup", "key", "new-file", str(made / "backup.key")).code == 0
    for _ in range(2):
        done = calls.ddr(made, "backup", "run")
        assert done.code == 0, done
    return made


def events(root: Path) -> list[Path]:
    return sorted((root / ".ddr" / "journal").glob("0*"))


def cut(root: Path) -> None:
    for path in events(root)[-2:]:
        path.unlink()


def gone(root: Path) -> None:
    shutil.rmtree(root / ".ddr" / "journal")


def holed(root: Path) -> None:
    events(root)[1].unlink()


@pytest.mark.parametrize("harm", [cut, gone, holed])
def test_without_a_whole_journal_backups_are_seen_and_bring_it_back(root: Path, harm: object) -> None:
    before = {path.name: path.read_bytes() for path in events(root)}
    harm(root)  # type: ignore[operator]
    listed = calls.ddr(root, "backup", "list", "--json")
    assert (listed.code, len(listed.document["snapshots"])) == (2, 2)
    assert "HISTORY" in listed.err
    verified = calls.ddr(root, "backup", "verify", "--json")
    assert verified.code == 2
    assert len(verified.document["whole"]) == 2
    assert "the journal does not know of it" in verified.err
    assert calls.ddr(root, "backup", "show").code == 0
    made = calls.ddr(root, "backup", "run", "--json")
    assert made.code == 2
    assert made.document["snapshot"]["id"] in made.err
    first = listed.document["snapshots"][1]["id"]
    restored = calls.ddr(root, "restore", "journal", "--snapshot", first[:8], "--apply")
    assert "compared equal" in restored.out, restored
    assert calls.ddr(root, "journal", "repair").code == 0
    assert calls.ddr(root, "journal", "verify").code == 0
    now = {path.name: path.read_bytes() for path in events(root)}
    assert before.items() <= now.items()
    assert calls.ddr(root, "backup", "list").code == 0
    assert calls.ddr(root, "backup", "verify").code == 0


def test_a_repository_that_is_gone_is_not_called_new(root: Path) -> None:
    newest = calls.ddr(root, "backup", "list", "--json").document["snapshots"][-1]["id"]
    assert calls.ddr(root, "backup", "copy", "second").code == 0
    shutil.rmtree(root / ".ddr" / "backup")
    for words in (["backup", "list"], ["backup", "verify"], ["restore", "pipes"], ["backup", "run"]):
        done = calls.ddr(root, *words)
        assert done.code == 1, (words, done)
        for said in ("is gone", "2 snapshots", newest[:8], "--new-repository", "second"):
            assert said in done.err, (words, said, done.err)
        assert "yet" not in done.err
        assert not (root / ".ddr" / "backup").exists()
    shutil.copytree(root / "second" / "backup", root / ".ddr" / "backup")
    assert calls.ddr(root, "backup", "verify").code == 0, "the copy, put back, is the repository"
    shutil.rmtree(root / ".ddr" / "backup")
    anew = calls.ddr(root, "backup", "run", "--new-repository")
    assert anew.code == 0, anew
    assert "a new backup repository" in anew.err
    shutil.rmtree(root / ".ddr" / "backup")
    assert "1 snapshot" in calls.ddr(root, "backup", "list").err, "the old ones were given up"


def test_with_the_whole_folder_gone_nothing_new_is_made(root: Path) -> None:
    """What this machine has seen of the journal says that there was one."""
    shutil.rmtree(root / ".ddr")
    done = calls.ddr(root, "backup", "run")
    assert done.code == 1
    assert "nobody can say" in done.err
    assert not (root / ".ddr" / "backup").exists()


def test_only_the_key_slots_are_gone(root: Path) -> None:
    paper = calls.ddr(root, "backup", "key", "export").out.strip()
    shutil.rmtree(root / ".ddr" / "backup" / "keys")
    for words in (["key", "list"], ["list"], ["run"]):
        done = calls.ddr(root, "backup", *words)
        assert done.code == 1, (words, done)
        assert "all its key slots are gone" in done.err
        assert "--recovery" in done.err
        assert "no repository yet" not in done.err + done.out
    assert paper.startswith("ddr-recovery-1-")


def test_a_damaged_snapshot_has_a_way_out(root: Path) -> None:
    oldest, newest = sorted((root / ".ddr" / "backup" / "snapshots").iterdir())
    content = bytearray(newest.read_bytes())
    content[100] ^= 1
    newest.chmod(0o644)
    newest.write_bytes(content)
    older = oldest.name.rpartition("-")[2][:8]
    for words in (["restore", "pipes"], ["backup", "prune"], ["backup", "show"]):
        done = calls.ddr(root, *words)
        assert done.code == 2, (words, done)
        assert older in done.err
        assert "repair --drop-damaged" in done.err
    assert calls.ddr(root, "backup", "list").code == 2
    told = calls.ddr(root, "backup", "repair")
    assert told.code == 2
    assert "--drop-damaged" in told.out
    assert newest.exists(), "never by itself"
    assert calls.ddr(root, "backup", "repair", "--drop-damaged").code == 0
    (kept,) = (root / ".ddr" / "backup" / "aside").rglob(f"*{newest.name}*")
    assert kept.read_bytes() == bytes(content)
    for words in (["list"], ["prune"], ["run"], ["verify"]):
        assert calls.ddr(root, "backup", *words).code == 0, words


def test_what_shrank_stays_visible_until_it_is_back_or_accepted(root: Path) -> None:
    full = calls.ddr(root, "backup", "list", "--json").document["snapshots"][-1]["id"]
    kept = {path.name: path.read_bytes() for path in (root / "pipes").iterdir()}
    for name in list(kept)[1:]:
        (root / "pipes" / name).unlink()
    for _ in range(3):
        done = calls.ddr(root, "backup", "run")
        assert done.code == 2, "each run says so, not the first alone"
        assert "40 -> 1 files" in done.out
    listed = calls.ddr(root, "backup", "list")
    assert listed.out.count("(SHRUNK)") == 3
    assert f"full is {full[:8]}" in listed.out
    assert f"--snapshot {full[:8]}" in calls.ddr(root, "restore", "pipes").err
    config = (root / "ddr.yaml").read_text()
    (root / "ddr.yaml").write_text(config.replace("backup: {", "backup: {shrunkAccepted: 2999-01-01T00:00:00Z, "))
    accepted = calls.ddr(root, "backup", "run")
    assert accepted.code == 0, accepted
    (root / "ddr.yaml").write_text(config)
    for name, content in kept.items():
        (root / "pipes" / name).write_bytes(content)
    assert calls.ddr(root, "backup", "run").code == 0
    assert "SHRUNK" not in calls.ddr(root, "backup", "list").out.splitlines()[-1]
    assert "shrunk" not in calls.ddr(root, "restore", "pipes").err
