"""Shards in three formats, on disk and in a bucket: every bad file is refused with its name, none is executed."""

from __future__ import annotations

import itertools
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ddr.domain import indexes
from ddr.errors import InputError, Unavailable
from tests.unit.index import corpora

ROWS, DIMENSION = 120, 6
VECTORS = corpora.clustered(ROWS, DIMENSION)
DTYPES = ("<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "i1", "u1", "<i2", "<u2", ">i2")


def with_header(text: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    header = text.encode("latin1")
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + body


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_other_types_become_float32(tmp_path: Path, dtype: str) -> None:
    numbers = (VECTORS * 10).astype(np.int32).clip(0, 100).astype(dtype)
    np.save(tmp_path / "v.npy", numbers)
    (shard,) = corpora.open_all(tmp_path, indexes.Source(("v.npy",)))
    for start, stop in ((0, ROWS), (0, 0), (7, 8), (ROWS - 3, ROWS), (ROWS, ROWS)):
        found = shard.vectors(start, stop)
        assert found.dtype == np.float32
        assert found.shape == (stop - start, DIMENSION)
        assert found.flags.c_contiguous
        assert found.flags.owndata or found.base is not None
        np.testing.assert_array_equal(found, numbers[start:stop].astype(np.float32))
    assert shard.facts.dtype == np.dtype(dtype).name


def test_a_float64_beyond_float32_becomes_infinite_and_no_warning(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([[1e300, -1e300, np.nan]]))
    (shard,) = corpora.open_all(tmp_path, indexes.Source(("v.npy",)))
    np.testing.assert_array_equal(shard.vectors(0, 1), [[np.inf, -np.inf, np.nan]])


def test_all_formats_give_the_same_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    corpora.write_fbin(tmp_path / "v.fbin", VECTORS)
    corpora.written(tmp_path, corpora.table(corpora.fixed(VECTORS)), name="fixed.parquet")
    corpora.written(tmp_path, corpora.table(pa.array(VECTORS.tolist(), pa.list_(pa.float32()))), name="list.parquet")
    corpora.written(
        tmp_path, corpora.table(pa.array(VECTORS.tolist(), pa.large_list(pa.float64()))), name="large.parquet"
    )
    source = indexes.Source(("v.npy", "v.fbin", "*.parquet"))
    shards = corpora.open_all(tmp_path, source)
    ranges = [
        (0, ROWS),
        (10, 20),
        (20, 70),
        (5, 6),
        (49, 51),
        (0, 1),
        (ROWS, ROWS),
        (ROWS - 1, ROWS),
        (33, 33),
        (99, 101),
    ]
    count = 0
    for shard, (start, stop) in itertools.product(shards, ranges):
        np.testing.assert_array_equal(shard.vectors(start, stop), VECTORS[start:stop])
        count += 1
    print(f"{count} ranges of {len(shards)} files")


def test_a_null_vector_is_read_as_not_finite(tmp_path: Path) -> None:
    for number, kind in enumerate((pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.int8()))):
        rows = [None, [1, 2], None, [3, None], [5, 6]]
        corpora.written(tmp_path, corpora.table(pa.array(rows, kind)), 2, f"{number}.parquet")
        (shard,) = corpora.open_all(tmp_path, indexes.Source((f"{number}.parquet",)))
        nan = np.nan
        np.testing.assert_array_equal(shard.vectors(0, 5), [[nan, nan], [1, 2], [nan, nan], [3, nan], [5, 6]])


def test_a_null_vector_of_fixed_size_is_refused(tmp_path: Path) -> None:
    """Arrow writes such a column and cannot read it."""
    corpora.written(tmp_path, corpora.table(pa.array([[1, 2], None], pa.list_(pa.float32(), 2))))
    (shard,) = corpora.open_all(tmp_path, indexes.Source(("v.parquet",)))
    with pytest.raises(InputError, match="lists to be of size=2"):
        shard.vectors(0, 2)


def bad_npy() -> dict[str, tuple[bytes, str]]:
    whole = corpora.npy(VECTORS)
    header = "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }"
    return {
        "empty": (b"", "no .npy"),
        "another magic": (b"PAR1" + whole, "no .npy"),
        "a zip": (b"PK\x03\x04" + whole, "no .npy"),
        "only the magic": (whole[:6], "damaged or cut off"),
        "half a header": (whole[:40], "damaged or cut off"),
        "a header of another version": (b"\x93NUMPY\x09\x00" + whole[8:], "damaged or cut off"),
        "a header that is no dict": (with_header("[1, 2]"), "damaged or cut off"),
        "a header that is code": (with_header("__import__('os').system('true')"), "damaged or cut off"),
        "a deep header": (with_header("(" * 5000), "damaged or cut off"),
        "objects": (corpora.npy(np.array([[1, "x"]], object)), "pickled"),
        "a pickle": (pickle.dumps([1]), "no .npy"),
        "complex": (corpora.npy(VECTORS.astype(complex)), "complex128"),
        "bool": (corpora.npy(VECTORS > 0), "bool"),
        "int64": (corpora.npy(VECTORS.astype(np.int64)), "int64"),
        "text": (corpora.npy(np.array([["a", "b"]])), "<U1"),
        "dates": (corpora.npy(np.zeros((2, 2), "M8[s]")), "datetime64"),
        "fields": (corpora.npy(np.zeros((2, 2), [("a", "f4")])), "'a'"),
        "one axis": (corpora.npy(VECTORS[0]), "shape (6,)"),
        "no axis": (corpora.npy(np.array(1, np.float32)), "shape ()"),
        "three axes": (corpora.npy(VECTORS.reshape(2, -1, 3)), "shape (2,"),
        "no dimension": (corpora.npy(VECTORS[:, :0]), "shape (120, 0)"),
        "Fortran order": (corpora.npy(np.asfortranarray(VECTORS)), "Fortran"),
        "negative rows": (with_header(header % ("<f4", "False", "(-1, 4)")), "no shape"),
        "far too many rows": (with_header(header % ("<f4", "False", "(1000000000000000000000, 4)")), "cut off"),
        "one byte more": (whole + b"\0", "more than its header"),
    }


@pytest.mark.parametrize("name", bad_npy())
def test_a_bad_npy_is_refused(tmp_path: Path, name: str) -> None:
    content, told = bad_npy()[name]
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"v\.npy") as caught:
        corpora.find(tmp_path, "v.npy")
    assert told in caught.value.message
    assert caught.value.hint


