"""The Platform over a world in memory: every reading is counted from its answers, a replay answers again."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from ddr.domain import changes as changes_
from ddr.domain import events, planes, records, services, signals
from ddr.errors import Missing, Unavailable
from ddr.lib import clock as clocks
from ddr.lib import digest
from ddr.ports import journal as journal_port
from ddr.ports import platform as platforms
from ddr.ports import replayable
from ddr.ports import signal as signal_port
from ddr.stores import memory
from tests import worlds
from tests.worlds import CODE, CONFIG, FEATURES, INDEX, MODEL

INFRA = planes.Plane.INFRA
TRUTH_AFTER = timedelta(minutes=30)


class MemoryJournal:
    """Implements ports.journal.Journal."""

    def __init__(self, clock: clocks.Clock) -> None:
        self._clock = clock
        self._events: list[events.Event] = []

    def append(self, record: records.Record, unless: journal_port.Unless | None = None) -> events.Event:
        if unless is not None:
            for event in self._events:
                unless.check(event)
        seq = len(self._events) + 1
        previous = self._events[-1].digest if self._events else ""
        at = self._clock.now()
        made = events.Event(
            seq, f"e{seq}", at, at, float(seq), "tester", "here", record, previous, digest.of_value([seq, previous])
        )
        self._events.append(made)
        return made

    def events(self, after: int = 0, kinds: Collection[type[records.Record]] = ()) -> Iterator[events.Event]:
        return (event for event in self._events[after:] if not kinds or type(event.record) in kinds)


class SilentNotifier:
    """Implements ports.notifier.Notifier; nobody is told."""

    def post(self, channel: str, text: str, key: str) -> None:
        del channel, text, key


class Requests:
    """Implements Signal, RequestLog, Replayable and History over the world's answers."""

    series: Mapping[str, signal_port.SampleKind] = {"scores": "values", "wrong-answers": "share"}

    def __init__(self, world: worlds.World) -> None:
        self._world = world
        self.replays = 0
        self.reads = 0

    def _known(self, since: datetime, until: datetime) -> list[worlds.Request]:
        now = self._world.clock.now()
        return [request for request in self._world.between(since, until) if request.at + TRUTH_AFTER <= now]

    def read(self, series: str, since: datetime, until: datetime) -> signals.Reading:
        self._must_answer()
        self.reads += 1
        if series == "scores":
            found = [request.score for request in self._world.between(since, until)]
            return _reading(series, since, until, signals.Values(tuple(found)) if found else None)
        known = self._known(since, until)
        wrong = sum(request.answer != str(request.truth) for request in known)
        return _reading(series, since, until, signals.Share(wrong, len(known)) if known else None)

    def _must_answer(self) -> None:
        if "requests" in self._world.down:
            raise Unavailable(self._world.down["requests"])

    def logged(self, since: datetime, until: datetime, limit: int) -> Sequence[replayable.Logged]:
        self._must_answer()
        return [
            replayable.Logged(
                request.id, request.at, f"lane-{request.lane:03d}", request.answer, str(request.truth), request.names
            )
            for request in self._known(since, until)[-limit:]
        ]

    def replay(self, requests: Sequence[str], swaps: Mapping[planes.Plane, replayable.Swap]) -> Mapping[str, str]:
        self.replays += 1
        if "replay" in self._world.down:
            raise Unavailable(self._world.down["replay"])
        by_id = {request.id: request for request in self._world.requests}
        return {id_: self._again(by_id[id_], swaps) for id_ in requests if id_ in by_id}

    def _again(self, request: worlds.Request, swaps: Mapping[planes.Plane, replayable.Swap]) -> str:
        stock = self._world.planes
        for plane, name in swaps.items():
            if plane is not FEATURES and name not in stock[plane].contents:
                raise Missing(f"there is no {plane} {name}")
        recomputed = swaps.get(FEATURES) == "recomputed"
        # A noisy upstream table holds the same wrong digit however often it is read.
        noisy = self._world.upstream_noise > 0
        seen = request.truth if recomputed and not noisy else request.seen
        weights = stock[MODEL].contents[swaps.get(MODEL, request.names[MODEL])]
        code = stock[CODE].contents[swaps.get(CODE, request.names[CODE])]
        return worlds.answer_of(request.id, seen, frozenset() if recomputed else request.zeros, weights, code)[0]

    def changes(self, since: datetime) -> Sequence[changes_.Change]:
        self._must_answer()
        found = []
        for before, now in itertools.pairwise(self._world.between(since, self._world.clock.now())):
            for plane in now.names:
                if before.names[plane] != now.names[plane]:
                    found.append(self._seen(plane, before, now, before.names[plane], now.names[plane]))
            if before.weights != now.weights and before.names[MODEL] == now.names[MODEL]:
                was, is_ = (f"{one.names[MODEL]} ({digest.short(one.weights)})" for one in (before, now))
                found.append(self._seen(MODEL, before, now, was, is_))
        return found

    def _seen(
        self, plane: planes.Plane, before: worlds.Request, now: worlds.Request, was: str, is_: str
    ) -> changes_.Change:
        name = self._world.planes[plane].object
        return changes_.Change(
            plane, name, now.at, was, is_, source="request log", recorded=False, not_before=before.at
        )


