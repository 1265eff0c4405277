"""Placeholder until the room's owner writes it: a batch of rows, column by column."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Batch:
    """Rows of one table, column by column."""