def test_every_byte_of_a_header_changed_is_an_input_error_or_another_array(tmp_path: Path) -> None:
    """Never another exception, and never more rows than the file has."""
    whole = corpora.npy(VECTORS[:9])
    path = tmp_path / "v.npy"
    refused = read = 0
    for at in range(128):
        for value in (0, 0x20, 0x27, 0x28, 0x2D, 0x31, 0x7D, 0x80, 0xFF, whole[at] ^ 1):
            path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                (shard,) = corpora.open_all(tmp_path, indexes.Source(("v.npy",)))
            except InputError:
                refused += 1
                continue
            assert shard.vectors(0, shard.facts.rows).shape == (shard.facts.rows, shard.facts.dimension)
            read += 1
    print(f"{refused} of {refused + read} refused, {read} read")


def test_every_truncation_of_npy_and_fbin_is_found(tmp_path: Path) -> None:
    few = VECTORS[:9]
    corpora.write_fbin(tmp_path / "v.fbin", few)
    np.save(tmp_path / "v.npy", few)
    count = 0
    for path in (tmp_path / "v.npy", tmp_path / "v.fbin"):
        whole = path.read_bytes()
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            with pytest.raises(InputError, match=path.name):
                corpora.find(tmp_path, path.name)
            count += 1
    print(f"{count} truncated files refused")


def test_every_truncation_of_parquet_is_found(tmp_path: Path) -> None:
    path = corpora.written(tmp_path, corpora.table(corpora.fixed(VECTORS[:9])))
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"v\.parquet"):
            corpora.find(tmp_path, "v.parquet")
    print(f"{len(whole)} truncated files refused")


@pytest.mark.parametrize("has_checksums", [False, True])
def test_a_damaged_page_of_parquet_is_an_input_error_or_other_numbers(tmp_path: Path, has_checksums: bool) -> None:
    """Where pages have no checksums, what is silent here the digest of the scan tells; where they have, no number is
    another one."""
    path = tmp_path / "v.parquet"
    content = corpora.table(corpora.fixed(VECTORS[:20]), id=pa.array(range(20)))
    pq.write_table(content, path, write_page_checksum=has_checksums)
    whole = path.read_bytes()
    told = silent = other = 0
    for at in range(4, len(whole), 7):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        path.write_bytes(damaged)
        try:
            (shard,) = corpora.open_all(tmp_path, indexes.Source(("v.parquet",), "id"))
            vectors, labels = shard.vectors(0, shard.facts.rows), shard.labels(0, shard.facts.rows)
            assert labels is not None
            silent += 1
            other += not (np.array_equal(vectors, VECTORS[:20]) and np.array_equal(labels, np.arange(20)))
        except InputError as problem:
            assert "v.parquet" in problem.message  # noqa: PT017
            told += 1
    print(f"{told} of {told + silent} told, {other} read as other numbers")
    assert (other == 0) == has_checksums


