"""`ddr restore` as a person types it: what it leaves, deletes and refuses is told, and what to say next."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ddr.connectors.mlflow import schema
from tests.unit.cli import calls

_REST = """
  pipelines: {type: files, root: pipelines}
  needs: {type: secret-references, config: "", names: [{name: db-password, origin: vault}]}
"""
_HEAD = "apiVersion: ddr/v1\nrepository: {type: local, path: .ddr}\nbackup: {encryption: none}\nservices: {}\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, references and an empty MLflow with one alias, backed up."""
    base = tmp_path_factory.mktemp("restore")
    (base / "pipelines").mkdir()
    (base / "pipelines" / "one.yaml").write_text("a: 1\n")
    schema.migrate(f"sqlite:///{base}/mlflow.db", "dc11669786a5")
    with sqlite3.connect(base / "mlflow.db") as database:
        database.execute("insert into experiments (experiment_id, name, lifecycle_stage) values (1, 'one', 'active')")
        database.execute("insert into experiments (experiment_id, name, lifecycle_stage) values (2, 'two', 'active')")
    configure(base, "  registry: {type: mlflow, tracking: 'sqlite:///mlflow.db'}\n" + _REST)
    done = calls.ddr(base, "backup", "run")
    assert done.code == 0, done.err + done.out
    return base


def configure(base: Path, connectors: str) -> None:
    (base / "ddr.yaml").write_text(f"{_HEAD}connectors:\n{connectors}")


def changed(root: Path, tmp_path: Path) -> Path:
    there = tmp_path / "there"
    there.mkdir()
    (there / "one.yaml").write_text("a: 2\n")
    (there / "extra.yaml").write_text("b: 1\n")
    return there


def test_what_was_left_different_is_told(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "there.db"
    words = ["restore", "registry", "--to", f"sqlite:///{target}", "--with", "artifacts=none"]
    assert calls.ddr(root, *words, "--apply").code == 0
    with sqlite3.connect(target) as database:
        database.execute("update experiments set name = 'three' where experiment_id = 2")
    done = calls.ddr(root, *words, "--policy", "skip", "--apply", "--json")
    assert done.code == 2
    assert [(line["what"], line["does"]) for line in done.document["left"]] == [("table experiments", "leave")]
    assert len(done.document["unequal"]) == 1
    said = calls.ddr(root, *words, "--policy", "skip", "--apply")
    assert said.code == 2
    assert "left as it is and different: table experiments: 1 rows, like 2" in said.out
    with sqlite3.connect(target) as database:
        assert database.execute("select name from experiments where experiment_id = 2").fetchone() == ("three",)
    whole = calls.ddr(root, *words, "--policy", "update", "--apply", "--json")
    assert (whole.code, whole.document["left"]) == (0, [])


def test_a_policy_refusal_names_the_policies(root: Path, tmp_path: Path) -> None:
    there = changed(root, tmp_path)
    for words in ([], ["--apply"]):
        done = calls.ddr(root, "restore", "pipelines", "--to", str(there), *words)
        assert done.code == 1
        assert "--policy skip" in done.out + done.err
    assert (there / "one.yaml").read_text() == "a: 2\n"


def test_what_is_deleted_is_told_when_it_is_done(root: Path, tmp_path: Path) -> None:
    there = changed(root, tmp_path)
    done = calls.ddr(root, "restore", "pipelines", "--to", str(there), "--policy", "recreate", "--apply")
    assert done.code == 0
    assert "deleted, as the snapshot lacks it: files: 1 entry: extra.yaml" in done.out
    assert not (there / "extra.yaml").exists()


def test_no_place_is_left_blank(root: Path) -> None:
    for words in ([], ["--apply"]):
        done = calls.ddr(root, "restore", "needs", *words)
        assert done.code == 0, done.err
        assert "into ;" not in done.out
        assert "into  in" not in done.out
        assert "db-password" in done.out


@pytest.mark.parametrize(
    ("component", "only"),
    [
        ("registry", "model:nope"), ("registry", "model"), ("pipelines", "path:nomatch"), ("needs", "name:x"),
    ],
)  # fmt: skip
def test_a_part_that_is_not_there_is_a_usage_error(root: Path, component: str, only: str) -> None:
    done = calls.ddr(root, "restore", component, "--only", only)
    assert done.code == 64, done.out + done.err
    assert "next: " in done.err


def test_a_new_machine_is_told_what_to_write(root: Path) -> None:
    """With the repository alone the refusal has the lines of ddr.yaml, and with these it goes."""
    whole = (root / "ddr.yaml").read_text()
    try:
        for component, line in (
            ("registry", f"registry: {{type: mlflow, tracking: 'sqlite:///{root}/mlflow.db'}}"),
            ("pipelines", f"pipelines: {{type: files, root: '{root}/pipelines'}}"),
            ("needs", "needs: {type: secret-references}"),
        ):
            (root / "ddr.yaml").write_text(f"{_HEAD}connectors: {{}}\n")
            refused = calls.ddr(root, "restore", component)
            assert refused.code == 1
            assert line in refused.err
            configure(root, f"  {line}\n")
            there = calls.ddr(root, "restore", component, "--policy", "skip")
            assert there.code == 0, there.err
    finally:
        (root / "ddr.yaml").write_text(whole)
