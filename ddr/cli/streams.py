"""Standard streams that outlast what is behind them: a log whose disk is full ends no build and no rollback."""

from __future__ import annotations

import io
import os
import select
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Stream(io.TextIOWrapper):
    """As `stream`, which is None where its descriptor was closed before the start: nothing is written then.

    What cannot be written is left out, also where a pipe that does not wait is full. `is_result`: that is waited for,
    and a pipe that nobody reads any more ends the command.
    """

    def __init__(self, stream: TextIO | None, *, is_result: bool) -> None:
        fd = os.open(os.devnull, os.O_WRONLY) if stream is None else stream.fileno()
        self._descriptor = _Descriptor(fd, is_result)
        super().__init__(
            io.BufferedWriter(self._descriptor),
            encoding=stream.encoding if stream else "utf-8",
            errors=stream.errors if stream else "backslashreplace",
            line_buffering=True,
        )

    @property
    def lost(self) -> str:
        """Why some of it could not be written; "" where all was, or nobody reads on."""
        problem = self._descriptor.problem
        return "" if problem is None or isinstance(problem, BrokenPipeError) else str(problem.strerror)


class _Descriptor(io.FileIO):
    """`problem` is the first one. It is told once: what is kept in buffers is flushed again at the end."""

    def __init__(self, fd: int, is_result: bool) -> None:
        super().__init__(fd, "wb", closefd=False)
        self.problem: OSError | None = None
        self._is_result = is_result

    def write(self, content: ReadableBuffer, /) -> int:
        try:
            while (written := self._written(content)) is None:
                select.select([], [self], [])
            return written
        except OSError as problem:
            if self.problem is None:
                self.problem = problem
                if self._is_result and isinstance(problem, BrokenPipeError):
                    raise
            return memoryview(content).nbytes

    def _written(self, content: ReadableBuffer) -> int | None:
        """None where it must be tried again: the pipe was made one that does not wait, and is full."""
        written: int | None = super().write(content)
        return memoryview(content).nbytes if written is None and not self._is_result else written
