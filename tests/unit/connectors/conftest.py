"""MLflow's own server and client, started once for whoever needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ddr.connectors.mlflow import schema, sql
from ddr.lib import process
from tests import postgres
from tests.unit.connectors import oci_registry, rigs
from tests.unit.connectors.official import Official


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Official]:
    """For the session of one xdist worker, as it takes half a minute to start."""
    started = Official(tmp_path_factory.mktemp("mlflow"), process.free_port())
    yield started
    started.close()


@pytest.fixture(params=["sql", "rest"])
def model_rig(request: pytest.FixtureRequest, official: Official, tmp_path: Path) -> rigs.Rig:
    """A registered model of this test's own, through each transport."""
    return (rigs.sql_rig if request.param == "sql" else rigs.rest_rig)(official, tmp_path)


@pytest.fixture(scope="session")
def migrated_server(postgres_server: postgres.Server) -> str:
    """The name of an empty database with MLflow's tables, to be a template."""
    postgres_server.run("CREATE DATABASE migrated TEMPLATE template0")
    schema.migrate(postgres_server.url("migrated").replace("postgresql:", "postgresql+psycopg:"), sql.SCHEMA_HEAD)
    return "migrated"


@pytest.fixture
def make_server(migrated_server: str, make_database: Callable[..., str]) -> Callable[[], str]:
    """Call it for the address of a new database with MLflow's tables."""
    return lambda: make_database(template=migrated_server)


@pytest.fixture(scope="session")
def shared_server(migrated_server: str, make_database: Callable[..., str]) -> str:
    """The address of one with MLflow's tables for all tests that make models of their own in it."""
    return make_database(template=migrated_server)


@pytest.fixture
def served() -> Iterator[tuple[str, oci_registry.Contents]]:
    """The address of an empty registry of images, and what is in it."""
    with oci_registry.serving() as made:
        yield made
