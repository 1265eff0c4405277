"""A corpus of texts, JSON lines with `id` and `text`: every line is read before the first one is embedded.

What is wrong is told at once, each with its file and line: a run of hours does not end at a broken line. Then pieces of
some thousand lines are read again; a piece that has other bytes by then is a Conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ddr.errors import Conflict, InputError
from ddr.index.sources import hashes, ids, places
from ddr.lib import digest

GOLDEN = 64
_GOLDEN_SEED = 0x601D
_BLOCK_BYTES = 8 << 20
_MOST_LINE_BYTES = 256 << 20
_MOST_TOLD = 10
_BOM = b"\xef\xbb\xbf"
_LINE = 'a line is one JSON document with both: {"id": 7, "text": "..."}'
_AGAIN = "give the command again: it takes the texts as they are now"

Id = int | str


@dataclass(frozen=True)
class Piece:
    """Lines of one file that become one shard. `sha256` is of their bytes."""

    number: int
    file: int
    start: int
    size_bytes: int
    first_line: int
    rows: int
    sha256: str


@dataclass(frozen=True)
class Row:
    line: int
    id: Id
    text: str


@dataclass(frozen=True)
class Survey:
    """All of a corpus but its texts. `golden`: piece and row of the documents that tell another embedder, by id."""

    files: tuple[places.Place, ...]
    pieces: tuple[Piece, ...]
    has_texts: bool
    """Ids are texts; else whole numbers."""
    golden: tuple[tuple[int, int], ...]
    characters: int = 0

    @property
    def rows(self) -> int:
        return sum(piece.rows for piece in self.pieces)


class Corpus:
    """The files of a pattern, on a disk or in a bucket."""

    def __init__(self, pattern: str, base: Path, buckets: places.Buckets) -> None:
        self.files = places.find([pattern], base, buckets)
        self._readables = [places.readable(place, base, buckets) for place in self.files]
        if odd := [place.uri for place in self.files if place.uri.endswith((".parquet", ".gz", ".zst"))]:
            raise InputError(f"{odd[0]}: texts are read from JSON lines", hint=_LINE)

    @property
    def generation(self) -> str:
        """Changes when any file does."""
        return digest.of_value([[place.uri, place.generation] for place in self.files])

    def survey(self, rows_per_piece: int, report: Callable[[int], None] = lambda rows: None) -> Survey:
        """One pass. InputError, with the first places, for lines that are no documents, empty texts, ids of two kinds
        and ids that are there twice; Conflict when a file changes meanwhile."""
        seeing = _Seeing(self.files)
        pieces: list[Piece] = []
        for number, readable in enumerate(self._readables):
            for chunk in _chunks(readable, rows_per_piece):
                rows = seeing.add(number, chunk)
                if rows:
                    pieces.append(chunk.piece(len(pieces), number, rows))
                report(seeing.rows)
        hashed = seeing.whole(self._line_of(pieces))
        return Survey(self.files, tuple(pieces), seeing.kind is str, _golden(hashed, pieces), seeing.characters)

    def read(self, survey: Survey, piece: Piece) -> list[Row]:
        """The documents of a piece. Conflict when they are not those that were surveyed."""
        content = places.read(self._readables[piece.file], piece.start, piece.size_bytes)
        if digest.of_bytes(content) != piece.sha256:
            uri = survey.files[piece.file].uri
            raise Conflict(f"{uri} changed while it was embedded", hint=_AGAIN)
        return [_row(line, text) for line, text in _numbered(content, piece.first_line)]

    def find(self, wanted: Collection[str]) -> dict[str, str]:
        """The texts of these ids, as far as they are there. Lines that are no documents are passed over."""
        found: dict[str, str] = {}
        for readable in self._readables:
            for chunk in _chunks(readable, 4096):
                for line, content in _numbered(chunk.content, chunk.first_line):
                    try:
                        row = _row(line, content)
                    except _NoDocument:
                        continue
                    if str(row.id) in wanted:
                        found[str(row.id)] = row.text
        return found

    def _line_of(self, pieces: Sequence[Piece]) -> Callable[[int], str]:
        """From a position to its place, for a message."""
        ends = np.cumsum([piece.rows for piece in pieces])

        def told(position: int) -> str:
            at = int(np.searchsorted(ends, position, side="right"))
            piece = pieces[at]
            content = places.read(self._readables[piece.file], piece.start, piece.size_bytes)
            lines = [line for line, _ in _numbered(content, piece.first_line)]
            return f"{self.files[piece.file].uri}:{lines[position - int(ends[at] - piece.rows)]}"

        return told


class _NoDocument(Exception):
    """Says what is wrong with a line."""


@dataclass(frozen=True)
class _Chunk:
    start: int
    content: bytes
    first_line: int

    def piece(self, number: int, file: int, rows: int) -> Piece:
        return Piece(number, file, self.start, len(self.content), self.first_line, rows, digest.of_bytes(self.content))


def _chunks(readable: places.Readable, lines: int) -> Iterator[_Chunk]:
    """A file cut behind every `lines`-th line, whatever is in them: equal bytes give equal cuts."""
    size, at, start, first = readable.place.size_bytes, 0, 0, 1
    tail, gathered = b"", list[bytes]()
    while at < size or tail:
        if at < size:
            block = places.read(readable, at, min(_BLOCK_BYTES, size - at))
            at += len(block)
            *whole, tail = (tail + block).split(b"\n")
            gathered += (line + b"\n" for line in whole)
            if len(tail) > _MOST_LINE_BYTES:
                raise InputError(f"{readable.place.uri}:{first + len(gathered)}: a line without an end", hint=_LINE)
        if at == size and tail:
            gathered.append(tail)
            tail = b""
        while len(gathered) >= lines or (at == size and gathered):
            content = b"".join(gathered[:lines])
            yield _Chunk(start, content, first)
            start, first = start + len(content), first + lines
            del gathered[:lines]


def _numbered(content: bytes, first: int) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, each with its number in the file."""
    for number, line in enumerate(content.split(b"\n"), first):
        text = line.removeprefix(_BOM) if number == 1 else line
        if text.strip():
            yield number, text


