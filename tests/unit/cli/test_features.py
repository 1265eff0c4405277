"""`ddr features` as a person and a scheduler type it, on the real platform of a sandbox."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests import sandboxes
from tests.unit.cli import calls


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, pristine_sandbox: Path) -> Path:
    made = sandboxes.copy(pristine_sandbox, tmp_path_factory.mktemp("features") / "platform")
    with (made / "ddr.yaml").open("a") as file:
        file.write("\nbackup: {encryption: none}\nrecoveryWindow: 7d\n")
    return made


def values(root: Path) -> list[Any]:
    (path,) = root.rglob("online.db")
    with contextlib.closing(sqlite3.connect(path)) as file:
        (table,) = (name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))
        return sorted(file.execute(f"SELECT * FROM {table}").fetchall())


def spoil(root: Path) -> None:
    (path,) = root.rglob("online.db")
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        (table,) = (name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))
        columns = [row[1] for row in file.execute(f"PRAGMA table_info({table})")]
        file.execute(f"UPDATE {table} SET {columns[-1]} = -5")


def test_kept_listed_shown_and_put_back(root: Path) -> None:
    done = calls.ddr(root, "features", "list")
    assert done.code == 0
    assert "ddr features snapshot" in done.out
    good = values(root)
    done = calls.ddr(root, "features", "snapshot", "--why", "before the migration", "--json")
    assert done.code == 0, done.err
    (kept,) = done.document["kept"]
    revision = kept["facts"]["revision"]
    assert kept["rows"] == len(good)
    done = calls.ddr(root, "features", "list")
    assert revision in done.out
    assert "before the migration" in done.out
    assert calls.ddr(root, "features", "list", "--json").document["states"][0]["facts"]["revision"] == revision
    assert calls.ddr(root, "features", "show", revision[:6]).code == 0
    assert calls.ddr(root, "features", "show", "nothing").code == 64
    assert calls.ddr(root, "features", "snapshot", "nowhere").code == 64
    assert calls.ddr(root, "features", "frozen").code == 0

    done = calls.ddr(root, "backup", "list", "--json")
    assert json.loads(done.out)["snapshots"] == [], "a kept state is no backup"
    assert [one["name"] for one in json.loads(done.out)["kept"]] == [kept["name"]]
    for words in ((), ("--kept",)):
        told = calls.ddr(root, "backup", "list", *words)
        assert kept["name"][:8] in told.out
        assert "before the migration" in told.out
        assert ("no snapshot yet" in told.out) == (not words)
    assert "1 of 1 kept states" in calls.ddr(root, "backup", "verify").out
    done = calls.ddr(root, "backup", "prune", "--json")
    assert [one["reason"] for one in done.document["states"]] == ["in the recovery window"]

    spoil(root)
    assert values(root) != good
    done = calls.ddr(root, "rollback", "features", "--to", revision)
    assert done.code == 0, done.out + done.err
    assert revision in done.out
    assert values(root) != good, "a plan touches nothing"
