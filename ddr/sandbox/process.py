"""Starts, finds and stops the serving process of a sandbox."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ddr.errors import DdrError, Unavailable
from ddr.lib import process
from ddr.sandbox import layout

HOST = "127.0.0.1"
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 5.0
SILENCE_TIMEOUT_S = 10.0
CALL_TIMEOUT_S = 30.0
_POLL_S = 0.05
_TAIL_LINES = 5


@dataclass(frozen=True)
class Address:
    """A serving process that is there: pid and port on loopback."""

    pid: int
    port: int


def find(root: Path) -> Address | None:
    """The server that runs for this very folder, None where there is none (any more)."""
    where = layout.Layout(root.resolve())
    try:
        told = json.loads(where.server.read_text())
        address = Address(int(told["pid"]), int(told["port"]))
        same = (told["process_started"], told["boot"], told["root"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    there = process.started_at(address.pid)
    return address if there and same == (there, process.boot_id(), str(where.root)) else None


def ensure(root: Path) -> Address:
    """The running server, started when there is none. Unavailable when it does not start, or runs and is silent."""
    deadline = time.monotonic() + SILENCE_TIMEOUT_S
    while (found := find(root)) is not None:
        if _answers(found):
            return found
        if time.monotonic() > deadline:
            raise Unavailable(
                f"the server of {root} (pid {found.pid}) runs and does not answer",
                hint=f"look at serving/server.log, then end it: kill {found.pid}",
            )
        time.sleep(_POLL_S)  # it may be ending just now
    return start(root)


def start(root: Path, port: int = 0) -> Address:
    """Start the server and wait until it answers; one that runs already is returned as it is.

    Unavailable, with the end of its log, when it does not get so far.
    """
    layout.Layout(root).identity()
    found = find(root)
    if found is not None:
        return found
    with gated(root, port) as open_gate:
        return open_gate()


@contextlib.contextmanager
def gated(root: Path, port: int = 0) -> Iterator[Callable[[], Address]]:
    """Start the server's slow imports now; calling what is given lets it load and waits until it answers.

    A server whose gate is never opened, be it that this process is killed, ends by itself.
    """
    where = layout.Layout(root.resolve())
    command = [sys.executable, "-m", "ddr.sandbox.server", "--root", str(where.root), "--port", str(port), "--gated"]
    log_begins = where.server_log.stat().st_size if where.server_log.exists() else 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        told = launcher.stdout.readline().strip()
        launcher.wait()
        if not told:
            raise Unavailable(f"the server of {root} was not started: its launcher ended with {launcher.returncode}")

        def open_gate() -> Address:
            with contextlib.suppress(BrokenPipeError):
                print("go", file=launcher.stdin, flush=True)
            return _await(where, int(told), log_begins)

        try:
            yield open_gate
        finally:
            with contextlib.suppress(BrokenPipeError):
                launcher.stdin.close()


def _await(where: layout.Layout, pid: int, log_begins: int) -> Address:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.is_alive(pid):
        found = find(where.root)
        if found is not None and _answers(found):
            return found
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            raise _not_started(where, f"did not answer within {START_TIMEOUT_S:.0f} s", log_begins)
        time.sleep(_POLL_S)
    found = find(where.root)
    if found is not None and _answers(found):  # another start was quicker
        return found
    raise _not_started(where, "ended before it answered", log_begins)


def _answers(address: Address) -> bool:
    try:
        return call(address, "GET", "/-/healthy", timeout_s=SILENCE_TIMEOUT_S)[0] == 200
    except Unavailable:
        return False


def _not_started(where: layout.Layout, what: str, log_begins: int) -> DdrError:
    written = where.server_log.read_bytes()[log_begins:].decode(errors="replace") if where.server_log.exists() else ""
    tail = "\n".join(f"  {line}" for line in written.splitlines()[-_TAIL_LINES:]) or "  (it wrote nothing)"
    return Unavailable(f"the server of {where.root} {what}:\n{tail}", hint=f"the whole log: {where.server_log}")


def call(
    address: Address, method: str, path: str, body: object = None, timeout_s: float = CALL_TIMEOUT_S
) -> tuple[int, dict[str, object]]:
    """One call on a connection of its own: status and JSON answer. Unavailable when nobody answers."""
    connection = http.client.HTTPConnection(HOST, address.port, timeout=timeout_s)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        told = json.loads(answer.read())
        return answer.status, told if isinstance(told, dict) else {}
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise Unavailable(
            f"the server at {HOST}:{address.port} does not answer {method} {path}: {problem!r}",
            hint="its log is serving/server.log",
        ) from problem
    finally:
        connection.close()


def roll(root: Path) -> None:
    """Let a running server load what the planes point at; without one there is nothing to do: it will when started.

    Unavailable, with its reason, when it refuses.
    """
    address = find(root)
    if address is None:
        return
    status, told = call(address, "POST", "/-/roll")
    if status != 200:
        raise Unavailable(
            f"the server did not roll: {told.get('error')}",
            hint="it still serves what it served; see serving/server.log",
        )


def loaded_name(root: Path, plane: str) -> str:
    """The name of what the running server has loaded for that plane, '' without a running server."""
    address = find(root)
    if address is None:
        return ""
    told = call(address, "GET", "/-/loaded")[1].get(plane)
    return str(told.get("name")) if isinstance(told, dict) else ""


def stop(root: Path) -> bool:
    """End the server, by force after some seconds. False where none was running."""
    address = find(root)
    if address is None:
        return False
    os.kill(address.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while find(root) == address or process.is_alive(address.pid):
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(address.pid, signal.SIGKILL)
        time.sleep(_POLL_S)
    layout.Layout(root).server.unlink(missing_ok=True)
    return True
