"""What the backup commands say where something is not as it should be: true, and with the next move."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.cli import main
from ddr.errors import DdrError
from ddr.lib import sqlitefile

HEAD = "apiVersion: ddr/v1\nrepository: {type: local, path: .ddr}\nservices: {}\n"
PIPELINES = "connectors: {pipelines: {type: files, root: pipelines}}\n"


class Person:
    """Types commands and reads what comes."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys
        self.out = self.err = ""

    def types(self, *words: str) -> int:
        self._capsys.readouterr()
        code = main.run(list(words))
        self.out, self.err = self._capsys.readouterr()
        return code

    def writes(self, backup: str, connectors: str = PIPELINES) -> None:
        (self.root / "ddr.yaml").write_text(f"{HEAD}backup: {{{backup}}}\n{connectors}")

    def packs(self) -> list[Path]:
        return sorted(path for path in (self.root / ".ddr/backup/packs").rglob("*") if path.is_file())


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Person:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "a.yaml").write_text("a: 1\n")
    made = Person(tmp_path, capsys)
    made.writes("encryption: none")
    return made


def test_a_short_passphrase_seals_nothing(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    person.writes("passphrase: '${env:PP}'")
    for short in ("abc", "elevenchars", "aaaaaaaaaaaaaaaa"):
        monkeypatch.setenv("PP", short)
        assert person.types("backup", "run") == 64
        assert "random words" in person.err
        assert short not in person.err
    assert not (person.root / ".ddr" / "backup").exists()


def test_a_component_that_failed_has_no_fidelity(person: Person) -> None:
    (person.root / "broken.db").write_bytes(b"no database at all " * 100)
    broken = "connectors:\n  registry: {type: mlflow, tracking: 'sqlite:///broken.db'}\n"
    person.writes("encryption: none", broken + "  pipelines: {type: files, root: pipelines}\n")
    assert person.types("backup", "run") == 2
    assert "registry: " in person.out
    assert "fidelity" not in person.out


@pytest.fixture
def locked_folder() -> Iterator[Path]:
    """A folder that only root may write, with a database in WAL mode that everybody may."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        connection = sqlite3.connect(folder / "mlflow.db")
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE runs (id INTEGER)")
        connection.commit()
        connection.close()
        (folder / "mlflow.db").chmod(0o666)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o700)


def test_a_database_whose_folder_may_not_be_written_says_so(locked_folder: Path) -> None:
    nobody = 65534
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(nobody)
    try:
        with pytest.raises(DdrError) as said, sqlitefile.opened(locked_folder / "mlflow.db") as connection:
            connection.execute("SELECT * FROM runs").fetchall()
    finally:
        if is_root:
            os.seteuid(0)
    assert "WAL mode" in said.value.message
    assert f"write in {locked_folder}" in said.value.hint


def test_units_may_write_where_databases_are_and_do_not_lie_in_tmp(person: Person) -> None:
    (person.root / "mlflow").mkdir()
    person.writes("encryption: none", "connectors: {registry: {type: mlflow, tracking: 'sqlite:///mlflow/ml.db'}}\n")
    assert person.types("backup", "schedule", "--systemd", "--json") == 0
    document = json.loads(person.out)
    for name, unit in document["files"].items():
        if name.endswith(".service"):
            (paths,) = [line for line in unit.splitlines() if line.startswith("ReadWritePaths=")]
            assert f'"{person.root}/mlflow"' in paths
    is_in_tmp = str(person.root).startswith(("/tmp/", "/var/tmp/"))
    assert any("PrivateTmp" in warning for warning in document["warnings"]) == is_in_tmp
    assert person.types("backup", "schedule", "--cron") == 0
    assert f"install -d -m 0700 -o ddr {person.root}/mlflow" not in person.out, "MLflow's folder stays MLflow's"


def harm(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


@pytest.fixture
def damaged(person: Person) -> Person:
    """Two megabytes of noise in one snapshot, and a bit of the largest pack has changed."""
    person.writes("encryption: none, grace: 0s, keep: {keepLast: 1, minimum: 1}")
    for number in range(4):
        (person.root / "pipelines" / f"{number}.bin").write_bytes(os.urandom(500_000))
    assert person.types("backup", "run") == 0
    harm(max(person.packs(), key=lambda path: path.stat().st_size))
    return person


def test_the_next_run_does_not_build_on_what_verify_found_damaged(damaged: Person) -> None:
    assert damaged.types("backup", "verify") == 2
    assert damaged.types("backup", "run", "--json") == 0
    made = json.loads(damaged.out)["snapshot"]
    assert made["added_bytes"] > 400_000, "what lies in the damaged pack was stored again"
    assert damaged.types("backup", "verify", "--json") == 2
    assert made["id"] in json.loads(damaged.out)["whole"]
    assert damaged.types("restore", "pipelines", "--to", str(damaged.root / "there"), "--apply") == 0
    assert damaged.types("backup", "run", "--json") == 0
    assert json.loads(damaged.out)["snapshot"]["added_bytes"] < 100_000, "once is enough"


def test_repair_run_and_prune_make_everything_whole_again(damaged: Person) -> None:
    packs = len(damaged.packs())
    assert damaged.types("backup", "verify") == 2
    assert "ddr backup repair" in damaged.out
    assert damaged.types("backup", "repair") == 2
    assert damaged.types("backup", "run") == 0
    assert damaged.types("backup", "verify") == 0, damaged.out
    assert "1 damaged pack that no index lists and nothing needs; `ddr backup prune`" in damaged.out
    for _ in range(2):
        assert damaged.types("backup", "prune") == 0, damaged.err
    assert damaged.types("backup", "verify") == 0
    assert "damaged" not in damaged.out
    print(f"{packs} packs before, {len(damaged.packs())} now")


def test_without_a_whole_index_nothing_is_said_to_be_needless(person: Person) -> None:
    assert person.types("backup", "run") == 0
    for path in (person.root / ".ddr/backup/index").iterdir():
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:20])
    assert person.types("backup", "verify") == 2
    assert "needed by nothing" not in person.out
    assert "ddr backup repair" in person.out
    assert person.types("backup", "repair") == 0
    assert person.types("backup", "verify") == 0
