"""Reads the programs and files that are deployed."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "programs"


def read(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()
