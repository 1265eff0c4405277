"""A snapshot that was taken over REST, rehearsed: restored into a fresh `mlflow server`, read back and compared."""

from __future__ import annotations

from pathlib import Path

from ddr.connectors.mlflow import bucket, locations, rehearsal
from ddr.connectors.mlflow.over_rest import capture, restore
from ddr.errors import DdrError
from ddr.lib import endpoint
from ddr.ports import restorable


def rehearse(
    source: restorable.Source, folder: Path, progress: restorable.Progress | None = None
) -> restorable.Rehearsal:
    """As `ports.restorable.Rehearsable` says."""
    watch = rehearsal.Watch()
    compared: list[restorable.Comparison] = []
    problems: list[str] = []
    try:
        with rehearsal.served(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts", folder) as server:
            watch.lap("start the server")
            at = endpoint.Endpoint(server.url, capture.TIMEOUT_S)
            there = capture.Server(at, locations.Map(folder), bucket.connect)
            options = restorable.RestoreOptions(target=server.url)
            plan = restore.plan(there, source, options)
            if plan.refusals:
                return restorable.Rehearsal(watch.laps, (), plan.refusals)
            restore.restore(there, source, options, progress, folder)
            watch.lap("restore")
            compared += restore.compare(there, source, options)
            watch.lap("compare")
    except DdrError as problem:
        problems.append(problem.message)
        watch.lap("until it failed")
    return restorable.Rehearsal(watch.laps, tuple(compared), tuple(problems))
