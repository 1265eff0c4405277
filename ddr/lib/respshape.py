"""Answers to many HMGET of the same fields, taken apart by one regular expression instead of word by word.

Most hashes of a view look alike: each field has one of a few lengths, or is not there. The expression knows the lengths
that were seen, so a match says what reading the lengths would have said; what does not match is read the slow way, and
its lengths are known from then on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

_MOST = 12  # lengths of one field; with more of them reading the words one by one is as fast
_LONGEST = 4096

Cells = tuple[bytes | None, ...]


@dataclass
class Shape:
    """Hashes of `width` fields."""

    width: int
    _lengths: list[list[int]] = field(default_factory=list)
    _pattern: re.Pattern[bytes] | None = None
    _is_wild: bool = False

    def take(self, buffer: bytes, at: int, count: int) -> tuple[list[Cells], int]:
        """At most `count` whole hashes from `at` on, in rows, and where they end."""
        if self._pattern is None:
            return [], at
        found = list(islice(self._pattern.finditer(buffer, at), count))
        ends = [at]
        ends += [match.end() for match in found]
        if [match.start() for match in found] != ends[:-1]:  # something else stands between them
            whole = next(n for n, match in enumerate(found) if match.start() != ends[n])
            found, ends = found[:whole], ends[: whole + 1]
        rows: list[Cells] = [match.groups() for match in found]
        if rows and any(len(one) > 1 for one in self._lengths):
            rows = self._merged(rows)
        return rows, ends[-1]

    def _merged(self, rows: Sequence[Cells]) -> list[Cells]:
        """One cell for the groups of each field."""
        groups = iter(zip(*rows, strict=True))
        columns: list[Sequence[bytes | None]] = []
        for lengths in self._lengths:
            column: Sequence[bytes | None] = next(groups)
            for more in islice(groups, max(1, len(lengths)) - 1):
                column = [new if old is None else old for old, new in zip(column, more, strict=True)]
            columns.append(column)
        return list(zip(*columns, strict=True))

    def learn(self, cells: Cells) -> None:
        """A hash that did not match."""
        if self._is_wild:
            return
        self._lengths = self._lengths or [[] for _ in range(self.width)]
        is_new = self._pattern is None
        for lengths, cell in zip(self._lengths, cells, strict=True):
            if cell is not None and len(cell) not in lengths:
                lengths.append(len(cell))
                is_new = True
        if any(len(one) > _MOST or max(one, default=0) > _LONGEST for one in self._lengths):
            self._is_wild, self._pattern = True, None
        elif is_new:
            self._pattern = re.compile(self._expression(), re.DOTALL)

    def _expression(self) -> bytes:
        parts = [rb"\*%d\r\n" % self.width]
        for lengths in self._lengths:
            # A field that never had a value still needs a group: one that cannot match.
            some = [rb"%d\r\n(.{%d})" % (size, size) for size in lengths] or [b"((?!))"]
            parts.append(rb"\$(?:" + b"|".join([*some, b"-1"]) + rb")\r\n")
        return b"".join(parts)
