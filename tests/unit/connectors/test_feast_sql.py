"""A registry in a database: one that feast 0.67 wrote, on SQLite and a real PostgreSQL, whole, in parts and across."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.connectors.feast import connector, registry, sql
from ddr.connectors.tables import places
from ddr.errors import Conflict, DdrError, InputError, Missing, Refused
from ddr.lib import clock, rowdigest
from ddr.ports import restorable
from tests import captures
from tests.unit.connectors import feast_programs
from tests.unit.connectors.rigs import NOW

GOLDEN = (Path(__file__).parent / "golden" / "feast-0.67-registry.sql").read_text()
FILE = "sqlite:///data/registry.db"
CANARY = "c4n4ry-Zx81qPw"
Options = restorable.RestoreOptions


def repo(root: Path, address: str = FILE) -> connector.FeatureRepo:
    feast_programs.write(root, feast_programs.SQL_CONFIG.format(address=address))
    if address == FILE:
        run(root / "data" / "registry.db", GOLDEN)
    return connector.connect(connector.Settings(root.name), root.parent, clock.ManualClock(NOW))


def run(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.executescript(statement)
        connection.commit()


def execute(address: str, root: Path, statement: str) -> None:
    """One change in the registry, as somebody's `feast apply` would make it."""
    place = places.place(address, root)
    with place.written_to() as target:
        target.run(statement)


def captured(files: connector.FeatureRepo) -> captures.Stored:
    sink = captures.Capture("features", "feast")
    files.capture(sink)
    return sink.source()


def digests(address: str, root: Path) -> dict[str, str]:
    """Of every table that is there."""
    from ddr.connectors.tables import dump

    with places.place(address, root).opened() as reader:
        return {shape.name: rowdigest.of_batches(dump.rows(reader, shape)) for shape in reader.shapes}


def of_snapshot(source: captures.Stored) -> dict[str, str]:
    return {table.name.removeprefix(sql.PREFIX): table.digest for table in source.component.tables}


def restored(files: connector.FeatureRepo, source: captures.Stored, options: Options) -> restorable.RestorePlan:
    plan = files.plan_restore(source, options)
    assert plan.refusals == (), plan.refusals
    for _ in range(2):
        files.restore(plan, source)
        assert [one for one in files.compare(plan, source) if not one.is_equal] == []
    return plan


@pytest.fixture
def place_of(request: pytest.FixtureRequest, make_database: Callable[..., str], tmp_path: Path) -> str:
    """An empty database of the kind that the test is for."""
    return make_database() if request.param == "postgresql" else f"sqlite:///{tmp_path}/new.db"


both = pytest.mark.parametrize("place_of", ["sqlite", "postgresql"], indirect=True)


def test_every_table_and_every_definition_is_captured(tmp_path: Path) -> None:
    source = captured(repo(tmp_path / "repo"))
    facts = {name: value for name, value in source.component.facts.items() if not name.startswith("git")}
    assert facts == {
        "registry": "data/registry.db", "registry-type": "sql", "registry.dialect": "sqlite", "feast.entities": "3",
        "feast.data-sources": "3", "feast.feature-views": "2", "feast.on-demand-feature-views": "1",
        "feast.feature-services": "1", "feast.projects": "1", "feast.projects-named": "lanes",
    }  # fmt: skip
    rows = {table.name.removeprefix(sql.PREFIX): table.rows for table in source.component.tables}
    assert len(rows) == 14
    assert sum(rows.values()) == 16
    listed = [json.loads(line) for line in source.capture.contents["objects.jsonl"].splitlines()]
    assert len(listed) == 11
    pixels = next(one for one in listed if one["name"] == "pixels")
    assert (pixels["ttl_s"], pixels["features"], pixels["sources"]) == (7200.0, ["p00", "p01"], ["scans"])
    print(f"{sum(rows.values())} rows in {len(rows)} tables, {len(listed)} definitions")


