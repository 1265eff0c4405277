"""Names of the versions that `ddr index` publishes, which end with digits of the digest of their manifest.

No byte of a manifest can be changed without the name knowing. Here because two rooms hold it to that which do not see
each other: `index`, which writes it, and the connector through which a service goes back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ddr.errors import Damaged
from ddr.lib import digest

_NAME = re.compile(r"v(\d{6,9})-([0-9a-f]{12})")


def is_ours(version: str) -> bool:
    """Whether it is a name that `ddr index` gives; a home may have versions that others put there."""
    return _NAME.fullmatch(version) is not None


def number(version: str) -> int:
    """Counts up with each version of a home; 0 where ddr did not name it."""
    match = _NAME.fullmatch(version)
    return int(match[1]) if match else 0


def name(count: int, said: Mapping[str, Any]) -> str:
    """Of the version whose manifest says this; what it says its own name is does not count."""
    return f"v{count:06d}-{_own(said)}"


def proved(content: bytes, version: str, where: str, hint: str) -> dict[str, Any]:
    """What the manifest of `version` says, whichever ddr wrote it: its fields are not looked at. Damaged when a single
    byte is not as it was when `version` got its name."""
    try:
        said = json.loads(content)
        is_plain = isinstance(said, dict) and digest.line(said) == content
    except (ValueError, RecursionError) as problem:
        raise Damaged(f"{where} is no JSON: {problem}", hint=hint) from problem
    if not is_plain:
        raise Damaged(f"{where} was edited: these are not the bytes that ddr writes", hint=hint)
    match = _NAME.fullmatch(version)
    if said.get("version") != version or not match or match[2] != _own(said):
        raise Damaged(f"{where} is not the manifest of {version}: it was edited, or is another one's", hint=hint)
    found: dict[str, Any] = said
    return found


def _own(said: Mapping[str, Any]) -> str:
    return digest.short(digest.of_bytes(digest.line({**said, "version": ""})))
