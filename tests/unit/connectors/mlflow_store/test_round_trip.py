"""Every table there and back: SQLite, PostgreSQL and across, with equal digests and the rows themselves compared."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.connectors.mlflow import relocate
from ddr.connectors.tables import readers
from ddr.errors import Conflict, Refused
from ddr.ports import restorable
from tests import captures
from tests.unit.connectors.mlflow_store import rigs, synthetic

Options = restorable.RestoreOptions


def captured(base: Path, tracking: str = "sqlite:///mlflow.db") -> captures.Stored:
    sink = captures.Capture()
    rigs.registry(base, tracking).capture(sink)
    return sink.source()


def restored(base: Path, source: captures.Stored, options: Options) -> list[restorable.Comparison]:
    """Planned, restored, restored again, compared: every table equal, nothing left in temporary files."""
    registry = rigs.registry(base)
    plan = registry.plan_restore(source, options)
    assert plan.refusals == (), plan.refusals
    registry.restore(plan, source)
    registry.restore(plan, source)
    made = list(registry.compare(plan, source))
    wrong = [one for one in made if not one.is_equal]
    assert wrong == []
    print(f"{len(made)} comparisons, {sum(table.rows for table in source.component.tables)} rows")
    return made


def as_stored(base: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every cell of a SQLite file with its storage class, by plain sqlite3."""
    connection = sqlite3.connect(base / "mlflow.db")
    found = {}
    try:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            names = [row[1] for row in connection.execute(f'PRAGMA table_xinfo("{table}")')]
            cells = ", ".join(f'"{name}", typeof("{name}")' for name in names)
            found[table] = connection.execute(f'SELECT {cells} FROM "{table}" ORDER BY rowid').fetchall()
    finally:
        connection.close()
    return found


def is_kept(table: str) -> bool:
    changed = {"jobs", "secrets", "webhooks"}  # jobs end, secrets stay behind: looked at one by one below
    return table not in changed and table not in relocate.TRANSIENT


def test_every_table_has_rows_and_comes_back_to_the_bit(full: Path, tmp_path: Path) -> None:
    source = captured(full)
    tables = {table.name: table.rows for table in source.component.tables}
    assert len(tables) > 60
    assert {name for name, rows in tables.items() if rows < synthetic.ROWS} == {"alembic_version"}
    target = tmp_path / "target"
    target.mkdir()
    made = restored(target, source, Options())
    assert len(made) == len(tables) + 2  # and foreign keys, and files
    before, after = as_stored(full), as_stored(target)
    assert before.keys() == after.keys()
    checked = 0
    for table in before:
        if is_kept(table):
            assert after[table] == before[table], table
            checked += len(before[table])
    assert checked > 400
    schemas = [rigs.rows_of(base / "mlflow.db", "SELECT type, name, sql FROM sqlite_master") for base in (full, target)]
    assert sorted(map(str, schemas[0])) == sorted(map(str, schemas[1]))
    assert not list(target.glob(".*"))


def test_secrets_stay_behind_and_are_said(full: Path, tmp_path: Path) -> None:
    source = captured(full)
    assert synthetic.SECRET.encode() in (full / "mlflow.db").read_bytes()
    for table in source.component.tables:
        for batch in source.capture.batches[table.name]:
            assert synthetic.SECRET.encode() not in batch, table.name
    said = {text.partition(":")[0] for text in source.component.redactions}
    assert said == {"webhooks.secret", "secrets.encrypted_value", "secrets.wrapped_dek", "jobs.token_hash"}
    target = tmp_path / "target"
    target.mkdir()
    restored(target, source, Options())
    assert rigs.rows_of(target / "mlflow.db", "SELECT DISTINCT secret FROM webhooks") == [(None,)]
    assert rigs.rows_of(target / "mlflow.db", "SELECT DISTINCT wrapped_dek FROM secrets") == [(b"redacted by ddr",)]
    registry = rigs.registry(target)
    lines = registry.plan_restore(source, Options(target="sqlite:///other.db")).lines
    assert len([line for line in lines if line.does == "enter-again"]) == 4


