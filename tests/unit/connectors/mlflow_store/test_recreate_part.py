"""One part made anew: what came to it since the snapshot goes, and not one other row changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.connectors.tables import dump, places
from ddr.ports import restorable
from tests import captures
from tests.unit.connectors.mlflow_store import rigs

Options = restorable.RestoreOptions
Rows = dict[str, set[str]]

# Of `parcels`: what somebody did to it after the snapshot. Of `letters`: the same, and it must stay.
CHANGES = (
    (
        "INSERT INTO model_versions (name, version, creation_time, workspace, status, current_stage, source, run_id) "
        "SELECT name, 9, 5, workspace, 'READY', 'None', source, run_id FROM model_versions WHERE version = 1 "
        "AND name LIKE '%-model'"
    ),
    (
        "INSERT INTO registered_model_aliases (name, alias, version, workspace) "
        "SELECT name, 'later', 9, workspace FROM registered_models WHERE name LIKE '%-model'"
    ),
    "UPDATE registered_model_aliases SET version = 9 WHERE alias = 'champion'",
    (
        "INSERT INTO registered_model_tags (name, key, value, workspace) "
        "SELECT name, 'since', 'x', workspace FROM registered_models WHERE name LIKE '%-model'"
    ),
    (
        "INSERT INTO model_version_tags (name, version, key, value, workspace) "
        "SELECT name, 9, 'since', 'x', workspace FROM registered_models WHERE name LIKE '%-model'"
    ),
    (
        "INSERT INTO runs (run_uuid, name, experiment_id, lifecycle_stage, status, artifact_uri, start_time) "
        "SELECT 'late' || experiment_id, 'late', experiment_id, 'active', 'FINISHED', 'x', 1 FROM experiments"
    ),
    "INSERT INTO tags (key, value, run_uuid) SELECT 'since', 'x', run_uuid FROM runs",
    "UPDATE experiment_tags SET value = 'changed'",
)


def every(address: str, base: Path) -> Rows:
    """Each row of each table, as text."""
    found: Rows = {}
    with places.place(address, base).opened() as reader:
        for shape in reader.shapes:
            found[shape.name] = {repr(row) for batch in dump.rows(reader, shape) for row in batch.rows()}
    return found


def about(rows: Rows, name: str, ids: set[str]) -> Rows:
    """Those that speak of a name or an id."""
    return {
        table: {row for row in those if f"'{name}" in row or any(one in row for one in ids)}
        for table, those in rows.items()
    }


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("part", ["model:parcels-model", "experiment:parcels"])
def test_its_rows_are_those_of_the_snapshot_and_all_others_stay(
    part: str, kind: str, lived: Path, tmp_path: Path, make_server: Callable[[], str]
) -> None:
    base = tmp_path / "in"
    shutil.copytree(lived, base)
    address = f"sqlite:///{base}/mlflow.db"
    sink = captures.Capture()
    rigs.registry(base).capture(sink)
    source = sink.source()
    registry = rigs.registry(base)
    if kind == "postgresql":
        address = make_server()
        plan = registry.plan_restore(source, Options(target=address))
        registry.restore(plan, source)
    snapshot = every(address, base)
    with places.place(address, base).written_to() as target:
        for statement in CHANGES:
            assert target.run(statement) > 0, statement
    before = every(address, base)
    options = Options(target=address, only=(part,), policy="recreate")
    plan = registry.plan_restore(source, options)
    assert plan.refusals == ()
    gone = {line.what: line.detail for line in plan.lines if line.does == "delete"}
    assert [one for one in registry.compare(plan, source) if not one.is_equal] != []
    assert every(address, base) == before  # only looked
    for _ in range(2):
        registry.restore(plan, source)
        assert [one for one in registry.compare(plan, source) if not one.is_equal] == []
    after = every(address, base)
    deleted = {table: before[table] - after[table] for table in before if before[table] - after[table]}
    added = {table: after[table] - before[table] for table in after if after[table] - before[table]}
    for table, rows in added.items():
        assert rows <= snapshot[table], table
    if part.startswith("model:"):
        assert {table: len(rows) for table, rows in deleted.items()} == {
            "model_versions": 1, "registered_model_aliases": 2, "registered_model_tags": 1, "model_version_tags": 1,
        }  # fmt: skip
        assert all("'parcels-model'" in row for rows in deleted.values() for row in rows)
        assert added.keys() == {"registered_model_aliases"}
        for table in deleted:
            assert {row for row in after[table] if "'parcels-model'" in row} == {
                row for row in snapshot[table] if "'parcels-model'" in row
            }
        assert gone.keys() == {f"table {table}" for table in deleted}
    else:
        assert {table: len(rows) for table, rows in deleted.items()} == {
            "runs": 1, "tags": 4, "experiment_tags": 1,
            "registered_model_aliases": 1,  # champion, back where it was: the part has the versions out of its runs
        }  # fmt: skip
    print(f"{sum(map(len, before.values()))} rows: {sum(map(len, deleted.values()))} went")
