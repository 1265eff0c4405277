"""A small service in memory for recoveries: every port, compare-and-set everywhere, every effect counted.

Smaller than `tests.worlds`: signals follow from what is live instead of from counted requests, so that hundreds of
runs cost a second. A process that is killed is a `Killed` raised at a journal write; what it had done stays.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from ddr.domain import changes, events, health, outcomes, records, releases, revisions, services, signals
from ddr.domain import planes as planes_
from ddr.errors import Missing, Unavailable
from ddr.lib import clock as clocks
from ddr.lib import digest
from ddr.ports import journal as journals
from ddr.ports import platform as platforms
from ddr.ports import signal as signal_port
from ddr.stores import memory

R = TypeVar("R")

START = datetime(2026, 11, 2, 6, tzinfo=UTC)
MODEL, FEATURES, CODE = planes_.Plane.MODEL, planes_.Plane.FEATURES, planes_.Plane.CODE
SCHEMA = {revisions.INPUTS_SCHEMA: "sha256:" + "a" * 64}
OTHER_SCHEMA = {revisions.INPUTS_SCHEMA: "sha256:" + "b" * 64}


@dataclass
class Plane:
    """Implements Observable, Switchable, Freezable and Markable; `effects` counts what really changed."""

    which: planes_.Plane
    object: str
    contents: dict[str, bytes]
    live: str
    effects: Counter[str]
    facts: dict[str, Mapping[str, str]] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    frozen_why: str = ""
    down: str = ""

    def find(self, name: str) -> revisions.Revision:
        self._answer()
        if name not in self.contents:
            raise Missing(f"there is no {self.object} {name}")
        facts = dict(self.facts.get(name, SCHEMA))
        if name in self.marks:
            facts[revisions.BLOCKED] = self.marks[name]
        return revisions.Revision(self.which, self.object, name, digest.of_bytes(self.contents[name]), facts)

    def _answer(self) -> None:
        if self.down:
            raise Unavailable(self.down)

    def revision(self) -> revisions.Revision:
        return self.find(self.live)

    def health(self) -> health.Health:
        return health.Health(signals.State.OK, "in memory")

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        self._answer()
        return ()

    def switch(self, to: revisions.Revision, expect: revisions.Revision) -> revisions.Revision:
        if revisions.must_move(live=self.revision(), to=to, expect=expect):
            self.effects[f"switch {self.which} {self.live} -> {to.name}"] += 1
            self.live = to.name
        return self.revision()

    def freeze(self, why: str) -> None:
        self._answer()
        if not self.frozen_why:
            self.effects[f"freeze {self.which}"] += 1
            self.frozen_why = why

    def thaw(self) -> None:
        self._answer()
        if self.frozen_why:
            self.effects[f"thaw {self.which}"] += 1
        self.frozen_why = ""

    def frozen(self) -> str:
        self._answer()
        return self.frozen_why

    def block(self, name: str, why: str) -> None:
        if name not in self.marks:
            self.effects[f"block {self.which} {name}"] += 1
        self.marks.setdefault(name, why)

    def unblock(self, name: str) -> None:
        if name in self.marks:
            self.effects[f"unblock {self.which} {name}"] += 1
        self.marks.pop(name, None)


@dataclass
class FeaturePlane(Plane):
    """Also Refreshable and Isolatable: a good release writes rows, one whose bytes say `frozen` writes none."""

    rows_from: str = ""
    isolated_why: str = ""

    def isolate(self, why: str) -> None:
        if not self.isolated_why:
            self.effects["isolate"] += 1
        self.isolated_why = self.isolated_why or why

    def join(self) -> None:
        if self.isolated_why:
            self.effects["join"] += 1
        self.isolated_why = ""

    def isolated(self) -> str:
        return self.isolated_why

    def refresh(self) -> outcomes.Outcome:
        if b"frozen" in self.contents[self.live]:
            return outcomes.Outcome(outcomes.Status.FAILED, "exit code 0 and no row is fresh")
        self.rows_from = self.live
        return outcomes.Outcome(outcomes.Status.OK, "120 rows are fresh", values={"rows": "120"})


@dataclass
class Server:
    """Implements Servable over the planes of a world."""

    planes: Mapping[planes_.Plane, Plane]
    effects: Counter[str]
    memory: dict[planes_.Plane, tuple[str, bytes]] = field(default_factory=dict)
    fallback_on: bool = False
    down: str = ""

    def loaded(self) -> Mapping[planes_.Plane, revisions.Revision]:
        self._answer()
        return {
            plane: revisions.Revision(plane, self.planes[plane].object, name, digest.of_bytes(content))
            for plane, (name, content) in self.memory.items()
        }

    def _answer(self) -> None:
        if self.down:
            raise Unavailable(self.down)

    def roll(self) -> Mapping[planes_.Plane, revisions.Revision]:
        self._answer()
        self.memory = {plane: (at.live, at.contents[at.live]) for plane, at in self.planes.items()}
        return self.loaded()

    def set_fallback(self, *, on: bool) -> None:
        self._answer()
        if on != self.fallback_on:
            self.effects[f"fallback {'on' if on else 'off'}"] += 1
        self.fallback_on = on

    def fallback(self) -> bool:
        self._answer()
        return self.fallback_on


class Notifier:
    """Implements ports.notifier.Notifier: each key is delivered once."""

    def __init__(self) -> None:
        self.posted: dict[str, tuple[str, str]] = {}
        self.down = ""

    def post(self, channel: str, text: str, key: str) -> None:
        if self.down:
            raise Unavailable(self.down)
        self.posted.setdefault(key, (channel, text))


class Killed(BaseException):
    """The process is gone."""


class Journal:
    """Implements ports.journal.Journal in memory. It can be told to die at a write, and to be read-only.

    `die_at` is (n, when): the n-th append from now on, counted from 1, `before` it is durable or `after`.
    """

    def __init__(self, clock: clocks.Clock) -> None:
        self.clock = clock
        self.written: list[events.Event] = []
        self.actor = "anna"
        self.die_at: tuple[int, str] | None = None
        self.appends = 0
        self.dead = False
        self.read_only = False

    def __deepcopy__(self, memo: dict[int, object]) -> Journal:
        """Events are frozen and shared."""
        made = Journal(copy.deepcopy(self.clock, memo))
        made.__dict__.update({**self.__dict__, "clock": made.clock, "written": list(self.written)})
        memo[id(self)] = made
        return made

    def append(self, record: records.Record, unless: journals.Unless | None = None) -> events.Event:
        if unless is not None:
            for event in self.written:
                unless.check(event)
        assert not self.read_only, f"a write while nothing may be written: {record}"
        assert not self.dead, "a killed process writes nothing"
        self.appends += 1
        dies = self.die_at is not None and self.appends == self.die_at[0]
        if dies and self.die_at is not None and self.die_at[1] == "before":
            self.dead = True
            raise Killed
        seq = len(self.written) + 1
        previous = self.written[-1].digest if self.written else ""
        at = self.clock.now()
        sealed = digest.of_value([seq, previous, record.kind, repr(record)])
        event = events.Event(seq, f"e{seq}", at, at, float(seq), self.actor, "laptop", record, previous, sealed)
        self.written.append(event)
        if dies:
            self.dead = True
            raise Killed
        return event

    def events(self, after: int = 0, kinds: Collection[type[records.Record]] = ()) -> Iterator[events.Event]:
        return (event for event in self.written[after:] if not kinds or type(event.record) in kinds)

    def live_again(self, die_at: tuple[int, str] | None = None) -> None:
        """A new process opens the same journal."""
        self.dead, self.appends, self.die_at = False, 0, die_at

    def is_whole(self) -> bool:
        """Whether the chain holds."""
        links = zip(["", *(event.digest for event in self.written)], self.written, strict=False)
        return all(event.previous == before for before, event in links)

    def of_kind(self, kind: type[R]) -> list[R]:
        """The records of one kind, oldest first."""
        return [event.record for event in self.written if isinstance(event.record, kind)]


class Measures:
    """Implements Signal: bad while spoiled, or while what is in memory, or the rows, come from a bad revision."""

    series: Mapping[str, signal_port.SampleKind] = {"model": "share", "rows": "share"}

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[tuple[str, datetime, datetime]] = []

    def read(self, series: str, since: datetime, until: datetime) -> signals.Reading:
        self.asked.append((series, since, until))
        if series in self.world.silent:
            return signals.Reading(series, since, until, None, "nobody asks")
        if series == "model":
            bad = b"bad" in self.world.server.memory[MODEL][1] or "model" in self.world.spoiled
        else:
            bad = self.world.features.rows_from not in ("v1", "v2")
        n = round((until - since) / timedelta(seconds=6))
        return signals.Reading(series, since, until, signals.Share(round(n * 0.5) if bad else 0, n))


class World:
    """`postcode` with three planes. `promote` and `freeze_features` hurt it; everything else is ddr's doing."""

    def __init__(self) -> None:
        self.clock = clocks.ManualClock(START)
        self.effects: Counter[str] = Counter()
        self.silent: set[str] = set()
        self.spoiled: set[str] = set()
        self.model = Plane(MODEL, "digit", {"1": b"older", "2": b"good"}, "2", self.effects)
        self.features = FeaturePlane(
            FEATURES, "lanes", {"v1": b"older", "v2": b"good"}, "v2", self.effects, rows_from="v2"
        )
        self.code = Plane(CODE, "app", {"1.4.0": b"app"}, "1.4.0", self.effects, facts={"1.4.0": {}})
        self.planes: dict[planes_.Plane, Plane] = {MODEL: self.model, FEATURES: self.features, CODE: self.code}
        self.server = Server(self.planes, self.effects)
        self.server.roll()
        self.notifier = Notifier()
        self.measures = Measures(self)
        self.journal = Journal(self.clock)
        self.journal.append(records.ReleaseRecorded(self.release("r-1", model="1", features="v1")))
        self.clock.sleep(3600)
        self.journal.append(records.ReleaseRecorded(self.release("r-2")))
        self.clock.sleep(3600)

    def release(self, id_: str, **names: str) -> releases.Release:
        """What is live, or the named revisions, as a known-good release."""
        found = {plane: at.find(names.get(plane.value, at.live)) for plane, at in self.planes.items()}
        return releases.Release(id_, "postcode", self.clock.now(), found, known_good=True)

    def promote(self) -> None:
        self.model.contents["3"] = b"bad"
        self.model.live = "3"
        self.server.roll()

    def overwrite_weights(self) -> None:
        self.model.contents["2"] = b"bad, overwritten"
        self.server.roll()

    def freeze_features(self) -> None:
        self.features.contents["v3"] = b"frozen"
        self.features.live = "v3"
        self.features.rows_from = "old"
        self.server.roll()

    def state(self) -> object:
        """Everything but the journal, with the run's name taken out."""
        return (
            {plane: (at.live, sorted(at.marks), bool(at.frozen_why), at.contents) for plane, at in self.planes.items()},
            self.features.rows_from,
            self.server.memory,
            self.server.fallback_on,
            sorted(key.partition("/")[2] for key in self.notifier.posted),
        )

    def platform(self, actor: str = "anna", journal: journals.Journal | None = None) -> platforms.Platform:
        self.journal.actor = actor
        entry = service()
        return platforms.Platform(
            services={entry.name: entry},
            planes={entry.name: self.planes},
            sources={entry.name: {"measures": self.measures}},
            store=memory.MemoryStore(),
            journal=journal or self.journal,
            clock=self.clock,
            notifier=self.notifier,
            actor=actor,
            servers={entry.name: self.server},
        )


def service() -> services.Service:
    hour = timedelta(hours=1)

    def spec(name: str, series: str, plane: planes_.Plane | None = None) -> services.SignalSpec:
        return services.SignalSpec(name, "measures", series, "share", plane, 0.06, hour, hour, 10)

    return services.Service(
        name="postcode",
        planes={MODEL: "registry", FEATURES: "online", CODE: "code"},
        signals=(
            spec("golden", "model", MODEL),
            spec("scores", "model"),
            spec("wrong-answers", "model"),
            spec("errors", "model"),
            spec("feature-age", "rows", FEATURES),
            spec("feature-zeros", "rows", FEATURES),
            spec("feature-nulls", "rows", FEATURES),
        ),
        objectives=services.Objectives(rpo=hour, rto=hour / 4),
        owners=services.Owners("team-sorting", "oncall-ml", "head-of-sorting", ("lena", "head-of-sorting")),
        customers="parcel hubs",
        serving="server",
    )
