"""Look at many files that may be anything, each in a forked child with the limits of `ddr.index.child`. Reads lines of
JSON (a `loading.Question`), prints what became of each: `ok`, `refused`, `died` or `hung`, and a digest of the answer.

One process imports faiss once for all: a child of its own for each of thousands of files would take minutes.
"""

from __future__ import annotations

import hashlib
import os
import select
import signal
import sys
import time

from ddr.errors import DdrError
from ddr.index import child, codec, loading
from ddr.index.engines import library

_WALL_S = 20.0


def _look(line: bytes, out: int) -> None:
    child.confine(4 << 30, 10)
    try:
        answer = loading.look(line)
    except (DdrError, RuntimeError, MemoryError, ValueError, OverflowError, IndexError) as problem:
        os.write(out, f"refused {type(problem).__name__}".encode())
    else:
        os.write(out, f"ok {hashlib.sha256(answer).hexdigest()}".encode())
    os._exit(0)


def _one(line: bytes) -> str:
    codec.decode(loading.Question, line, "the order")
    incoming, outgoing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(incoming)
        try:
            _look(line, outgoing)
        finally:
            os._exit(3)
    os.close(outgoing)
    deadline, said = time.monotonic() + _WALL_S, b""
    while (left := deadline - time.monotonic()) > 0 and select.select([incoming], [], [], left)[0]:
        if not (piece := os.read(incoming, 4096)):
            break
        said += piece
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(incoming)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == -signal.SIGKILL:
        return "hung"
    return said.decode() if code == 0 and said else f"died {code}"


def main() -> None:
    library.faiss()
    for line in sys.stdin.buffer:
        print(_one(line), flush=True)


if __name__ == "__main__":
    main()