@both
def test_into_an_empty_database_and_the_other_dialect_and_back(place_of: str, tmp_path: Path) -> None:
    files = repo(tmp_path / "repo")
    source = captured(files)
    plan = restored(files, source, Options(target=place_of))
    assert [line.what for line in plan.lines if line.does == "enter-again"] == []
    assert digests(place_of, tmp_path) == of_snapshot(source)
    returned = captured(repo(tmp_path / "other", place_of))
    assert of_snapshot(returned) == of_snapshot(source)
    back = f"sqlite:///{tmp_path}/back.db"
    restored(files, returned, Options(target=back))
    assert digests(back, tmp_path) == of_snapshot(source)


def test_tables_of_others_stay_as_they_are(tmp_path: Path, make_database: Callable[..., str]) -> None:
    """In one database with another program: not captured, not emptied, not in the way."""
    files = repo(tmp_path / "repo")
    source = captured(files)
    for address in (f"sqlite:///{tmp_path}/shared.db", make_database()):
        if address.startswith("sqlite"):
            run(tmp_path / "shared.db", "CREATE TABLE users (id INTEGER)", "INSERT INTO users VALUES (7)")
        else:
            execute(address, tmp_path, "CREATE TABLE users (id INTEGER)")
            execute(address, tmp_path, "INSERT INTO users VALUES (7)")
        before = digests(address, tmp_path)
        restored(files, source, Options(target=address))
        execute(address, tmp_path, "DELETE FROM entities")
        restored(files, source, Options(target=address, policy="recreate"))
        assert digests(address, tmp_path) == {**of_snapshot(source), **before}
        again = captured(repo(tmp_path / address[:3], address))
        assert of_snapshot(again) == of_snapshot(source)


@both
@pytest.mark.parametrize("policy", ["fail", "skip", "update", "recreate"])
def test_each_policy_with_another_registry_there(policy: restorable.Policy, place_of: str, tmp_path: Path) -> None:
    files = repo(tmp_path / "repo")
    source = captured(files)
    restored(files, source, Options(target=place_of))
    for statement in (
        (
            "UPDATE feature_views SET feature_view_proto = (SELECT entity_proto FROM entities "
            "WHERE entity_name = 'shop') WHERE feature_view_name = 'pixels'"
        ),
        "DELETE FROM entities WHERE entity_name = 'lane'",
        (
            "INSERT INTO data_sources SELECT 'extra', project_id, 1, data_source_proto FROM data_sources "
            "WHERE data_source_name = 'scans'"
        ),
    ):
        execute(place_of, tmp_path, statement)
    changed, whole = digests(place_of, tmp_path), of_snapshot(source)
    options = Options(target=place_of, policy=policy)
    plan = files.plan_restore(source, options)
    assert bool(plan.refusals) == (policy == "fail")
    if policy == "fail":
        with pytest.raises(Conflict):
            files.restore(plan, source)
    else:
        files.restore(plan, source)
    after = digests(place_of, tmp_path)
    different = {name for name in whole if after[name] != whole[name]}
    assert different == {
        "fail": {"feature_views", "entities", "data_sources"}, "skip": {"feature_views", "data_sources"},
        "update": {"data_sources"}, "recreate": set(),
    }[policy]  # fmt: skip
    if policy == "fail":
        assert after == changed


