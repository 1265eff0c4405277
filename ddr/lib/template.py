"""`{{ name.part }}` in text, filled from nested mappings. No expressions, no code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_FIELD = re.compile(r"\{\{\s*([A-Za-z_][\w.-]*)\s*\}\}")


class UnknownName(KeyError):
    """A template names something that is not there."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def names(text: str) -> Iterator[str]:
    """Every dotted name the text asks for."""
    return (match.group(1) for match in _FIELD.finditer(text))


def _look_up(name: str, scope: Mapping[str, object]) -> str:
    here: object = scope
    for part in name.split("."):
        if not isinstance(here, Mapping) or part not in here:
            raise UnknownName(name)
        here = here[part]
    return str(here)


def fill(text: str, scope: Mapping[str, object]) -> str:
    """The text with every name replaced. Raises UnknownName."""
    return _FIELD.sub(lambda match: _look_up(match.group(1), scope), text)
