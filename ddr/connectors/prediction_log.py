"""The log of answered requests, and the log of what the right answers turned out to be: JSON lines, read by time.

Only the window that is asked for is read, also of a log that grew for weeks. The log knows which revision answered
each request, so it is also a history: the first answer of another revision is when a change reached the customer,
whoever announced it or did not.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

from ddr.domain import changes, planes, signals
from ddr.errors import InputError, Unavailable
from ddr.lib import clock as clocks
from ddr.lib import digest, jsonl
from ddr.ports import replayable, signal

SOURCE = "request log"
OVERLAP_S = 60.0  # while servers are rolled, old and new answers alternate: that is one change, not many

SERIES: Mapping[str, signal.SampleKind] = {"scores": "values", "wrong-answers": "share"}


@dataclass(frozen=True)
class Settings:
    """Two files of JSON lines, each in order of its own `at`: answers, and truths by request id."""

    predictions: str
    truths: str = ""


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> PredictionLog:
    return PredictionLog(base / settings.predictions, base / settings.truths if settings.truths else None, clock)


class _Answered(Protocol):
    """A line of the log; only `id` and `at` must be there, and a failed request has little else."""

    id: str
    at: datetime
    status: int
    score: float | None
    entity: str | None
    answer: str | None
    model: str | None
    weights: str | None
    code: str | None
    index: str | None
    features: str | None
    config: str | None
    event_ts: float | None


@dataclass
class _Window:
    """Lines of a window, and how many could not be read."""

    lines: list[_Answered] = field(default_factory=list)
    bad: int = 0


@dataclass(frozen=True)
class PredictionLog:
    """Implements Signal, RequestLog and History. `scores` are in order of time.

    Both series count observations, not requests: the same revisions asked again about the same row say nothing new,
    and counted as if they did they would make a test alarm twenty times as often as it should.
    """

    predictions: Path
    truths: Path | None
    clock: clocks.Clock
    series: ClassVar[Mapping[str, signal.SampleKind]] = SERIES

    def read(self, series: str, since: datetime, until: datetime) -> signals.Reading:
        """As the port says. A truth that became known after `until` does not count: then it was not known."""
        if series not in SERIES:
            raise InputError(f"a request log has no series {series!r}", hint=f"it has: {', '.join(SERIES)}")
        if not self.predictions.is_file():
            return signals.Reading(series, since, until, None, f"there is no {self.predictions}")
        window = self._window(since, until)
        sample, why = self._scores(window) if series == "scores" else self._wrong(window, since, until)
        if window.bad:
            why = f"{window.bad} lines of {self.predictions.name} cannot be read" + (f"; {why}" if why else "")
        return signals.Reading(series, since, until, sample, why)

    def logged(self, since: datetime, until: datetime, limit: int) -> Sequence[replayable.Logged]:
        if not self.predictions.is_file():
            raise Unavailable(f"there is no {self.predictions}", hint="look at `predictions` in ddr.yaml")
        truths = self._known(since, self.clock.now())
        known = (line for line in self._window(since, until).lines if line.id in truths)
        return tuple(_logged(line, truths[line.id]) for line in deque(known, maxlen=max(limit, 0)))

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        """Each plane's first answer by another revision. Nobody announced it here: `recorded` is false."""
        begin = jsonl.last_before(self.predictions, _answered, since.timestamp())
        seen = _Seen() if begin is None else _Seen.at(begin[1])
        found: list[changes.Change] = []
        for entry in jsonl.between(self.predictions, _answered, since.timestamp(), float("inf")):
            if entry is not None:
                found += seen.step(entry[1])
        return found

    def _window(self, since: datetime, until: datetime) -> _Window:
        window = _Window()
        for entry in jsonl.between(self.predictions, _answered, since.timestamp(), until.timestamp()):
            if entry is None:
                window.bad += 1
            else:
                window.lines.append(entry[1])
        return window

    def _scores(self, window: _Window) -> tuple[signals.Sample | None, str]:
        scores = tuple(line.score for line in _once(window.lines) if line.score is not None)
        return (signals.Values(scores), "") if scores else (None, "no answers in the window")

    def _wrong(self, window: _Window, since: datetime, until: datetime) -> tuple[signals.Sample | None, str]:
        truths = self._known(since, until)
        judged = _once((line for line in window.lines if line.id in truths), truths)
        if not judged:
            return None, f"no truth is known yet of {len(window.lines)} requests in the window"
        return signals.Share(sum(line.answer != truths[line.id] for line in judged), len(judged)), ""

    def _known(self, since: datetime, until: datetime) -> Mapping[str, str]:
        """Truths by request id that became known in [since, until]."""
        if self.truths is None:
            return {}
        found = jsonl.between(self.truths, _truth, since.timestamp(), until.timestamp() + 1e-6)
        return dict(entry[1] for entry in found if entry is not None)


