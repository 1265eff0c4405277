"""`.env` files: the names on the left of `=`. Values are skipped whole, also those of several lines.

Only `values` reads them, for the search for secrets: they stay in memory and are told to nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ddr.connectors.secret_references import found

KIND = "environment variable"
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.\-]*)\s*[=]\s*(.*)", re.DOTALL)
_NAME_ONLY = re.compile(r"\s*(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*\s*")
_BLOCK = re.compile(r"-----(BEGIN|END) ")


def read(text: str, origin: str, into: found.Found) -> None:
    """One reference for each name; `origin` is the file."""
    odd: list[int] = []
    for line, name, _ in _entries(text, odd):
        into.add(name, KIND, (), f"{origin}:{line}")
    if odd:
        shown = ", ".join(map(str, odd[:5])) + (" …" if len(odd) > 5 else "")
        into.complaints.append(f"{origin}: {len(odd)} lines are no NAME=value and were skipped: {shown}")


def values(text: str, origin: str) -> Iterator[tuple[str, str]]:
    """(`NAME of FILE:LINE`, its value) of each variable with a value of one line."""
    for line, name, written in _entries(text, []):
        value = written.strip()
        if value[:1] in ("'", '"', "`"):
            end = value.find(value[0], 1)
            value = value[1 : value.rfind(value[0])] if end > 0 else ""
        else:
            value = re.split(r"\s#", value, maxsplit=1)[0].strip()
        if value:
            yield f"{name} of {origin}:{line}", value
        if "\\" in value and written.lstrip()[:1] == '"':
            yield f"{name} of {origin}:{line}, unescaped", re.sub(r"\\(.)", r"\1", value)


def _entries(text: str, odd: list[int]) -> Iterator[tuple[int, str, str]]:
    quote = ""  # of a value that goes on over lines
    in_block = False  # of a key that was pasted without quotes
    for number, line in enumerate(text.splitlines(), 1):
        if quote:
            quote = "" if _closes(line, quote) else quote
            continue
        if in_block:
            in_block = "-----END " not in line
            continue
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if not match:
            if not _NAME_ONLY.fullmatch(line) or len(line.strip()) > 40:
                odd.append(number)
            in_block = bool(_BLOCK.search(line)) and "-----END " not in line
            continue
        name, value = match.groups()
        if value[:1] in ("'", '"', "`") and not _closes(value[1:], value[0]):
            quote = value[0]
        elif value[:1] not in ("'", '"', "`") and "-----BEGIN " in value and "-----END " not in value:
            in_block = True
        if found.is_name(name):
            yield number, name, value
        else:
            odd.append(number)


def _closes(rest: str, quote: str) -> bool:
    """Whether the quote ends in this line; a backslash keeps it open, except in single quotes."""
    escaped = False
    for char in rest:
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif char == quote:
            return True
    return False
