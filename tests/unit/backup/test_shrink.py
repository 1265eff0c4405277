"""What counts as a sudden loss between two snapshots, and what does not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ddr.backup import shrink
from ddr.domain import snapshots

AT = datetime(2026, 11, 21, tzinfo=UTC)


def _component(tables: dict[str, int], files: int = 0, stream_bytes: int = 0) -> snapshots.Component:
    return snapshots.Component(
        "mlflow",
        "mlflow",
        "sqlite",
        AT,
        tables=tuple(snapshots.Table(name, (), rows, "", (), rows) for name, rows in tables.items()),
        trees=(snapshots.Tree("artifacts", (), files, 0, files),) if files else (),
        streams=(snapshots.Stream("registry.db", stream_bytes, "", ()),) if stream_bytes else (),
    )


CASES = [
    (
        _component({"experiments": 40, "runs": 5}),
        _component({"experiments": 0, "runs": 5}),
        ["experiments 40 -> 0 rows"],
    ),
    (_component({"runs": 1000}), _component({"runs": 499}), ["runs 1,000 -> 499 rows"]),
    (_component({"runs": 1000}), _component({"runs": 500}), []),
    (_component({"runs": 9, "tags": 1}), _component({"runs": 1, "tags": 1}), []),
    (_component({"runs": 1, "tags": 1}), _component({"runs": 0, "tags": 1}), ["runs 1 -> 0 rows"]),
    (_component({"runs": 50, "tags": 1}), _component({"tags": 1}), ["runs 50 -> 0 rows"]),
    (_component({"runs": 50}), _component({"runs": 5000}), []),
    (_component({"runs": 0}), _component({"runs": 0}), []),
    (_component({"runs": 1}, files=100), _component({"runs": 1}, files=49), ["artifacts 100 -> 49 files"]),
    (_component({"runs": 1}, files=100), _component({"runs": 1}), ["artifacts 100 -> 0 files"]),
    (_component({}, stream_bytes=9000), _component({}, stream_bytes=100), ["registry.db 9,000 -> 100 bytes"]),
    (_component({}, stream_bytes=900), _component({}, stream_bytes=100), []),
    (_component({"runs": 1, "job_locks": 3, "scheduler_leases": 40, "jobs": 99}), _component({"runs": 1}), []),
    (_component({"job_lockers": 3, "runs": 1}), _component({"runs": 1}), ["job_lockers 3 -> 0 rows"]),
]


@pytest.mark.parametrize(("before", "now", "expected"), CASES)
def test_a_sudden_loss_is_named_with_both_numbers(
    before: snapshots.Component, now: snapshots.Component, expected: list[str]
) -> None:
    assert [str(finding) for finding in shrink.of_component(now, before)] == [f"mlflow: {text}" for text in expected]


def test_when_nothing_is_left_one_line_says_so() -> None:
    before = _component({"runs": 30, "tags": 70}, files=5)
    for now in (None, _component({}), _component({"runs": 0, "tags": 0})):
        assert [str(finding) for finding in shrink.of_component(now, before)] == ["mlflow 100 -> 0 rows"]
    assert shrink.of_component(None, _component({})) == ()


def test_a_component_that_is_gone_is_found_in_the_snapshot() -> None:
    def snapshot(*components: snapshots.Component) -> snapshots.Snapshot:
        return snapshots.Snapshot(AT, "host", "cron", "1", components)

    whole = snapshot(_component({"runs": 3}))
    assert [str(one) for one in shrink.of_snapshot(snapshot(), whole)] == ["mlflow 3 -> 0 rows"]
    assert shrink.of_snapshot(whole, snapshot()) == ()
