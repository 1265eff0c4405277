"""What the record of moves says of a publication: enough to go on with when the manifest of a version is damaged."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ddr.domain import indexes
from ddr.index.homes import home
from ddr.lib import digest

_PUBLISHED = re.compile(r"publish: plan (?P<plan>[0-9a-f]+)(?:; embedder (?P<embedder>.*))?", re.DOTALL)


def of_publication(manifest: indexes.Manifest) -> str:
    """The summary of the move to it."""
    return f"publish: plan {digest.short(manifest.plan_digest)}; embedder {manifest.embedder.fingerprint}"


def plan(moves: Sequence[home.Move], version: str) -> str:
    """First digits of the digest of the plan that a version was built by, "" where nobody wrote it down."""
    found = _published(moves, version)
    return found["plan"] if found else ""


def embedder(moves: Sequence[home.Move], version: str) -> str | None:
    """Fingerprint of what made its vectors, "" for none; None where nobody wrote it down."""
    found = _published(moves, version)
    return found["embedder"] if found else None


def _published(moves: Sequence[home.Move], version: str) -> re.Match[str] | None:
    there = [_PUBLISHED.fullmatch(move.summary) for move in reversed(moves) if move.after == version]
    return next(filter(None, there), None)
