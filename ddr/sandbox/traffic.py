"""Lets platform time pass: parcels arrive, features are materialized, requests are answered, truths become known."""

from __future__ import annotations

import http.client
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ddr.errors import Unavailable
from ddr.lib import openfiles, timetext
from ddr.sandbox import clock, features, layout, process, requestlog, rows, schedule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOCK = ".driver.lock"
LOCK_TIMEOUT_S = 600.0


class Driver:
    """Plays the world outside of the service. What happens when is fixed by the seed (see `schedule`)."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._where = layout.Layout(self._root)
        self._identity = self._where.identity()
        self._drawn: dict[int, NDArray[np.int64]] = {}

    @cached_property
    def _rows(self) -> rows.Rows:
        return rows.read(self._root)

    def advance(self, seconds: float) -> None:
        """Let that much platform time pass. How it is cut into calls makes no difference to what happens.

        One driver at a time: another waits. Unavailable when the server does not start or stay.
        """
        with openfiles.locked(self._root / LOCK, timeout_s=LOCK_TIMEOUT_S):
            now_ms = schedule.to_ms(clock.read(self._root))
            until_ms = now_ms + round(seconds * 1000)
            self.begin_slot(schedule.slot_of(now_ms))
            address = process.ensure(self._root)
            line = _Line(self._root, address)
            try:
                while now_ms < until_ms:
                    next_ms = min(until_ms, now_ms - now_ms % schedule.TICK_MS + schedule.TICK_MS)
                    self._pass(line, now_ms, next_ms)
                    now_ms = next_ms
                line.flush()
            finally:
                line.close()

    def _pass(self, line: _Line, since_ms: int, until_ms: int) -> None:
        """(since, until] within one tick. Killed in between, at most this tick's requests never happened."""
        clock.write(self._root, schedule.to_time(until_ms))
        for request in schedule.requests(self._identity.seed, since_ms, until_ms, self._identity.lanes):
            line.ask(request)
        if until_ms % schedule.SLOT_MS == 0:
            self.begin_slot(until_ms)
        self._tell_truths(since_ms - schedule.TRUTH_DELAY_MS, until_ms - schedule.TRUTH_DELAY_MS)

    def begin_slot(self, slot_ms: int) -> None:
        """New parcels on all lanes, and the materialization, if this slot has not had them yet."""
        at = schedule.to_time(slot_ms)
        if not features.has_scans(self._root, slot_ms / 1000):
            features.add_scans(self._root, slot_ms / 1000, self._parcels(slot_ms).tolist(), self._rows.pixels)
        elif self._last_run() >= timetext.format_time(at):
            return
        if not self._where.suspended.exists():
            run = features.materialize(self._root, at - layout.SLOT, at)
            requestlog.append(self._where.runs, run.line().encode())

    def _last_run(self) -> str:
        """When the materialization ran last, as text that sorts."""
        try:
            return str(json.loads(self._where.runs.read_bytes().splitlines()[-1])["at"])
        except (FileNotFoundError, IndexError, ValueError, KeyError):
            return ""

    def _parcels(self, slot_ms: int) -> NDArray[np.int64]:
        if slot_ms not in self._drawn:
            drawn = schedule.parcels(self._identity.seed, slot_ms, self._rows.traffic, self._identity.lanes)
            self._drawn = {**dict(list(self._drawn.items())[-3:]), slot_ms: drawn}
        return self._drawn[slot_ms]

    def _tell_truths(self, since_ms: int, until_ms: int) -> None:
        since_ms = max(since_ms, schedule.to_ms(layout.BEGINS))
        if until_ms <= since_ms:
            return
        lines = []
        for request in schedule.requests(self._identity.seed, since_ms, until_ms, self._identity.lanes):
            row = self._parcels(schedule.slot_of(request.at_ms))[request.lane]
            known = schedule.to_time(request.at_ms + schedule.TRUTH_DELAY_MS)
            truth = {"id": request.id, "at": timetext.format_time(known), "truth": str(self._rows.truth[row])}
            lines.append(json.dumps(truth) + "\n")
        requestlog.append(self._where.truths, "".join(lines).encode())


class _Line:
    """One keep-alive connection to the server, which is started again once when it is gone."""

    def __init__(self, root: Path, address: process.Address) -> None:
        self._root = root
        self._connection = _connect(address)

    def ask(self, request: schedule.Request) -> None:
        asked = {
            "id": request.id,
            "at": timetext.format_time(schedule.to_time(request.at_ms)),
            "entity": layout.lane_name(request.lane),
        }
        self._send("POST", "/predict", json.dumps(asked))

    def flush(self) -> None:
        self._send("GET", "/-/flush", None)

    def _send(self, method: str, path: str, body: str | None) -> None:
        try:
            self._exchange(method, path, body)
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = _connect(process.ensure(self._root))
            try:
                self._exchange(method, path, body)
            except (OSError, http.client.HTTPException) as problem:
                raise Unavailable(
                    f"the server does not stay: {problem!r}", hint=f"its log: {layout.Layout(self._root).server_log}"
                ) from problem

    def _exchange(self, method: str, path: str, body: str | None) -> None:
        """Whatever the status is: it is in the log and in the metrics of the server."""
        self._connection.request(method, path, body)
        self._connection.getresponse().read()

    def close(self) -> None:
        self._connection.close()


def _connect(address: process.Address) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(process.HOST, address.port, timeout=30)