@both
@pytest.mark.parametrize("policy", ["fail", "skip", "update", "recreate"])
def test_one_view_alone_goes_back_and_the_others_stay(policy: restorable.Policy, place_of: str, tmp_path: Path) -> None:
    """Its row, what it needs where that lacks, and with recreate the versions that came later; nothing else."""
    files = repo(tmp_path / "repo")
    source = captured(files)
    restored(files, source, Options(target=place_of))
    for statement in (
        "UPDATE feature_views SET last_updated_timestamp = 5",
        "UPDATE entities SET last_updated_timestamp = 5",
        "DELETE FROM data_sources WHERE data_source_name IN ('scans', 'sales')",
        (
            "INSERT INTO feature_view_version_history SELECT feature_view_name, project_id, 1, feature_view_type, "
            "feature_view_proto, 1, '', 'x' FROM feature_view_version_history"
        ),
    ):
        execute(place_of, tmp_path, statement)
    before = digests(place_of, tmp_path)
    options = Options(target=place_of, policy=policy, only=("view:pixels",))
    plan = files.plan_restore(source, options)
    assert bool(plan.refusals) == (policy == "fail")
    if policy == "fail":
        with pytest.raises(Conflict):
            files.restore(plan, source)
        assert digests(place_of, tmp_path) == before
        return
    files.restore(plan, source)
    after = digests(place_of, tmp_path)
    left = [one.what for one in files.compare(plan, source) if not one.is_equal]
    assert left == (["table registry.feature_views (the chosen rows)"] if policy == "skip" else [])
    changed = {name for name in before if before[name] != after[name]}
    expected = {"data_sources"} | ({"feature_views"} if policy != "skip" else set())
    assert changed == expected | ({"feature_view_version_history"} if policy == "recreate" else set())
    with places.place(place_of, tmp_path).opened() as reader:
        stamps = {
            row[0]: row[1] for row in reader.ask("SELECT feature_view_name, last_updated_timestamp FROM feature_views")
        }
        assert stamps["turnover"] == 5
        assert (stamps["pixels"] == 5) == (policy == "skip")
        sources = {row[0] for row in reader.ask("SELECT data_source_name FROM data_sources")}
        assert sources == {"asked", "scans"}
        kept = reader.ask("SELECT feature_view_name, version_number FROM feature_view_version_history")
        assert (("pixels", 1) in kept) == (policy != "recreate")
        assert {("brightness", 1), ("turnover", 1), ("pixels", 0)} <= set(kept)


def test_a_view_into_an_empty_database_brings_what_it_needs(tmp_path: Path) -> None:
    files = repo(tmp_path / "repo")
    target = f"sqlite:///{tmp_path}/new.db"
    restored(files, captured(files), Options(target=target, only=("view:pixels",)))
    with places.place(target, tmp_path).opened() as reader:
        found = {
            shape.name: len(reader.ask(f"SELECT 1 FROM {shape.name}")) for shape in sql.feast_tables(reader.shapes)
        }
    assert {name: rows for name, rows in found.items() if rows} == {
        "projects": 1, "entities": 1, "data_sources": 1, "feature_views": 1, "feature_view_version_history": 1,
    } | {"feast_metadata": 2}  # fmt: skip
    for only in ("view:none", "view:", "model:x"):
        with pytest.raises(InputError):
            files.plan_restore(captured(files), Options(target=target, only=(only,)))


def test_the_whole_repository_goes_with_it_and_never_over_the_one_in_use(tmp_path: Path) -> None:
    files = repo(tmp_path / "repo")
    source = captured(files)
    before = (tmp_path / "repo" / "data" / "registry.db").read_bytes()
    plan = restored(files, source, Options(target=str(tmp_path / "to")))
    assert {line.what for line in plan.lines} >= {"table registry.entities", "online values"}
    assert digests(FILE, tmp_path / "to") == of_snapshot(source)
    assert (tmp_path / "to" / "definitions.py").is_file()
    assert (tmp_path / "repo" / "data" / "registry.db").read_bytes() == before
    run(tmp_path / "repo" / "data" / "registry.db", "DELETE FROM feature_views")
    assert files.plan_restore(source, Options()).refusals
    restored(files, source, Options(policy="update"))
    assert digests(FILE, tmp_path / "repo") == of_snapshot(source)


