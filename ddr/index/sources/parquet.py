"""Vectors and ids in columns of Parquet files: read row group by row group, page by page, never a whole file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddr.errors import DdrError, InputError, Unavailable
from ddr.index.sources import arrays, ids, places
from ddr.lib import redact

_BUFFER_BYTES = 1 << 20
_PAGE_BYTES = 1 << 20  # of vectors decoded at once


class _Handle(io.RawIOBase):
    """A file as Arrow wants one, with a place of its own to read from."""

    def __init__(self, trying: _Trying) -> None:
        self._trying = trying
        self._size_bytes = trying.readable.place.size_bytes
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence, self._size_bytes)
        return self._at

    def readinto(self, target: Any) -> int:
        view = memoryview(target)
        size = max(0, min(len(view), self._size_bytes - self._at))
        self._trying.read_into(self._at, view[:size])
        self._at += size
        return size


class _Trying:
    """Keeps what a read raised: Arrow passes on its text and loses its type."""

    def __init__(self, readable: places.Readable) -> None:
        self.readable = readable
        self.trouble: DdrError | None = None

    def read_into(self, start: int, target: memoryview) -> None:
        try:
            self.readable.read_into(start, target)
        except DdrError as problem:
            self.trouble = problem
            raise OSError(problem.message) from problem


class File:
    """One Parquet file. `dimension` is 0 where it has no row with a vector."""

    def __init__(self, readable: places.Readable, column: str, ids_column: str) -> None:
        self.uri = readable.place.uri
        self._trying = _Trying(readable)
        self._file = self._opened()
        schema = self._file.schema_arrow
        self._check_column(schema, column, "column")
        self._check_vectors(schema.field(column).type, column)
        self.rows: int = self._file.metadata.num_rows
        self.vectors = _Column(self, column)
        self.dtype, self.dimension = self._described(schema.field(column).type)
        self.ids: ids.Ids = ids.Positions()
        if ids_column:
            self._check_column(schema, ids_column, "ids")
            self.ids = _ids(self, ids_column, schema.field(ids_column).type)

    def _opened(self) -> Any:
        try:
            import pyarrow
            import pyarrow.parquet
        except (ImportError, OSError) as problem:  # OSError: its own shared library does not load
            raise Unavailable(
                f"{self.uri} cannot be read without pyarrow: {redact.foreign(problem)}",
                hint="pip install 'ddr[parquet]'",
            ) from problem
        try:
            source = pyarrow.PythonFile(_Handle(self._trying), mode="r")
            return pyarrow.parquet.ParquetFile(source, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        except (pyarrow.ArrowException, OSError) as problem:
            raise self.translated(problem) from problem

    def translated(self, problem: BaseException) -> DdrError:
        """What our own reading raised, else that the file is damaged."""
        if self._trying.trouble is not None:
            trouble, self._trying.trouble = self._trying.trouble, None
            return trouble
        return InputError(
            f"{self.uri} is no Parquet file, or a damaged one: {redact.foreign(problem)}",
            hint="write or fetch it again",
        )

    def _check_column(self, schema: Any, column: str, key: str) -> None:
        if schema.names.count(column) != 1:
            raise InputError(
                f"{self.uri} has {schema.names.count(column)} columns {column!r}",
                hint=f"`{key}:` names another of its columns: {', '.join(schema.names[:20])}",
            )

    def _check_vectors(self, kind: Any, column: str) -> None:
        import pyarrow.types as types

        is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
        inner = kind.value_type if is_list else None
        if inner is None or not (types.is_floating(inner) or inner in _small_integers()):
            raise InputError(
                f"{self.uri}: column {column!r} has {kind}, no vectors",
                hint="a list or fixed-size list of float16, float32, float64, int8, uint8, int16 or uint16",
            )

    def _described(self, kind: Any) -> tuple[str, int]:
        """Type of the numbers, and how many a vector has: by the type, else by the first row that has one."""
        import pyarrow.types as types

        dtype = np.dtype(kind.value_type.to_pandas_dtype()).name
        if types.is_fixed_size_list(kind):
            return dtype, int(kind.list_size)
        for batch in self.batches(self.vectors.name, 0, 1024):
            lengths = batch.value_lengths().drop_null()
            if len(lengths):
                return dtype, int(lengths[0].as_py())
        return dtype, 0

    def batches(self, column: str, group: int, size: int) -> Iterator[Any]:
        """Arrays of the column from a row group on, at most `size` rows each."""
        import pyarrow
        import pyarrow.parquet

        # A reader of its own: the size of batches is one of the whole reader, also for columns that are being read.
        source = pyarrow.PythonFile(_Handle(self._trying), mode="r")
        groups = range(group, self._file.metadata.num_row_groups)
        try:
            file = pyarrow.parquet.ParquetFile(
                source,
                metadata=self._file.metadata,
                buffer_size=_BUFFER_BYTES,
                pre_buffer=False,
                page_checksum_verification=True,  # of pages that have one
            )
            found = file.iter_batches(batch_size=size, row_groups=list(groups), columns=[column], use_threads=False)
            for batch in found:
                yield batch.column(0)
        except (pyarrow.ArrowException, OSError) as problem:
            raise self.translated(problem) from problem

    def group_of(self, row: int) -> tuple[int, int]:
        """The row group that has this row, and the first row of it."""
        first = 0
        for group in range(self._file.metadata.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if row < first + rows:
                return group, first
            first += rows
        return self._file.metadata.num_row_groups, first


def _small_integers() -> tuple[Any, ...]:
    import pyarrow

    return pyarrow.int8(), pyarrow.uint8(), pyarrow.int16(), pyarrow.uint16()


class _Column:
    """A place in a column: reading on from where it stands decodes nothing twice."""

    def __init__(self, file: File, name: str) -> None:
        self.name = name
        self._file = file
        self._at = 0
        self._left: Any = None  # decoded and not yet given out
        self._coming: Iterator[Any] = iter(())
        self._is_open = False

    def read(self, start: int, stop: int, row_bytes: int) -> Iterator[Any]:
        """Arrays of rows [start, stop), in order."""
        if not self._is_open or start < self._at:
            group, self._at = self._file.group_of(start)
            self._coming = self._file.batches(self.name, group, max(64, _PAGE_BYTES // row_bytes))
            self._left = None
            self._is_open = True
        while self._at < stop:
            found = self._left if self._left is not None else next(self._coming, None)
            self._left = None
            if found is None:
                self._is_open = False
                raise InputError(
                    f"{self._file.uri} has {self._at} rows, its footer says {self._file.rows}", hint="write it again"
                )
            skipped = min(len(found), max(0, start - self._at))
            taken = min(len(found), stop - self._at)
            if taken < len(found):
                self._left = found.slice(taken)
            self._at += taken
            if taken > skipped:
                yield found.slice(skipped, taken - skipped)


def vectors(file: File, dimension: int, start: int, stop: int) -> NDArray[np.float32]:
    """A row that is null is read as NaN: the policy for what is not finite decides about it."""
    found = np.empty((stop - start, dimension), np.float32)
    at = 0
    for chunk in file.vectors.read(start, stop, 4 * dimension):
        _fill(file.uri, chunk, start + at, found[at : at + len(chunk)])
        at += len(chunk)
    return found


def _fill(uri: str, chunk: Any, row: int, target: NDArray[np.float32]) -> None:
    lengths = chunk.value_lengths().to_numpy(zero_copy_only=False)  # null: NaN
    is_null = chunk.is_null().to_numpy(zero_copy_only=False)
    is_other = (lengths != target.shape[1]) & ~is_null
    if is_other.any():
        at = int(is_other.argmax())
        raise InputError(
            f"{uri}: row {row + at} has {int(lengths[at])} numbers, the others {target.shape[1]}",
            hint="all vectors of a corpus have one dimension",
        )
    numbers = chunk.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, target.shape[1])
    if is_null.any():
        target[is_null] = np.nan
        whole = np.empty(numbers.shape, np.float32)
        arrays.to_float32(numbers, whole)
        target[~is_null] = whole
    else:
        arrays.to_float32(numbers, target)


def _ids(file: File, column: str, kind: Any) -> ids.Ids:
    import pyarrow.types as types

    inner = kind.value_type if types.is_dictionary(kind) else kind
    if types.is_integer(inner):
        return _Ids(file, column, "number")
    if types.is_string(inner) or types.is_large_string(inner):
        return _Ids(file, column, "text")
    raise InputError(f"{file.uri}: column {column!r} has {kind}, no ids", hint="whole numbers or texts")


class _Ids:
    def __init__(self, file: File, column: str, kind: ids.Kind) -> None:
        self.kind = kind
        self._file = file
        self._column = _Column(file, column)

    def labels(self, start: int, stop: int) -> NDArray[np.int64] | None:
        if self.kind == "text":
            return None
        found = np.empty(stop - start, np.int64)
        for at, chunk in self._chunks(start, stop):
            numbers = chunk.to_numpy(zero_copy_only=False)
            found[at : at + len(chunk)] = ids.checked(self._file.uri, start + at, numbers)
        return found

    def texts(self, start: int, stop: int) -> list[str]:
        if self.kind != "text":
            return []
        return [text for at, chunk in self._chunks(start, stop) for text in _decoded(self._file.uri, start + at, chunk)]

    def _chunks(self, start: int, stop: int) -> Iterator[tuple[int, Any]]:
        at = 0
        for chunk in self._column.read(start, stop, 64):
            if chunk.null_count:
                row = start + at + int(chunk.is_null().to_numpy(zero_copy_only=False).argmax())
                raise InputError(f"{self._file.uri}: row {row} has no id", hint="every row has one")
            yield at, chunk
            at += len(chunk)


def _decoded(uri: str, row: int, chunk: Any) -> list[str]:
    """Arrow reads texts of any bytes. `row`: that of the first one, for the error."""
    try:
        return list(chunk.to_pylist())
    except UnicodeDecodeError as problem:
        row += next(at for at, text in enumerate(chunk) if not _is_text(text))
        raise InputError(f"{uri}: row {row}: its id is no UTF-8", hint="write the column again, in UTF-8") from problem


def _is_text(found: Any) -> bool:
    try:
        found.as_py()
    except UnicodeDecodeError:
        return False
    return True
