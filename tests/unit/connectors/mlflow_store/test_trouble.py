"""Backups while somebody writes, restores that are cut off at every step, databases that are none."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ddr.errors import Conflict, InputError, Missing, Refused, Unavailable, Unsupported
from ddr.lib import rowbatch
from ddr.ports import restorable
from tests import captures
from tests.unit.connectors.mlflow_store import rigs, writer

Options = restorable.RestoreOptions
TOP = Path(__file__).parents[4]


@contextmanager
def writing(address: str) -> Iterator[list[int]]:
    """Somebody writes until the block ends; then the list has how many runs."""
    command = [sys.executable, "-m", writer.__name__, address, "0"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TOP)
    counted: list[int] = []
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield counted
        process.stdin.close()
        counted.append(int(process.stdout.read()))
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_backup_while_somebody_writes(
    kind: str, migrated_file: Path, tmp_path: Path, make_server: Callable[[], str]
) -> None:
    """Each backup is of one moment: no run without its ten metrics. The writer never waits until it fails."""
    shutil.copy(migrated_file, tmp_path / "mlflow.db")
    tracking = "sqlite:///mlflow.db" if kind == "sqlite" else make_server()
    address = f"sqlite:///{tmp_path}/mlflow.db" if kind == "sqlite" else tracking.replace("sql:", "sql+psycopg:")
    seen = []
    with writing(address) as counted:
        for _ in range(4):
            sink = captures.Capture()
            rigs.registry(tmp_path, tracking).capture(sink)
            runs = sink.tables["runs"].rows
            assert sink.tables["metrics"].rows == runs * writer.METRICS
            seen.append(runs)
    print(f"{counted[0]} runs were written, backups have {seen}")
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]
    target = tmp_path / "target"
    target.mkdir()
    registry, source = rigs.registry(target), sink.source()
    plan = registry.plan_restore(source, Options())
    registry.restore(plan, source)
    assert [one for one in registry.compare(plan, source) if not one.is_equal] == []


class CutOff(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    ("kind", "stride"),
    [
        ("sqlite", 9),
        ("postgresql", 21),
        pytest.param("sqlite", 1, marks=pytest.mark.long),
        pytest.param("postgresql", 1, marks=pytest.mark.long),
    ],
)
def test_a_restore_that_is_cut_off_anywhere(
    kind: str, stride: int, full: Path, tmp_path: Path, make_server: Callable[[], str]
) -> None:
    """At every table: the target is as it was, nothing lies around, and the next attempt comes to the end."""
    sink = captures.Capture()
    rigs.registry(full).capture(sink)
    source = sink.source()
    base = tmp_path / "target"
    base.mkdir()
    registry = rigs.registry(base)
    options = Options(target="" if kind == "sqlite" else make_server())
    plan = registry.plan_restore(source, options)
    said: list[str] = []
    steps = 0
    while True:
        allowed = steps

        def cut(what: str, done: int, of: int, allowed: int = allowed) -> None:
            del done, of
            said.append(what)
            if len(said) > allowed:
                raise CutOff

        said.clear()
        try:
            registry.restore(plan, source, cut)
            break
        except CutOff:
            steps += stride
        assert list(base.iterdir()) == []
        if kind == "postgresql" and steps % 21 == 0:
            assert registry.plan_restore(source, options).lines[0].does == "recreate"  # it is still blank
    assert [one for one in registry.compare(plan, source) if not one.is_equal] == []
    print(f"cut off at {steps} places")
    assert steps > 60


def test_rows_that_get_lost_on_the_way_are_found(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ddr.connectors.tables import readers
    from ddr.errors import Damaged

    pieces = readers.Sqlite.pieces

    def lossy(self: readers.Sqlite, shape: object) -> Iterator[object]:
        for rows in pieces(self, shape):  # type: ignore[arg-type]
            yield rows[:-1]

    monkeypatch.setattr(readers.Sqlite, "pieces", lossy)
    with pytest.raises(Damaged):
        rigs.registry(full).capture(captures.Capture())


def test_what_is_no_mlflow_database(tmp_path: Path, make_database: Callable[..., str]) -> None:
    sink = captures.Capture()
    with pytest.raises(Missing):
        rigs.registry(tmp_path).capture(sink)
    assert not (tmp_path / "mlflow.db").exists()
    connection = sqlite3.connect(tmp_path / "mlflow.db")
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    for tracking in ("sqlite:///mlflow.db", make_database()):
        with pytest.raises(Refused):
            rigs.registry(tmp_path, tracking).capture(sink)
    with pytest.raises(Unavailable, match="nobody is there"):
        rigs.registry(tmp_path, "http://127.0.0.1:9").capture(sink)
    with pytest.raises(Unavailable):
        rigs.registry(tmp_path, "postgresql://nobody@127.0.0.1:9/x").capture(sink)
    with pytest.raises(InputError):
        rigs.registry(tmp_path, "oracle://x")
    assert sink.tables == {}


def test_another_schema_is_refused(full: Path, tmp_path: Path) -> None:
    sink = captures.Capture()
    rigs.registry(full).capture(sink)
    source = sink.source()
    base = tmp_path / "target"
    base.mkdir()
    shutil.copy(full / "mlflow.db", base / "mlflow.db")
    connection = sqlite3.connect(base / "mlflow.db")
    connection.execute("UPDATE alembic_version SET version_num = '000000000000'")
    connection.commit()
    connection.close()
    registry = rigs.registry(base)
    plan = registry.plan_restore(source, Options())
    assert len(plan.refusals) == 1
    with pytest.raises((Refused, Conflict)):
        registry.restore(restorable.RestorePlan("registry", "", Options()), source)
    again = registry.plan_restore(source, Options(policy="recreate"))
    assert again.refusals == ()
    registry.restore(again, source)
    assert [one for one in registry.compare(again, source) if not one.is_equal] == []


def test_an_mlflow_that_is_too_old_says_so(tmp_path: Path) -> None:
    from ddr.connectors.mlflow import schema

    with pytest.raises(Unsupported, match="does not know"):
        schema.migrate(f"sqlite:///{tmp_path}/x.db", "ffffffffffff")


def test_text_that_is_no_utf8_comes_back_as_it_was(full: Path, tmp_path: Path) -> None:
    path = full / "mlflow.db"
    connection = sqlite3.connect(path)
    connection.execute("UPDATE params SET value = CAST(x'ff80410a' AS TEXT) WHERE rowid = 2")
    connection.execute("UPDATE params SET value = x'00ff' WHERE rowid = 4")
    connection.commit()
    connection.close()
    sink = captures.Capture()
    rigs.registry(full).capture(sink)
    source = sink.source()
    values = [cell for batch in source.rows("params") for cell in batch.column("value").cells()]
    assert isinstance(values, list)
    odd: list[rowbatch.Cell] = [values[1], values[3]]
    assert odd == ["\udcff\udc80A\n", b"\0\xff"]
    target = tmp_path / "target"
    target.mkdir()
    registry = rigs.registry(target)
    plan = registry.plan_restore(source, Options())
    registry.restore(plan, source)
    query = "SELECT typeof(value), hex(value) FROM params ORDER BY rowid"
    assert rigs.rows_of(target / "mlflow.db", query) == rigs.rows_of(path, query)
