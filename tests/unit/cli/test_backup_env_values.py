"""A value that stands in a `.env` file is in no backup, whatever stands beside it."""

from __future__ import annotations

import bz2
from pathlib import Path

import pytest

from ddr.backup import keys
from ddr.cli import main

VALUE = "kx7Qm2vTz9Lw"


def test_a_bare_value_of_an_env_file_ends_the_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipes").mkdir()
    (tmp_path / ".env").write_text(f"ENV=production\nMLFLOW_PASSWORD={VALUE}\n")
    note = tmp_path / "pipes" / "note.txt"
    note.write_text("for production only\n")
    assert main.run(["init", str(tmp_path)]) == 0
    lines = (tmp_path / "ddr.yaml").read_text().splitlines()
    kept = "\n".join(line for line in lines if not line.startswith("connectors:"))
    connectors = (
        "connectors:\n  pipes: {type: files, root: pipes}\n  needs: {type: secret-references, envFiles: [.env]}"
    )
    (tmp_path / "ddr.yaml").write_text(f"{kept}\n{connectors}\nbackup: {{keyFile: backup.key}}\n")
    keys.new_key_file(tmp_path / "backup.key")
    assert main.run(["backup", "run"]) == 0, "ordinary words of it are no secret"
    for content in (f"ask me what {VALUE} is\n".encode(), bz2.compress(VALUE.encode()), VALUE.encode("utf-16")):
        note.write_bytes(content)
        capsys.readouterr()
        assert main.run(["backup", "run"]) not in (0, 2)
        said = "".join(capsys.readouterr())
        assert "MLFLOW_PASSWORD of .env:2" in said
        assert VALUE not in said
    stored = [path for path in (tmp_path / ".ddr").rglob("*") if path.is_file()]
    assert stored
    assert not any(VALUE.encode() in path.read_bytes() for path in stored)
