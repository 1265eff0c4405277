"""Work on bytes nobody vouches for, in a process of its own: what kills or hangs it is a finding, never our end. What
befalls it from outside, or before it looks at a byte, is no finding: then nothing is known of the bytes.

The child has a limited memory, processor time and wall time, may write no file, and is told no secret: its environment
is built here from nothing. It answers in bytes of a limited number, which the caller reads as those of a stranger.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ddr.errors import DdrError, Unavailable
from ddr.lib import process, redact

_BEGUN, _WELL, _BADLY, _AWAY, _END = b">", b"+", b"-", b"?", b"."
_BEFORE_HINT = "\0"
_OF_LIBRARIES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Without which a library that is found here is not found there."""
_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)
"""The limits that the child sets itself end it otherwise."""
_AGAIN = "the same command again, when this machine has memory, processes and open files left"
_TOO_MUCH = "wants more memory than its size allows"
_MORE_MEMORY = (
    "the same command in a session without that limit: `ulimit -H -v` shows it; limits.conf, a unit of systemd or a"
    " batch job sets it"
)
_NO_ROOM = re.compile("bad_alloc|[Cc]annot allocate memory|[Uu]nable to allocate")
"""What C++, the kernel and numpy say of memory that was refused."""
_LIBRARIES_MIB = 3072
"""Address space of an interpreter with numpy and faiss; most of it is never touched."""
_PIECE_BYTES = 1 << 20

Function = Callable[[bytes], bytes]
"""At the top of a module: the child finds it by its name."""


@dataclass(frozen=True)
class Limits:
    """`memory_mib` is what the work itself may take, beside interpreter and libraries."""

    memory_mib: int = 1024
    cpu_s: int = 120
    wall_s: float = 300.0
    answer_bytes: int = 1 << 20
    environment: Mapping[str, str] = field(default_factory=dict)
    """More than the little that is always there: where libraries of a GPU lie."""

    @staticmethod
    def of_file(size_bytes: int, answer_bytes: int = 1 << 20, searching_s: int = 0) -> Limits:
        """For loading a file of that size and searching it a little: at 20 MB/s it would still end in time.
        `searching_s`: for searching it more."""
        seconds = 120 + size_bytes // (20 << 20) + searching_s
        return Limits(1024 + 3 * (size_bytes >> 20), seconds, 3.0 * seconds, answer_bytes)


@dataclass(frozen=True)
class Outcome:
    """`trouble` is "" when the child came to its end; then `content` is its answer, else nothing. `is_late`: it ran
    out of its time, which says nothing of the bytes where that was too short for the work."""

    content: bytes = b""
    trouble: str = ""
    is_late: bool = False


def run(function: Function, question: bytes, limits: Limits) -> Outcome:
    """Never raises for what the child does; Unavailable when it cannot be started, has not what it works with, gets
    into trouble with less memory than that, or something else ends it."""
    memory_bytes = (limits.memory_mib + _LIBRARIES_MIB) << 20
    order = {
        "function": [function.__module__, function.__qualname__],
        "memory_bytes": memory_bytes,
        "cpu_s": limits.cpu_s,
        "parent": os.getpid(),
        "size": len(question),
    }
    started = _started(limits)
    patience_s, has_ended = 0.0, False
    try:
        answer, cut_off = _talk(started, json.dumps(order).encode() + b"\n" + question, limits)
        patience_s = 0.0 if cut_off else 2.0
    finally:
        has_ended = _end(started, patience_s)
    if not (cut_off or has_ended):
        cut_off = _killed("did not end behind its answer")
    outcome = cut_off or _outcome(answer, started.returncode, limits)
    may_want_memory = outcome.trouble == _TOO_MUCH or (not cut_off and started.returncode not in (0, -signal.SIGXCPU))
    if may_want_memory and _allowed(resource.RLIMIT_AS, memory_bytes) < memory_bytes:
        raise Unavailable(f"{outcome.trouble}: a process has less memory here than it takes", hint=_MORE_MEMORY)
    return outcome


def _started(limits: Limits) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-c", "from ddr.index import child; child.main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a library's last words are no place for ours to be flooded from
            env=_environment(limits),
            cwd="/",
            start_new_session=True,
        )
    except OSError as problem:
        raise Unavailable(f"no child process can be started: {problem.strerror}", hint=_AGAIN) from problem


def _environment(limits: Limits) -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "PYTHONPATH": process.import_path(),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "1",
        **{name: os.environ[name] for name in _OF_LIBRARIES if name in os.environ},
        **limits.environment,
    }


