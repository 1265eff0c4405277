"""Shards of vectors, one after another: a death at any call costs one, and the bytes are those of a run without."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.errors import Conflict, DdrError
from ddr.index import stages
from ddr.index import work as works
from ddr.index.embedders import embedding, fingerprint, texts
from ddr.lib import digest
from tests.unit.index import corpora, dying, tinybert

ROWS, FEW = 29, 13
Ids = Sequence[int | str]


class Counting:
    """Vectors that tell their texts; counts the rows it made, and may do something at a certain one."""

    facts: Mapping[str, str] = {"precision": "fp32"}

    def __init__(self, at_row: Callable[[int], None] = lambda row: None) -> None:
        self.made = 0
        self._at_row = at_row

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(text.encode()) for text in texts]

    def vectors(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        self.made += len(batch)
        self._at_row(self.made)
        return np.array([vector(bytes(one)) for one in batch], np.float32)

    def is_out_of_memory(self, problem: BaseException) -> bool:
        return False

    def free(self) -> None:
        return


def vector(content: bytes) -> list[float]:
    return [number / 7 for number in bytes.fromhex(digest.of_bytes(content)[7:23])]


def request(base: Path, encoder: Counting, rows: int = 8, made_by: str = "one") -> embedding.Request:
    corpus = texts.Corpus("*.jsonl", base, corpora.no_bucket)
    meant = indexes.Embedder(digest.of_bytes(made_by.encode()), made_by, {"weights": made_by})
    return embedding.Request(corpus, meant, lambda: encoder, rows, 400)


def embed(
    base: Path, encoder: Counting | None = None, *, made_by: str = "one", is_read: bool = False
) -> embedding.Embedded:
    asked = request(base, encoder or Counting(), made_by=made_by)
    return embedding.embed(base / "out", asked, lambda progress: None, is_read=is_read)


def prepare(base: Path, count: int = ROWS, ids: Ids | None = None) -> None:
    tinybert.write(base / "a.jsonl", tinybert.sentences(count), ids)


def prepare_few(base: Path) -> None:
    """Two shards."""
    prepare(base, FEW)


def result(base: Path) -> dict[str, str]:
    """What an index is built of."""
    found = sorted((base / "out").glob("*.*"))
    return {path.name: digest.of_file(path) for path in found}


def held(base: Path) -> Iterator[tuple[int | str, NDArray[np.float32]]]:
    for path in sorted((base / "out").glob("vectors-*.npy")):
        number = path.stem.removeprefix("vectors-")
        other = base / "out" / f"ids-{number}.json"
        ids = json.loads(other.read_text()) if other.exists() else np.load(other.with_suffix(".npy")).tolist()
        yield from zip(ids, np.load(path), strict=True)


@pytest.mark.parametrize("ids", [None, range(100, 100 + ROWS)], ids=["texts", "numbers"])
def test_every_text_has_its_vector_and_the_next_call_makes_none(tmp_path: Path, ids: Ids | None) -> None:
    prepare(tmp_path, ids=ids)
    made = embed(tmp_path)
    assert (made.rows, made.made, made.has_texts) == (ROWS, ROWS, ids is None)
    named = ids if ids is not None else [f"d{number:05d}" for number in range(ROWS)]
    for (id_, found), wanted, text in zip(held(tmp_path), named, tinybert.sentences(ROWS), strict=True):
        assert id_ == wanted
        np.testing.assert_array_equal(found, np.array(vector(text.encode()), np.float32))
    assert len(made.embedder.golden) == ROWS
    before = result(tmp_path)

    def never() -> Counting:
        raise AssertionError("the model is loaded for nothing")

    asked = request(tmp_path, Counting())
    told: list[stages.Progress] = []
    again = embedding.embed(
        tmp_path / "out", embedding.Request(asked.corpus, asked.embedder, never, 8, 400), told.append
    )
    assert (again.made, again.embedder, result(tmp_path)) == (0, made.embedder, before)
    assert told[-1] == stages.Progress(embedding.KEPT, ROWS, ROWS, is_kept=True)


def test_a_death_at_any_call_costs_one_shard(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    prepare_few(whole)
    embed(whole)
    wanted = result(whole)
    deaths, most = 0, 0
    for folder, where in dying.each_death(tmp_path / "dead", prepare_few, embed):
        done = len(list((folder / "out" / "done").glob("embed-*.json"))) if (folder / "out").exists() else 0
        encoder = Counting()
        again = embed(folder, encoder)
        assert result(folder) == wanted, where
        assert not list((folder / "out").glob(".*.tmp")), where
        assert encoder.made == again.made == FEW - min(done * 8, FEW), where
        deaths += 1
        most = max(most, done)
    print(f"{deaths} deaths")
    assert most == 2
    assert deaths > 100


@pytest.fixture(autouse=True)
def _dead_folder(tmp_path: Path) -> None:
    (tmp_path / "dead").mkdir()


def test_lines_at_the_end_cost_the_last_shards_and_fewer_lines_leave_nothing(tmp_path: Path) -> None:
    prepare(tmp_path)
    embed(tmp_path)
    prepare(tmp_path, ROWS + 11)
    assert embed(tmp_path).made == 16  # of 40: the fourth shard got its last three, the fifth is new
    prepare(tmp_path, 9)
    assert embed(tmp_path).made == 1
    assert sorted(result(tmp_path)) == [
        "embedder.json", "ids-000000.json", "ids-000001.json", "vectors-000000.npy", "vectors-000001.npy"
    ]  # fmt: skip
    prepare(tmp_path, 9, range(9))
    assert embed(tmp_path).made == 9
    assert not list((tmp_path / "out").glob("ids-*.json"))


def test_a_text_that_changes_meanwhile_is_a_conflict_and_what_was_done_stays(tmp_path: Path) -> None:
    for at in (1, 9, 17):
        base = tmp_path / str(at)
        base.mkdir()
        prepare(base)

        def changes(row: int, base: Path = base, at: int = at) -> None:
            if row >= at and not (base / "changed").exists():
                (base / "changed").touch()
                prepare(base, ROWS + 1)

        with pytest.raises(Conflict):
            embed(base, Counting(changes))
        assert embed(base).rows == ROWS + 1


def test_a_shard_that_was_damaged_or_taken_away_is_made_again(tmp_path: Path) -> None:
    prepare(tmp_path)
    embed(tmp_path)
    wanted, tried = result(tmp_path), 0
    for name in wanted:
        path = tmp_path / "out" / name
        content = path.read_bytes()
        for damaged in (content[:-1], content[:-3] + bytes([content[-3] ^ 1]) + content[-2:], b"", None):
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            made = embed(tmp_path).made
            assert made <= 8
            assert result(tmp_path) == wanted, name
            tried += 1
    assert tried == 4 * 9
    (tmp_path / "out" / "vectors-000001.npy").touch()
    assert embed(tmp_path).made == 0, "touched, read, and whole"


def test_what_rots_under_its_size_and_time_is_made_again_when_all_is_read(tmp_path: Path) -> None:
    prepare(tmp_path)
    embed(tmp_path)
    wanted = result(tmp_path)
    for name in ("vectors-000001.npy", "ids-000002.json"):
        corpora.rot(tmp_path / "out" / name)
        assert embed(tmp_path).made == 0, "sizes and times are trusted"
        assert result(tmp_path) != wanted
        assert 0 < embed(tmp_path, is_read=True).made <= 8
        assert result(tmp_path) == wanted, name
    assert embed(tmp_path, is_read=True).made == 0


def test_another_embedder_never_takes_a_shard_for_its_own(tmp_path: Path) -> None:
    prepare(tmp_path)
    embed(tmp_path)
    before = {name: one for name, one in result(tmp_path).items() if name.startswith("vectors")}
    assert embed(tmp_path, made_by="two").made == ROWS
    assert embed(tmp_path, made_by="two").made == 0
    assert embed(tmp_path).made == ROWS
    assert {name: one for name, one in result(tmp_path).items() if name.startswith("vectors")} == before


def test_two_at_once_do_not_write_into_one_folder(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "out").mkdir()
    with (
        works.Stages(tmp_path / "out").held(),
        pytest.raises(works.Held, match="another process embeds these texts") as told,
    ):
        embed(tmp_path)
    assert told.value.exit_code == indexes.EXIT_LOCKED


def test_a_full_disk_leaves_no_shard_that_is_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path)
    refused = 0
    for number in range(1, 60):
        with monkeypatch.context() as patched:
            count = dying.failing(patched, "write", number, errno.ENOSPC)
            try:
                embed(tmp_path)
            except (DdrError, OSError):
                refused += 1
        if count[0] < number:
            break
        assert embed(tmp_path).rows == ROWS
        shutil.rmtree(tmp_path / "out")
    assert refused > 10


def test_golden_vectors_are_those_of_the_shards(tmp_path: Path) -> None:
    prepare(tmp_path, 200)
    made = embed(tmp_path)
    lies = dict(held(tmp_path))
    assert len(made.embedder.golden) == texts.GOLDEN
    said = {f"d{at:05d}": text for at, text in enumerate(tinybert.sentences(200))}
    for one in made.embedder.golden:
        np.testing.assert_array_equal(np.array(one.vector, np.float32), lies[one.id])
        assert one.text_sha256 == fingerprint.text_digest(said[one.id])
    assert embedding.read(tmp_path / "out") == made.embedder
