"""Ids in files of their own: whole numbers in `.npy`, whole numbers or texts in `.json`."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ddr.errors import InputError
from ddr.index.sources import arrays, places

Kind = Literal["position", "number", "text"]
LARGEST = 2**63 - 1


class Ids(Protocol):
    """Ids of one shard's rows. Reading them may raise what `places.Readable` raises."""

    kind: Kind

    def labels(self, start: int, stop: int) -> NDArray[np.int64] | None:
        """Whole numbers from 0 to 2^63 - 1; None where ids are positions or texts. InputError, with the place, for
        any other number."""
        ...

    def texts(self, start: int, stop: int) -> list[str]:
        """[] where ids are no texts."""
        ...


class Positions:
    kind: Kind = "position"

    def labels(self, start: int, stop: int) -> NDArray[np.int64] | None:
        return None

    def texts(self, start: int, stop: int) -> list[str]:
        return []


def of_file(readable: places.Readable, rows: int) -> Ids:
    """InputError when it is no such file, or has not as many ids as there are rows."""
    uri = readable.place.uri
    if uri.endswith(".npy"):
        header = arrays.npy(readable)
        if len(header.shape) != 1 or header.dtype.kind not in "iu":
            raise InputError(
                f"{uri} has the shape {header.shape} of {header.dtype}",
                hint="ids are one row of int64; texts go in .json",
            )
        _check_count(uri, header.shape[0], rows)
        return _Array(uri, arrays.Rows(readable, header))
    found = _parsed(uri, places.read(readable, 0, readable.place.size_bytes))
    _check_count(uri, len(found), rows)
    return found


def _check_count(uri: str, found: int, rows: int) -> None:
    if found != rows:
        raise InputError(
            f"{uri} has {found} ids, its shard has {rows} rows", hint="one id for each row, in the order of the rows"
        )


def checked(uri: str, start: int, found: NDArray[np.generic]) -> NDArray[np.int64]:
    """As int64. `start` is the row of the first one, for the error."""
    numbers: NDArray[np.integer[Any]] = found.reshape(-1)  # type: ignore[assignment]
    is_bad = numbers > LARGEST if numbers.dtype.kind == "u" else numbers < 0
    if is_bad.any():
        at = int(is_bad.argmax())
        raise InputError(
            f"{uri}: row {start + at}: {int(numbers[at])} is no id",
            hint=f"whole numbers from 0 to {LARGEST} (2^63 - 1)",
        )
    return numbers.astype(np.int64, copy=False)


class _Array:
    kind: Kind = "number"

    def __init__(self, uri: str, rows: arrays.Rows) -> None:
        self._uri = uri
        self._rows = rows

    def labels(self, start: int, stop: int) -> NDArray[np.int64] | None:
        return checked(self._uri, start, self._rows.raw(start, stop))

    def texts(self, start: int, stop: int) -> list[str]:
        return []


class Numbers:
    """Of a list that is in memory."""

    kind: Kind = "number"

    def __init__(self, found: NDArray[np.int64]) -> None:
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    def labels(self, start: int, stop: int) -> NDArray[np.int64] | None:
        return self._found[start:stop].copy()

    def texts(self, start: int, stop: int) -> list[str]:
        return []


class Texts:
    """Of a list that is in memory."""

    kind: Kind = "text"

    def __init__(self, found: list[str]) -> None:
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    def labels(self, start: int, stop: int) -> NDArray[np.int64] | None:
        return None

    def texts(self, start: int, stop: int) -> list[str]:
        return self._found[start:stop]


def _parsed(uri: str, content: bytes) -> Numbers | Texts:
    import msgspec

    for kind in (int, str):
        try:
            found = msgspec.json.decode(content, type=list[kind])  # type: ignore[valid-type]
        except (msgspec.ValidationError, UnicodeDecodeError):
            continue
        except (msgspec.DecodeError, RecursionError) as problem:
            raise InputError(f"{uri} is no JSON: {problem}", hint='a list of ids, [1, 2] or ["a", "b"]') from problem
        if kind is str:
            return Texts(found)
        for at, number in enumerate(found):
            if not 0 <= number <= LARGEST:
                raise InputError(
                    f"{uri}: row {at}: {number} is no id", hint=f"whole numbers from 0 to {LARGEST} (2^63 - 1)"
                )
        return Numbers(np.array(found, np.int64))
    raise InputError(
        f"{uri} is no list of ids of one kind", hint="a list of texts or a list of whole numbers, not both; no null"
    )
