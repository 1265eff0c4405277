"""Interleaved timing: every contender once a round, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of one contender over all rounds."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> str:
        return f"{min(self.seconds) * 1000:.1f} .. {max(self.seconds) * 1000:.1f} ms"


def interleave(contenders: Mapping[str, Callable[[], object]], rounds: int) -> list[Timing]:
    """Time each contender `rounds` times, in turn, after one untimed round."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, work in contenders.items():
            began = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return [Timing(name, tuple(taken)) for name, taken in seconds.items()]


def command(arguments: Sequence[str], **environ: str) -> Callable[[], object]:
    """A whole process as a contender; it must exit 0."""
    import os

    def work() -> object:
        return subprocess.run(list(arguments), check=True, capture_output=True, env={**os.environ, **environ})

    return work


def show(title: str, timings: Sequence[Timing], *, against: str) -> None:
    """Median, spread and ratio to `against`."""
    base = next(timing.median_s for timing in timings if timing.name == against)
    print(f"\n{title}   (median of {len(timings[0].seconds)} interleaved rounds)")
    for timing in timings:
        ratio = f"{timing.median_s / base:6.2f} x" if timing.name != against else "   1    "
        print(f"  {timing.name:<44} {timing.median_s * 1000:9.1f} ms   {ratio}   {timing.spread}")
