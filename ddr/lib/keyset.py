"""Sets and maps of very many keys in eight bytes each: by a 64-bit hash that differs from process to process.

Of a million keys two share a hash once in 30 million times; whoever must know for certain compares the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray


def hashes(keys: Sequence[object]) -> NDArray[numpy.int64]:
    import numpy as np

    return np.fromiter(map(hash, keys), dtype=np.int64, count=len(keys))


class Seen:
    """Which keys came already. Sorted pieces that double in size: adding costs a look into a dozen of them."""

    def __init__(self) -> None:
        self._pieces: list[NDArray[numpy.int64]] = []

    def add(self, found: NDArray[numpy.int64]) -> NDArray[numpy.bool_]:
        """Which of them are new; of equal ones in one call the first."""
        import numpy as np

        is_new = np.zeros(len(found), dtype=bool)
        is_new[np.unique(found, return_index=True)[1]] = True
        for piece in self._pieces:
            is_new &= ~contained(piece, found)
        if is_new.any():
            piece = np.sort(found[is_new])
            while self._pieces and len(self._pieces[-1]) <= 2 * len(piece):
                piece = np.sort(np.concatenate([self._pieces.pop(), piece]))
            self._pieces.append(piece)
        return is_new


def contained(ordered: NDArray[numpy.int64], wanted: NDArray[numpy.int64]) -> NDArray[numpy.bool_]:
    """Which of `wanted` are in `ordered`."""
    import numpy as np

    if not len(ordered):
        return np.zeros(len(wanted), dtype=bool)
    at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    found: NDArray[numpy.bool_] = ordered[at] == wanted
    return found


class Marks:
    """A mark (another hash) for each key, 16 bytes for both. Filled first, asked then."""

    def __init__(self) -> None:
        self._keys: list[NDArray[numpy.int64]] = []
        self._marks: list[NDArray[numpy.int64]] = []
        self._is_ordered = False

    def put(self, keys: NDArray[numpy.int64], marks: NDArray[numpy.int64]) -> None:
        self._keys.append(keys)
        self._marks.append(marks)
        self._is_ordered = False

    def keys(self) -> NDArray[numpy.int64]:
        import numpy as np

        return np.concatenate(self._keys) if self._keys else np.zeros(0, dtype=np.int64)

    def of(self, wanted: NDArray[numpy.int64], absent: int) -> NDArray[numpy.int64]:
        """The marks of these keys, `absent` for those that have none."""
        import numpy as np

        if not self._keys:
            return np.full(len(wanted), absent, dtype=np.int64)
        if not self._is_ordered:
            keys, marks = np.concatenate(self._keys), np.concatenate(self._marks)
            order = np.argsort(keys, kind="stable")
            self._keys, self._marks = [keys[order]], [marks[order]]
            self._is_ordered = True
        keys, marks = self._keys[0], self._marks[0]
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, marks[at], np.int64(absent))
