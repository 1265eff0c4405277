"""What of a release is loaded to see that it can be: versions of ddr by their manifest, others by themselves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ddr.domain import planes
from ddr.index.homes import naming
from ddr.wiring import build, loads
from tests.unit.index import published

CONFIG = """\
apiVersion: ddr/v1
repository: {type: local, path: .ddr}
connectors:
  lookalikes: {type: faiss-index, root: index}
  server: {type: model-server, url: "http://127.0.0.1:1", golden: golden.jsonl}
services:
  s:
    serving: server
    planes:
      index: {connector: lookalikes}
    objectives: {rpo: 1h, rto: 15m}
    owners: {team: t, oncall: o, decisionMaker: d}
"""


def test_a_manifest_of_others_says_nothing_of_what_is_loaded(tmp_path: Path) -> None:
    home = published.at(tmp_path / "index")
    version = published.published(home, published.make(tmp_path / "corpus", rows=80))
    theirs = home.root / "versions" / "v1"
    theirs.mkdir()
    shutil.copy(home.root / "versions" / version / naming.INDEX, theirs)
    (theirs / naming.MANIFEST).write_text(json.dumps({"embedder": "theirs", "files": []}))
    (tmp_path / "ddr.yaml").write_text(CONFIG)
    wired = build.build(tmp_path / "ddr.yaml", {}, actor="tester", warn=lambda text: None)
    load = loads.of(wired)
    told = [load("s", planes.Plane.INDEX, name) for name in (version, "v1")]
    assert told == ["80 rows of 8, 20 probes answered as published", "80 rows of 8; no probes were kept with it"]
