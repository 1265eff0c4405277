"""Telling people. Never on the critical path."""

from __future__ import annotations

from typing import Protocol


class Notifier(Protocol):
    def post(self, channel: str, text: str, key: str) -> None:
        """Post once per `key`. Raises Unavailable; a failure here never stops a recovery."""
        ...
