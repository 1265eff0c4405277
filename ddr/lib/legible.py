"""Text that can be written: names on a disk, and in the JSON of others, need not be any."""

from __future__ import annotations


def text(told: str) -> str:
    """With `\\udcff` for what UTF-8 cannot say."""
    return told.encode(errors="backslashreplace").decode()
