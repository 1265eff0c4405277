"""Feast itself writes, ddr keeps and puts back, Feast reads: on SQLite and on a real Redis. Needs the environment of
`feast_programs`, with `redis` in it for the second."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors.feast.online import connector
from ddr.domain import outcomes, planes
from ddr.lib import clock
from tests.unit.connectors import feast_online as online
from tests.unit.connectors import feast_programs

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1200),  # a dozen processes that import Feast
    pytest.mark.skipif(not feast_programs.PYTHON.exists(), reason="no Feast: see feast_programs.py"),
]

SOURCE = """
import sys, pandas
from datetime import datetime, timedelta, timezone
at = datetime.fromisoformat(sys.argv[1])
size, offset = 20, float(sys.argv[2])
lanes = [f"lane-{n}" for n in range(size)]
pandas.DataFrame({"lane_id": lanes, "event_timestamp": [at] * size, "p00": [n + offset for n in range(size)],
                  "p01": [0.5] * size}).to_parquet("data/scans.parquet")
sales = pandas.DataFrame({"shop_id": lanes, "event_timestamp": [at] * size, "sum": list(range(size))})
sales.to_parquet("data/sales.parquet")
"""

MATERIALIZE = """
import sys
from datetime import datetime, timedelta
from feast import FeatureStore
at = datetime.fromisoformat(sys.argv[1])
FeatureStore(".").materialize(at - timedelta(hours=1), at + timedelta(minutes=1), feature_views=sys.argv[2:])
print("null")
"""

READ = """
import json
from feast import FeatureStore
lanes = [{"lane_id": f"lane-{n}"} for n in range(20)]
found = FeatureStore(".").get_online_features(["pixels:p00", "pixels:p01"], lanes).to_dict()
shops = [{"shop_id": f"lane-{n}"} for n in range(20)]
other = FeatureStore(".").get_online_features(["turnover:sum"], shops).to_dict()
print(json.dumps([found["p00"], found["p01"], other["sum"]]))
"""


@pytest.fixture(params=["sqlite", "redis"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        config = feast_programs.CONFIG
        if request.param == "redis":
            has = subprocess.run([feast_programs.PYTHON, "-c", "import redis"], capture_output=True, check=False)
            if has.returncode:
                pytest.skip("no redis beside Feast")
            address = stack.enter_context(online.redis_server(tmp_path / "redis"))
            config = config.replace("type: sqlite", "type: redis").replace(
                "path: data/online.db", f"connection_string: '{address.host}:{address.port}'"
            )
        yield feast_programs.write(tmp_path / "repo", config)


def test_what_ddr_puts_back_feast_reads(root: Path, tmp_path: Path) -> None:
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    said = at.isoformat()
    feast_programs.run(SOURCE, root, said, "0")
    feast_programs.run(feast_programs.APPLY, root)
    feast_programs.run(MATERIALIZE, root, said, "pixels", "turnover")
    good_values = feast_programs.run(READ, root)
    assert good_values[0][:3] == [0.0, 1.0, 2.0]

    made = connector.connect(
        connector.Settings(root.name, "pixels", feast=str(feast_programs.PYTHON.with_name("feast"))), root.parent,
        clock.SystemClock(),
    )  # fmt: skip
    made.shelved(online.shelf(tmp_path / "shelf"))
    plane: Any = made.plane(connector.Binding(), planes.Plane.FEATURES)
    good = made.keep("good").facts["revision"]
    assert plane.revision().facts["entities"] == "20"
    assert made.read("event-age-newest", datetime.now(UTC), datetime.now(UTC)).sample is not None

    later = (at + timedelta(minutes=5)).isoformat()
    feast_programs.run(SOURCE, root, later, "1000")
    feast_programs.run(MATERIALIZE, root, later, "pixels")
    bad_values = feast_programs.run(READ, root)
    assert bad_values[0][:2] == [1000.0, 1001.0]
    bad = plane.revision()
    assert plane.switch(plane.find(good), bad).name == good
    assert feast_programs.run(READ, root) == good_values
    assert plane.switch(bad, plane.find(good)).is_same(bad)
    assert feast_programs.run(READ, root) == bad_values

    # The same window again with other values: on Redis Feast ends well and changes nothing; ddr's own does.
    feast_programs.run(SOURCE, root, later, "2000")
    feast_programs.run(MATERIALIZE, root, later, "pixels")
    is_redis = "redis" in (root / "feature_store.yaml").read_text()
    expected = 1000.0 if is_redis else 2000.0
    assert feast_programs.run(READ, root)[0][0] == expected
    outcome = plane.materialize()
    assert outcome.status is outcomes.Status.OK, outcome
    assert feast_programs.run(READ, root)[0][0] == 2000.0
    assert feast_programs.run(READ, root)[2] == good_values[2]
    assert not list(root.glob(".feature_store*")), "the configuration it ran with is gone"