def test_the_password_of_the_address_is_nowhere(tmp_path: Path, make_database: Callable[..., str]) -> None:
    """Not in the snapshot, the plan, or an error; PostgreSQL trusts everybody here, so that any password works."""
    address = make_database().replace("mlflow@", f"mlflow:{CANARY}@").replace("postgresql:", "postgresql+psycopg:")
    files = repo(tmp_path / "first")
    restored(files, captured(files), Options(target=address))
    of_server = repo(tmp_path / "repo", address)
    source = captured(of_server)
    assert source.component.facts["registry"].startswith("postgresql://mlflow:[redacted]@127.0.0.1")
    plan = of_server.plan_restore(source, Options())
    text = of_server.plan_restore(source, Options(target=address))
    everything = repr(source.component) + repr(source.capture.contents) + repr(source.capture.files)
    assert CANARY not in everything
    assert CANARY not in repr(plan.lines) + plan.target + repr(text.lines) + text.target + repr(plan.refusals)
    assert any(line.does == "enter-again" for line in plan.lines)
    gone = repo(tmp_path / "gone", f"postgresql://u:{CANARY}@127.0.0.1:9/x")
    with pytest.raises(DdrError) as problem:
        captured(gone)
    assert CANARY not in str(problem.value) + problem.value.hint


def test_what_is_no_registry(tmp_path: Path) -> None:
    files = repo(tmp_path / "repo")
    source = captured(files)
    place = tmp_path / "repo" / "data" / "registry.db"
    run(place, "UPDATE entities SET entity_proto = x'ff'")
    with pytest.raises(DdrError, match="entities is no definition"):
        captured(files)
    place.unlink()
    with pytest.raises(Missing):
        captured(files)
    run(place, "CREATE TABLE users (id INTEGER)")
    with pytest.raises(Refused, match="no tables of a Feast registry"):
        captured(files)
    run(place, "CREATE TABLE entities (entity_name TEXT, project_id TEXT, entity_proto BLOB)")
    assert "is not of the schema" in files.plan_restore(source, Options()).refusals[0]


@pytest.mark.long
@pytest.mark.skipif(
    not feast_programs.PYTHON.exists(), reason="no real Feast: see tests/unit/connectors/feast_programs"
)
def test_a_real_feast_reads_what_was_restored(tmp_path: Path, make_database: Callable[..., str]) -> None:
    """Feast writes a registry into SQLite and into PostgreSQL; each is restored into the other, and Feast asked."""
    server = make_database().replace("postgresql:", "postgresql+psycopg:")
    for number, (from_, to) in enumerate(((FILE, make_database()), (server, FILE))):
        root = tmp_path / f"repo{number}"
        feast_programs.write(root, feast_programs.SQL_CONFIG.format(address=from_))
        feast_programs.run(feast_programs.APPLY, root)
        before = feast_programs.run(feast_programs.LIST, root)
        files = connector.connect(connector.Settings(root.name), tmp_path, clock.ManualClock(NOW))
        source = captured(files)
        listed = [json.loads(line) for line in source.capture.contents["objects.jsonl"].splitlines()]
        assert sorted(one["name"] for one in listed if one["kind"] == "feature view") == sorted(before["feature view"])
        target = tmp_path / f"to{number}"
        address = to.replace("postgresql:", "postgresql+psycopg:")
        feast_programs.write(target, feast_programs.SQL_CONFIG.format(address=address))
        wanted = to if "://1" in to or "@" in to else f"sqlite:///{target}/data/registry.db"
        restored(files, source, Options(target=wanted))
        assert feast_programs.run(feast_programs.LIST, target) == before
        feast_programs.run(feast_programs.APPLY, target, "1")
        changed = feast_programs.run(feast_programs.LIST, target)
        assert changed["feature view"]["pixels"][0] == 3600.0
        restored(files, source, Options(target=wanted, policy="recreate", only=("view:pixels",)))
        after = feast_programs.run(feast_programs.LIST, target)
        assert after["feature view"] == before["feature view"]
        feast_programs.run(feast_programs.APPLY, target)


def test_kinds_are_those_of_a_registry_file() -> None:
    assert set(sql._KINDS.values()) == set(registry._KINDS)
