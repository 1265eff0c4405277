"""A corpus of texts as shards of vectors and ids, made one by one, each signed when it is whole on the disk.

A shard is a function of its lines and of the embedder: the same command makes only those that are not there, so that a
kill costs one, and lines that are added at the end cost the last ones. The folder belongs to one embedder; another one
has another folder, and never a shard of the first.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.errors import Damaged
from ddr.index import codec, stages
from ddr.index import work as works
from ddr.index.embedders import batching, fingerprint, texts
from ddr.index.homes import writing
from ddr.lib import digest

STAGE, KEPT, READ = "embed", "embedded", "texts"
EMBEDDER = "embedder.json"
VECTORS, IDS = "vectors-*.npy", "ids-*"
CODE = "1"  # changes when equal texts and embedders give other vectors than before


@dataclass(frozen=True)
class Request:
    """What is embedded by what. `embedder` without its golden documents; `encoder` loads it, only when needed."""

    corpus: texts.Corpus
    embedder: indexes.Embedder
    encoder: Callable[[], batching.Encoder]
    rows_per_shard: int = 16384
    batch_tokens: int = 8192


@dataclass(frozen=True)
class Embedded:
    """What lies in a folder: shards that an index is built of, in the order of their names."""

    embedder: indexes.Embedder
    rows: int
    made: int
    """Rows that this call embedded; the others were there."""
    has_texts: bool

    @property
    def ids(self) -> str:
        """The pattern of the files with ids."""
        return f"{IDS}.json" if self.has_texts else f"{IDS}.npy"


def embed(folder: Path, request: Request, report: stages.Report, *, is_read: bool = False) -> Embedded:
    """Make what is not there. InputError with the places of bad lines before anything is embedded; Conflict when a text
    changes meanwhile; `work.Held` when another process embeds into this folder. With `is_read` the bytes of what is
    there are compared, whatever sizes and times say."""
    writing.make_folder(folder, "`work:` names another folder for what a build keeps")
    place = works.Stages(folder, what="process embeds these texts")
    with place.held():
        return _Run(place, request, report, is_read=is_read).run()


class _Run:
    def __init__(self, place: works.Stages, request: Request, report: stages.Report, *, is_read: bool) -> None:
        self._place, self._request, self._report, self._is_read = place, request, report, is_read
        self._budget = batching.Budget(request.batch_tokens)
        self._encoder: batching.Encoder | None = None
        self._made = 0

    def run(self) -> Embedded:
        request = self._request
        survey = request.corpus.survey(request.rows_per_shard, lambda rows: self._report(stages.Progress(READ, rows)))
        self._report(stages.Progress(READ, survey.rows, survey.rows))
        left = [piece for piece in survey.pieces if not self._is_done(survey, piece)]
        wanted = sum(piece.rows for piece in left)
        if wanted < survey.rows:
            self._report(stages.Progress(KEPT, survey.rows - wanted, survey.rows, is_kept=True))
        for piece, rows, tokens in self._ahead(survey, left):
            self._shard(survey, piece, rows, tokens, wanted)
        if self._encoder is not None:
            self._encoder.free()  # the build that follows wants the memory
        self._sweep(survey)
        return Embedded(self._golden(survey), survey.rows, self._made, survey.has_texts)

    def _inputs(self, piece: texts.Piece) -> str:
        return stages.key_of(CODE, self._request.embedder.fingerprint, piece.sha256)

    def _is_done(self, survey: texts.Survey, piece: texts.Piece) -> bool:
        """Its bytes are read where all are to be, or when the files were touched since they were signed."""
        name = _stage(piece)
        found = self._place.receipt(name)
        if found is None or found.inputs != self._inputs(piece) or len(found.files) != 2:
            return False
        if found.files[1].name != _ids_name(survey, piece):
            return False
        generation = _generation(self._place, found.files) or "gone"
        if not self._is_read and found.facts.get("generation") == generation:
            return True
        return self._place.is_whole(found)

    def _ahead(
        self, survey: texts.Survey, left: Sequence[texts.Piece]
    ) -> Iterator[tuple[texts.Piece, list[texts.Row], list[list[int]]]]:
        """Each piece read and cut into tokens while the one before is embedded."""
        if not left:
            return
        encoder = self._encoder = self._request.encoder()

        def prepared(piece: texts.Piece) -> tuple[list[texts.Row], list[list[int]]]:
            rows = self._request.corpus.read(survey, piece)
            return rows, encoder.tokens([row.text for row in rows])

        with futures.ThreadPoolExecutor(1) as pool:
            coming = pool.submit(prepared, left[0])
            for number, piece in enumerate(left):
                rows, tokens = coming.result()
                if number + 1 < len(left):
                    coming = pool.submit(prepared, left[number + 1])
                yield piece, rows, tokens

    def _shard(
        self,
        survey: texts.Survey,
        piece: texts.Piece,
        rows: Sequence[texts.Row],
        tokens: Sequence[Sequence[int]],
        wanted: int,
    ) -> None:
        assert self._encoder is not None
        vectors = batching.embedded(
            self._encoder,
            tokens,
            self._budget,
            lambda done: self._report(stages.Progress(STAGE, self._made + done, wanted)),
        )
        if len(vectors) != piece.rows:
            raise AssertionError(f"{len(vectors)} vectors of {piece.rows} texts")
        self._place.discard(_stage(piece))  # its files are about to be others than it signs
        files = (
            self._place.write(_vectors_name(piece), lambda write: write(memoryview(_npy(vectors)))),
            self._place.write_bytes(_ids_name(survey, piece), _ids(survey, rows)),
        )
        told = {**self._encoder.facts, "generation": _generation(self._place, files)}
        self._place.sign(works.Receipt(_stage(piece), self._inputs(piece), files, told))
        self._made += piece.rows

    def _sweep(self, survey: texts.Survey) -> None:
        """Shards of a corpus that was longer, or had other ids, are not of this one."""
        writing.sweep(self._place.folder)
        kept = {name for piece in survey.pieces for name in (_vectors_name(piece), _ids_name(survey, piece))}
        for path in sorted((*self._place.folder.glob(VECTORS), *self._place.folder.glob(IDS))):
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def _golden(self, survey: texts.Survey) -> indexes.Embedder:
        """With the vectors as they lie in the shards; what did not change is not written again."""
        first = self._place.receipt(_stage(survey.pieces[0]))
        told = {name: value for name, value in (first.facts if first else {}).items() if name != "generation"}
        key = stages.key_of([piece.sha256 for piece in survey.pieces], self._request.embedder.fingerprint, told)
        known = self._place.done(EMBEDDER, key)
        if known is not None:
            return read(self._place.folder)
        found = []
        for number in sorted({piece for piece, _ in survey.golden}):
            piece = survey.pieces[number]
            rows = self._request.corpus.read(survey, piece)
            vectors = np.load(self._place.path(_vectors_name(piece)), allow_pickle=False)
            chosen = [row for at, row in survey.golden if at == number]
            found += [fingerprint.golden(str(rows[row].id), rows[row].text, vectors[row]) for row in chosen]
        made = indexes.Embedder(
            self._request.embedder.fingerprint,
            self._request.embedder.name,
            {**self._request.embedder.facts, **told},
            tuple(found),
        )
        file = self._place.write_bytes(EMBEDDER, codec.encode(made))
        self._place.sign(works.Receipt(EMBEDDER, key, (file,)))
        return made


def read(folder: Path) -> indexes.Embedder:
    """What made the vectors of a folder, with its golden documents. Damaged."""
    path = folder / EMBEDDER
    try:
        return codec.decode(indexes.Embedder, path.read_bytes(), str(path))
    except OSError as problem:
        raise Damaged(
            f"{path} cannot be read: {problem.strerror}", hint="`ddr index build` writes it again"
        ) from problem


def _stage(piece: texts.Piece) -> str:
    return f"{STAGE}-{piece.number:06d}"


def _vectors_name(piece: texts.Piece) -> str:
    return f"vectors-{piece.number:06d}.npy"


def _ids_name(survey: texts.Survey, piece: texts.Piece) -> str:
    return f"ids-{piece.number:06d}.{'json' if survey.has_texts else 'npy'}"


def _npy(values: NDArray[np.generic]) -> bytes:
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    return content.getvalue()


def _ids(survey: texts.Survey, rows: Sequence[texts.Row]) -> bytes:
    found = [row.id for row in rows]
    if survey.has_texts:
        return json.dumps(found, ensure_ascii=False).encode() + b"\n"
    return _npy(np.array(found, np.int64))


def _generation(place: works.Stages, files: Sequence[indexes.File]) -> str:
    """Of files as they lie there; "" when one is gone."""
    with contextlib.suppress(OSError):
        found = [place.path(file.name).stat() for file in files]
        return digest.of_value([[one.st_ino, one.st_size, one.st_mtime_ns] for one in found])
    return ""
