"""Platform time: what happens in it is fixed by the seed, however it is cut, and survives kills."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ddr.errors import Unavailable
from ddr.sandbox import clock, features, layout, process, schedule, traffic
from tests import sandboxes
from tests.unit.sandbox import worlds

TELEMETRY_OF_THE_MACHINE = "latency_ms"


def _table(path: Path, table: str, columns: str) -> list[tuple[Any, ...]]:
    with features.opened(path) as connection:
        return sorted(connection.execute(f"SELECT {columns} FROM {table}"))


def _world(root: Path) -> dict[str, object]:
    """Everything that time has written."""
    where = layout.Layout(root)
    answered = worlds.predictions(root)
    for line in answered:
        del line[TELEMETRY_OF_THE_MACHINE]
    return {
        "predictions": answered,
        "truths": where.truths.read_text(),
        "runs": where.runs.read_text(),
        "clock": where.clock.read_text(),
        "scans": _table(where.source, "scans", "lane, scanned_at, row"),
        "online": _table(where.online, layout.TABLE, "*"),
    }


@pytest.mark.parametrize(
    "pieces",
    [[4200], [60] * 70, [0.5, 899.5, 1, 299, 1500, 1500], [7, 4193], [3600, 0, 600]],
    ids=lambda pieces: f"{len(pieces)} pieces",
)
def test_the_cut_of_time_makes_no_difference(
    pieces: list[float], warm_sandbox: Path, running_sandbox: Path, tmp_path: Path
) -> None:
    whole = _whole(running_sandbox)
    cut = sandboxes.copy(warm_sandbox, tmp_path / "cut")
    try:
        for seconds in pieces:
            clock.SandboxClock(cut).sleep(seconds)
    finally:
        process.stop(cut)
    found = _world(cut)
    for part, value in whole.items():
        assert found[part] == value, part


_WHOLE: dict[Path, dict[str, object]] = {}


def _whole(root: Path) -> dict[str, object]:
    if root not in _WHOLE:
        traffic.Driver(root).advance(4200)
        _WHOLE[root] = _world(root)
    return _WHOLE[root]


def test_a_quiet_day_is_quiet(sandbox: Path) -> None:
    began = time.monotonic()
    for _ in range(3):
        traffic.Driver(sandbox).advance(3600)
    print(
        f"an hour of platform time took {(time.monotonic() - began) / 3:.2f} s, with one start of the server in three"
    )
    answered = worlds.predictions(sandbox)
    assert 6 * 540 <= len(answered) <= 6 * 660
    assert {line["status"] for line in answered} == {200}
    assert len({line["id"] for line in answered}) == len(answered)
    assert [line["at"] for line in answered] == sorted(line["at"] for line in answered)
    assert {(line["model"], line["code"], line["index"], line["features"]) for line in answered} == {
        ("2", "1.4.0", "v1", "v2")
    }
    assert worlds.wrong_share(sandbox, 0) <= 0.04
    runs = worlds.lines(layout.Layout(sandbox).runs)
    assert [(run["exit_code"], run["rows_reported"]) for run in runs] == [(0, layout.LANES)] * 25
    now = clock.read(sandbox)
    assert features.wrong_rows(sandbox, now) == 0
    truths = worlds.lines(layout.Layout(sandbox).truths)
    due = {line["id"] for line in answered if schedule.to_ms(now) - _ms(line["at"]) >= schedule.TRUTH_DELAY_MS}
    assert {line["id"] for line in truths} == due
    assert len(truths) == len(due)


def _ms(text: str) -> int:
    from ddr.lib import timetext

    return schedule.to_ms(timetext.parse_time(text))


def test_nothing_is_materialized_while_it_is_suspended(sandbox: Path) -> None:
    where = layout.Layout(sandbox)
    where.suspended.write_text("an incident")
    before = where.runs.read_text()
    traffic.Driver(sandbox).advance(1800)
    assert where.runs.read_text() == before
    assert features.wrong_rows(sandbox, clock.read(sandbox)) > 100
    where.suspended.unlink()
    traffic.Driver(sandbox).advance(900)
    assert features.wrong_rows(sandbox, clock.read(sandbox)) == 0


def test_a_killed_driver_loses_at_most_its_tick(sandbox: Path) -> None:
    process.start(sandbox)
    script = "import sys; from pathlib import Path; from ddr.sandbox import traffic\n"
    script += "print('begun', flush=True); traffic.Driver(Path(sys.argv[1])).advance(1e6)"
    kills = 6
    lost = 0
    for number in range(kills):
        child = subprocess.Popen([sys.executable, "-c", script, str(sandbox)], stdout=subprocess.PIPE)
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(0.3 + 0.07 * number)
            child.send_signal(signal.SIGKILL)
    traffic.Driver(sandbox).advance(2700)
    answered = [line["id"] for line in worlds.predictions(sandbox)]
    assert len(set(answered)) == len(answered)
    seed = layout.Layout(sandbox).identity().seed
    until = schedule.to_ms(clock.read(sandbox))
    asked = schedule.requests(seed, schedule.to_ms(layout.BEGINS), until, layout.LANES)
    lost = len({request.id for request in asked} - set(answered))
    print(f"{kills} kills: {lost} of {len(asked)} requests never happened")
    assert lost <= kills * schedule.MOST_REQUESTS
    assert features.wrong_rows(sandbox, clock.read(sandbox)) == 0
    slots = (until - schedule.to_ms(layout.BEGINS)) // schedule.SLOT_MS + 1
    assert len(_table(layout.Layout(sandbox).source, "scans", "lane")) == slots * layout.LANES


def test_a_server_that_is_gone_is_started_again(sandbox: Path) -> None:
    first = process.start(sandbox)
    before = len(worlds.predictions(sandbox))
    os.kill(first.pid, signal.SIGKILL)
    traffic.Driver(sandbox).advance(600)
    second = process.find(sandbox)
    assert second is not None
    assert second.pid != first.pid
    assert {line["status"] for line in worlds.predictions(sandbox, before)} == {200}


def test_a_locked_table_is_waited_for_and_then_named(sandbox: Path) -> None:
    source = layout.Layout(sandbox).source
    holder = sqlite3.connect(source, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(Unavailable, match=r"source\.db is locked"):
            traffic.Driver(sandbox).advance(900)
    finally:
        holder.close()
    traffic.Driver(sandbox).advance(900)
    assert features.wrong_rows(sandbox, clock.read(sandbox)) == 0


def test_a_copy_lives_at_its_own_place(running_sandbox: Path, warm_sandbox: Path, tmp_path: Path) -> None:
    """Also one whose server.json still tells of the original's server."""
    original = process.ensure(running_sandbox)
    there = sandboxes.copy(warm_sandbox, tmp_path / "a folder, elsewhere")
    told = layout.Layout(there).server
    told.write_bytes(layout.Layout(running_sandbox).server.read_bytes())
    assert process.find(there) is None
    try:
        traffic.Driver(there).advance(900)
        found = process.find(there)
        assert found is not None
        assert found.pid != original.pid
        assert {line["status"] for line in worlds.predictions(there)} == {200}
    finally:
        process.stop(there)
