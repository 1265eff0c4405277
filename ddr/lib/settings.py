"""The settings of a YAML or JSON file as plain `key: value` texts that may be shown and kept: no secret among them.

What is no number, no switch and no short word is told by its length alone; a key that sounds like a secret, or a value
that looks like one, not even by that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ddr.lib import located, redact, yamlmask

MOST = 200
_WORD = re.compile(r"[A-Za-z0-9_.:/@+-]{1,40}")
_JUMBLE = re.compile(r"(?=[A-Za-z0-9+/_=-]*\d)(?=[A-Za-z0-9+/_=-]*[A-Za-z])[A-Za-z0-9+/_=-]{16,}")
_HIDDEN = "(hidden)"


def plain(text: str) -> dict[str, str]:
    """The first settings by dotted keys; none where the text is neither YAML nor JSON."""
    try:
        masked = yamlmask.masked(text)
        root = located.parse_yaml(masked.text)
    except (yamlmask.Unreadable, located.Malformed):
        return {}
    hidden = set(masked.keys)
    found: dict[str, str] = {}
    for key, value in _scalars(root, ""):
        if len(found) == MOST:
            break
        found[key] = _HIDDEN if key in hidden else _spoken(value)
    return found


def _scalars(node: located.Node, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(node.value, dict):
        for name, child in node.fields.items():
            yield from _scalars(child, f"{key}.{name}" if key else name)
    elif isinstance(node.value, tuple):
        for at, child in enumerate(node.value):
            yield from _scalars(child, f"{key}[{at}]")
    else:
        yield key, node.value


def _spoken(value: object) -> str:
    if not isinstance(value, str):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if redact.find_secret(value) or _JUMBLE.search(value):
        return _HIDDEN
    return value if _WORD.fullmatch(value) else f"text of {len(value)} letters"
