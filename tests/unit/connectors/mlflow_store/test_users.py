"""The database of users that a server with basic-auth has: roles and permissions come back, passwords never leave."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors.mlflow import connector
from ddr.errors import InputError, Refused
from ddr.lib import clock
from ddr.ports import restorable
from tests import captures
from tests.unit.connectors.mlflow_store import rigs

Options = restorable.RestoreOptions
_PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
store = SqlAlchemyStore()
store.init_db(sys.argv[1])
if sys.argv[2] == "make":
    for name in ("root", "ann", "bob"):
        store.create_user(name, f"secret of {name}!", is_admin=name == "root")
    role = store.create_role("readers", "default", "they look")
    store.add_role_permission(role.id, "experiment", "1", "READ")
    store.add_role_permission(role.id, "registered_model", "*", "EDIT")
    store.assign_role_to_user(store.get_user("ann").id, role.id)
if sys.argv[2] == "reset":
    store.update_user("root", password="a new one, long")
print(json.dumps({
    "users": {user.username: [user.is_admin, user.id] for user in store.list_users()},
    "roles": {role.name: [[p.resource_type, p.resource_pattern, p.permission] for p in role.permissions]
              for role in store.list_roles("default")},
    "of ann": [role.name for role in store.list_user_roles(store.get_user("ann").id)],
    "lets in": [name for name in ("root", "ann", "bob") if store.authenticate_user(name, f"secret of {name}!")
                or store.authenticate_user(name, "a new one, long")],
    "next id": store.create_user("new", "a password, long").id if sys.argv[2] == "add" else 0,
}))
"""


def asked(address: str, what: str = "look") -> Any:
    """What MLflow's own store says of it."""
    words = [sys.executable, "-c", _PROGRAM, address.replace("postgresql:", "postgresql+psycopg:"), what]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def registry(base: Path, auth: str = "sqlite:///basic_auth.db") -> connector.Registry:
    settings = connector.Settings("sqlite:///mlflow.db", auth=auth)
    return connector.connect(settings, base, clock.SystemClock())


def captured(made: connector.Registry) -> captures.Stored:
    sink = captures.Capture()
    made.capture(sink)
    return sink.source()


@pytest.fixture(scope="module")
def secured(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three users and a role. Never change it."""
    base = tmp_path_factory.mktemp("secured")
    shutil.copy(migrated_file, base / "mlflow.db")
    asked(f"sqlite:///{base}/basic_auth.db", "make")
    return base


def test_password_hashes_stay_behind_and_are_said(secured: Path) -> None:
    with contextlib.closing(sqlite3.connect(secured / "basic_auth.db")) as connection:
        hashes = [row[0] for row in connection.execute("SELECT password_hash FROM users")]
    assert len(hashes) == 3
    source = captured(registry(secured))
    everything = repr(source.component) + repr(source.capture.contents) + repr(source.capture.batches)
    for secret in hashes:
        assert secret not in everything
        assert secret.partition("$")[2] not in everything
    assert [text.partition(";")[0] for text in source.component.redactions] == ["auth.users.password_hash: 3 values"]
    assert source.component.facts["users"] == "3"
    assert len(source.component.facts["auth.alembic"]) == 12


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "one database"])
def test_users_and_permissions_come_back(
    kind: str, secured: Path, tmp_path: Path, make_database: Callable[..., str], make_server: Callable[[], str]
) -> None:
    """MLflow's own store reads them; nobody gets in before a password is set; new users get new numbers."""
    made = registry(secured)
    source = captured(made)
    before = asked(f"sqlite:///{secured}/basic_auth.db")
    assert before["lets in"] == ["root", "ann", "bob"]
    address = f"sqlite:///{tmp_path}/basic_auth.db"
    options = Options(target=f"sqlite:///{tmp_path}/mlflow.db")
    if kind == "postgresql":
        address = make_database()
        options = Options(target=f"sqlite:///{tmp_path}/mlflow.db", more={"auth": address})
    elif kind == "one database":
        address = make_server()
        options = Options(target=address)
    plan = made.plan_restore(source, options)
    assert plan.refusals == ()
    assert [line.what for line in plan.lines if line.does == "enter-again"] == list(source.component.redactions)
    for _ in range(2):
        made.restore(plan, source)
        compared = made.compare(plan, source)
        assert [one for one in compared if not one.is_equal] == []
    assert any("auth.users" in one.what for one in compared)
    after = asked(address)
    assert after == {**before, "lets in": []}
    assert asked(address, "reset")["lets in"] == ["root"]
    assert asked(address, "add")["next id"] == 4
    again = captured(connector.connect(connector.Settings(
        "sqlite:///mlflow.db" if kind != "one database" else address, auth=address), tmp_path, clock.SystemClock()
    ))  # fmt: skip
    name = "roles" if kind == "one database" else "auth.roles"
    assert again.component.table(name).digest == source.component.table("auth.roles").digest  # type: ignore[union-attr]
    assert "users.password_hash" in again.component.redactions[0]


def test_passwords_that_are_there_are_kept(secured: Path, tmp_path: Path) -> None:
    """Back over a server in use: its people keep their passwords, whatever the policy that adds rows."""
    base = tmp_path / "use"
    shutil.copytree(secured, base)
    made = registry(base)
    source = captured(made)
    with contextlib.closing(sqlite3.connect(base / "basic_auth.db")) as connection:
        connection.execute("DELETE FROM user_role_assignments")
        connection.execute("UPDATE role_permissions SET permission = 'MANAGE'")
        connection.commit()
    assert made.plan_restore(source, Options()).refusals
    options = Options(policy="update")
    made.restore(made.plan_restore(source, options), source)
    assert asked(f"sqlite:///{base}/basic_auth.db") == asked(f"sqlite:///{secured}/basic_auth.db")


def test_what_is_no_database_of_users(secured: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no table users"):
        captured(registry(secured, f"sqlite:///{secured}/mlflow.db?"))
    source = captured(registry(secured))
    without = rigs.registry(tmp_path)
    with pytest.raises(InputError, match="where to put it"):
        without.plan_restore(source, Options())
