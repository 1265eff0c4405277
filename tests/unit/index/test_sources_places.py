"""Where shards lie: patterns, buckets, what does not go together, and files that change under a plan."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from ddr.domain import indexes
from ddr.errors import Conflict, InputError, Unavailable
from ddr.index.sources import opening, places
from ddr.ports import store
from ddr.stores import memory, s3
from ddr.wiring import indexes as wirings
from tests import servers
from tests.unit.index import corpora

ROWS, DIMENSION = 120, 6
VECTORS = corpora.clustered(ROWS, DIMENSION)


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VECTORS)
    np.save(tmp_path / "b.npy", VECTORS[:, :4])
    (tmp_path / "sub.npy").mkdir()
    (tmp_path / "v.txt").write_text("x")
    (tmp_path / "i1.json").write_text(json.dumps(list(range(ROWS))))
    (tmp_path / "i2.json").write_text(json.dumps([str(x) for x in range(ROWS)]))
    np.save(tmp_path / "c.npy", VECTORS)
    (tmp_path / "dangling.npy").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.npy")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "through.npy").symlink_to("pipe.npy")
    too_long = f"{tmp_path}/{'x/' * 2048}a.npy"
    cases: dict[tuple[tuple[str, ...], str], str] = {
        ((), ""): "no file with vectors",
        (("none.npy",), ""): "none.npy: no file",
        (("none-*.npy", "a.npy"), ""): "none-*.npy: no file",
        (("pipe.npy",), ""): "pipe.npy is no plain file",
        (("[pt]*.npy",), ""): "pipe.npy is no plain file",
        (("through.npy",), ""): "through.npy is no plain file",
        (("a.npy",), "pipe.json"): "pipe.json is no plain file",
        ((too_long,), ""): "File name too long",
        (("sub.npy",), ""): "is a folder",
        (("v.txt",), ""): "no kind",
        (("a.npy", "b.npy"), ""): "b.npy has the dimension 4, a.npy has 6",
        (("a.npy", "[a]*.npy"), ""): "a.npy is named twice",
        (("a.npy",), "id"): "'id' is a column, and a.npy has none",
        (("a.npy",), "i*.json"): "names 2 files with ids, the corpus has 1",
        (("a.npy", "c.npy"), "i*.json"): "c.npy has ids that are texts, a.npy numbers",
        (("a.npy",), "none.json"): "none.json: no file",
    }
    for (vectors, ids), told in cases.items():
        with pytest.raises(InputError) as caught:
            corpora.find(tmp_path, *vectors, ids=ids)
        assert told in caught.value.message, (vectors, ids, caught.value.message)
        assert caught.value.hint
        if ids == "id":
            assert "`ids:` names files then, as in ids/*.npy" in caught.value.hint
    print(f"{len(cases)} refused")


def test_all_bad_files_are_told_at_once(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        np.save(tmp_path / f"{name}.npy", VECTORS)
    (tmp_path / "b.npy").write_bytes(b"x")
    (tmp_path / "c.npy").write_bytes(b"")
    with pytest.raises(InputError, match="2 problems") as caught:
        corpora.find(tmp_path, "*.npy")
    assert "b.npy" in caught.value.message
    assert "c.npy" in caught.value.message


def test_patterns(tmp_path: Path) -> None:
    names = ["b/v-2.npy", "b/v-10.npy", "a/v-1.npy", "b/deep/v-3.npy", "b/.hidden.npy", "odd[1].npy"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / name, VECTORS[:2])
    cases = {
        ("b/*.npy",): ["b/v-10.npy", "b/v-2.npy"],
        ("b/v-2.npy", "b/v-1*.npy"): ["b/v-2.npy", "b/v-10.npy"],
        ("b/**/*.npy",): ["b/deep/v-3.npy", "b/v-10.npy", "b/v-2.npy"],
        ("?/v-[12].npy",): ["a/v-1.npy", "b/v-2.npy"],
        ("./a/v-1.npy",): ["a/v-1.npy"],
        ("odd[1].npy",): ["odd[1].npy"],
        (f"{tmp_path}/a/*.npy",): [f"{tmp_path}/a/v-1.npy"],
    }
    for patterns, expected in cases.items():
        assert [shard.uri for shard in corpora.find(tmp_path, *patterns)] == expected


def test_a_pattern_that_is_none_is_refused() -> None:
    there = memory.MemoryStore()
    there.create("v-1.npy", corpora.npy(VECTORS[:2]))
    with pytest.raises(InputError, match=r"s3://b/v-\[9-0\]\.npy is no pattern"):
        opening.find(indexes.Source(("s3://b/v-[9-0].npy",)), Path(), {"b": there}.__getitem__)


def test_patterns_of_a_bucket_stay_within_a_folder() -> None:
    there = memory.MemoryStore()
    content = corpora.npy(VECTORS[:2])
    for key in ("x/v-2.npy", "x/v-10.npy", "x/deep/v-3.npy", "y/v-1.npy", "top.npy", "x/v-2.json"):
        there.create(key, content)
    cases = {
        "s3://b/x/*.npy": ["x/v-10.npy", "x/v-2.npy"],
        "s3://b/x/**.npy": ["x/deep/v-3.npy", "x/v-10.npy", "x/v-2.npy"],
        "s3://b/*/v-[!2].npy": ["y/v-1.npy"],
        "s3://b/*.npy": ["top.npy"],
        "s3://b/top.npy": ["top.npy"],
    }
    for pattern, expected in cases.items():
        found = opening.find(indexes.Source((pattern,)), Path(), {"b": there}.__getitem__)
        assert [shard.uri for shard in found] == [f"s3://b/{key}" for key in expected], pattern
    for pattern in ("s3://b", "s3://b/", "s3:///x", "s3://b/none", "s3://b/none*"):
        with pytest.raises(InputError):
            opening.find(indexes.Source((pattern,)), Path(), {"b": there}.__getitem__)


@pytest.fixture(params=["memory", "moto"])
def bucket(request: pytest.FixtureRequest) -> store.Store:
    if request.param == "memory":
        return memory.MemoryStore()
    server: servers.S3Server = request.getfixturevalue("moto_server")
    return s3.S3Store(server.new_bucket(), "", server.endpoint, access_key=server.key, secret_key=server.secret)


FOREIGN = (
    "v/part 3.npy",
    "v/part-4+x.npy",
    "v/(5).npy",
    "v/größe.npy",
    "v/odd[1].npy",
    "v/%41&b=c?#.npy",
    "v/a b/deep.npy",
    "h/dt=2026-01-01/p.npy",
    "h//p.npy",
)


def test_keys_of_others_are_read_as_they_are(moto_server: servers.S3Server, tmp_path: Path) -> None:
    client, name = moto_server.client(), moto_server.new_bucket()
    for number, key in enumerate(FOREIGN):
        client.put_object(Bucket=name, Key=key, Body=corpora.npy(VECTORS + number))
    for key in ("v/", "v/.hidden.npy", "h/.tmp/p.npy"):
        client.put_object(Bucket=name, Key=key, Body=b"none of them")
    access = f"{{endpoint: '{moto_server.endpoint}', accessKey: '${{env:K}}', secretKey: '${{env:S}}'}}"
    settings = tmp_path / "own.yaml"
    settings.write_text(f"home: s3://{name}\nvectors: ['s3://{name}/v/*.npy']\ns3: {access}\n")
    made = wirings.of_file(settings, "me", {"K": moto_server.key, "S": moto_server.secret})
    buckets = made.sources.buckets

    def keys(pattern: str) -> set[str]:
        found = places.find([f"s3://{name}/{pattern}"], Path(), buckets)
        return {place.uri.removeprefix(f"s3://{name}/") for place in found}

    for number, key in enumerate(FOREIGN):
        (shard,) = corpora.open_all(Path(), indexes.Source((f"s3://{name}/{key}",)), buckets)
        np.testing.assert_array_equal(shard.vectors(40, 60), VECTORS[40:60] + number)
    assert keys("v/*.npy") == set(FOREIGN[:6])
    assert keys("v/**") == set(FOREIGN[:7])
    assert keys("h/dt=*/?.npy") == {"h/dt=2026-01-01/p.npy"}
    assert keys("**.npy") == set(FOREIGN)
    assert keys("*/.h*.npy") == {"v/.hidden.npy"}
    for absent in ("v/part 5.npy", "v/part *.fbin"):
        with pytest.raises(InputError, match=r"v/part .*: no file is named so"):
            keys(absent)
    with pytest.raises(InputError, match="is not a key"):
        made.store_of(f"s3://{name}").head("v/part 3.npy")


def test_a_bucket_gives_the_same_as_a_folder(bucket: store.Store, tmp_path: Path) -> None:
    np.save(tmp_path / "v-1.npy", VECTORS.astype(np.float16))
    corpora.write_fbin(tmp_path / "v-2.fbin", VECTORS)
    corpora.written(tmp_path, corpora.table(corpora.fixed(VECTORS)), name="v-3.parquet")
    for number in (1, 2, 3):
        (tmp_path / f"i-{number}.json").write_text(json.dumps([f"{number}/{row}" for row in range(ROWS)]))
    for path in tmp_path.iterdir():
        bucket.create(f"in/{path.name}", path.read_bytes())
    here = corpora.open_all(tmp_path, indexes.Source(("v-*",), "i-*.json"))
    there = corpora.open_all(Path(), indexes.Source(("s3://b/in/v-*",), "s3://b/in/i-*.json"), lambda _: bucket)
    assert len(here) == len(there) == 3
    for one, other in zip(here, there, strict=True):
        for start, stop in ((0, ROWS), (40, 60), (3, 4)):
            np.testing.assert_array_equal(one.vectors(start, stop), other.vectors(start, stop))
            assert one.texts(start, stop) == other.texts(start, stop)
        assert one.facts.rows == other.facts.rows == ROWS


@pytest.mark.parametrize("form", ["npy", "fbin", "parquet"])
def test_an_object_that_changes_is_a_conflict(bucket: store.Store, tmp_path: Path, form: str) -> None:
    def content(vectors: NDArray[np.float32]) -> bytes:
        path = tmp_path / f"v.{form}"
        if form == "parquet":
            corpora.written(tmp_path, corpora.table(corpora.fixed(vectors)))
        elif form == "npy":
            np.save(path, vectors)
        else:
            corpora.write_fbin(path, vectors)
        return path.read_bytes()

    source = indexes.Source((f"s3://b/v.{form}",))
    entry = bucket.create(f"v.{form}", content(VECTORS))
    shards = opening.find(source, tmp_path, lambda _: bucket)
    shard = opening.open_shard(shards[0], source, tmp_path, lambda _: bucket)
    shard.vectors(0, 1)
    bucket.swap(f"v.{form}", content(VECTORS + 1), entry.version)
    for start in (60, 0):
        if form == "parquet":  # what it read ahead is of the planned object, whole
            with contextlib.suppress(Conflict):
                np.testing.assert_array_equal(shard.vectors(start, ROWS), VECTORS[start:])
            continue
        with pytest.raises(Conflict, match="changed since"):
            shard.vectors(start, ROWS)
    with pytest.raises(Conflict, match="changed since"):
        opening.open_shard(shards[0], source, tmp_path, lambda _: bucket)
    bucket.delete(f"v.{form}")
    if form != "parquet":
        with pytest.raises(Conflict, match="no longer there"):
            shard.vectors(0, ROWS)
    with pytest.raises(Conflict, match="no longer there"):
        opening.open_shard(shards[0], source, tmp_path, lambda _: bucket)


class Short(memory.MemoryStore):
    """Answers a read of bytes with fewer."""

    is_short = False

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        content = super().get(key, start, size)
        return content[:-1] if self.is_short else content


def test_a_short_answer_of_a_whole_object_is_temporary() -> None:
    there = Short()
    there.create("v.npy", corpora.npy(VECTORS))
    source = indexes.Source(("s3://b/v.npy",))
    (shard,) = corpora.open_all(Path(), source, lambda _: there)
    there.is_short = True
    with pytest.raises(Unavailable, match="in part"):
        shard.vectors(0, 3)
    there.is_short = False
    np.testing.assert_array_equal(shard.vectors(0, 3), VECTORS[:3])


CHANGES: dict[str, Callable[[Path], object]] = {
    "touched": lambda path: os.utime(path, ns=(1, 1)),
    "cut short": lambda path: os.truncate(path, 300),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "replaced": lambda path: np.save(path, VECTORS + 1),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("which", ["v", "i"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_is_a_conflict(tmp_path: Path, change: str, which: str) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    np.save(tmp_path / "i.npy", np.arange(ROWS))
    os.utime(tmp_path / "v.npy", ns=(5, 5))
    os.utime(tmp_path / "i.npy", ns=(5, 5))
    source = indexes.Source(("v.npy",), "i.npy")
    shards = corpora.find(tmp_path, "v.npy", ids="i.npy")
    opened = opening.open_shard(shards[0], source, tmp_path, corpora.no_bucket)
    CHANGES[change](tmp_path / f"{which}.npy")
    with pytest.raises(Conflict) as caught:
        opening.open_shard(shards[0], source, tmp_path, corpora.no_bucket)
    assert caught.value.hint
    with pytest.raises(Conflict):
        (opened.vectors if which == "v" else opened.labels)(0, 5)


def test_a_shard_without_rows_goes_with_every_dimension(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VECTORS[:0])
    corpora.written(tmp_path, corpora.table(pa.array([], pa.list_(pa.float32()))), name="b.parquet")
    np.save(tmp_path / "c.npy", VECTORS)
    shards = corpora.find(tmp_path, "a.npy", "b.parquet", "c.npy")
    assert [shard.rows for shard in shards] == [0, 0, ROWS]