def _once(lines: Iterable[_Answered], truths: Mapping[str, str] | None = None) -> Sequence[_Answered]:
    """The first good answer of each row by each set of revisions, with each truth: a stale row outlives many truths.

    A line that does not tell its row counts always.
    """
    first: dict[object, _Answered] = {}
    for line in lines:
        if line.status == 200:
            truth = truths[line.id] if truths else ""
            known = line.entity and line.event_ts is not None
            first.setdefault((line.entity, line.event_ts, truth, *_revisions(line)) if known else line.id, line)
    return tuple(first.values())


class _Seen:
    """Which revision of each plane answered last, while walking through the log."""

    def __init__(self) -> None:
        self._now: dict[planes.Plane, tuple[str, str]] = {}
        self._before: dict[planes.Plane, tuple[datetime, tuple[str, str]]] = {}

    @classmethod
    def at(cls, line: _Answered) -> _Seen:
        seen = cls()
        seen.step(line)
        return seen

    def step(self, line: _Answered) -> Iterator[changes.Change]:
        found = []
        for plane, name, bytes_ in _revisions(line):
            last = self._now.get(plane)
            if last is None or last == (name, bytes_):
                self._now[plane] = (name, bytes_)
                continue
            moved_at, old = self._before.get(plane, (None, None))
            if moved_at is not None and old == (name, bytes_) and _seconds(line.at, moved_at) < OVERLAP_S:
                continue
            self._now[plane] = (name, bytes_)
            self._before[plane] = (line.at, last)
            found.append(_change(plane, line.at, last, (name, bytes_)))
        return iter(found)


def _change(plane: planes.Plane, at: datetime, before: tuple[str, str], after: tuple[str, str]) -> changes.Change:
    summary = f"first answer by {after[0]}"
    if before[0] == after[0]:
        summary = f"other bytes under the same name: {digest.short(before[1])} → {digest.short(after[1])}"
    return changes.Change(plane, "", at, before[0], after[0], summary=summary, source=SOURCE, recorded=False)


def _seconds(later: datetime, earlier: datetime) -> float:
    return (later - earlier).total_seconds()


def _revisions(line: _Answered) -> Iterator[tuple[planes.Plane, str, str]]:
    """Plane, name and digest of what answered, where the line says it."""
    if line.model:
        yield planes.Plane.MODEL, line.model, line.weights or ""
    for plane, name in (
        (planes.Plane.CODE, line.code),
        (planes.Plane.INDEX, line.index),
        (planes.Plane.FEATURES, line.features),
    ):
        if name:
            yield plane, name, ""
    if line.config:
        yield planes.Plane.CONFIG, digest.short(line.config), line.config


def _logged(line: _Answered, truth: str) -> replayable.Logged:
    named = {plane: name for plane, name, _ in _revisions(line)}
    return replayable.Logged(line.id, line.at, line.entity or "", line.answer or "", truth, named)


@functools.cache
def _decoders() -> tuple[Any, Any]:
    """Typed decoders: they skip the columns nobody asked for, at a microsecond a line."""
    import msgspec

    text = ("entity", "answer", "model", "weights", "code", "index", "features", "config")
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [("id", str), ("at", datetime), ("status", int, 200)]
    fields += [(name, float | None, None) for name in ("score", "event_ts")]
    fields += [(name, str | None, None) for name in text]
    answered = msgspec.defstruct("Answered", fields)
    truth = msgspec.defstruct("Truth", [("id", str), ("at", datetime), ("truth", str)])
    return msgspec.json.Decoder(answered), msgspec.json.Decoder(truth)


def _answered(line: bytes) -> tuple[float, _Answered] | None:
    import msgspec

    try:
        found = _decoders()[0].decode(line)
    except msgspec.DecodeError:
        return None
    found.at = _aware(found.at)
    return found.at.timestamp(), cast(_Answered, found)


def _truth(line: bytes) -> tuple[float, tuple[str, str]] | None:
    import msgspec

    try:
        found = _decoders()[1].decode(line)
    except msgspec.DecodeError:
        return None
    return _aware(found.at).timestamp(), (found.id, found.truth)


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
