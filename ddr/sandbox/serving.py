"""Answers requests: features from the online table, a digit from the model, look-alikes from the index."""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddr.errors import DdrError, InputError, Missing, Unavailable
from ddr.lib import redact, timetext
from ddr.sandbox import counting, features, layout, loading, lookalikes, requestlog

_COLUMNS = ", ".join(layout.COLUMNS)
_LOOK_UP = f"SELECT event_ts, {_COLUMNS} FROM {layout.TABLE} WHERE lane = ?"  # noqa: S608 - our own constants
FALLBACK_NEIGHBOURS = 5


class AppFailed(DdrError):
    """The served code raised."""


@dataclass(frozen=True)
class Row:
    """What a lane has online. `event_ts` is when it was scanned, in epoch seconds."""

    event_ts: float
    pixels: list[float]


class OnlineTable:
    """Looks lanes up; one connection a thread, opened anew when the file was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def row(self, lane: str) -> Row:
        """Missing where the lane is not there, Unavailable where the table does not answer."""
        try:
            found = self._connection().execute(_LOOK_UP, (lane,)).fetchone()
        except (sqlite3.DatabaseError, OSError) as problem:
            self._local.opened = None
            raise Unavailable(f"{self._path.name}: {redact.foreign(problem)}") from problem
        if found is None:
            raise Missing(f"nothing is online for {lane!r}")
        return Row(found[0], [0.0 if value is None else value for value in found[1:]])

    def _connection(self) -> sqlite3.Connection:
        stat = self._path.stat()
        opened = getattr(self._local, "opened", None)
        if opened is None or opened[0] != (stat.st_dev, stat.st_ino):
            if opened is not None:
                opened[1].close()
            uri = f"{self._path.resolve().as_uri()}?mode=rw"
            opened = ((stat.st_dev, stat.st_ino), sqlite3.connect(uri, uri=True, timeout=features.BUSY_S))
            self._local.opened = opened
        connection = opened[1]
        assert isinstance(connection, sqlite3.Connection)
        return connection


class Serving:
    """The service `postcode` in one process. Every method may be called from many threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        where = layout.Layout(root)
        self._fallback = where.fallback
        self.log = requestlog.RequestLog(where.predictions)
        self.counters = counting.Counters()
        self.loader = loading.Loader(root)
        self._online = OnlineTable(where.online)
        self._pointer = features.channel(root).pointer
        self._rolling = threading.Lock()
        self.loaded = self.loader.everything()

    def roll(self) -> dict[str, object]:
        """Load what the planes point at; requests under way end with what they began. DdrError: nothing changed."""
        with self._rolling:
            self.loaded = self.loader.everything()
            self.log.flush()
            return self.loaded.revisions(self._root)

    def revisions(self) -> dict[str, object]:
        return self.loaded.revisions(self._root)

    def metrics(self) -> str:
        revision = self.loaded.model.revision
        return self.counters.text(revision.object, revision.name, revision.digest)

    def predict(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request and log it; a golden probe brings its own features and is not logged.

        InputError, Missing, Unavailable, AppFailed; what concerns an entity is logged with its status too.
        """
        loaded = self.loaded
        if "features" in request:
            return {"id": str(request.get("id", "")), **self._answer(loaded, _pixels(request["features"]))}
        entry = _entry(request)
        began = time.perf_counter()
        status, row, answered = 500, None, dict[str, Any]()
        try:
            row = self._online.row(entry["entity"])
            answered = self._answer(loaded, row.pixels)
            status = 200
        except DdrError as problem:
            status = status_of(problem)
            raise
        finally:
            took_s = time.perf_counter() - began
            self._log(loaded, entry, status, took_s, row, answered)
        return {"id": entry["id"], **answered}

    def _answer(self, loaded: loading.Loaded, pixels: Sequence[float]) -> dict[str, Any]:
        if self._fallback.exists():
            similar = loaded.index.index.nearest(pixels, FALLBACK_NEIGHBOURS)
            digit, share = lookalikes.vote(similar)
            return {"answer": digit, "score": share, "similar": similar, "model": "", "fallback": True}
        told = run_app(loaded.code, pixels, loaded.model, loaded.index, loaded.config)
        return {**told, "model": loaded.model.revision.name}

    def _log(
        self,
        loaded: loading.Loaded,
        entry: Mapping[str, Any],
        status: int,
        took_s: float,
        row: Row | None,
        answered: Mapping[str, Any],
    ) -> None:
        line = {
            **entry,
            "status": status,
            "latency_ms": round(took_s * 1000, 3),
            "answer": answered.get("answer"),
            "score": answered.get("score"),
            "model": loaded.model.revision.name,
            "weights": loaded.model.revision.digest,
            "code": loaded.code.revision.name,
            "index": loaded.index.revision.name,
            "features": self._features(),
            "config": loaded.config.revision.digest,
            "event_ts": row.event_ts if row else None,
            "row": row.pixels if row else None,
        }
        if answered.get("fallback"):
            line["fallback"] = True
        self.log.write(line)

    def _features(self) -> str:
        try:
            return self._pointer.link.readlink().name
        except OSError:
            return ""


def run_app(
    code: loading.Code,
    pixels: Sequence[float],
    model: loading.Model,
    index: loading.LoadedIndex,
    config: loading.Config,
) -> dict[str, Any]:
    """Call the served code. AppFailed where it raises."""
    try:
        told = code.module.answer(pixels, model.estimator, index.index.nearest, config.settings)
        return {"answer": str(told["answer"]), "score": float(told["score"]), "similar": list(told["similar"])}
    except Exception as problem:  # the served code is not ours; a request fails, the server stays
        what = f"{type(problem).__name__}: {redact.foreign(problem)}"
        raise AppFailed(f"code {code.revision.name} failed: {what}") from problem


def status_of(problem: DdrError) -> int:
    """The HTTP status that says it."""
    if isinstance(problem, InputError):
        return 400
    if isinstance(problem, Missing):
        return 404
    return 503 if isinstance(problem, Unavailable) else 500


def _entry(request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        at = timetext.format_time(timetext.parse_time(str(request["at"])))
        return {"id": str(request["id"]), "at": at, "entity": str(request["entity"])}
    except KeyError as problem:
        raise InputError(f"the request has no {problem}", hint="id, at and entity; or id and features") from None
    except ValueError as problem:
        raise InputError(str(problem)) from None


def _pixels(told: object) -> list[float]:
    """The 64 numbers of a golden probe."""
    count = len(layout.COLUMNS)
    if not isinstance(told, list) or len(told) != count:
        raise InputError(f"features must be a list of {count} numbers")
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in told):
        raise InputError(f"features must be {count} finite numbers")
    return [float(value) for value in told]
