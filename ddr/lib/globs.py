"""Which paths of a tree are meant: `*` within one name, `**` across folders, `?`, `[...]`.

A pattern without a slash is held against names, at any depth: `*.yaml`, `__pycache__`. One with a slash counts from
the root: `configs/*.yaml`, `data/**`, `**/secrets/*.key`. A pattern that fits a folder takes all that is below it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

_MAGIC = re.compile(r"[*?\[]")
Fits = Callable[[str, str], bool]
"""(path, its last part): whether one of the patterns fits."""


def _translated(pattern: str) -> str:
    """A pattern as a regular expression for a whole path."""
    out, at = [], 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out.append("(?:.*/)?")
            at += 3
        elif pattern.startswith("**", at):
            out.append(".*")
            at += 2
        elif pattern[at] == "*":
            out.append("[^/]*")
            at += 1
        elif pattern[at] == "?":
            out.append("[^/]")
            at += 1
        elif pattern[at] == "[" and (end := pattern.find("]", at + 2)) > 0:
            inner = pattern[at + 1 : end].replace("\\", "\\\\")
            out.append(f"[^/{inner[1:]}]" if inner[0] in "!^" else f"(?!/)[{inner}]")
            at = end + 1
        else:
            out.append(re.escape(pattern[at]))
            at += 1
    return "".join(out)


def _normal(pattern: str) -> str:
    """Without what means nothing: `./` and `/` in front, `/` and `/**` at the end (a folder has all below it)."""
    text = pattern.removeprefix("./")
    is_anchored = "/" in text.rstrip("/") or text.startswith("/")
    text = text.strip("/")
    while text.endswith("/**"):
        text = text[:-3]
    return f"/{text}" if is_anchored else text


def fits(patterns: Sequence[str]) -> Fits:
    """A test for a path and its name. Raises ValueError for a pattern that is none."""
    normal = [_normal(pattern) for pattern in patterns]
    for pattern, text in zip(patterns, normal, strict=True):
        if not text.strip("/"):
            raise ValueError(f"{pattern!r} is no pattern: it names nothing")
    try:
        names = re.compile("|".join(_translated(text) for text in normal if text[0] != "/") or r"(?!)", re.DOTALL)
        paths = re.compile("|".join(_translated(text[1:]) for text in normal if text[0] == "/") or r"(?!)", re.DOTALL)
    except re.error as problem:
        raise ValueError(f"no pattern among {', '.join(patterns)}: {problem}") from problem
    by_name, by_path = names.fullmatch, paths.fullmatch
    if all(text[0] != "/" for text in normal):
        return lambda path, name: by_name(name) is not None
    return lambda path, name: by_name(name) is not None or by_path(path) is not None


@dataclass(frozen=True)
class Globs:
    """`include` () is everything; `exclude` wins."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fits(self.include)
        fits(self.exclude)

    @cached_property
    def includes(self) -> Fits:
        return fits(self.include) if self.include else lambda path, name: True

    @cached_property
    def excludes(self) -> Fits:
        return fits(self.exclude)

    @cached_property
    def _heads(self) -> tuple[tuple[str, ...], ...] | None:
        """The literal beginnings of the patterns; None where one may fit anywhere."""
        heads = []
        for pattern in map(_normal, self.include):
            if pattern[0] != "/":
                return None
            parts = pattern[1:].split("/")
            literal = next((at for at, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
            heads.append(tuple(parts[:literal]))
        return tuple(heads)

    def may_hold(self, folder: str) -> bool:
        """Whether it is worth looking into a folder that is not included itself."""
        if self._heads is None:
            return True
        parts = tuple(folder.split("/"))
        return any(parts[: len(head)] == head[: len(parts)] for head in self._heads)

    def takes(self, path: str) -> bool:
        """Whether a path is meant, by itself or by a folder above it."""
        parts = path.split("/")
        above = [("/".join(parts[: at + 1]), part) for at, part in enumerate(parts)]
        if any(self.excludes(*one) for one in above):
            return False
        return any(self.includes(*one) for one in above)
