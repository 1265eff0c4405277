"""One lane a plane, then symptoms, then the response: every happening on the platform's clock, and the five times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ddr.domain import accounts, planes
from ddr.report import svg, words

WIDTH = 1080
_LEFT, _RIGHT = 92, 22
_ROW, _PAD, _AXIS = 19, 7, 30
_LABEL_SIZE = 11.5
_LONGEST_LABEL = 40
_MOST_ROWS = 8


@dataclass(frozen=True)
class Placed:
    """A happening with its row in the lane; `label` '' means that there is only the shape."""

    happening: accounts.Happening
    row: int
    label: str
    is_left: bool


@dataclass
class Lane:
    name: str
    happenings: list[accounts.Happening] = field(default_factory=list)
    placed: list[Placed] = field(default_factory=list)

    @property
    def height(self) -> float:
        rows = 1 + max((placed.row for placed in self.placed), default=0)
        return rows * _ROW + 2 * _PAD


def frame(account: accounts.Account) -> tuple[datetime, datetime]:
    """From a little before the first thing to a little after the last; quiet hours at the ends are cut off."""
    times = [stamp.at for _, stamp in account.times.moments if stamp is not None]
    for happening in account.happenings:
        times.append(happening.at)
        times.extend([happening.until] if happening.until else [])
    if not times:
        return account.since, account.until
    margin = max(timedelta(minutes=10), (max(times) - min(times)) / 20)
    since, until = min(times) - margin, max(times) + margin
    return max(since, min(account.since, min(times))), min(until, max(account.until, max(times)))


def draw(account: accounts.Account) -> str:
    """An SVG as text."""
    since, until = frame(account)
    x = svg.TimeScale(since, until, _LEFT, WIDTH - _RIGHT)
    lanes = _lanes(account)
    for lane in lanes:
        _place(lane, x)
    markers, top = _markers(account.times, x)
    ground, drawn = [], []
    y = top
    for index, lane in enumerate(lanes):
        ground.append(svg.rect(0, y, WIDTH, lane.height, f"lane {'odd' if index % 2 else 'even'}"))
        drawn.extend(_draw_lane(lane, x, y, "odd" if index % 2 else "even"))
        y += lane.height
    size = f'viewBox="0 0 {WIDTH} {svg.number(y + _AXIS)}"'
    head = f'<svg class="timeline" {size} role="img" aria-label="{_spoken(account)}">'
    lines = [svg.line(marker.x, marker.y, marker.x, y, "moment") for marker in markers]
    return "".join([head, *ground, *_grid(x, top, y), *lines, *drawn, *_draw_markers(markers), "</svg>"])


def _spoken(account: accounts.Account) -> str:
    count = words.plural(len(account.happenings), "happening")
    return svg.escape(f"Timeline of {account.service}: {count}; the same as a list below")


def _lanes(account: accounts.Account) -> list[Lane]:
    """Planes that are observed or that something happened to, in the order of the enum, then the other two."""
    observed = {revision.plane.value for view in account.views for revision in view.revisions}
    happened = {words.lane(happening) for happening in account.happenings}
    names: list[str] = [plane.value for plane in planes.Plane if plane.value in observed | happened]
    names += [name for name in (words.SYMPTOMS, words.RESPONSE) if name in happened]
    lanes = {name: Lane(name) for name in names}
    for happening in sorted(account.happenings, key=lambda entry: entry.at):
        lanes[words.lane(happening)].happenings.append(happening)
    return list(lanes.values())


def _place(lane: Lane, x: svg.TimeScale) -> None:
    """Each label in the first row in which it touches no other."""
    taken: list[list[tuple[float, float]]] = []
    for happening in lane.happenings:
        label = svg.cut(happening.title, _LONGEST_LABEL)
        left = x(happening.at)
        right = max(left, x(happening.until)) if happening.until else left
        width = svg.width_of(label, _LABEL_SIZE)
        is_left = right + 12 + width > WIDTH - _RIGHT and left - 12 - width > _LEFT
        span = (left - 16 - width, right + 8) if is_left else (left - 8, right + 18 + width)
        row = next((row for row, spans in enumerate(taken) if _is_free(spans, span)), len(taken))
        if row >= _MOST_ROWS:
            row, label = _MOST_ROWS - 1, ""
        if row == len(taken):
            taken.append([])
        taken[row].append(span)
        lane.placed.append(Placed(happening, row, label, is_left))


def _is_free(spans: Sequence[tuple[float, float]], wanted: tuple[float, float]) -> bool:
    return all(wanted[1] <= left or wanted[0] >= right for left, right in spans)


def _draw_lane(lane: Lane, x: svg.TimeScale, top: float, ground: str) -> list[str]:
    """What stands in a lane; `ground` names its colour, for the rim of the labels."""
    parts = [f'<g class="on-{ground}">', svg.text(12, top + lane.height / 2 + 4, lane.name, "lane-name")]
    for placed in lane.placed:
        parts.extend(_draw_happening(placed, x, top + _PAD + placed.row * _ROW + _ROW / 2))
    return [*parts, "</g>"]


def _draw_happening(placed: Placed, x: svg.TimeScale, y: float) -> list[str]:
    happening = placed.happening
    left = x(happening.at)
    right = left
    told = f"{words.clock(happening.at)} {happening.kind}: {happening.title}"
    parts = [f"<g><title>{svg.escape(told)}</title>"]
    if happening.until is not None:
        right = max(left + 6, x(happening.until))
        parts.append(svg.rect(left, y - 6, right - left, 12, f"bar k-{happening.kind.name.lower()}", 3))
    else:
        parts.append(svg.glyph(happening.kind, left, y))
    if placed.label and placed.is_left:
        parts.append(svg.text(left - 11, y + 4, placed.label, "label", "end"))
    elif placed.label:
        parts.append(svg.text(right + (11 if happening.until is None else 6), y + 4, placed.label, "label"))
    parts.append("</g>")
    return parts


def _grid(x: svg.TimeScale, top: float, bottom: float) -> list[str]:
    parts = []
    for at in x.ticks(12):
        parts.append(svg.line(x(at), top, x(at), bottom, "grid"))
        parts.append(svg.text(x(at), bottom + 18, at.strftime("%H:%M"), "tick", "middle"))
    return parts


@dataclass(frozen=True)
class Marker:
    """One vertical line with all moments that fall on it."""

    x: float
    y: float
    label: str
    numbers: tuple[int, ...]
    is_left: bool


def _markers(times: accounts.Times, x: svg.TimeScale) -> tuple[list[Marker], float]:
    """The five times, those at one place together, and the height their labels need."""
    groups: list[tuple[float, list[tuple[int, str]]]] = []
    for index, (name, stamp) in enumerate(times.moments, start=1):
        if stamp is None:
            continue
        here = x(stamp.at)
        if groups and here - groups[-1][0] < 4:
            groups[-1][1].append((index, name))
        else:
            groups.append((here, [(index, name)]))
    markers: list[Marker] = []
    rows: list[list[tuple[float, float]]] = []
    for here, moments in groups:
        label = ", ".join(name for _, name in moments)
        width = 18 * len(moments) + 6 + svg.width_of(label, _LABEL_SIZE)
        is_left = here + width > WIDTH - _RIGHT
        span = (here - width - 8, here + 10) if is_left else (here - 10, here + width + 8)
        row = next((row for row, spans in enumerate(rows) if _is_free(spans, span)), len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(span)
        markers.append(Marker(here, 12 + row * 21, label, tuple(index for index, _ in moments), is_left))
    return markers, 10 + 21 * max(1, len(rows))


def _draw_markers(markers: Sequence[Marker]) -> list[str]:
    parts = []
    for marker in markers:
        sign = -1 if marker.is_left else 1
        at = marker.x
        for index in marker.numbers if not marker.is_left else reversed(marker.numbers):
            parts.append(
                f'<circle cx="{svg.number(at)}" cy="{svg.number(marker.y)}" r="8" class="moment-dot"/>'
                + svg.text(at, marker.y + 3.8, index, "moment-number", "middle")
            )
            at += sign * 18
        anchor = "end" if marker.is_left else "start"
        parts.append(svg.text(at - sign * 5, marker.y + 4, marker.label, "moment-name", anchor))
    return parts
