"""MySQL, where a server is installed (proved on MariaDB 10.11): SQLite there and back, on a real one."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.connectors.mlflow import relocate
from ddr.connectors.tables import places
from ddr.errors import Conflict
from ddr.ports import restorable
from tests import mysql
from tests.unit.connectors.mlflow_store import rigs, synthetic
from tests.unit.connectors.mlflow_store.test_round_trip import as_stored, captured, restored

Options = restorable.RestoreOptions
pytestmark = [pytest.mark.skipif(bool(mysql.lacking()), reason=mysql.lacking())]


@pytest.fixture
def tame(migrated_file: Path, tmp_path: Path) -> Path:
    """A full database with what MySQL can hold: no infinity, and in the columns that MLflow made FLOAT there no more
    than 24 bits; metrics are DOUBLE."""
    base = tmp_path / "source"
    base.mkdir()
    path = base / "mlflow.db"
    shutil.copy(migrated_file, path)
    synthetic.fill(path, floats=(0.5, -1.25, 16777215.0, 0.0, 2.0**-20, 3e0, -65536.0))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for number, value in enumerate((0.1 + 0.2, 1.7976931348623157e308, -1e22, 5e-300)):
            connection.execute("UPDATE metrics SET value = ? WHERE rowid = ?", (value, number + 1))
        connection.commit()
    return base


def test_from_sqlite_to_mysql_and_back(tame: Path, tmp_path: Path, make_mysql: Callable[[], str]) -> None:
    source = captured(tame)
    address = make_mysql()
    made = restored(tame, source, Options(target=address))
    returned = captured(tame, address)
    changed = relocate.TRANSIENT | {"jobs"}
    for table in source.component.tables:
        there = returned.component.table(table.name)
        assert there is not None
        assert there.digest == table.digest or table.name in changed, table.name
    target = tmp_path / "back"
    target.mkdir()
    restored(target, returned, Options())
    before, after = as_stored(tame), as_stored(target)
    kept = [name for name in before if name not in changed | {"secrets", "webhooks"}]
    for name in kept:
        assert sorted(map(repr, after[name])) == sorted(map(repr, before[name])), name
    print(f"{len(made)} comparisons, {len(kept)} tables to the bit")


@pytest.mark.long
def test_mlflow_itself_goes_on_there(lived: Path, tmp_path: Path, make_mysql: Callable[[], str]) -> None:
    """Experiment 0 keeps its number, a new one gets the next, models and traces are there."""
    import mlflow

    address = make_mysql()
    restored(tmp_path, captured(lived), Options(target=address, more={"artifacts": "/tmp/ddr-my"}))
    client = mlflow.MlflowClient(address)
    ids = {one.name: one.experiment_id for one in client.search_experiments()}
    assert ids == {"Default": "0", "parcels": "1", "letters": "2"}
    assert client.create_experiment("after") == "3"
    assert str(client.get_model_version_by_alias("parcels-model", "champion").version) == "2"
    [trace] = client.search_traces(locations=[ids["letters"]])
    assert trace.data.spans[0].inputs == {"q": "letters"}


@pytest.mark.long
def test_each_policy(tame: Path, make_mysql: Callable[[], str]) -> None:
    source = captured(tame)
    address = make_mysql()
    restored(tame, source, Options(target=address))
    place = places.place(address, tame)
    with place.written_to() as target:
        target.run(
            "UPDATE runs SET name = 'changed' WHERE run_uuid IN (SELECT MIN(run_uuid) FROM (SELECT * FROM runs) x)"
        )
        target.run("DELETE FROM params")
    registry = rigs.registry(tame)
    plan = registry.plan_restore(source, Options(target=address))
    assert len(plan.refusals) == 2
    with pytest.raises(Conflict):
        registry.restore(restorable.RestorePlan(plan.component, plan.target, plan.options), source)
    for policy, changed in (("skip", 1), ("update", 0)):
        plan = registry.plan_restore(source, Options(target=address, policy=policy))  # type: ignore[arg-type]
        registry.restore(plan, source)
        assert len([one for one in registry.compare(plan, source) if not one.is_equal]) == changed
        with place.opened() as reader:
            assert reader.ask("SELECT COUNT(*) FROM runs WHERE name = 'changed'") == [(changed,)]
            assert reader.ask("SELECT COUNT(*) FROM params") == [(synthetic.ROWS,)]
    with place.written_to() as target:
        target.run("INSERT INTO tags SELECT 'extra', value, run_uuid FROM tags")
    restored(tame, source, Options(target=address, policy="recreate"))
    with place.opened() as reader:
        assert reader.ask("SELECT COUNT(*) FROM tags") == [(synthetic.ROWS,)]
