"""What was embedded last is written down on a disk that is full, or must not be written to."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ddr.domain import indexes
from ddr.errors import DdrError, Unavailable
from ddr.index import stages
from ddr.index.embedders import embedding, fingerprint
from ddr.ports import store
from ddr.wiring import index_embedding, index_settings
from tests.unit.index import dying, published


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> index_embedding.Embedding:
    """No model is loaded: the vectors are there already."""
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "b"}\n')
    facts = dict.fromkeys(fingerprint.IDENTITY, "")
    monkeypatch.setattr(fingerprint, "facts", lambda settings: facts)

    def embed(folder: Path, *given: object, is_read: bool) -> embedding.Embedded:
        folder.mkdir(parents=True, exist_ok=True)
        return embedding.Embedded(indexes.Embedder(fingerprint.of(facts)), 1, 0, has_texts=False)

    monkeypatch.setattr(embedding, "embed", embed)
    entry = index_settings.EmbedEntry("a.jsonl", "model")
    sources = stages.Sources(tmp_path, published.no_buckets)
    return index_embedding.Embedding(entry, sources, tmp_path / "embedded", "cpu", 1)


@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, store.Full), (errno.EROFS, Unavailable)])
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_it_is_told_and_the_next_build_writes_it(
    made: index_embedding.Embedding,
    call: str,
    code: int,
    kind: type[DdrError],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = 0
    while True:
        number += 1
        told: DdrError | None = None
        with monkeypatch.context() as patched:
            count = dying.failing(patched, call, number, code)
            try:
                made.embed(lambda progress: None, is_read=False)
            except DdrError as problem:
                told = problem
        if count[0] < number:
            break
        assert type(told) is kind
        assert not list((tmp_path / "embedded").rglob("*.tmp"))
        made.embed(lambda progress: None, is_read=False)
        assert made.is_current()
        for path in (tmp_path / "embedded").rglob("current.json"):
            path.unlink()
    assert number > 2