BAD_COLUMNS: dict[str, tuple[Callable[[], pa.Table], str]] = {
    "no such column": (lambda: pa.table({"other": [1]}), "0 columns 'vector'"),
    "texts": (lambda: corpora.table(["a"]), "no vectors"),
    "lists of texts": (lambda: corpora.table([["a"]]), "no vectors"),
    "lists of lists": (lambda: corpora.table([[[1.0]]]), "no vectors"),
    "int64": (lambda: corpora.table(pa.array([[1]], pa.list_(pa.int64()))), "no vectors"),
    "only empty lists": (lambda: corpora.table(pa.array([[], []], pa.list_(pa.float32()))), "is empty"),
    "no row": (lambda: corpora.table(pa.array([], pa.list_(pa.float32()))), "no row is there"),
    "only nulls": (lambda: corpora.table(pa.array([None, None], pa.list_(pa.float32()))), "is empty"),
    "no id column": (lambda: corpora.table(corpora.fixed(VECTORS)), "0 columns 'id'"),
    "ids of floats": (lambda: corpora.table([[1.0]], id=[1.0]), "no ids"),
}


@pytest.mark.parametrize("name", BAD_COLUMNS)
def test_a_column_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    made, told = BAD_COLUMNS[name]
    corpora.written(tmp_path, made())
    with pytest.raises(InputError, match=r"v\.parquet") as caught:
        corpora.find(tmp_path, "v.parquet", ids="id" if "id" in name else "")
    assert told in caught.value.message
    if name in ("no such column", "no id column"):
        assert caught.value.hint.startswith("`ids:` names" if "id" in name else "`column:` names")


def test_without_its_library_nothing_is_said_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpora.written(tmp_path, corpora.table(corpora.fixed(VECTORS)))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Unavailable, match=r"v\.parquet cannot be read without pyarrow") as caught:
        corpora.find(tmp_path, "v.parquet")
    assert caught.value.hint == "pip install 'ddr[parquet]'"


def test_a_row_of_another_length_is_named_when_it_is_read(tmp_path: Path) -> None:
    for rows, at in (([[1.0, 2.0]] * 70 + [[1.0]], 70), ([[1.0], [1.0, 2.0]], 1), ([None, [1.0], []], 2)):
        corpora.written(tmp_path, corpora.table(pa.array(rows, pa.list_(pa.float32()))))
        (shard,) = corpora.open_all(tmp_path, indexes.Source(("v.parquet",)))
        with pytest.raises(InputError, match=f"row {at} has"):
            shard.vectors(0, len(rows))


@pytest.mark.parametrize("form", ["npy", "parquet", "json"])
def test_numbers_that_are_no_ids_are_named(tmp_path: Path, form: str) -> None:
    cases: list[tuple[list[int], str, str]] = [
        ([0, 2**63 - 1, -1], "int64", "row 2: -1"),
        ([0, 2**63, 1], "uint64", "row 1: 9223372036854775808"),
        ([-5, 0, 1], "int8", "row 0: -5"),
    ]
    for numbers, dtype, told in cases:
        source = indexes.Source(("v.npy",), f"i.{form}")
        np.save(tmp_path / "v.npy", VECTORS[:3])
        if form == "npy":
            np.save(tmp_path / "i.npy", np.array(numbers, dtype))
        elif form == "json":
            (tmp_path / "i.json").write_text(json.dumps(numbers))
        else:
            source = indexes.Source(("v.parquet",), "id")
            corpora.written(tmp_path, corpora.table(corpora.fixed(VECTORS[:3]), id=pa.array(numbers, dtype)))
        with pytest.raises(InputError) as caught:
            corpora.open_all(tmp_path, source)[0].labels(0, 3)
        assert told in caught.value.message


