"""The JSON twin of the report: the same nouns with their Python names, and what the page derives from them."""

from __future__ import annotations

import itertools
import json
from typing import Any

from ddr.domain import accounts, gamedays
from ddr.lib import decode
from ddr.report import words

FORMAT = 1


def gameday(result: gamedays.GameDay) -> dict[str, Any]:
    """As JSON values. `format` is raised when a field changes its meaning; fields may be added."""
    return {
        "format": FORMAT,
        "kind": "gameday-report",
        "headline": words.headline(result),
        "passed": result.passed,
        "points": result.points,
        "possible": result.possible,
        **decode.encode(result),
        "played": [_played(played) for played in result.played],
    }


def _played(played: gamedays.Played) -> dict[str, Any]:
    return {
        **decode.encode(played),
        "outcome": words.outcome(played),
        "passed": played.passed,
        "points": played.points,
        "possible": played.possible,
        "reasons": list(words.reasons(played)),
        "is_restored": played.is_restored,
        "gaps": _gaps(played.account),
        "standings": {expectation.name: expectation.standing.value for expectation in played.expectations},
    }


def _gaps(account: accounts.Account | None) -> list[dict[str, Any]]:
    """Seconds from each of the five times to the next that was reached, on both clocks."""
    reached = [(name, stamp) for name, stamp in (account.times.moments if account else ()) if stamp is not None]
    return [
        {
            "from": before,
            "to": after,
            "platform_s": (later.at - earlier.at).total_seconds(),
            "wall_s": round(later.wall_s - earlier.wall_s, 3),
        }
        for (before, earlier), (after, later) in itertools.pairwise(reached)
    ]


def text(result: gamedays.GameDay) -> str:
    """The document as it is written to a file."""
    return json.dumps(gameday(result), indent=1, ensure_ascii=False) + "\n"
