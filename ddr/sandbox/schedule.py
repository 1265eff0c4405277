"""What the world does when: pure functions of the seed and platform time, so that it matters to nobody how a
stretch of time was cut into calls.

Every lane shows a new parcel at the start of each slot of 15 minutes. About 50 requests come in 5 minutes, at
fixed milliseconds. The truth about a parcel is known 30 minutes after the request: someone opened the truck.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ddr.sandbox import layout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TICK_MS = 300_000
SLOT_MS = int(layout.SLOT / timedelta(milliseconds=1))
TRUTH_DELAY_MS = 1_800_000
FEWEST_REQUESTS, MOST_REQUESTS = 45, 55
_PARCELS, _REQUESTS = 1, 2


@dataclass(frozen=True)
class Request:
    """Which digit is on `lane`? Asked at `at_ms` (milliseconds since 1970, platform time)."""

    id: str
    at_ms: int
    lane: int


def to_ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def to_time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def slot_of(at_ms: int) -> int:
    """When the slot that `at_ms` lies in began, in milliseconds."""
    return at_ms - at_ms % SLOT_MS


def parcels(seed: int, slot_ms: int, traffic: NDArray[np.int64], lanes: int) -> NDArray[np.int64]:
    """The row that each lane shows from `slot_ms` on: (lanes,) row numbers of held-out digits."""
    import numpy as np

    drawn = np.random.default_rng([seed, _PARCELS, slot_ms // SLOT_MS]).integers(0, len(traffic), lanes)
    return traffic[drawn]


def requests(seed: int, since_ms: int, until_ms: int, lanes: int) -> list[Request]:
    """The requests of (since, until], in order of time."""
    found = []
    for tick in range(since_ms // TICK_MS, (until_ms - 1) // TICK_MS + 1):
        found += [request for request in _tick(seed, tick, lanes) if since_ms < request.at_ms <= until_ms]
    return found


def _tick(seed: int, tick: int, lanes: int) -> list[Request]:
    import numpy as np

    random = np.random.default_rng([seed, _REQUESTS, tick])
    count = int(random.integers(FEWEST_REQUESTS, MOST_REQUESTS + 1))
    offsets = np.sort(random.integers(1, TICK_MS, count)).tolist()  # never on the edge of a slot
    asked = random.integers(0, lanes, count).tolist()
    begins = tick * TICK_MS
    return [
        Request(f"r-{begins // 1000}-{number:02d}", begins + offset, lane)
        for number, (offset, lane) in enumerate(zip(offsets, asked, strict=True))
    ]
