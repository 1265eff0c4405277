"""A restore into PostgreSQL whose process is killed before any of its statements comes to the same end when called
again, and so does the restore of the database of users."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ddr.connectors.tables import places, restore, work
from ddr.errors import Conflict
from ddr.ports import restorable
from tests import captures
from tests.unit.connectors.mlflow_store import rigs, test_users

Options = restorable.RestoreOptions
secured = test_users.secured


def _killed_before(number: int, act: Callable[[], object]) -> bool:
    """Does it in a process that is killed before its statement `number`; False when it came to its end."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = [number]
    cursor: Any = psycopg.Cursor
    connection: Any = psycopg.Connection

    def counted(original: Callable[..., object]) -> Callable[..., object]:
        def call(*words: object, **named: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*words, **named)

        return call

    for name in ("execute", "executemany", "copy"):
        setattr(cursor, name, counted(getattr(cursor, name)))
    connection.commit = counted(connection.commit)
    try:
        act()
        os._exit(0)
    finally:
        os._exit(1)


def _state(address: str) -> tuple[object, ...]:
    """What is there: each table with its number of rows, and the revision."""
    with psycopg.connect(address) as line:
        names = [row[0] for row in line.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        rows = [(name, line.execute(f'SELECT COUNT(*) FROM "{name}"'.encode()).fetchone()) for name in sorted(names)]
        versions = [line.execute(f"SELECT * FROM {name}".encode()).fetchall() for name in names if "alembic" in name]
        return tuple(rows), str(versions)


def _enumerate(
    make_database: Callable[..., str], stride: int, restoring: Callable[[str], list[restorable.Comparison]]
) -> tuple[int, int]:
    """How many kills, and how many states they left; out of each the same call comes to the end."""
    number, kills = 0, 0
    ends: dict[tuple[object, ...], str] = {}
    while True:
        address = make_database()
        if not _killed_before(number, functools.partial(restoring, address)):
            break
        kills += 1
        ends.setdefault(_state(address), address)
        number += stride
    for address in ends.values():
        made = restoring(address)
        assert made
        assert [one for one in made if not one.is_equal] == []
    return kills, len(ends)


@pytest.mark.parametrize("stride", [211, pytest.param(1, marks=pytest.mark.long)])
def test_killed_before_any_statement(
    stride: int, full: Path, tmp_path: Path, make_database: Callable[..., str]
) -> None:
    sink = captures.Capture()
    rigs.registry(full).capture(sink)
    source = sink.source()
    registry = rigs.registry(tmp_path)

    def restoring(address: str) -> list[restorable.Comparison]:
        options = Options(target=address)
        plan = registry.plan_restore(source, options)
        assert plan.refusals == ()
        registry.restore(plan, source)
        return list(registry.compare(plan, source))

    warm = restoring(make_database())  # imports what the children then share
    assert all(one.is_equal for one in warm)
    kills, states = _enumerate(make_database, stride, restoring)
    print(f"killed before {kills} statements, which left {states} states")
    assert kills > 3
    assert states <= 3  # nothing, the tables alone, all


@pytest.mark.parametrize("stride", [31, pytest.param(1, marks=pytest.mark.long)])
def test_users_killed_before_any_statement(
    stride: int, secured: Path, tmp_path: Path, make_database: Callable[..., str]
) -> None:
    source = test_users.captured(test_users.registry(secured))

    def restoring(address: str) -> list[restorable.Comparison]:
        job = work.Work(source, Options(), places.place(address, tmp_path), "auth.", "alembic_version_auth")
        lines, refusals = restore.plan(job)
        assert refusals == []
        is_whole = any(line.what.startswith(restore.DATABASE) for line in lines)
        restore.restore(job, restore.check(job), None)
        return restore.compare(job, is_whole=is_whole)

    restoring(make_database())
    kills, states = _enumerate(make_database, stride, restoring)
    print(f"killed before {kills} statements, which left {states} states")
    assert kills > 3
    assert states <= 3


def test_half_made_tables_of_an_earlier_version_are_dropped_only_without_rows(
    full: Path, tmp_path: Path, make_database: Callable[..., str]
) -> None:
    import sqlalchemy
    from mlflow.store.tracking.dbmodels import initial_models  # the state that a kill once left

    sink = captures.Capture()
    rigs.registry(full).capture(sink)
    source = sink.source()
    registry = rigs.registry(tmp_path)
    for has_row in (False, True):
        address = make_database()
        engine = sqlalchemy.create_engine(address.replace("sql:", "sql+psycopg:"))
        initial_models.Base.metadata.create_all(engine)
        engine.dispose()
        refused = registry.plan_restore(source, Options(target=address))
        assert len(refused.refusals) == 1
        assert "--policy recreate drops them" in refused.refusals[0]
        plan = registry.plan_restore(source, Options(target=address, policy="recreate"))
        assert plan.refusals == ()
        assert "without rows, are dropped" in plan.lines[0].detail
        if has_row:
            with psycopg.connect(address) as line:
                line.execute("INSERT INTO experiments (experiment_id, name) VALUES (1, 'a'), (2, 'b')")
            with pytest.raises(Conflict):
                restore._drop_hollow(registry._work(source, plan.options))
            assert registry.plan_restore(source, plan.options).refusals
        else:
            registry.restore(plan, source)
            assert [one for one in registry.compare(plan, source) if not one.is_equal] == []
