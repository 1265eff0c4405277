"""Text from elsewhere, which need not be any in UTF-8, and which may hold what moves the cursor, sets a title or forges
a line of ours: ids, names of files, errors of others."""

from __future__ import annotations

import re

_LONGEST = 80
_MOVING = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")
"""Control characters but for tabs, line ends and the sequences of colours."""


def text(told: str) -> str:
    """What can be written, with `\\udcff` for what UTF-8 cannot say."""
    return told.encode(errors="backslashreplace").decode()


def name(text: str) -> str:
    """On one line, at most 80 characters of it, with all that no eye sees escaped."""
    cut = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return "".join(one if one.isprintable() else _escaped(one) for one in cut)


def screen(text: str) -> str:
    """Lines and colours stay; the rest that a terminal would obey is escaped."""
    return _MOVING.sub(lambda found: _escaped(found[0]), text)


def _escaped(one: str) -> str:
    return one.encode("unicode_escape", errors="surrogatepass").decode()
