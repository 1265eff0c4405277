"""Numbers and names that plans, differences and the extractor tell."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ddr.connectors.mlflow import schema
from tests.unit.cli.test_backup_words import Person, person

__all__ = ["person"]
_EXTRACT = Path(__file__).parents[3] / "ddr" / "backup" / "extract.py"


@pytest.fixture
def registry(person: Person) -> Person:
    schema.migrate(f"sqlite:///{person.root}/mlflow.db", "dc11669786a5")
    with sqlite3.connect(person.root / "mlflow.db") as database:
        for number in range(1, 5):
            database.execute(
                "insert into experiments (experiment_id, name, lifecycle_stage) values (?, ?, 'active')",
                (number, f"exp-{number}"),
            )
        database.execute("insert into registered_models (name) values ('fraud')")
    connectors = "connectors:\n  registry: {type: mlflow, tracking: 'sqlite:///mlflow.db'}\n"
    person.writes("encryption: none", connectors + "  needs: {type: secret-references}\n")
    assert person.types("backup", "run") == 0
    return person


def test_what_is_told_in_numbers_and_once(registry: Person) -> None:
    place = f"sqlite:///{registry.root}/not/there/x.db"
    assert registry.types("restore", "registry", "--only", "experiment:exp-2", "--to", place) == 0
    assert "1 of 4 rows" in registry.out
    assert f"folder {registry.root}/not/there" in registry.out
    assert registry.types("restore", "registry", "--only", "model:nope", "--to", place) == 64
    assert "there is: fraud" in registry.err
    assert "exp-" not in registry.err
    assert registry.types("backup", "run", "--dry-run") == 0
    assert "SecretReferences" not in registry.out
    with sqlite3.connect(registry.root / "mlflow.db") as database:
        database.execute("update experiments set name = 'other' where experiment_id = 3")
        database.execute("delete from experiments where experiment_id = 4")
    assert registry.types("restore", "registry", "--apply") == 1
    conflict = next(line for line in registry.out.splitlines() if "the same id with other content" in line)
    assert (registry.out + registry.err).count(conflict.strip()) == 1
    assert "same id" not in registry.err
    assert registry.types("backup", "run", "--json") == 0, registry.out
    assert registry.types("backup", "list", "--json") == 0
    before, _after = (one["id"] for one in json.loads(registry.out)["snapshots"])
    assert registry.types("backup", "diff", before) == 0
    (line,) = [line for line in registry.out.splitlines() if "table experiments" in line]
    assert "4 rows → 3 rows (1 new or changed, 2 gone or changed)" in line


def test_the_extractor_says_what_it_does(registry: Person) -> None:
    def extracts(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, _EXTRACT, *words], capture_output=True, text=True, check=False)

    done = extracts(str(registry.root / ".ddr"), "tables", "latest", str(registry.root / "out"))
    assert done.returncode == 0, done.stderr
    assert f"to {registry.root}/out" in done.stdout
    files = sum(path.is_file() for path in (registry.root / "out").rglob("*"))
    assert f"{files} files are there now" in done.stdout
    wrong = extracts(str(registry.root / "nowhere"), "list")
    assert wrong.returncode == 1
    assert "no repository here" in wrong.stderr
    assert len(_EXTRACT.read_text().splitlines()) <= 300