@dataclass
class _Document:
    id: int | str
    text: str


_DECODER = msgspec.json.Decoder(_Document)


def _row(line: int, content: bytes) -> Row:
    """_NoDocument."""
    try:
        found = _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise _NoDocument(str(problem)) from problem
    return Row(line, found.id, found.text)


class _Seeing:
    """What must hold of every line, and what is kept of it: 16 bytes."""

    def __init__(self, files: Sequence[places.Place]) -> None:
        self._files = files
        self._hashed: list[NDArray[np.uint64]] = []
        self._problems: list[str] = []
        self._wrong = 0
        self.kind: type | None = None
        self.rows = self.characters = 0

    def add(self, file: int, chunk: _Chunk) -> int:
        """How many documents are in it."""
        found: list[Id] = []
        for line, content in _numbered(chunk.content, chunk.first_line):
            try:
                row = _row(line, content)
            except _NoDocument as problem:
                self._tell(file, line, str(problem))
                continue
            if what := self._wrong_with(row):
                self._tell(file, line, what)
            else:
                found.append(row.id)
                self.characters += len(row.text)
        if found:
            self._hashed.append(_hashed(found))
        self.rows += len(found)
        return len(found)

    def _wrong_with(self, row: Row) -> str:
        self.kind = self.kind or type(row.id)
        if type(row.id) is not self.kind:
            return f"id {row.id!r} is of another kind than those before: all are texts, or all whole numbers"
        if isinstance(row.id, int) and not 0 <= row.id <= ids.LARGEST:
            return f"{row.id} is no id: whole numbers are from 0 to {ids.LARGEST} (2^63 - 1)"
        if row.id == "":
            return "the id is empty"
        return "" if row.text.strip() else f"the text of {row.id!r} is empty"

    def _tell(self, file: int, line: int, what: str) -> None:
        self._wrong += 1
        if len(self._problems) < _MOST_TOLD:
            self._problems.append(f"{self._files[file].uri}:{line}: {what}")

    def whole(self, told: Callable[[int], str]) -> NDArray[np.uint64]:
        """Hashes of all ids by position, n x 2. InputError for what was wrong, and for ids that are there twice."""
        if self._wrong:
            raise _bad(self._problems, self._wrong, "mend or leave out these lines; " + _LINE)
        if not self.rows:
            uris = ", ".join(place.uri for place in self._files[:3])
            raise InputError(f"{uris}: there is no text in it", hint=_LINE)
        hashed = np.concatenate(self._hashed)
        order = np.lexsort((hashed[:, 1], hashed[:, 0]))  # stable: of equal ones the first stays first
        again = np.flatnonzero((hashed[order[1:]] == hashed[order[:-1]]).all(axis=1))
        if len(again):
            lines = [
                f"{told(int(order[at + 1]))}: the id is there already, in {told(int(order[at]))}"
                for at in again[:_MOST_TOLD].tolist()
            ]
            raise _bad(lines, len(again), "an id names one text")
        return hashed


def _hashed(found: Sequence[Id]) -> NDArray[np.uint64]:
    if isinstance(found[0], str):
        return hashes.of_texts([str(one) for one in found])
    return hashes.of_numbers(np.array(found, np.int64))


def _bad(lines: Sequence[str], count: int, hint: str) -> InputError:
    if count == 1:
        return InputError(lines[0], hint=hint)
    more = [f"  and {count - len(lines):,} more"] if count > len(lines) else []
    told = [f"{count:,} lines of the corpus are not as they must be", *(f"  {line}" for line in lines), *more]
    return InputError("\n".join(told), hint=hint)


def _golden(hashed: NDArray[np.uint64], pieces: Sequence[Piece]) -> tuple[tuple[int, int], ...]:
    """The documents whose ids have the smallest seeded hashes: the same ones however the corpus is cut."""
    mixed = hashes.seeded(hashed, _GOLDEN_SEED)
    chosen = np.sort(np.argsort(mixed, kind="stable")[:GOLDEN])
    ends = np.cumsum([piece.rows for piece in pieces])
    at = np.searchsorted(ends, chosen, side="right")
    return tuple(
        (int(piece), int(row - (ends[piece] - pieces[piece].rows))) for row, piece in zip(chosen, at, strict=True)
    )
