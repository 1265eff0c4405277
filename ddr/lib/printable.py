"""Text from elsewhere on a terminal: an id, a file or an error of others may hold what moves the cursor, sets a title
or forges a line of ours."""

from __future__ import annotations

import re

_LONGEST = 80
_MOVING = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")
"""Control characters but for tabs, line ends and the sequences of colours."""


def name(text: str) -> str:
    """On one line, at most 80 characters of it, with all that no eye sees escaped."""
    cut = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return "".join(one if one.isprintable() else _escaped(one) for one in cut)


def screen(text: str) -> str:
    """Lines and colours stay; the rest that a terminal would obey is escaped."""
    return _MOVING.sub(lambda found: _escaped(found[0]), text)


def _escaped(one: str) -> str:
    return one.encode("unicode_escape", errors="surrogatepass").decode()