class Measures:
    """Implements Signal: what the server, the online table and the metrics endpoint tell of the moment."""

    series: Mapping[str, signal_port.SampleKind] = {
        "golden": "share",
        "event-age-p95": "gauge",
        "zero-shares": "columns",
        "errors": "share",
    }

    def __init__(self, world: worlds.World) -> None:
        self._world = world

    def read(self, series: str, since: datetime, until: datetime) -> signals.Reading:
        if series in self._world.down:
            raise Unavailable(self._world.down[series])
        world, now = self._world, self._world.clock.now()
        if series == "zero-shares":
            seen = world.between(since, until)
            return _reading(series, since, until, _zero_shares(seen) if seen else None)
        if series == "errors":
            n = len(world.between(since, until))
            return _reading(series, since, until, signals.Share(round(world.failing * n), n) if n else None)
        if until < now:
            return _reading(series, since, until, None)
        if series == "golden":
            weights, code = world.memory[MODEL][1], world.memory[CODE][1]
            wrong = sum(worlds.answer_of(f"golden-{at}", 5, frozenset(), weights, code)[0] != "5" for at in range(300))
            return _reading(series, since, until, signals.Share(wrong, 300))
        age = (now - (world.stale_since or now)).total_seconds() + 450
        return _reading(series, since, until, signals.Gauge(age, worlds.LANES))


def _zero_shares(seen: Sequence[worlds.Request]) -> signals.ColumnShares:
    """A column is zero by nature in at most 30 % of the rows, drawn from one byte of the request's own digest."""
    hits = dict.fromkeys(worlds.COLUMNS, 0)
    for one in seen:
        natural = hashlib.blake2b(one.id.encode(), digest_size=len(worlds.COLUMNS)).digest()
        for at, column in enumerate(worlds.COLUMNS):
            hits[column] += natural[at] < 5 * at or column in one.zeros
    return signals.ColumnShares({column: signals.Share(count, len(seen)) for column, count in hits.items()})


def _reading(series: str, since: datetime, until: datetime, sample: signals.Sample | None) -> signals.Reading:
    return signals.Reading(series, since, until, sample, "" if sample else "nothing was observed then")


def service(name: str = "digits", consumers: tuple[str, ...] = ("sorting-hub", "returns-desk")) -> services.Service:
    hour = timedelta(hours=1)

    def spec(
        name: str,
        source: str,
        series: str,
        detector: services.DetectorKind,
        plane: planes.Plane | None = None,
        limit: float | None = None,
        needed: int = 1,
        unit: str = "",
    ) -> services.SignalSpec:
        return services.SignalSpec(name, source, series, detector, plane, limit, hour, 2 * hour, needed, unit)

    return services.Service(
        name=name,
        planes={plane: str(plane) for plane in (CODE, MODEL, FEATURES, INDEX, CONFIG)},
        signals=(
            spec("golden", "measures", "golden", "share", MODEL, 0.06, 200),
            spec("feature-age", "measures", "event-age-p95", "ceiling", FEATURES, 2700.0, unit="s"),
            spec("feature-zeros", "measures", "zero-shares", "columns", FEATURES, None, 100),
            spec("scores", "requests", "scores", "distribution", None, None, 300),
            spec("wrong-answers", "requests", "wrong-answers", "shift", None, None, 100),
            spec("errors", "measures", "errors", "share", INFRA, 0.01, 50),
        ),
        objectives=services.Objectives(rpo=hour, rto=hour / 4),
        owners=services.Owners("team", "oncall", "head", ("lead",)),
        serving="server",
        consumers=consumers,
    )


def platform(world: worlds.World, *more: services.Service) -> platforms.Platform:
    """The Platform over a world. `more` are services that share every plane."""
    requests, measures = Requests(world), Measures(world)
    entries = (service(), *more)
    names = [entry.name for entry in entries]
    return platforms.Platform(
        services={entry.name: entry for entry in entries},
        planes=dict.fromkeys(names, world.planes),
        sources={name: {"requests": requests, "measures": measures} for name in names},
        store=memory.MemoryStore(),
        journal=MemoryJournal(world.clock),
        clock=world.clock,
        notifier=SilentNotifier(),
        actor="tester",
        servers=dict.fromkeys(names, world),
        replays=dict.fromkeys(names, requests),
        request_logs=dict.fromkeys(names, requests),
        histories=dict.fromkeys(names, (requests,)),
    )
