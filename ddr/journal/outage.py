"""Remembers that the store does not answer, for every command on this machine, so that not each waits anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ddr.lib import durable

SHORTEST_S = 10.0
LONGEST_S = 120.0
_SHARE = 3.0  # stay away three times as long as finding out took: at most a quarter of the time is lost to waiting


class Outage:
    """`mono` is a clock that nobody sets and all processes share since boot (CLOCK_MONOTONIC), `boot` names it."""

    def __init__(self, folder: Path, mono: Callable[[], float], boot: str) -> None:
        self.path = folder / "journal-away.json"
        self._mono = mono
        self._boot = boot
        self._until = 0.0

    def lasts(self) -> bool:
        """Whether it is too early to ask the store again."""
        until = max(self._until, self._read())
        return 0.0 < until - self._mono() <= LONGEST_S

    def now_s(self) -> float:
        """For measuring how long it took to find out."""
        return self._mono()

    def begin(self, since_s: float) -> None:
        """The store was asked at `since_s` and did not answer. OSError: then only this process knows."""
        pause_s = min(LONGEST_S, max(SHORTEST_S, _SHARE * (self._mono() - since_s)))
        self._until = self._mono() + pause_s
        durable.make_folder(self.path.parent)
        durable.replace(self.path, json.dumps({"boot": self._boot, "until": self._until}).encode())

    def end(self) -> bool:
        """The store has answered. Whether it was away before. OSError."""
        was_away = self._until > 0.0 or self.path.exists()
        self._until = 0.0
        if was_away:
            self.path.unlink(missing_ok=True)
        return was_away

    def _read(self) -> float:
        try:
            value = json.loads(self.path.read_bytes())
            return float(value["until"]) if value["boot"] == self._boot else 0.0
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0
