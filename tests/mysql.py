"""A real MariaDB or MySQL for the tests, where the machine has one; no pip package brings a server.

On Debian `apt-get install --no-install-recommends mariadb-server-core` is enough: it brings the programs and starts
nothing. The server listens on loopback, keeps its data in a folder of its own, and dies with the process that started
it. As root it runs as nobody.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import postgres

START_S = 60.0
_SERVERS, _INSTALLERS = ("mariadbd", "mysqld"), ("mariadb-install-db", "mysql_install_db")
_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")


def _program(names: tuple[str, ...]) -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), *_FOLDERS])
    return next((found for found in (shutil.which(name, path=path) for name in names) if found), "")


def lacking() -> str:
    """Why there is no server here, '' when there is one."""
    if not _program(_SERVERS) or not _program(_INSTALLERS):
        return "no mariadbd or mysqld here: apt-get install --no-install-recommends mariadb-server-core"
    return "" if importlib.util.find_spec("pymysql") else "no PyMySQL: pip install 'ddr[mysql]'"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def started() -> Iterator[int]:
    """Its port; nothing is left of it in the end."""
    folder = Path(tempfile.mkdtemp(prefix="ddr-my-"))
    process = None
    user = "--user=nobody" if os.getuid() == 0 else f"--user={os.getuid()}"
    try:
        if os.getuid() == 0:
            os.chown(folder, postgres.NOBODY, postgres.NOBODY)
        data, port = folder / "data", _free_port()
        subprocess.run(
            [_program(_INSTALLERS), "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
             "--skip-test-db", *([user] if os.getuid() == 0 else [])],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        words = [
            "--no-defaults", f"--datadir={data}", f"--socket={folder}/socket", f"--pid-file={folder}/pid",
            f"--port={port}", "--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve",
            "--character-set-server=utf8mb4", "--innodb-buffer-pool-size=64M",
        ]  # fmt: skip
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [_program(_SERVERS), *words], stdout=log, stderr=log, cwd="/", preexec_fn=postgres._as_nobody
            )
        _wait(port, process, folder / "log")
        yield port
    finally:
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(START_S)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import pymysql

    end = time.monotonic() + START_S
    while True:
        try:
            pymysql.connect(host="127.0.0.1", port=port, user="root").close()
            return
        except pymysql.err.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"MariaDB does not start: {log.read_text()[-2000:]}") from None
            time.sleep(0.05)


@pytest.fixture(scope="session")
def make_mysql() -> Iterator[Callable[[], str]]:
    """Call it for the address of a new database; skips where no server is installed."""
    if lacking():
        pytest.skip(lacking())
    import pymysql

    numbers = itertools.count(1)
    with started() as port:

        def make() -> str:
            name = f"test_{next(numbers)}"
            with contextlib.closing(pymysql.connect(host="127.0.0.1", port=port, user="root")) as connection:
                connection.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            return f"mysql+pymysql://root@127.0.0.1:{port}/{name}"

        yield make
