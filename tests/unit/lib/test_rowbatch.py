"""Batches of rows: every value comes back, equal rows give equal bytes, cuts follow the content."""

from __future__ import annotations

import gc
import math
import random
import struct
import weakref

import pytest

from ddr.errors import Damaged
from ddr.lib import rowbatch, rowcells, rowdigest

FAMILIES = ("int", "float", "bool", "text", "bytes")
CELLS: tuple[rowcells.Cell, ...] = (
    None, 0, 1, -1, 127, 255, 256, 2**31, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, 10**40,
    0.0, -0.0, 1.5, math.inf, -math.inf, math.nan, struct.unpack("<d", b"\1\2\3\0\0\0\xf8\xff")[0], 5e-324, 1.8e308,
    True, False, "", "0", "a", "\0", "NULL", "größe", "語" * 3000, "😀", "\udcff\udc80", "x" * 70_000,
    b"", b"\0", b"a", b"\xff" * 300, bytes(range(256)),
)  # fmt: skip
COLUMNS = [(f"c_{family}", family) for family in FAMILIES]


def same(left: rowcells.Cell, right: rowcells.Cell) -> bool:
    """Equal in kind and bits."""
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack("<d", left) == struct.pack("<d", right)
    return type(left) is type(right) and left == right


def as_family(family: str, cell: rowcells.Cell) -> rowcells.Cell:
    """Booleans are 0 and 1 and the other way round: the only two kinds that the families take for each other."""
    if family == "bool" and type(cell) is int and cell in (0, 1):
        return bool(cell)
    return int(cell) if family == "int" and isinstance(cell, bool) else cell


