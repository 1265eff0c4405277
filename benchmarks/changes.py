"""`ddr changes` over a long journal, as a process, beside what somebody would do with the same events in a JSONL file.

The journal is two months of a busy platform: incidents, runs, a release or an observation every fifty events, a change
every twenty. `ddr` verifies the chain of all of it; jq and grep verify nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks import measure

EVENTS = 100_000
EVERY = timedelta(seconds=52)
GOAL_S = 1.0

_CONFIG = """\
apiVersion: ddr/v1
repository: {type: local, path: store}
connectors:
  settings: {type: config-file, path: serving.yaml}
services:
  digits:
    planes: {config: {connector: settings}}
    objectives: {rpo: 1h, rto: 15m}
    owners: {team: ml, oncall: ann, decisionMaker: bob}
"""


def _ledger(seq: int, at: datetime) -> object:
    from ddr.domain import changes, planes, records, releases, revisions

    model = revisions.Revision(planes.Plane.MODEL, "digit", str(seq // 1000), f"sha256:{seq // 1000:064x}")
    if seq % 50 == 0 and seq % 100:
        return records.PlanesObserved("digits", releases.OBSERVED, (model,))
    if seq % 100 == 0:
        return records.ReleaseRecorded(releases.Release(f"r-{seq}", "digits", at, {planes.Plane.MODEL: model}, True))
    if seq % 20 == 7:
        moved = changes.Change(planes.Plane.CODE, "app", at, str(seq - 20), str(seq), "ci-bot", "rollout", "pipeline")
        return records.ChangeRecorded("digits", moved)
    return None


def run() -> None:
    from tests.unit.journal import bulk

    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        begin = datetime.now(UTC) - EVENTS * EVERY
        bulk.fill(folder, EVENTS, begin, EVERY, _ledger)  # type: ignore[arg-type]
        (folder / "ddr.yaml").write_text(_CONFIG)
        (folder / "serving.yaml").write_text("threshold: 0.5\n")
        flat = folder / "events.jsonl"
        paths = sorted((folder / "store/journal").rglob("*"), key=lambda path: path.name.rpartition("-")[2])
        flat.write_bytes(b"".join(path.read_bytes() for path in paths if path.is_file()))
        since = (datetime.now(UTC) - timedelta(hours=24)).strftime("%Y-%m-%dT%H:%M:%S")
        pick = f'select(.kind == "change.recorded" and .at >= "{since}") | [.at, .actor, .body.change.after] | @tsv'
        ddr = [sys.executable, "-m", "ddr", "--config", str(folder / "ddr.yaml")]
        state = {"XDG_STATE_HOME": str(folder / "state")}
        subprocess.run([*ddr, "changes"], check=True, capture_output=True, env=_environ(state))  # makes its copy once
        timings = measure.interleave(
            {
                "ddr changes --since 24h, chain verified": measure.command(
                    [*ddr, "changes", "--since", "24h"], **state
                ),
                "ddr --version (the start alone)": measure.command([*ddr, "--version"], **state),
                "jq over the same events as JSONL": measure.command(["jq", "-r", pick, str(flat)]),
                "grep for the kind, unsorted JSON out": measure.command(["grep", "change.recorded", str(flat)]),
            },
            rounds=7,
        )
        measure.show(f"what changed, {EVENTS:,} events", timings, against="jq over the same events as JSONL")
        print(f"  ddr: {timings[0].median_s:.2f} s   goal: {GOAL_S:g} s")


def _environ(more: dict[str, str]) -> dict[str, str]:
    import os

    return {**os.environ, **more}
