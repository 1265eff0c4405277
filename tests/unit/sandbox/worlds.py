"""Looking at a sandbox from outside, for the tests of this room."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ddr.domain import services
from ddr.ports import verb
from ddr.sandbox import process

AT = datetime(2026, 11, 2, 9, tzinfo=UTC)


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a log; every line must be one."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def predictions(root: Path, since: int = 0) -> list[dict[str, Any]]:
    """The logged requests behind the first `since`."""
    return lines(root / "serving" / "predictions.jsonl")[since:]


def wrong_share(root: Path, since: int) -> float:
    """Of the requests behind the first `since` whose truth is known, how many were answered wrongly."""
    truths = {line["id"]: line["truth"] for line in lines(root / "serving" / "truths.jsonl")}
    judged = [line["answer"] != truths[line["id"]] for line in predictions(root, since) if line["id"] in truths]
    assert len(judged) >= 200
    return float(sum(judged) / len(judged))


def golden_mismatch(root: Path) -> float:
    """What a golden probe of the running server sees."""
    address = process.ensure(root)
    connection = http.client.HTTPConnection(process.HOST, address.port, timeout=30)
    rows = lines(root / "golden.jsonl")
    wrong = 0
    for row in rows:
        connection.request("POST", "/predict", json.dumps({"id": row["id"], "features": row["features"]}))
        wrong += bool(json.loads(connection.getresponse().read())["answer"] != row["truth"])
    connection.close()
    return float(wrong / len(rows))


def metrics(root: Path) -> dict[str, float]:
    """The counters of the running server by name and labels."""
    address = process.ensure(root)
    connection = http.client.HTTPConnection(process.HOST, address.port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in rows}


def call(inputs: Mapping[str, Any] | None = None, key: str = "run-1/inject/1") -> verb.Call:
    return verb.Call("postcode", "run-1", "inject", key, "", AT, inputs or {})


def service() -> services.Service:
    """The service of every sandbox, as far as a fault cares."""
    owners = services.Owners("team-sorting", "oncall-ml", "head-of-sorting")
    objectives = services.Objectives(timedelta(hours=1), timedelta(minutes=15))
    return services.Service("postcode", {}, (), objectives, owners)
