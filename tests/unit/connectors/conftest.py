"""MLflow's own server and client, started once for whoever needs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.lib import process
from tests.unit.connectors import rigs
from tests.unit.connectors.official import Official


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Official]:
    """A test that uses it carries `@pytest.mark.xdist_group("mlflow")`: it takes half a minute to start."""
    started = Official(tmp_path_factory.mktemp("mlflow"), process.free_port())
    yield started
    started.close()


@pytest.fixture(params=["sql", "rest"])
def model_rig(request: pytest.FixtureRequest, official: Official, tmp_path: Path) -> rigs.Rig:
    """A registered model of this test's own, through each transport."""
    return (rigs.sql_rig if request.param == "sql" else rigs.rest_rig)(official, tmp_path)
