"""The folder in which a fault keeps what it needs to take itself back, and names made from its key."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ddr.lib import digest, durable
from ddr.sandbox import layout, training


def name_of(key: str) -> str:
    """The key as a file name: readable, and different for different keys."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", key).strip("-")[:60]
    return plain if plain == key else f"{plain}-{digest.short(digest.of_bytes(key.encode()), 8)}"


def commit_of(key: str) -> str:
    """What looks like the commit of a release, and is how the fault finds its own release again."""
    return digest.short(digest.of_value(["commit", key]))


def folder(root: Path, key: str) -> Path:
    return layout.Layout(root).faults / name_of(key)


def discard(root: Path, key: str, unwanted: Path) -> None:
    """Take a folder away in one step, so that nobody ever meets a half of it; `drop` removes it."""
    place = folder(root, key)
    durable.make_folder(place)
    unwanted.rename(place / unwanted.name)
    durable.sync_folder(unwanted.parent)


def drop(root: Path, key: str) -> bool:
    """Remove the folder and whatever a killed act or training left. False where there was nothing."""
    place = folder(root, key)
    gone = place.with_name(f".{place.name}.gone")
    found = False
    if place.exists():
        shutil.rmtree(gone, ignore_errors=True)
        place.rename(gone)
        found = True
    for leftover in (gone, training.scratch(root, name_of(key))):
        found = found or leftover.exists()
        shutil.rmtree(leftover, ignore_errors=True)
    return found
