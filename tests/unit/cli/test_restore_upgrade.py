"""`ddr restore --upgrade`: the snapshot's own schema first, compared, then MLflow's own migrations."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ddr.cli import main
from ddr.connectors.mlflow import schema

_HEAD = "dc11669786a5"


def _before(head: str) -> str:
    from alembic.script import ScriptDirectory

    script = ScriptDirectory.from_config(schema._mlflow("sqlite://")[1]).get_revision(head)
    assert script is not None
    return str(script.down_revision)


def test_the_schema_is_upgraded_behind_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    older = _before(_HEAD)
    schema.migrate(f"sqlite:///{tmp_path}/mlflow.db", older)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("insert into experiments (experiment_id, name, lifecycle_stage) values (7, 'one', 'active')")
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "ddr.yaml").write_text(
        "apiVersion: ddr/v1\nrepository: {type: local, path: .ddr}\nservices: {}\nbackup: {encryption: none}\n"
        "connectors:\n  registry: {type: mlflow, tracking: 'sqlite:///mlflow.db'}\n"
        "  pipelines: {type: files, root: pipelines}\n"
    )
    assert main.run(["backup", "run"]) == 0
    words = ["restore", "registry", "--to", f"sqlite:///{tmp_path}/there.db", "--with", "artifacts=none"]
    assert main.run([*words, "--apply"]) == 0
    assert _revision(tmp_path / "there.db") == older, "without a word the schema stays"
    capsys.readouterr()
    assert main.run([*words, "--apply", "--upgrade"]) == 0
    assert f"schema {older} upgraded to {_HEAD}" in capsys.readouterr().out
    assert _revision(tmp_path / "there.db") == _HEAD
    with sqlite3.connect(tmp_path / "there.db") as database:
        assert database.execute("select name from experiments where experiment_id = 7").fetchall() == [("one",)]
    assert main.run(["restore", "pipelines", "--to", str(tmp_path / "x"), "--upgrade"]) == 64


def _revision(path: Path) -> str:
    with sqlite3.connect(path) as database:
        (revision,) = database.execute("select version_num from alembic_version").fetchone()
    return str(revision)