def _talk(started: subprocess.Popen[bytes], said: bytes, limits: Limits) -> tuple[bytes, Outcome | None]:
    """What it answered, or why it was not heard to the end."""
    assert started.stdin
    assert started.stdout
    deadline = time.monotonic() + limits.wall_s
    incoming, outgoing = started.stdout.fileno(), started.stdin.fileno()
    os.set_blocking(outgoing, False)
    answer, rest = bytearray(), memoryview(said)
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return b"", _killed(f"did not end in {limits.wall_s:g} s", is_late=True)
        readable, writable, _ = select.select([incoming], [outgoing] if rest else [], [], left)
        if writable:
            try:
                rest = rest[os.write(outgoing, rest[:_PIECE_BYTES]) :]
            except BrokenPipeError:
                rest = rest[:0]
            if not rest:
                started.stdin.close()
        if readable:
            piece = os.read(incoming, _PIECE_BYTES)
            if not piece:
                return bytes(answer), None
            answer += piece
            if len(answer) > limits.answer_bytes + 3:
                return b"", _killed(f"answered more than {limits.answer_bytes:,} bytes")


def _end(started: subprocess.Popen[bytes], patience_s: float) -> bool:
    """The whole session: nothing of it stays. One that has closed its answer ends by itself (True), or is ended."""
    has_ended = False
    with contextlib.suppress(subprocess.TimeoutExpired):
        if started.stdout:
            started.stdout.close()
        started.wait(patience_s)
        has_ended = True
    process.end_session(started)
    return has_ended


def _killed(why: str, *, is_late: bool = False) -> Outcome:
    return Outcome(trouble=f"the child {why} and was killed", is_late=is_late)


def _outcome(answer: bytes, code: int, limits: Limits) -> Outcome:
    ended = f"died of {_name(-code)}" if code < 0 else f"ended with {code}"
    if not answer.startswith(_BEGUN):
        raise Unavailable(f"the child {ended} before it looked at anything", hint=_AGAIN)
    if code in _FROM_OUTSIDE:
        raise Unavailable(f"the child {ended}, which something else sent", hint=_AGAIN)
    kind, content = answer[1:2], answer[2:-1]
    if code == 0 and kind in (_WELL, _BADLY, _AWAY) and answer.endswith(_END):
        if kind == _WELL:
            return Outcome(content)
        if kind == _AWAY:
            message, _, hint = content.decode(errors="replace").partition(_BEFORE_HINT)
            raise Unavailable(redact.foreign(message), hint=redact.foreign(hint))
        return Outcome(trouble=redact.foreign(content.decode(errors="replace")) or "the child failed without a word")
    if code == -signal.SIGXCPU:
        return _killed(f"used more than {limits.cpu_s} s of processor time", is_late=True)
    return Outcome(trouble=f"the child {ended}{' and no whole answer' if code >= 0 else ''}")


def _name(number: int) -> str:
    """Signals of real time have none."""
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def main() -> None:
    """The child. Limits are set before a byte of the question is looked at."""
    _die_with(os.getppid())
    order: dict[str, Any] = json.loads(_line())
    if order["parent"] != os.getppid():
        os._exit(3)
    out = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    module, name = order["function"]
    function: Function = getattr(importlib.import_module(module), name)
    confine(order["memory_bytes"], order["cpu_s"])
    os.write(out, _BEGUN)
    try:
        answer = _WELL + function(_exactly(order["size"])) + _END
    except Unavailable as problem:
        answer = _AWAY + f"{problem.message}{_BEFORE_HINT}{problem.hint}".encode() + _END
    except DdrError as problem:
        answer = _BADLY + problem.message.encode() + _END
    except MemoryError:
        answer = _BADLY + _TOO_MUCH.encode() + _END
    except Exception as problem:  # noqa: BLE001 - all that a library can raise at bytes it does not understand
        said = _TOO_MUCH if _NO_ROOM.search(str(problem)) else f"{type(problem).__name__}: {problem}"
        answer = _BADLY + said.encode(errors="replace")[:2000] + _END
    rest = memoryview(answer)
    while rest:
        rest = rest[os.write(out, rest) :]
    os._exit(0)  # destructors of what was loaded are not run: they may be as broken as it is


def confine(memory_bytes: int, cpu_s: int) -> None:
    """For the rest of this process's life."""
    wanted = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for what, value in wanted.items():
        with contextlib.suppress(ValueError, OSError):  # macOS has no limit of addresses
            limit = _allowed(what, value)
            resource.setrlimit(what, (limit, limit + 5 if what == resource.RLIMIT_CPU and limit == value else limit))


def _allowed(what: int, value: int) -> int:
    """What a limit can be set to: never above the hard one, which a child inherits."""
    _, hard = resource.getrlimit(what)
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _die_with(parent: int) -> None:
    process.die_with_parent()
    if os.getppid() != parent:
        os._exit(3)


def _line() -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            os._exit(3)
        line += piece
    return bytes(line)


def _exactly(size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        piece = os.read(0, min(_PIECE_BYTES, size - len(content)))
        if not piece:
            os._exit(3)
        content += piece
    return bytes(content)
