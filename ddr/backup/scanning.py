"""The scanner on a thread of its own, beside reading and hashing: most of its work needs no Python lock."""

from __future__ import annotations

import contextlib
import queue
import threading
from types import TracebackType

from ddr.backup import scanner

_BATCH_BYTES = 1 << 20
_WAITING = 8
"""Batches in the queue: at most this many MiB, or four times that where pieces are as large as can be."""

Batch = list[tuple[str, bytes]]


class Scanning:
    """Use as a context. `feed` hands on, `finish` waits until everything was looked at. One caller thread."""

    def __init__(self, scan: scanner.Scanner) -> None:
        self._scan = scan
        self._batch: Batch = []
        self._batch_bytes = 0
        self._queue: queue.Queue[Batch | None] = queue.Queue(_WAITING)
        self._failed: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Scanning:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def feed(self, place: str, content: bytes) -> None:
        """As `Scanner.feed`. Raises what an earlier piece ran into."""
        self._batch.append((place, content))
        self._batch_bytes += len(content)
        if self._batch_bytes >= _BATCH_BYTES:
            self._hand_over()

    def finish(self) -> tuple[scanner.Finding, ...]:
        """As `Scanner.finish`, of all that was fed."""
        if self._batch:
            self._hand_over()
        self._stop()
        if self._failed is not None:
            raise self._failed
        return self._scan.finish()

    def is_unclean(self) -> bool:
        """Whether a secret was found in what was fed, or the search itself failed and nobody knows."""
        try:
            return bool(self.finish())
        except Exception:  # noqa: BLE001 - whatever it was, nothing is known to be clean
            return True

    def _hand_over(self) -> None:
        if self._failed is not None:
            raise self._failed
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="ddr-scan", daemon=True)
            self._thread.start()
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        self._queue.put(batch)

    def _stop(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (batch := self._queue.get()) is not None:
            if self._failed is None:
                self._look(batch)

    def _look(self, batch: Batch) -> None:
        try:
            for place, content in batch:
                self._scan.feed(place, content)
        except BaseException as problem:  # noqa: BLE001 - told to the caller's thread
            self._failed = problem


def beside(scan: scanner.Scanner | None) -> contextlib.AbstractContextManager[Scanning | None]:
    """Nothing where nothing is to be scanned."""
    return Scanning(scan) if scan is not None else contextlib.nullcontext()