def mixed(count: int, seed: int) -> list[tuple[rowcells.Cell, ...]]:
    """Rows as tables have them: mostly of the family, now and then NULL or something odd."""
    chance = random.Random(seed)

    def row(number: int) -> tuple[rowcells.Cell, ...]:
        odd = chance.random() < 0.01
        return (
            chance.choice(CELLS) if odd else chance.randrange(10**6),
            None if odd else chance.random(),
            chance.random() < 0.5,
            f"run-{number // 40}" if not odd else None,
            chance.randbytes(3),
        )

    return [row(number) for number in range(count)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_cell_survives_in_every_family(family: str) -> None:
    """Alone, with each other one, and all together."""
    pairs = [[left, right] for left in CELLS for right in CELLS]
    checked = 0
    for cells in [*([cell] for cell in CELLS), *pairs, list(CELLS), [*CELLS, *reversed(CELLS)], []]:
        batch = rowbatch.of_rows([("c", family)], [(cell,) for cell in cells])
        for made in (batch, rowbatch.decode(rowbatch.encode(batch))):
            found = [row[0] for row in made.rows()]
            assert len(found) == len(cells)
            for cell, back in zip(cells, found, strict=True):
                assert same(as_family(family, cell), back), (cells, found)
                checked += 1
    print(f"{checked} cells in family {family}")
    assert checked > 2 * len(CELLS) ** 2


def test_equal_rows_give_equal_bytes_however_they_were_put_together() -> None:
    rows = mixed(3000, 1)
    whole = rowbatch.of_rows(COLUMNS, rows)
    builder = rowbatch.Builder(COLUMNS)
    parts = [builder.batch(rows[at : at + 70]) for at in range(0, len(rows), 70)]
    alone = [rowbatch.of_rows(COLUMNS, rows[at : at + 333]) for at in range(0, len(rows), 333)]
    longer = rowbatch.of_rows(COLUMNS, [*mixed(500, 9), *rows, *mixed(500, 8)]).slice(500, 3500)
    expected = rowbatch.encode(whole)
    for other in (rowbatch.joined(parts), rowbatch.joined(alone), longer, rowbatch.decode(expected)):
        assert rowbatch.encode(other) == expected
        assert (other.hashes() == whole.hashes()).all()


def test_golden_bytes() -> None:
    """The format is what stored backups have: these bytes never change."""
    rows = [(1, 0.5, True, "a", b"x"), (300, None, False, "bc", None), (2**70, -0.0, None, "a", b"x")]
    assert rowbatch.encode(rowbatch.of_rows(COLUMNS, rows)).hex() == (
        "646472726f7773310300000005000500635f696e746903040100000002000000691600000031313830353931363230373137"
        "343131333033343234000101000000000000002b010000000000000700635f666c6f6174660102000000000000e03f000000"
        "00000000800600635f626f6f6c6201040100000000000000000001000600635f746578747400010200000001000000020000"
        "006162630001000700635f6279746573780102010100000001000000780000"
    )


def test_damaged_bytes_are_no_batch() -> None:
    """Cut at every byte: Damaged, never something else. Bits that flip: Damaged or another batch, never a crash."""
    content = rowbatch.encode(rowbatch.of_rows(COLUMNS, [*mixed(40, 3), *((cell,) * 5 for cell in CELLS[:30])]))
    for end in range(len(content)):
        with pytest.raises(Damaged):
            rowbatch.decode(content[:end])
    with pytest.raises(Damaged):
        rowbatch.decode(content + b"\0")
    refused = 0
    for at in range(len(content)):
        try:
            list(rowbatch.decode(content[:at] + bytes([content[at] ^ 0x41]) + content[at + 1 :]).rows())
        except Damaged:
            refused += 1
    print(f"{len(content)} bytes: {refused} flips refused")
    assert refused


def test_slices_and_choices_keep_their_cells() -> None:
    import numpy as np

    rows = [(cell,) * 5 for cell in CELLS]
    batch = rowbatch.of_rows(COLUMNS, rows)
    everything = list(batch.rows())
    for start in range(0, len(rows), 5):
        for stop in range(start, len(rows), 3):
            cut = list(batch.slice(start, stop).rows())
            assert len(cut) == stop - start
            assert all(
                same(a, b) for x, y in zip(cut, everything[start:stop], strict=True) for a, b in zip(x, y, strict=True)
            )
    odd_ones = batch.where(np.arange(len(rows)) % 2 == 1)
    assert [str(row) for row in odd_ones.rows()] == [str(row) for row in everything[1::2]]
    texts = set(batch.select(["c_text"]).texts())
    assert texts == {cell for cell in CELLS if isinstance(cell, str | bytes)}
    changed = batch.with_cells("c_int", [7] * len(rows))
    assert {row[0] for row in changed.rows()} == {7}
    assert [str(row[1:]) for row in changed.rows()] == [str(row[1:]) for row in everything]


def test_recut_follows_the_rows_and_not_the_batches() -> None:
    rows = mixed(120_000, 5)
    builder = rowbatch.Builder(COLUMNS)

    def cut(rows: list[tuple[rowcells.Cell, ...]], size: int) -> list[bytes]:
        pieces = (builder.batch(rows[at : at + size]) for at in range(0, len(rows), size))
        made = list(rowbatch.recut(pieces))
        sizes = [batch.size for batch in made]
        assert sum(sizes) == len(rows)
        assert all(rowbatch.MIN_ROWS <= size <= rowbatch.MAX_ROWS for size in sizes[:-1])
        return [rowbatch.encode(batch) for batch in made]

    first = cut(rows, 1000)
    assert cut(rows, 50_000) == first
    assert cut(rows, 7_001) == first
    print(f"{len(first)} batches")
    assert len(set(first) - set(cut([*rows, *mixed(300, 6)], 4096))) <= 1
    for gone in (5, 60_000, 119_000):
        assert len(set(cut(rows[:gone] + rows[gone + 40 :], 4096)) - set(first)) <= 3
    assert list(rowbatch.recut([])) == []


def test_equal_rows_are_cut_at_the_limit() -> None:
    batch = rowbatch.of_rows([("a", "int")], [(1,)] * 100_000)
    sizes = [part.size for part in rowbatch.recut([batch])]
    assert sum(sizes) == 100_000
    assert sizes[0] in (rowbatch.MIN_ROWS, rowbatch.MAX_ROWS)


def test_a_stream_of_many_words_starts_new_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowcells, "_FULL", 50)
    rows = [(f"word {number}", bytes([number % 251])) for number in range(5000)]
    columns = [("t", "text"), ("b", "bytes")]
    made = list(rowbatch.Builder(columns).batches(rows[at : at + 33] for at in range(0, 5000, 33)))
    assert [row for batch in made for row in batch.rows()] == rows
    assert rowdigest.of_batches(made) == rowdigest.of_batches([rowbatch.of_rows(columns, rows)])


def test_long_rows_end_a_batch_early() -> None:
    """However they come in: memory and stored batches stay bounded, the rows and the cuts are the same."""
    rows = [(number, f"{number:06d}" * (5000 if number % 3 else 1)) for number in range(3000)]
    columns = [("id", "int"), ("content", "text")]

    def cut(size: int) -> list[bytes]:
        pieces = (rows[at : at + size] for at in range(0, len(rows), size))
        made = list(rowbatch.recut(rowbatch.Builder(columns).batches(pieces)))
        assert [row for batch in made for row in batch.rows()] == rows
        assert max(int(batch.row_bytes().sum()) for batch in made) < rowbatch.MAX_BYTES + 40_000
        return [rowbatch.encode(batch) for batch in made]

    first = cut(7)
    assert cut(500) == first
    assert len(first) > 5


def test_words_are_let_go_without_the_garbage_collector() -> None:
    """Megabytes each: waiting for it made the memory grow with the table."""
    gc.disable()
    try:
        batch = rowbatch.of_rows([("t", "text")], [("a",), (None,), (b"odd",), ("b",)])
        words = weakref.ref(batch.columns[0].words)
        batch.hashes()
        rowbatch.encode(batch)
        del batch
        assert words() is None
    finally:
        gc.enable()
