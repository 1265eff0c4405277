"""A rewrite that fits no location is a usage error, and a plan names only tables whose locations change."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddr.connectors.mlflow import locations
from ddr.errors import InputError
from ddr.ports import restorable
from tests import captures
from tests.unit.connectors.mlflow_store import rigs


def test_rewrites_that_fit_and_that_do_not(lived: Path, tmp_path: Path) -> None:
    sink = captures.Capture()
    rigs.registry(lived).capture(sink)
    source = sink.source()
    registry = rigs.registry(tmp_path)

    def plan(old: str, **more: str) -> restorable.RestorePlan:
        rewrites = {old: str(tmp_path / "new")} if old else {}
        target = f"sqlite:///{tmp_path}/new.db"
        return registry.plan_restore(source, restorable.RestoreOptions(target, rewrites=rewrites, more=more))

    named = registry._work(source, restorable.RestoreOptions()).locations
    every = sorted({uri for those in named.values() for uri in those})
    assert any(uri.startswith("/") for uri in every)
    asked = 0
    for wrong in ("/nonexist", "s3://nobody", "mlrun", str(lived) + "x", "file:///nonexist", "mlflow-artifacts:/x"):
        with pytest.raises(InputError) as said:
            plan(wrong)
        assert said.value.exit_code == 64
        assert "its locations: " in said.value.hint
        asked += 1
    movable = [uri for uri in every if uri.startswith(("/", "file:"))]
    for right in movable:
        lines = [line for line in plan(right).lines if "rewritten" in line.detail]
        assert lines
        fits = {table for table, those in named.items() if any(registry_fits(right, uri) for uri in those)}
        assert {line.what.removeprefix("table ") for line in lines} == fits
        asked += 1
    print(f"{asked} rewrites, {len(every)} locations in {len(locations.COLUMNS) + len(locations.TAGS)} tables")
    assert not any("rewritten" in line.detail for line in plan("").lines)


def registry_fits(old: str, uri: str) -> bool:
    """Said plainly: the same place on disk, or below it."""
    there, moved = (Path(one.removeprefix("file://").replace("%20", " ")) for one in (uri, old))
    return uri.startswith(("/", "file:")) and there.is_relative_to(moved)
