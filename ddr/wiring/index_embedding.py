"""Where the vectors of an index are made of texts: what was embedded last, whether that is still so, and by what.

A folder named by a fingerprint has the shards of one embedder, and `current.json` of which texts they are; the one
beside those folders says which embedder is meant. They lie in `embedded/` beside the builds; in a work folder that
other indexes may have, too, in `vectors/<name>-<digits>/`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from ddr.domain import indexes
from ddr.errors import Damaged, DdrError
from ddr.index import codec, stages
from ddr.index import work as works
from ddr.index.embedders import embedding, fingerprint, foreseeing, model, texts
from ddr.index.homes import writing
from ddr.lib import digest
from ddr.wiring import index_settings

_CURRENT = "current.json"
_DIGITS = 16
_MODEL_FILES = (model.CONFIG, model.TOKENIZER, "1_Pooling/config.json", "*.safetensors")


@dataclass(frozen=True)
class Current:
    """What was embedded last. `asked`, `corpus` and `model` change when another embedding may come of them."""

    fingerprint: str
    ids: str
    asked: str
    corpus: str
    model: str
    format: int = indexes.FORMAT


class Embedding:
    """Of one index. Nothing is read before it is asked for; torch is loaded only to embed."""

    def __init__(
        self, entry: index_settings.EmbedEntry, sources: stages.Sources, folder: Path, device: str, threads: int
    ) -> None:
        self._entry, self._sources, self._folder, self._threads = entry, sources, folder, threads
        self._settings = model.Settings(
            folder=sources.base / entry.model,
            pooling=entry.pooling,
            max_tokens=entry.max_tokens,
            prefix=entry.prefix,
            is_normalised=entry.normalise,
            device=device,
            precision=entry.precision,
        )

    def sourced(self, wanted: indexes.Wanted) -> indexes.Wanted:
        """With the vectors that were made of these texts by this model; unchanged where there are none. Newer."""
        found = self._current()
        if found is None or found.asked != self._asked():
            return wanted
        return replace(wanted, source=self._source(found), embedder=found.fingerprint)

    def source_of(self, embedder: str) -> indexes.Source | None:
        """The vectors by the embedder of that fingerprint. None where they are not here (any more), or are a newer
        ddr's."""
        folder = self._of(embedder)
        found = None if _is_newer(folder) else _read(folder / _CURRENT)
        return None if found is None else self._source(found)

    def is_text_of(self, embedder: str) -> bool:
        """Whether the texts are those of these vectors still, by the times and sizes of their files."""
        found = _read(self._of(embedder) / _CURRENT)
        return found is not None and found.corpus == self._corpus().generation

    def _source(self, found: Current) -> indexes.Source:
        folder = self._of(found.fingerprint)
        return indexes.Source((str(folder / embedding.VECTORS),), str(folder / found.ids))

    def embed(self, report: stages.Report, *, is_read: bool) -> embedding.Embedded:
        """Make what is not made. As `embedding.embed`; Newer before anything is made."""
        facts = fingerprint.facts(self._settings)
        meant = indexes.Embedder(fingerprint.of(facts), self._settings.folder.name, facts)
        places = (self._of(meant.fingerprint) / _CURRENT, self._folder / _CURRENT)
        last = [_read(path) for path in places]
        corpus = self._corpus()
        asked = Current(meant.fingerprint, "", self._asked(), corpus.generation, self._generation())
        request = embedding.Request(
            corpus,
            meant,
            lambda: model.Model(self._settings, self._threads),
            self._entry.rows_per_shard,
            self._entry.batch_tokens,
        )
        made = embedding.embed(self._of(meant.fingerprint), request, report, is_read=is_read)
        current = replace(asked, ids=made.ids)
        for path, found in zip(places, last, strict=True):
            if current != found:
                writing.write_bytes(path, codec.encode(current))
        return made

    def foreseen(self, *, is_measured: bool) -> foreseeing.Foreseen:
        """What embedding takes. InputError for a model or texts that are not there, or not as they must be."""
        return foreseeing.foresee(
            self._corpus(),
            self._settings,
            self._entry.rows_per_shard,
            self._entry.batch_tokens,
            (lambda: model.Model(self._settings, self._threads)) if is_measured else None,
        )

    def is_current(self) -> bool:
        """Whether texts and model are those that were embedded last, by the times and sizes of their files."""
        found = self._current()
        if found is None:
            return False
        now = (self._asked(), self._corpus().generation, self._generation())
        return (found.asked, found.corpus, found.model) == now

    def embedder(self) -> indexes.Embedder:
        """What made the vectors that were embedded last. Damaged."""
        found = self._current()
        if found is None:
            return indexes.Embedder()
        return embedding.read(self._of(found.fingerprint))

    def live(self) -> str:
        """Fingerprint of the model as it lies there now; "" where it cannot be read here, as on a server."""
        try:
            return fingerprint.of(fingerprint.facts(self._settings))
        except DdrError:
            return ""

    def golden(self, stored: indexes.Embedder) -> fingerprint.Comparison:
        """The golden documents of a version through the model as it is now."""
        corpus = self._corpus()
        return fingerprint.again(
            stored,
            fingerprint.facts(self._settings),
            corpus.find,
            lambda: model.Model(self._settings, self._threads),
            self._entry.batch_tokens,
        )

    def folders_but(self, kept: Collection[str]) -> tuple[works.Stages, ...]:
        """Vectors of other embedders than those, but for what a newer ddr made."""
        names = {self._of(one).name for one in kept if one}
        found = sorted(path for path in self._folder.glob("*/") if path.name not in names and not _is_newer(path))
        return tuple(works.Stages(path) for path in found)

    def _of(self, found: str) -> Path:
        return self._folder / digest.short(found, _DIGITS)

    def _corpus(self) -> texts.Corpus:
        pattern = index_settings.placed(self._entry.corpus, self._sources.base)
        return texts.Corpus(pattern, self._sources.base, self._sources.buckets)

    def _asked(self) -> str:
        """What ddr.yaml says, but for what only decides how fast it goes."""
        one = self._entry
        return digest.of_value(
            [one.corpus, one.model, one.pooling, one.max_tokens, one.prefix, one.normalise, one.rows_per_shard]
        )

    def _generation(self) -> str:
        found: dict[str, list[int]] = {}
        with contextlib.suppress(OSError):
            for pattern in _MODEL_FILES:
                for path in sorted(self._settings.folder.glob(pattern)):
                    stat = path.stat()
                    found[path.relative_to(self._settings.folder).as_posix()] = [stat.st_mtime_ns, stat.st_size]
        return digest.of_value(found)

    def _current(self) -> Current | None:
        return _read(self._folder / _CURRENT)


def _is_newer(folder: Path) -> bool:
    try:
        _read(folder / _CURRENT)
    except codec.Newer:
        return True
    return False


def _read(path: Path) -> Current | None:
    """Newer: what a newer ddr wrote is neither used nor written over."""
    try:
        return codec.decode(Current, path.read_bytes(), str(path))
    except codec.Newer:
        raise
    except (Damaged, OSError):
        return None  # the next build writes it anew; what is embedded stays
