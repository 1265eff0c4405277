"""The digest of a table: the same in every order, another one for every change; golden numbers."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Sequence

import blake3
import pytest

from ddr.lib import rowbatch, rowcells, rowdigest
from tests.unit.lib import test_rowbatch as batches

COLUMNS = [("id", "int"), ("value", "float"), ("is_nan", "bool"), ("key", "text"), ("blob", "bytes")]
ROWS: list[tuple[rowcells.Cell, ...]] = [
    (1, 0.5, False, "größe", b"\0\1"),
    (-1, math.inf, True, "", b""),
    (2**63 - 1, -math.inf, None, None, None),
    (2**80, math.nan, True, "a", b"a"),
    (None, -0.0, False, "NULL", b"NULL"),
    (0, None, False, "a", b"x" * 100),
]


def by_hand(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[rowcells.Cell]]) -> str:
    """The formula of the docstring, word for word, in plain Python."""

    def mix(x: int) -> int:
        x ^= x >> 30
        x = x * 0xBF58476D1CE4E5B9 % 2**64
        x ^= x >> 27
        x = x * 0x94D049BB133111EB % 2**64
        return x ^ x >> 31

    def lanes(content: bytes) -> tuple[int, ...]:
        return struct.unpack("<4Q", blake3.blake3(content).digest())

    def cell(value: rowcells.Cell, seed: int, lane: int) -> int:
        if value is None:
            return mix(lanes(b"n")[lane] ^ seed)
        if isinstance(value, int) and -(2**63) <= value < 2**63:
            return mix(int(value) % 2**64 ^ seed)
        if isinstance(value, float):
            value = 0.0 if value == 0 else value
            bits = 0x7FF8000000000000 if math.isnan(value) else struct.unpack("<Q", struct.pack("<d", value))[0]
            return mix((mix(bits ^ seed) + 1) % 2**64)
        word = b"i" + str(value).encode() if isinstance(value, int) else b""
        word = b"t" + value.encode("utf-8", "surrogateescape") if isinstance(value, str) else word
        word = b"x" + value if isinstance(value, bytes) else word
        return mix(lanes(word)[lane] ^ seed)

    seeds = [lanes(b"ddr row digest 1 column " + name.encode()) for name, _ in columns]
    table = [0, 0, 0, 0]
    for row in rows:
        for lane in range(4):
            total = sum(cell(value, seed[lane], lane) for value, seed in zip(row, seeds, strict=True))
            table[lane] = (table[lane] + mix(total % 2**64)) % 2**64
    return f"rows1:{len(rows)}:" + "".join(f"{lane:016x}" for lane in table)


def of(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[rowcells.Cell]]) -> str:
    return rowdigest.of_batches([rowbatch.of_rows(columns, rows)])


def test_golden_numbers() -> None:
    """Stored backups carry these: they never change."""
    assert of(COLUMNS, ROWS) == ("rows1:6:960100ad9bc449c359a4bfa038d2e9033790eb09485196a97ed01131c71279be")
    assert of(COLUMNS, []) == "rows1:0:" + "0" * 64
    assert of([("a", "int")], [(1,)]) == ("rows1:1:58aed7ed86382e58eb1e3e6f4691d824969867ebd4d2cb2ec6dfc5a2bfcf2825")


def test_the_formula_word_for_word() -> None:
    everything = [(cell,) * 5 for cell in batches.CELLS]
    for rows in (ROWS, everything, batches.mixed(500, 7)):
        assert of(COLUMNS, rows) == by_hand(COLUMNS, rows)


def test_order_cuts_and_families_do_not_count() -> None:
    rows = batches.mixed(5000, 11)
    expected = of(batches.COLUMNS, rows)
    shuffled = random.Random(2).sample(rows, len(rows))
    assert of(batches.COLUMNS, shuffled) == expected
    builder = rowbatch.Builder(batches.COLUMNS)
    assert rowdigest.of_batches(builder.batch(shuffled[at : at + 77]) for at in range(0, 5000, 77)) == expected
    assert of(batches.COLUMNS[::-1], [row[::-1] for row in rows]) == expected
    # A dialect without booleans gives 0 and 1, and -0.0 is 0.0 in some, and NaN has many bit patterns.
    assert of([("a", "int"), ("b", "float")], [(1, -0.0)]) == of([("a", "bool"), ("b", "float")], [(True, 0.0)])
    odd_nan = struct.unpack("<d", b"\1\2\3\0\0\0\xf8\xff")[0]
    assert of([("a", "float")], [(odd_nan,)]) == of([("a", "float")], [(math.nan,)])


def test_every_single_change_is_seen() -> None:
    """Each cell by each other value, rows lost or doubled, cells exchanged between rows and columns."""
    seen = {of(COLUMNS, ROWS): "as it is"}

    def add(what: str, digest: str) -> None:
        assert digest not in seen, f"{what} and {seen[digest]} are the same"
        seen[digest] = what

    other: tuple[rowcells.Cell, ...] = (None, 17, 2**90, 0.25, "17", b"17", "\0")
    for at, row in enumerate(ROWS):
        add(f"without row {at}", of(COLUMNS, ROWS[:at] + ROWS[at + 1 :]))
        add(f"row {at} twice", of(COLUMNS, [*ROWS, row]))
        for place in range(len(COLUMNS)):
            for value in other:
                if row[place] is not value and row[place] != value:
                    changed = (*row[:place], value, *row[place + 1 :])
                    add(f"{at}.{place} = {value!r}", of(COLUMNS, [*ROWS[:at], changed, *ROWS[at + 1 :]]))
    for left in range(len(ROWS)):
        for right in range(left):
            for place in range(len(COLUMNS)):
                if repr(ROWS[left][place]) in (repr(ROWS[right][place]), "-0.0", "0"):
                    continue
                rows = [list(row) for row in ROWS]
                rows[left][place], rows[right][place] = rows[right][place], rows[left][place]
                add(f"cell {place} of {left} and {right} exchanged", of(COLUMNS, rows))
    print(f"{len(seen)} tables, {len(seen)} digests")
    assert len(seen) > 200


@pytest.mark.parametrize("name", ["id", "", "größe"])
def test_the_name_of_a_column_counts(name: str) -> None:
    assert of([(name, "int")], [(1,)]) != of([("other", "int")], [(1,)])
