"""Small pure functions that make SVG text: scales, ticks, labels, the shapes of happenings. Colours come from CSS."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ddr.domain import accounts

_WIDE = frozenset("mwMWGOQ@%—")
_NARROW = frozenset("iljtf.,:;|!'()[] ")

_NOTHING = 1e-12  # smaller than anything that is measured: drawn as zero

_TIME_STEPS_M = (5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)


def escape(text: object) -> str:
    """Text for between tags and for attributes."""
    return html.escape(str(text), quote=True)


def number(value: float) -> str:
    """A coordinate: two decimals, no more bytes than needed."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def text(x: float, y: float, content: object, classes: str = "", anchor: str = "start") -> str:
    return f'<text x="{number(x)}" y="{number(y)}" class="{classes}" text-anchor="{anchor}">{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, classes: str) -> str:
    ends = f'x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}"'
    return f'<line {ends} class="{classes}"/>'


def rect(x: float, y: float, width: float, height: float, classes: str, radius: float = 0) -> str:
    rounded = f' rx="{number(radius)}"' if radius else ""
    place = f'x="{number(x)}" y="{number(y)}" width="{number(max(0, width))}" height="{number(max(0, height))}"'
    return f'<rect {place}{rounded} class="{classes}"/>'


def width_of(content: str, size: float = 11) -> float:
    """About how wide a text is in a proportional face, erring on the wide side."""
    units = sum(0.86 if letter in _WIDE else 0.34 if letter in _NARROW else 0.58 for letter in content)
    return units * size


def cut(content: str, longest: int) -> str:
    return content if len(content) <= longest else content[: longest - 1].rstrip() + "…"


@dataclass(frozen=True)
class Scale:
    """From [low, high] to pixels."""

    low: float
    high: float
    left: float
    right: float

    def __call__(self, value: float) -> float:
        if self.high == self.low:
            return self.left
        return self.left + (value - self.low) / (self.high - self.low) * (self.right - self.left)


@dataclass(frozen=True)
class TimeScale:
    """From [since, until] to pixels; times outside are put on the edge."""

    since: datetime
    until: datetime
    left: float
    right: float

    def __call__(self, at: datetime) -> float:
        whole = (self.until - self.since).total_seconds()
        if whole <= 0:
            return self.left
        part = (at - self.since).total_seconds() / whole
        return self.left + min(1.0, max(0.0, part)) * (self.right - self.left)

    def ticks(self, most: int) -> list[datetime]:
        """At most `most` round times of the clock."""
        minutes = (self.until - self.since).total_seconds() / 60
        step = next((step for step in _TIME_STEPS_M if minutes / step <= most), math.ceil(minutes / most / 1440) * 1440)
        midnight = datetime(self.since.year, self.since.month, self.since.day, tzinfo=UTC)
        first = math.ceil((self.since - midnight).total_seconds() / 60 / step)
        found = []
        at = midnight + timedelta(minutes=first * step)
        while at <= self.until:
            found.append(at)
            at += timedelta(minutes=step)
        return found


def nice_ticks(high: float, most: int = 4) -> list[float]:
    """0 and round numbers up to at least `high`."""
    if high < _NOTHING or not math.isfinite(high):
        return [0.0, 1.0]
    rough = high / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999999)
    count = math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(count + 1)]


def time_unit_ticks(high_s: float, most: int = 4) -> list[float]:
    """As `nice_ticks` for seconds: minutes and hours stay round."""
    for step in (60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400):
        if high_s / step <= most:
            return [float(index * step) for index in range(math.ceil(high_s / step) + 1)]
    return nice_ticks(high_s, most)


_SHAPES: dict[accounts.Kind, str] = {
    accounts.Kind.CHANGE: '<circle cx="6" cy="6" r="4.2" class="hollow"/>',
    accounts.Kind.DECOY: '<path d="M6 1 11 6 6 11 1 6Z" class="hollow"/>',
    accounts.Kind.FAULT: '<path d="M6 .8 11.6 11H.4Z" class="solid"/>',
    accounts.Kind.SIGNAL: '<rect x="0" y="2.5" width="12" height="7" rx="2" class="solid"/>',
    accounts.Kind.ACTION: '<rect x="1.4" y="1.4" width="9.2" height="9.2" rx="1.6" class="solid"/>',
    accounts.Kind.APPROVAL: '<circle cx="6" cy="6" r="5" class="hollow"/>'
    '<path d="M3.6 6.2 5.4 8 8.6 4.4" class="stroke"/>',
    accounts.Kind.COMMS: '<path d="M1 1.8h10v6.6H6.4L3.6 11V8.4H1Z" class="hollow"/>',
    accounts.Kind.INCIDENT: '<path d="M2 11.5V.8h8.4L8 3.8l2.4 3H2" class="flag"/>',
    accounts.Kind.UNDO: '<path d="M5 2.2 1.6 5.4 5 8.6M1.9 5.4h5.4a3 3 0 0 1 0 6H5.4" class="stroke"/>',
}


def glyph(kind: accounts.Kind, x: float, y: float) -> str:
    """The shape of a kind, 12 by 12, centred on x, y."""
    name = kind.name.lower()
    return f'<g class="glyph k-{name}" transform="translate({number(x - 6)} {number(y - 6)})">{_SHAPES[kind]}</g>'


def legend_glyph(kind: accounts.Kind) -> str:
    """The same shape as a picture of its own, for between words."""
    return f'<svg class="key" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">{glyph(kind, 6, 6)}</svg>'


def path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
