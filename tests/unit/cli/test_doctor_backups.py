"""`ddr doctor` tries what backups need: the key, what goes in, the copies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ddr.backup import keys
from ddr.cli import main

CONNECTORS = """
connectors:
  pipes: {type: files, root: pipes}
  secrets: {type: secret-references, envFiles: [pipes/.env]}
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything is well; each test breaks one thing."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipes").mkdir()
    (tmp_path / "pipes" / "train.yaml").write_text("a: 1\n")
    (tmp_path / "pipes" / ".env").write_text("TOKEN=\n")
    assert main.run(["init", str(tmp_path)]) == 0
    plain = (tmp_path / "ddr.yaml").read_text()
    assert "\nconnectors:" in plain
    kept = "\n".join(line for line in plain.splitlines() if not line.startswith("connectors:"))
    backup = "backup: {keyFile: backup.key, copies: {second: {type: local, path: second}}}"
    (tmp_path / "ddr.yaml").write_text(f"{kept}\n{CONNECTORS}\n{backup}\n")
    keys.new_key_file(tmp_path / "backup.key")
    assert main.run(["backup", "run"]) == 0
    assert main.run(["backup", "copy", "second"]) == 0
    return tmp_path


def _doctor(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main.run(["doctor", "--json"])
    return code, {one["what"]: one for one in json.loads(capsys.readouterr().out)["visits"]}


def test_all_is_tried_and_well(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, seen = _doctor(capsys)
    told = {what: one["why"] for what, one in seen.items()}
    assert code == 0, told
    assert told["key of backups"] == "opens the repository"
    assert told["backups of pipes"] == "1 file"
    assert "1 reference" in told["backups of secrets"]
    assert told["copy second"].endswith("holds 1 snapshot")
    assert not list((root / "second").glob("probe/*"))


@pytest.mark.parametrize("is_first", [True, False])
def test_a_key_file_that_is_gone_is_a_finding(root: Path, is_first: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Also before the first backup: then nothing could be sealed."""
    if is_first:
        for path in sorted((root / ".ddr" / "backup").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    (root / "backup.key").unlink()
    code, seen = _doctor(capsys)
    assert code == 2
    assert seen["key of backups"]["state"] == "bad"
    assert "backup.key" in seen["key of backups"]["why"]


def test_another_key_does_not_open_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "backup.key").unlink()
    keys.new_key_file(root / "backup.key")
    code, seen = _doctor(capsys)
    assert (code, seen["key of backups"]["state"]) == (2, "bad")


def test_a_source_that_is_gone_or_empty_is_a_finding(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "pipes" / "train.yaml").unlink()
    code, seen = _doctor(capsys)
    assert (code, seen["backups of pipes"]["state"]) == (2, "bad")
    assert "nothing" in seen["backups of pipes"]["why"]
    (root / "pipes").rename(root / "elsewhere")
    code, seen = _doctor(capsys)
    assert code == 2
    assert {seen[what]["state"] for what in ("backups of pipes", "backups of secrets")} == {"bad"}
    assert "pipes/.env" in seen["backups of secrets"]["why"]


def test_a_copy_that_is_empty_or_away_is_a_finding(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "second").rename(root / "moved")
    code, seen = _doctor(capsys)
    assert (code, seen["copy second"]["state"]) == (2, "unknown")
    assert "ddr backup copy second" in seen["copy second"]["why"]
    assert not (root / "second").exists(), "it only looks"
    (root / "second").mkdir()
    code, seen = _doctor(capsys)
    assert (code, seen["copy second"]["state"]) == (2, "unknown")
    config = root / "ddr.yaml"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    away = "{type: s3, bucket: ddr, region: eu-west-1, endpoint: 'http://127.0.0.1:9'}"
    config.write_text(config.read_text().replace("{type: local, path: second}", away))
    code, seen = _doctor(capsys)
    assert (code, seen["copy second"]["state"]) == (2, "bad")
