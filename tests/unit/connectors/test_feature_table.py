"""The feature table: live and reference readings, and a refresh that believes rows, not exit codes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors import feature_table
from ddr.domain import outcomes, planes, revisions, signals
from ddr.errors import InputError, Missing, Unavailable, Unsupported
from ddr.lib import clock
from ddr.ports import signal
from tests.unit.connectors import rigs

HOUR = timedelta(hours=1)
LANES = 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rigs.write_features(tmp_path / "features", LANES)
    return tmp_path / "features"


def _table(root: Path, at: timedelta = timedelta(0), **settings: Any) -> feature_table.FeatureTable:
    made = dataclasses.replace(
        feature_table.Settings(root.name, table="lane_pixels", entity="lane"),
        **settings,
    )
    return feature_table.connect(made, root.parent, clock.ManualClock(rigs.NOW + at))


def _plane(table: feature_table.FeatureTable) -> feature_table.FeaturePlane:
    return table.plane(feature_table.Binding(), planes.Plane.FEATURES)


def _execute(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def _live(table: feature_table.FeatureTable, series: str) -> signals.Reading:
    now = table.clock.now()
    return table.read(series, now - HOUR, now)


def test_live_readings_are_of_the_table_as_it_is(root: Path) -> None:
    table = _table(root)
    assert isinstance(table, signal.Signal)
    assert _live(table, "event-age-p95").sample == signals.Gauge(900.0, LANES)
    assert _live(table, "rows").sample == signals.Gauge(20.0, LANES)
    assert _live(table, "zero-shares").sample == signals.ColumnShares(
        {"p00": signals.Share(5, LANES), "p01": signals.Share(0, LANES)}
    )
    assert _live(table, "null-shares").sample == signals.ColumnShares(
        {"p00": signals.Share(0, LANES), "p01": signals.Share(1, LANES)}
    )
    with pytest.raises(InputError):
        _live(table, "none")


def test_the_age_is_of_the_events_and_grows_with_the_clock(root: Path) -> None:
    """Rows that were written just now and are old: the job ran, and nothing is fresh."""
    _execute(root / "online.db", f"UPDATE lane_pixels SET created_ts = {rigs.NOW.timestamp() + 3600}")
    assert _live(_table(root, at=HOUR), "event-age-p95").sample == signals.Gauge(4500.0, LANES)


def test_p95_is_the_nearest_rank(root: Path) -> None:
    now = rigs.NOW.timestamp()
    _execute(root / "online.db", "DELETE FROM lane_pixels")
    for count in (1, 19, 20, 21, 100):
        _execute(root / "online.db", "DELETE FROM lane_pixels")
        rows = ", ".join(f"('l{at}', {now - at - 1}, 0, 0, 0)" for at in range(count))
        _execute(root / "online.db", f"INSERT INTO lane_pixels VALUES {rows}")
        wanted = float(-(-95 * count // 100))
        assert _live(_table(root), "event-age-p95").sample == signals.Gauge(wanted, count), count


def test_times_that_say_nothing_are_not_taken_for_fresh(root: Path) -> None:
    _execute(
        root / "online.db",
        "UPDATE lane_pixels SET event_ts = NULL WHERE lane = 'lane-000'",
        "UPDATE lane_pixels SET event_ts = 'soon' WHERE lane = 'lane-001'",
        f"UPDATE lane_pixels SET event_ts = {rigs.NOW.timestamp() * 1000} WHERE lane > 'lane-001'",
    )
    reading = _live(_table(root), "event-age-p95")
    assert reading.sample is None
    assert "20 of 20 rows" in reading.why


def test_a_past_window_is_read_from_the_source(root: Path) -> None:
    table = _table(root)
    reading = table.read("zero-shares", rigs.NOW - 3 * HOUR, rigs.NOW - HOUR)
    assert isinstance(reading.sample, signals.ColumnShares)
    assert reading.sample.columns["p00"] == signals.Share(8 * 5, 8 * LANES)
    nulls = table.read("null-shares", rigs.NOW - 3 * HOUR, rigs.NOW - HOUR).sample
    assert isinstance(nulls, signals.ColumnShares)
    assert nulls.columns["p01"] == signals.Share(8, 8 * LANES)
    for series in ("event-age-p95", "rows"):
        past = table.read(series, rigs.NOW - 3 * HOUR, rigs.NOW - HOUR)
        assert past.sample is None
        assert "keeps no past" in past.why
    assert table.read("zero-shares", rigs.NOW - 30 * HOUR, rigs.NOW - 20 * HOUR).sample is None


def test_what_counts_as_now(root: Path) -> None:
    """A window that ended within the last minute is live: the judge asked the time before it asked the table."""
    table = _table(root)
    for ago_s, is_live in ((-30, True), (0, True), (59, True), (61, False), (3600, False)):
        until = rigs.NOW - timedelta(seconds=ago_s)
        assert (table.read("rows", until - HOUR, until).sample is not None) == is_live


def test_without_a_source_there_is_no_reference(root: Path) -> None:
    (root / "source.db").unlink()
    table = _table(root)
    past = table.read("zero-shares", rigs.NOW - 3 * HOUR, rigs.NOW - HOUR)
    assert past.sample is None
    assert "source.db" in past.why
    assert any("no offline source" in sentence for sentence in _plane(table).health().cannot)
    with pytest.raises(Unsupported):
        _plane(table).refresh()
    assert not (root / "source.db").exists()


def test_a_missing_table_column_or_file_is_never_healthy(root: Path) -> None:
    assert _live(_table(root), "rows").sample is not None
    wrong: tuple[dict[str, Any], ...] = ({"table": "none"}, {"online": "none.db"})
    for settings in (*wrong, {"event_time": "none"}):
        table = _table(root, **settings)
        with pytest.raises(Missing) as raised:
            _live(table, "event-age-p95")
        assert raised.value.hint
    for settings in wrong:
        for series in feature_table.SERIES:
            with pytest.raises(Missing):
                _live(_table(root, **settings), series)
        assert _plane(_table(root, **settings)).health().state is signals.State.BAD
    assert not (root / "none.db").exists()
    _execute(root / "online.db", "DELETE FROM lane_pixels")
    for series in feature_table.SERIES:
        empty = _live(_table(root), series)
        assert empty.sample is None
        assert "no rows" in empty.why
    assert _plane(_table(root)).health().state is signals.State.BAD


def test_a_locked_table_is_unavailable(root: Path) -> None:
    program = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN EXCLUSIVE'); print(1, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(root / "online.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(Unavailable, match=f"process {other.pid} "):
            _live(_table(root), "rows")
        other.kill()


def test_wide_tables_are_read_in_parts(root: Path) -> None:
    columns = [f"c{number}" for number in range(1500)]
    path = root / "wide.db"
    _execute(path, f"CREATE TABLE t (lane TEXT, event_ts REAL, created_ts REAL, {', '.join(columns)})")
    _execute(path, f"INSERT INTO t VALUES ('a', 1, 1, {', '.join('0' for _ in columns)})")
    found = _live(_table(root, online="wide.db", table="t"), "zero-shares").sample
    assert isinstance(found, signals.ColumnShares)
    assert list(found.columns) == columns
    assert set(found.columns.values()) == {signals.Share(1, 1)}


def test_a_revision_says_which_columns_it_gives(root: Path) -> None:
    plane = _plane(_table(root))
    wanted = revisions.schema_digest([("p01", "double"), ("p00", "float")])
    assert plane.revision().facts[revisions.INPUTS_SCHEMA] == wanted
    (root / "releases" / "v2" / "release.json").write_text(json.dumps({"inputs_schema": "sha256:said"}))
    assert plane.revision().facts[revisions.INPUTS_SCHEMA] == "sha256:said"
    assert plane.revision().object == "lane_pixels"


def test_a_refresh_writes_the_newest_events_and_reads_them_back(root: Path) -> None:
    _execute(root / "online.db", "DELETE FROM lane_pixels WHERE lane < 'lane-005'")
    _execute(root / "online.db", "UPDATE lane_pixels SET event_ts = event_ts - 7200, p00 = 0")
    plane = _plane(_table(root))
    plane.freeze("a freeze stops the schedule, not the person who repairs")
    for _ in range(2):
        outcome = plane.refresh()
        assert outcome.status is outcomes.Status.OK, outcome
        assert outcome.values["rows"] == outcome.values["entities"] == str(LANES)
    assert _live(_table(root), "event-age-p95").sample == signals.Gauge(900.0, LANES)
    runs = [json.loads(line) for line in (root / "runs.jsonl").read_text().splitlines()]
    assert runs == [{"at": "2026-11-02T09:00:00.000Z", "revision": "v2", "exit_code": 0, "rows_reported": LANES}] * 2


PROGRAMS = {
    "writes nothing": ("print('{\"rows\": 20}')", "no row is fresh"),
    "writes nothing and says so": ("print('{\"rows\": 0}')", "no row is fresh"),
    "says nothing": ("", "no row is fresh"),
    "fails": ("import sys; sys.exit('the source is gone')", "exit code 1: the source is gone"),
    "raises": ("raise KeyError('p00')", "exit code 1: KeyError: 'p00'"),
    "is no program": ("this is no python", "exit code 1"),
    "kills itself": ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
    "hangs": ("import time; time.sleep(60)", "exit code 124: no end within 1 s"),
    "does half": (rigs.MATERIALIZE.replace("GROUP BY lane", "AND lane < 'lane-010' GROUP BY lane"), "left 10 of 20"),
    "takes the oldest": (rigs.MATERIALIZE.replace("MAX(scanned_at)", "MIN(scanned_at)"), "no row is fresh"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_refresh_that_refreshes_nothing_failed(root: Path, name: str) -> None:
    program, why = PROGRAMS[name]
    _execute(root / "online.db", "UPDATE lane_pixels SET event_ts = event_ts - 7200")
    (root / "releases" / "v2" / "materialize.py").write_text(program)
    outcome = _plane(_table(root, timeout_s=1.0 if name == "hangs" else 60.0)).refresh()
    assert outcome.status is outcomes.Status.FAILED
    assert why in outcome.summary
    assert "20 entities fresh" in outcome.evidence[0]
    assert json.loads((root / "runs.jsonl").read_text())["revision"] == "v2"


def test_a_silent_source_is_said(root: Path) -> None:
    _execute(root / "source.db", "DELETE FROM scans")
    outcome = _plane(_table(root)).refresh()
    assert outcome.status is outcomes.Status.FAILED
    assert "look upstream" in outcome.summary


def test_a_suspended_schedule_is_a_file_with_its_reason(root: Path) -> None:
    plane = _plane(_table(root))
    plane.freeze("inc-1")
    assert (root / "suspended").read_text() == "inc-1"
    (root / "suspended").write_text("")
    assert plane.frozen() == "suspended"
    assert "suspended" in plane.health().why
    plane.thaw()
    assert not (root / "suspended").exists()
