"""A small service in memory that reads a digit, with planes that can really be wrong.

Nothing answers from a script: weights are bytes that hold an accuracy, and an answer follows from the request, the
weights, the code and the features it saw. Seeded: the same calls give the same world.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ddr.domain import changes, health, planes, revisions, signals
from ddr.errors import Conflict, Missing, Unavailable
from ddr.lib import clock as clocks
from ddr.lib import digest

START = datetime(2026, 11, 2, 6, tzinfo=UTC)
COLUMNS = tuple(f"p{at:02d}" for at in range(16))
LANES = 120

CODE, MODEL, FEATURES = planes.Plane.CODE, planes.Plane.MODEL, planes.Plane.FEATURES
INDEX, CONFIG = planes.Plane.INDEX, planes.Plane.CONFIG


@dataclass
class MemoryPlane:
    """Implements Observable and Switchable: revisions are bytes under a name, a pointer says which is live."""

    which: planes.Plane
    object: str
    contents: dict[str, bytes]
    live: str
    clock: clocks.Clock
    log: list[changes.Change] = field(default_factory=list)
    down: str = ""

    def find(self, name: str) -> revisions.Revision:
        if name not in self.contents:
            known = ", ".join(self.contents)
            raise Missing(f"there is no {self.which} {name}", hint=f"point it at one of: {known}")
        return revisions.Revision(self.which, self.object, name, digest.of_bytes(self.contents[name]))

    def revision(self) -> revisions.Revision:
        if self.down:
            raise Unavailable(self.down, hint="wait, then try again")
        return self.find(self.live)

    def health(self) -> health.Health:
        return health.Health(signals.State.UNKNOWN if self.down else signals.State.OK, self.down or "it answers")

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        if self.down:
            raise Unavailable(self.down)
        return [change for change in self.log if change.at >= since]

    def switch(self, to: revisions.Revision, expect: revisions.Revision) -> revisions.Revision:
        if revisions.must_move(live=self.revision(), to=to, expect=expect):
            if not self.find(to.name).is_same(to):
                raise Conflict(f"{to} has other bytes now")
            self.move(to.name, "switch")
        return self.revision()

    def move(self, to: str, actor: str, *, logged: bool = True) -> None:
        if logged:
            self.log.append(
                changes.Change(
                    self.which, self.object, self.clock.now(), self.live, to, actor, source=f"{self.which} log"
                )
            )
        self.live = to


@dataclass(frozen=True)
class Request:
    """What was asked and answered, and all that the answer came from. `seen` is the digit the features showed."""

    id: str
    at: datetime
    lane: int
    truth: int
    seen: int
    zeros: frozenset[str]
    answer: str
    score: float
    names: Mapping[planes.Plane, str]
    weights: str


class World:
    """The running service: requests come, planes change, faults happen. Times are those of `clock`."""

    def __init__(self, seed: int = 1, requests_per_hour: int = 600) -> None:
        self.clock = clocks.ManualClock(START)
        self.per_minute = requests_per_hour // 60
        self.seed = seed
        self._random = random.Random(seed)
        self.requests: list[Request] = []
        self.stale_since: datetime | None = None
        self.zeroed: frozenset[str] = frozenset()
        self.failing = 0.0
        self.upstream_noise = 0.0
        self.down: dict[str, str] = {}
        self.serves_fallback = False
        self.planes = {
            CODE: self._plane(
                CODE, "app", {"1.3.0": b"right=1.0 old", "1.4.0": b"right=1.0", "1.4.1": b"right=1.0 log"}
            ),
            MODEL: self._plane(MODEL, "digit", {"1": b"right=0.95", "2": b"right=0.97", "3": b"right=0.55"}, "2"),
            FEATURES: self._plane(FEATURES, "lane_pixels", {"v1": b"materialize 1", "v2": b"materialize 2"}, "v2"),
            INDEX: self._plane(INDEX, "lookalikes", {"v1": b"faiss 1"}, "v1"),
            CONFIG: self._plane(
                CONFIG, "serving.yaml", {"info": b"log_level: info", "debug": b"log_level: debug"}, "info"
            ),
        }
        self.planes[CODE].live = "1.4.0"
        self.memory: dict[planes.Plane, tuple[str, bytes]] = {}
        self.roll()

    def _plane(self, which: planes.Plane, name: str, contents: Mapping[str, bytes], live: str = "1.4.0") -> MemoryPlane:
        return MemoryPlane(which, name, dict(contents), live, self.clock)

    # ports.connector.Servable

    def loaded(self) -> Mapping[planes.Plane, revisions.Revision]:
        if "server" in self.down:
            raise Unavailable(self.down["server"], hint="start it, or correct the address")
        return {
            plane: revisions.Revision(plane, self.planes[plane].object, name, digest.of_bytes(content))
            for plane, (name, content) in self.memory.items()
        }

    def roll(self) -> Mapping[planes.Plane, revisions.Revision]:
        self.memory = {plane: (at.live, at.contents[at.live]) for plane, at in self.planes.items()}
        return self.loaded()

    def set_fallback(self, *, on: bool) -> None:
        self.serves_fallback = on

    def fallback(self) -> bool:
        return self.serves_fallback

    # what happens to it

    def advance(self, hours: float) -> None:
        """Requests arrive minute by minute; each lane shows a new digit every quarter of an hour."""
        for _ in range(round(hours * 60)):
            for turn in range(self.per_minute):
                self._serve(timedelta(minutes=turn / self.per_minute))
            self.clock.sleep(60)

    def _digit(self, lane: int, at: datetime) -> int:
        slot = int((at - START) / timedelta(minutes=15))
        return int(10 * draws(f"{self.seed}/{lane}/{slot}")[0])

    def _serve(self, after: timedelta) -> None:
        at, lane = self.clock.now() + after, self._random.randrange(LANES)
        truth = self._digit(lane, at)
        if self._random.random() < self.upstream_noise:
            seen = (truth + 1 + self._random.randrange(9)) % 10
        else:
            seen = truth if self.stale_since is None else self._digit(lane, min(at, self.stale_since))
        id_ = f"q{len(self.requests):06d}"
        weights, code = self.memory[MODEL][1], self.memory[CODE][1]
        answer, score = answer_of(id_, seen, self.zeroed, weights, code)
        names = {plane: name for plane, (name, _) in self.memory.items()}
        self.requests.append(
            Request(id_, at, lane, truth, seen, self.zeroed, answer, score, names, digest.of_bytes(weights))
        )

    def promote(self, version: str, *, logged: bool = True) -> None:
        self.planes[MODEL].move(version, "trainer", logged=logged)
        self.roll()

    def move_by_hand(self, version: str) -> None:
        """The alias alone; nobody rolls the server and nobody writes it down."""
        self.planes[MODEL].live = version

    def kill_server(self) -> None:
        """Nobody answers any more: what it counted itself and what it has loaded cannot be asked."""
        self.down |= dict.fromkeys(("server", "golden", "errors"), "nobody is there: connection refused")

    def overwrite_weights(self, *, roll: bool = True) -> None:
        self.planes[MODEL].contents[self.planes[MODEL].live] = b"right=0.5 overwritten"
        if roll:
            self.roll()

    def freeze_features(self) -> None:
        self.stale_since = self.clock.now()

    def zero_features(self, columns: int = 6) -> None:
        self.zeroed = frozenset(COLUMNS[:columns])

    def release_code(self, version: str = "1.4.1") -> None:
        self.planes[CODE].move(version, "ci-bot")
        self.roll()

    def change_config(self) -> None:
        self.planes[CONFIG].move("debug", "somebody")
        self.roll()

    # what is measured

    def between(self, since: datetime, until: datetime) -> list[Request]:
        return [request for request in self.requests if since <= request.at < until]


def _right(content: bytes) -> float:
    return float(content.split()[0].removeprefix(b"right="))


def draws(text: str) -> tuple[float, float, float]:
    """Three numbers in [0, 1) that belong to the text."""
    content = hashlib.blake2b(text.encode(), digest_size=12).digest()
    return tuple(int.from_bytes(content[at : at + 4]) / 2**32 for at in (0, 4, 8))  # type: ignore[return-value]


def answer_of(id_: str, seen: int, zeroed: frozenset[str], weights: bytes, code: bytes) -> tuple[str, float]:
    """The digit and its score. Weights, code and missing columns each spoil their share of the requests."""
    chance, score, other = draws(f"answer/{id_}")
    right = _right(weights) * _right(code) * (1.0 if not zeroed else 0.4)
    if b"brittle" in weights and b"rounds" in code:  # each harmless without the other
        right *= 0.5
    if chance < right:
        return str(seen), min(1.0, 0.8 + 0.3 * score)
    return str((seen + 1 + int(9 * other)) % 10), 0.3 + 0.6 * score
