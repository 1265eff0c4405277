"""Child processes that do not outlive their parent, free ports, and whether a process is still the same one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """From here on the kernel kills this process when its parent dies (on Linux); asked for again after an exec."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run_bound(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run to the end and take what it printed; killed when this process is killed (on Linux)."""
    return subprocess.run(
        list(command),
        cwd=cwd,
        env=dict(env) if env is not None else None,
        timeout=timeout_s,
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )


def end_session(started: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the session that this process leads, itself included, and close our ends of its streams."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    for stream in (started.stdin, started.stdout):
        if stream:
            with contextlib.suppress(OSError):
                stream.close()


def import_path() -> str:
    """PYTHONPATH by which another interpreter imports what this one would, whatever its working folder is."""
    return os.pathsep.join(os.path.abspath(path) for path in sys.path)  # noqa: PTH100 - may be archives, or not there


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started_at(pid: int) -> str:
    """When the process began, in kernel ticks: with the pid it names one process for ever. '' if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def boot_id() -> str:
    """Names this boot of this machine, so that a pid of yesterday is not taken for one of today."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs here (zombies do not)."""
    if Path("/proc").is_dir():
        return started_at(pid) != ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
