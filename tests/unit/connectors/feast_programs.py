"""Programs that run under a real Feast, in an environment of its own: it pins pandas < 3, ddr's lock does not.

`python -m venv ~/.cache/ddr-test/feast-0.67 && ~/.cache/ddr-test/feast-0.67/bin/pip install 'feast>=0.67,<0.68'`
makes it in about a minute. Without it the tests that need it are skipped.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import subprocess
from pathlib import Path
from typing import Any

PYTHON = Path.home() / ".cache" / "ddr-test" / "feast-0.67" / "bin" / "python"

CONFIG = """\
project: lanes
registry: data/registry.db
provider: local
online_store:
  type: sqlite
  path: data/online.db
"""

SQL_CONFIG = """\
project: lanes
registry: {{registry_type: sql, path: "{address}", cache_ttl_seconds: 60}}
provider: local
online_store:
  type: sqlite
  path: data/online.db
"""

DEFINITIONS = """
from datetime import timedelta
import pandas
from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float32, Float64, Int64

lane = Entity(name="lane", join_keys=["lane_id"], description="one lane")
shop = Entity(name="shop", join_keys=["shop_id"])
scans = FileSource(name="scans", path="data/scans.parquet", timestamp_field="event_timestamp")
sales = FileSource(name="sales", path="data/sales.parquet", timestamp_field="event_timestamp")
pixels = FeatureView(name="pixels", entities=[lane], ttl=timedelta(hours=6), source=scans,
                     schema=[Field(name="p00", dtype=Float32), Field(name="p01", dtype=Float32)])
turnover = FeatureView(name="turnover", entities=[shop], ttl=timedelta(days=2, microseconds=500000), source=sales,
                       schema=[Field(name="sum", dtype=Int64)])
asked = RequestSource(name="asked", schema=[Field(name="factor", dtype=Float32)])


@on_demand_feature_view(sources=[pixels, asked], schema=[Field(name="bright", dtype=Float64)])
def brightness(inputs: pandas.DataFrame) -> pandas.DataFrame:
    return pandas.DataFrame({"bright": inputs["p00"] * inputs["factor"]})


service = FeatureService(name="reading", features=[pixels, brightness])
"""

APPLY = """
import sys
from feast import FeatureStore
sys.path.insert(0, ".")
import pandas
from pathlib import Path
from datetime import datetime, timedelta, timezone
now = datetime.now(timezone.utc)
if not Path("data/scans.parquet").exists():
    scans = pandas.DataFrame({"lane_id": ["a"], "event_timestamp": [now], "p00": [1.0], "p01": [2.0]})
    scans.to_parquet("data/scans.parquet")
    pandas.DataFrame({"shop_id": ["a"], "event_timestamp": [now], "sum": [3]}).to_parquet("data/sales.parquet")
import definitions as d
store = FeatureStore(".")
if len(sys.argv) > 1:
    d.pixels.ttl = timedelta(hours=int(sys.argv[1]))
    store.apply([d.lane, d.pixels])
else:
    store.apply([d.lane, d.shop, d.scans, d.sales, d.pixels, d.turnover, d.asked, d.brightness, d.service])
"""

LIST = """
import json
from feast import FeatureStore
store = FeatureStore(".")
r, p = store.registry, store.project
proto = r.proto()
print(json.dumps({
    "entity": sorted(e.name for e in r.list_entities(p)),
    "feature view": {v.name: [v.ttl.total_seconds(), sorted(f.name for f in v.features), v.entities,
                              v.last_updated_timestamp.isoformat()] for v in r.list_feature_views(p)},
    "on demand feature view": sorted(v.name for v in r.list_on_demand_feature_views(p)),
    "feature service": {s.name: [q.name for q in s.feature_view_projections] for s in r.list_feature_services(p)},
    "data source": sorted(s.name for s in r.list_data_sources(p)),
    "project": sorted(q.name for q in r.list_projects()),
    "version_id": proto.version_id,
    "last_updated": proto.last_updated.ToDatetime().isoformat(),
}))
"""

NUMBERS = """
import json
from feast.protos.feast.core import Registry_pb2
def walk(d, depth):
    return {f.number: [f.name, walk(f.message_type, depth - 1) if f.message_type and depth else None]
            for f in d.fields}
print(json.dumps(walk(Registry_pb2.Registry.DESCRIPTOR, 2)))
"""


HOST = """
import contextlib, io, json, os, sys, traceback
import feast, pandas
for line in sys.stdin:
    program, folder, words = json.loads(line)
    os.chdir(folder)
    sys.argv = ["-c", *words]
    sys.modules.pop("definitions", None)
    said, wrong = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(said):
            exec(compile(program, "program", "exec"), {"__name__": "__main__"})
    except BaseException:
        wrong = traceback.format_exc()
    sys.__stdout__.write(json.dumps([said.getvalue(), wrong]) + chr(10))
    sys.__stdout__.flush()
"""
WITHIN_S = 600.0


@functools.cache
def _host() -> subprocess.Popen[bytes]:
    """One Feast for all programs of this process: to import it costs 7 seconds of processor, each time."""
    started = subprocess.Popen(
        [PYTHON, "-c", HOST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "FEAST_USAGE": "False", "IS_TEST": "True"},
    )  # fmt: skip
    atexit.register(_end)
    return started


def _end() -> None:
    _host().kill()
    _host().wait()
    _host.cache_clear()
    atexit.unregister(_end)


def run(program: str, folder: Path, *words: str) -> Any:
    """What it printed last, as JSON; None when it printed nothing. Whatever it opens it opens anew."""
    host = _host()
    assert host.stdin is not None
    assert host.stdout is not None
    host.stdin.write(json.dumps([program, str(folder), words]).encode() + b"\n")
    host.stdin.flush()
    if not select.select([host.stdout], [], [], WITHIN_S)[0]:
        _end()
        raise TimeoutError(f"no end within {WITHIN_S:g} s: {program}")
    said, wrong = json.loads(host.stdout.readline())
    assert not wrong, wrong
    lines = said.strip().splitlines()
    return json.loads(lines[-1]) if lines else None


def write(folder: Path, config: str = CONFIG) -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "feature_store.yaml").write_text(config)
    (folder / "definitions.py").write_text(DEFINITIONS)
    return folder