def test_what_was_running_does_not_come_to_life(full: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    restored(target, captured(full), Options())
    path = target / "mlflow.db"
    for table in relocate.TRANSIENT:
        assert rigs.rows_of(path, f"SELECT COUNT(*) FROM {table}") == [(0,)]
    assert rigs.rows_of(path, "SELECT status FROM jobs ORDER BY rowid") == [
        (5,),
        (5,),
        (2,),
        (3,),
        (4,),
        (5,),
        (5,),
    ]
    assert rigs.rows_of(path, "SELECT DISTINCT lease_expires_at FROM jobs WHERE status = 5 AND id < '5'") == [(None,)]


def test_from_sqlite_to_postgresql_and_back(
    full: Path, tmp_path: Path, make_database: Callable[..., str], make_server: Callable[[], str]
) -> None:
    """Into an empty database, and into one that a server has just made; then the other way, by MLflow's migrations."""
    source = captured(full)
    address = make_database()
    restored(full, source, Options(target=address))
    restored(full, source, Options(target=make_server()))
    returned = captured(full, address)
    changed = relocate.TRANSIENT | {"jobs"}
    for table in source.component.tables:
        there = returned.component.table(table.name)
        assert there is not None
        assert (there.columns, there.rows) == (table.columns, table.rows) or table.name in changed, table.name
        assert there.digest == table.digest or table.name in changed, table.name
    target = tmp_path / "back"
    target.mkdir()
    restored(target, returned, Options())
    before, after = as_stored(full), as_stored(target)
    for table_name in before:
        if is_kept(table_name):
            assert sorted(map(repr, after[table_name])) == sorted(map(repr, before[table_name])), table_name


def test_a_new_experiment_gets_a_new_number(full: Path, make_server: Callable[[], str]) -> None:
    """MLflow itself on the restored database: it finds what was there, and its sequences go on behind it."""
    import mlflow

    address = make_server()
    restored(full, captured(full), Options(target=address))
    client = mlflow.MlflowClient(address.replace("postgresql:", "postgresql+psycopg:"))
    with readers.postgres(address) as reader:
        highest = reader.ask("SELECT MAX(experiment_id) FROM experiments")[0][0]
    made = [client.create_experiment(f"after the restore {number}") for number in range(3)]
    assert [int(number) for number in made] == [int(str(highest)) + at for at in (1, 2, 3)]
    run = client.create_run(made[0])
    client.log_metric(run.info.run_id, "m", float("nan"))
    with readers.postgres(address) as reader:
        shapes = [shape for shape in reader.shapes if "rollups" in shape.name]
        assert len(shapes) == 3
    import psycopg

    with psycopg.connect(address) as connection:
        for shape in shapes:
            given = connection.execute(f"SELECT nextval(pg_get_serial_sequence('{shape.name}', 'id'))".encode())
            assert given.fetchone() == (synthetic.ROWS,)


def test_a_database_with_other_rows_is_refused(full: Path, tmp_path: Path) -> None:
    source = captured(full)
    connection = sqlite3.connect(full / "mlflow.db")
    connection.execute("UPDATE runs SET name = 'changed' WHERE rowid = 1")
    connection.execute("DELETE FROM tags WHERE rowid <= 2")
    connection.commit()
    connection.close()
    before = (full / "mlflow.db").read_bytes()
    registry = rigs.registry(full)
    plan = registry.plan_restore(source, Options())
    assert len(plan.refusals) == 2
    with pytest.raises(Refused):
        registry.restore(plan, source)
    hidden = restorable.RestorePlan(plan.component, plan.target, plan.options)
    with pytest.raises(Conflict):
        registry.restore(hidden, source)
    assert (full / "mlflow.db").read_bytes() == before

    skip = Options(policy="skip")
    left = registry.plan_restore(source, skip)
    registry.restore(left, source)
    assert [line.what for line in left.lines if line.does == "leave"] == ["table runs"]
    (told,) = [one for one in registry.compare(left, source) if not one.is_equal]
    assert (told.what, told.found) == ("table runs", f"{synthetic.ROWS - 1} rows; 1 were left as they are and differ")
    assert rigs.rows_of(full / "mlflow.db", "SELECT name FROM runs WHERE rowid = 1") == [("changed",)]
    assert rigs.rows_of(full / "mlflow.db", "SELECT COUNT(*) FROM tags") == [(synthetic.ROWS,)]
    restored(full, source, Options(policy="update"))
    assert rigs.rows_of(full / "mlflow.db", "SELECT name FROM runs WHERE rowid = 1") != [("changed",)]
    connection = sqlite3.connect(full / "mlflow.db")
    connection.execute("INSERT INTO experiment_tags SELECT 'extra', value, experiment_id FROM experiment_tags")
    connection.commit()
    connection.close()
    restored(full, source, Options(policy="recreate"))
    assert rigs.rows_of(full / "mlflow.db", "SELECT COUNT(*) FROM experiment_tags") == [(synthetic.ROWS,)]


def test_a_damaged_copy_is_found(full: Path, tmp_path: Path) -> None:
    """One cell, one row more, one row less: each is told by name."""
    source = captured(full)
    for number, statement in enumerate(
        ("UPDATE metrics SET value = value + 1 WHERE rowid = 1", "DELETE FROM tags WHERE rowid = 2",
         "INSERT INTO params SELECT key || 'x', value, run_uuid FROM params LIMIT 1")
    ):  # fmt: skip
        target = tmp_path / str(number)
        target.mkdir()
        registry = rigs.registry(target)
        plan = registry.plan_restore(source, Options())
        registry.restore(plan, source)
        connection = sqlite3.connect(target / "mlflow.db")
        connection.execute(statement)
        connection.commit()
        connection.close()
        wrong = [one.what for one in registry.compare(plan, source) if not one.is_equal]
        assert wrong == [f"table {('metrics', 'tags', 'params')[number]}"]