def test_ids_of_every_form(tmp_path: Path) -> None:
    numbers = np.array([5, 0, 2**63 - 1], np.int64)
    texts = ["a", "größe", ""]
    np.save(tmp_path / "v.npy", VECTORS[:3])
    np.save(tmp_path / "i.npy", numbers)
    np.save(tmp_path / "small.npy", np.array([5, 0, 7], "u1"))
    (tmp_path / "i.json").write_text(json.dumps(numbers.tolist()))
    (tmp_path / "t.json").write_text(json.dumps(texts))
    dictionary = pa.array(texts).dictionary_encode()
    corpora.written(
        tmp_path, corpora.table(corpora.fixed(VECTORS[:3]), i=numbers, u=numbers.astype("u8"), t=texts, d=dictionary), 2
    )
    for vectors, ids in (
        ("v.npy", "i.npy"),
        ("v.npy", "i.json"),
        ("v.parquet", "i"),
        ("v.parquet", "u"),
        ("v.parquet", "i.npy"),
    ):
        (shard,) = corpora.open_all(tmp_path, indexes.Source((vectors,), ids))
        for start, stop in ((0, 3), (1, 2), (2, 3), (0, 0)):
            found = shard.labels(start, stop)
            assert found is not None
            assert found.dtype == np.int64
            np.testing.assert_array_equal(found, numbers[start:stop])
        assert (shard.id_kind, shard.texts(0, 3)) == ("number", [])
    for vectors, ids in (("v.npy", "t.json"), ("v.parquet", "t"), ("v.parquet", "d"), ("v.parquet", "t.json")):
        (shard,) = corpora.open_all(tmp_path, indexes.Source((vectors,), ids))
        assert (shard.id_kind, shard.labels(0, 3), shard.texts(1, 3)) == ("text", None, texts[1:])
    (shard,) = corpora.open_all(tmp_path, indexes.Source(("v.npy",)))
    assert (shard.id_kind, shard.labels(0, 3), shard.texts(0, 3)) == ("position", None, [])
    (shard,) = corpora.open_all(tmp_path, indexes.Source(("v.npy",), "small.npy"))
    assert shard.labels(0, 3).tolist() == [5, 0, 7]  # type: ignore[union-attr]


@pytest.mark.parametrize("is_dictionary", [False, True])
def test_a_text_of_parquet_that_is_no_utf8_is_named(tmp_path: Path, is_dictionary: bool) -> None:
    texts = pa.array([b"a", b"b", b"c", b"caf\xe9", b"\xff"]).view(pa.string())
    column = texts.dictionary_encode() if is_dictionary else texts
    corpora.written(tmp_path, corpora.table(corpora.fixed(VECTORS[:5]), id=column), 2)
    (shard,) = corpora.open_all(tmp_path, indexes.Source(("v.parquet",), "id"))
    assert shard.texts(0, 3) == ["a", "b", "c"]
    for start, row in ((0, 3), (1, 3), (3, 3), (4, 4)):
        with pytest.raises(InputError, match=rf"v\.parquet: row {row}: its id is no UTF-8"):
            shard.texts(start, 5)


BAD_ID_FILES = {
    "too few": ("i.json", b"[1, 2]", "2 ids, its shard has 3"),
    "too many": ("i.npy", corpora.npy(np.arange(4)), "4 ids, its shard has 3"),
    "two axes": ("i.npy", corpora.npy(np.zeros((3, 1), int)), "shape (3, 1)"),
    "floats": ("i.npy", corpora.npy(np.zeros(3)), "float64"),
    "pickled": ("i.npy", corpora.npy(np.array(["a", 1, 2], object)), "pickled"),
    "no JSON": ("i.json", b"[1, 2", "no JSON"),
    "half an object": ("i.json", b"{", "no list of ids"),
    "nothing": ("i.json", b"", "no JSON"),
    "not UTF-8": ("i.json", b'["\xff", "b", "c"]', "no "),
    "an object": ("i.json", b'{"a": 1}', "no list of ids"),
    "mixed": ("i.json", b'[1, "2", 3]', "no list of ids"),
    "a null": ("i.json", b'["a", null, "c"]', "no list of ids"),
    "a bool": ("i.json", b"[1, true, 3]", "no list of ids"),
    "a fraction": ("i.json", b"[1, 2.5, 3]", "no list of ids"),
    "huge": ("i.json", b"[1, 2, 99999999999999999999999999]", "row 2"),
    "deep": ("i.json", b"[" * 100_000, "no "),
}


@pytest.mark.parametrize("name", BAD_ID_FILES)
def test_a_bad_file_of_ids_is_refused(tmp_path: Path, name: str) -> None:
    file, content, told = BAD_ID_FILES[name]
    np.save(tmp_path / "v.npy", VECTORS[:3])
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError, match=file.replace(".", r"\.")) as caught:
        corpora.find(tmp_path, "v.npy", ids=file)
    assert told in caught.value.message
