"""The key rule all stores share, so that what fits one store fits every other.

Parts that begin with a dot are kept free: a folder store puts its lock and its unfinished files there.
"""

from __future__ import annotations

import re

from ddr.errors import InputError

LONGEST_KEY = 512
LONGEST_PART = 200

_PART = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9._-]{{0,{LONGEST_PART - 1}}}")
_RULE = (
    "a key is `a/b/c` of letters, digits, `.`, `_` and `-`, at most "
    f"{LONGEST_KEY} characters; a part has at most {LONGEST_PART} and does not begin with a dot"
)


def is_part(text: str) -> bool:
    """Whether this may stand between two slashes of a key."""
    return _PART.fullmatch(text) is not None


def is_key(text: str) -> bool:
    return len(text) <= LONGEST_KEY and all(is_part(part) for part in text.split("/"))


def check(key: str) -> None:
    """Raise InputError unless this is a key."""
    if not is_key(key):
        raise InputError(f"{_shown(key)} is not a key", hint=_RULE)


def check_beginning(text: str) -> None:
    """Raise InputError unless a key may begin with this; '' is the beginning of every key."""
    *folders, last = text.split("/")
    if len(text) > LONGEST_KEY or not all(is_part(part) for part in folders) or not (last == "" or is_part(last)):
        raise InputError(f"{_shown(text)} is not the beginning of a key", hint=_RULE)


def check_range(start: int, size: int | None) -> None:
    """Raise InputError unless `start` and `size` name a range of bytes."""
    if start < 0 or (size is not None and size < 0):
        raise InputError(f"bytes from {start}, {size} of them: that is no range", hint="both count from 0")


def folders(key: str) -> list[str]:
    """The keys that `key` makes into folders: `a` and `a/b` for `a/b/c`."""
    parts = key.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:79] + "…")
