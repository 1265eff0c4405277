"""What counts as a sudden loss between two snapshots, and what does not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ddr.backup import fallen, shrink
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

    whole = {"mlflow": fallen.Full("1234567890", _component({"runs": 3}))}
    assert [str(one) for one in fallen.lost(snapshot(), whole)] == ["mlflow 3 -> 0 rows"]
    assert fallen.lost(snapshot(_component({"runs": 3})), whole) == ()
    assert fallen.lost(snapshot(_component({"runs": 3})), {}) == ()


def test_the_mark_names_what_was_lost_and_the_newest_that_was_full() -> None:
    full = fallen.Full("0123456789abcdef", _component({"a": 40, "b": 40, "c": 40, "d": 40, "e": 5}))
    found = fallen.marked(_component({"a": 1, "b": 1, "c": 1, "d": 1, "e": 5}), full)
    assert found.facts["shrunk"] == "a 40 -> 1 rows; b 40 -> 1 rows; c 40 -> 1 rows; and 1 more"
    assert "--snapshot 01234567" in fallen.warning(found)
    assert fallen.marked(full.component, full) == full.component
    assert fallen.warning(full.component) == ""
