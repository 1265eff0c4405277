"""One signal over time: the values, the threshold they are held against, n, and where it was bad or unknown."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime, timedelta

from ddr.domain import accounts, signals
from ddr.report import svg, words

WIDTH, HEIGHT = 480, 206
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 18, 14, 26


def draw(series: accounts.Series, times: accounts.Times, since: datetime, until: datetime) -> str:
    """An SVG as text. The frame is [since, until] of platform time; judgements outside are left out."""
    shown = [judgement for judgement in series.judgements if since <= judgement.at <= until]
    x = svg.TimeScale(since, until, _LEFT, WIDTH - _RIGHT)
    ticks = _value_ticks(shown, series.unit)
    y = svg.Scale(0, ticks[-1], HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{svg.escape(_spoken(series))}">',
        *_stretches(shown, x),
        *_axes(series, ticks, x, y),
        *_moments(times, x),
        *_stretch_names(shown, x),
        *_threshold(shown, x, y, series),
        *_values(shown, x, y),
        "</svg>",
    ]
    return "".join(parts)


def _spoken(series: accounts.Series) -> str:
    worst = words.extreme(series)
    value = "no value" if worst is None else words.value(worst.value, series.detector, series.unit)
    bad = f"{len(series.bad)} of {len(series.judgements)} looks bad"
    return f"{series.signal}: {bad}, worst or last {value}"


def _value_ticks(shown: Sequence[signals.Judgement], unit: str) -> list[float]:
    highest = max(
        (number for entry in shown for number in (entry.value, entry.threshold) if number is not None), default=1.0
    )
    if unit == "s" and highest > 60:
        return svg.time_unit_ticks(highest * 1.04)
    return svg.nice_ticks(highest * 1.04)


def _stretches(shown: Sequence[signals.Judgement], x: svg.TimeScale) -> list[str]:
    """Shaded from the look before the first to the last of each run of looks that are not ok."""
    parts = []
    for state, first, last in _runs(shown):
        begin = shown[first - 1].at if first else shown[first].at
        left, right = x(begin), x(shown[last].at)
        if right - left < 3:
            right = left + 3
        parts.append(svg.rect(left, _TOP, right - left, HEIGHT - _TOP - _BOTTOM, f"stretch {state.value}"))
    return parts


def _stretch_names(shown: Sequence[signals.Judgement], x: svg.TimeScale) -> list[str]:
    """The word beside the colour, where there is room for it."""
    parts = []
    for state, first, last in _runs(shown):
        left, right = x(shown[max(0, first - 1)].at), x(shown[last].at)
        if right - left > 26:
            parts.append(svg.text(right - 4, _TOP + 12, state.value, f"stretch-name {state.value}", "end"))
    return parts


def _runs(shown: Sequence[signals.Judgement]) -> list[tuple[signals.State, int, int]]:
    runs: list[tuple[signals.State, int, int]] = []
    for index, judgement in enumerate(shown):
        if judgement.state is signals.State.OK:
            continue
        if runs and runs[-1][0] is judgement.state and runs[-1][2] == index - 1:
            runs[-1] = (judgement.state, runs[-1][1], index)
        else:
            runs.append((judgement.state, index, index))
    return runs


def _axes(series: accounts.Series, ticks: Sequence[float], x: svg.TimeScale, y: svg.Scale) -> list[str]:
    parts = []
    for tick in ticks:
        parts.append(svg.line(_LEFT, y(tick), WIDTH - _RIGHT, y(tick), "grid" if tick else "axis"))
        label = "0" if not tick else _short(words.value(tick, series.detector, series.unit))
        parts.append(svg.text(_LEFT - 7, y(tick) + 4, label, "tick", "end"))
    for at in x.ticks(6):
        parts.append(svg.line(x(at), HEIGHT - _BOTTOM, x(at), HEIGHT - _BOTTOM + 4, "axis"))
        parts.append(svg.text(x(at), HEIGHT - 8, at.strftime("%H:%M"), "tick", "middle"))
    return parts


def _short(label: str) -> str:
    """`10.0 %` as `10 %`."""
    return label.replace(".0 %", " %")


def _moments(times: accounts.Times, x: svg.TimeScale) -> list[str]:
    return [
        svg.line(x(stamp.at), _TOP, x(stamp.at), HEIGHT - _BOTTOM, "moment")
        for _, stamp in times.moments
        if stamp is not None and x.since <= stamp.at <= x.until
    ]


def _threshold(
    shown: Sequence[signals.Judgement], x: svg.TimeScale, y: svg.Scale, series: accounts.Series
) -> list[str]:
    """A line of steps: where the sample size changes, the threshold does."""
    points: list[tuple[float, float]] = []
    parts = []
    for judgement in shown:
        if judgement.threshold is None:
            continue
        here = (x(judgement.at), y(judgement.threshold))
        if points and points[-1][1] != here[1]:
            points.append((here[0], points[-1][1]))
        points.append(here)
    if not points:
        return []
    if len(points) == 1:
        points.append((WIDTH - _RIGHT, points[0][1]))
    parts.append(f'<path d="{svg.path(points)}" class="limit"/>')
    last = next(judgement.threshold for judgement in reversed(shown) if judgement.threshold is not None)
    label = f"threshold {words.value(last, series.detector, series.unit)}"
    under_label = [y_ for x_, y_ in points if x_ >= WIDTH - _RIGHT - svg.width_of(label)] or [points[-1][1]]
    highest, lowest = min(under_label), max(under_label)
    baseline = highest - 5 if highest > _TOP + 16 else lowest + 13
    parts.append(svg.text(WIDTH - _RIGHT - 2, baseline, label, "limit-name", "end"))
    return parts


def _values(shown: Sequence[signals.Judgement], x: svg.TimeScale, y: svg.Scale) -> list[str]:
    """A line where looks follow each other, dots where nobody looked for long, a gap where there was no value."""
    parts = []
    patience = _patience(shown)
    before: signals.Judgement | None = None
    stretch: list[tuple[float, float]] = []
    for judgement in shown:
        here = None if judgement.value is None else (x(judgement.at), y(judgement.value))
        if here and stretch and before is not None and judgement.at - before.at > patience:
            parts += [*_line(stretch, "value"), *_line([stretch[-1], here], "value unseen")]
            stretch = []
        if here is None:
            parts += _line(stretch, "value")
            stretch = []
        else:
            stretch.append(here)
        before = judgement
    parts += _line(stretch, "value")
    for judgement in shown:
        if judgement.state is signals.State.BAD and judgement.value is not None:
            parts.append(_dot((x(judgement.at), y(judgement.value)), "dot bad"))
    return parts


def _patience(shown: Sequence[signals.Judgement]) -> timedelta:
    """Looks further apart than this do not follow each other: two and a half times the usual distance."""
    gaps = sorted(later.at - earlier.at for earlier, later in itertools.pairwise(shown))
    return 2.5 * gaps[len(gaps) // 2] if gaps else timedelta(0)


def _line(points: Sequence[tuple[float, float]], classes: str) -> list[str]:
    if len(points) == 1:
        return [_dot(points[0], "dot")]
    return [f'<path d="{svg.path(points)}" class="{classes}"/>'] if points else []


def _dot(at: tuple[float, float], classes: str) -> str:
    return f'<circle cx="{svg.number(at[0])}" cy="{svg.number(at[1])}" r="2.6" class="{classes}"/>'
