"""Every home alike: publish, go back, pin, collect; in a folder, in memory, in a folder as a store, in a bucket."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ddr.connectors import faiss_index
from ddr.domain import indexes, planes
from ddr.errors import Conflict, Damaged, InputError, Missing, Refused
from ddr.index import check
from ddr.index.homes import bucket, collecting, folder, home, naming, publishing
from ddr.lib import clock
from ddr.ports import store
from ddr.stores import local, memory
from tests import servers
from tests.unit.index import published
from tests.unit.stores import conftest as stores

KINDS = ("folder", "memory", "local", "moto")


@pytest.fixture(params=KINDS)
def tried(request: pytest.FixtureRequest, tmp_path: Path) -> home.Home:
    if request.param == "folder":
        return published.at(tmp_path / "home")
    of = published.in_store(made_store(request, tmp_path))
    return dataclasses.replace(of, segment_bytes=1 << 20) if request.param == "moto" else of


def made_store(request: pytest.FixtureRequest, tmp_path: Path) -> store.Store:
    if request.param == "memory":
        return memory.MemoryStore()
    if request.param == "local":
        return local.LocalStore(tmp_path / "store")
    server: servers.S3Server = request.getfixturevalue("moto_server")
    return stores.s3_store(server, server.new_bucket())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], published.Made]:
    one = published.make(tmp_path_factory.mktemp("corpus"), ids="texts", rows=60, embedder="sha256:" + "e" * 64)
    return one.as_another


Making = Callable[[int], published.Made]


def test_three_versions_there_and_back(tried: home.Home, made: Making, tmp_path: Path) -> None:
    names = [published.published(tried, made(number)) for number in range(3)]
    assert tried.versions() == tuple(names)
    assert [naming.number(name) for name in names] == [1, 2, 3]
    assert tried.current() == names[2]
    assert [tried.manifest(name).parent for name in names] == ["", *names[:2]]
    assert [(move.before, move.after) for move in tried.moves()] == list(zip(["", *names], names, strict=False))
    prove = published.prover(tried, (0, 1))
    back = publishing.roll_back(tried, publishing.way_back(tried, None, prove))
    assert (back.before, back.after, tried.current()) == (names[2], names[1], names[1])
    forward = publishing.roll_back(tried, publishing.way_back(tried, names[2], prove))
    assert (forward.after, tried.current()) == (names[2], names[2])
    assert published.published(tried, made(2)) == names[2], "the same once more is the same version"
    assert len(tried.versions()) == 3
    assert published.published(tried, made(0)) == names[0], "and one of before is gone back to"
    for name in names:
        fetched = home.fetch(tried, name, tmp_path)
        for file in fetched.files:
            assert (tmp_path / file.name).read_bytes() == made(0).files[file.name].read_bytes()
            assert b"".join(tried.read(name, file.name)) == made(0).files[file.name].read_bytes()
        assert tried.sizes(name) == {file.name: file.size_bytes for file in fetched.files}
    assert tried.sweep() == ()


def test_a_much_smaller_corpus_is_published_with_a_warning(tried: home.Home, made: Making) -> None:
    one, two = made(1), made(2)
    scan = dataclasses.replace(two.manifest.scan, kept=one.manifest.scan.kept * 4 // 5)
    prove = published.prover(tried, (0, 1))
    published.published(tried, one)
    moved = publishing.publish(tried, two.files, dataclasses.replace(two.manifest, scan=scan), prove)
    assert [text for text in moved.warnings if text.endswith("has 60: 20% fewer")]


def test_a_collector_counts_versions_that_are_whole(tried: home.Home, made: Making) -> None:
    names = [published.published(tried, made(number)) for number in range(5)]
    for name in names[2:4]:
        _lose(tried, f"versions/{name}/manifest.json", b"torn")
    chosen = collecting.plan(tried, published.LONG_AFTER, keep=2)
    assert [name for name, _ in chosen.kept] == [names[1], names[4]]
    assert chosen.gone == (names[0], names[2], names[3])


def test_full_proof_with_a_child(tried: home.Home, made: Making) -> None:
    moved = publishing.publish(tried, made(1).files, made(1).manifest, published.prover(tried))
    assert moved.proof.levels == (0, 1, 2)
    assert moved.warnings == ()


def test_what_is_refused_moves_nothing(tried: home.Home, made: Making) -> None:
    prove = published.prover(tried, (0, 1))
    first = published.published(tried, made(1))
    two = made(2)
    with pytest.raises(publishing.BelowGate) as below:
        publishing.publish(tried, two.files, two.manifest, prove, gate=publishing.Gate(("recall@10 0.80",)))
    assert below.value.exit_code == 13
    other = dataclasses.replace(two.manifest, embedder=indexes.Embedder("sha256:" + "f" * 64))
    with pytest.raises(publishing.OtherEmbedder) as another:
        publishing.publish(tried, two.files, other, prove)
    assert another.value.exit_code == 12
    assert (tried.versions(), tried.current()) == ((first,), first)
    gate = publishing.Gate(("recall@10 0.80",), "the old one is worse")
    forced = publishing.publish(tried, two.files, other, prove, gate=gate, model_also=True).after
    assert tried.manifest(forced).forced == "the old one is worse"
    with pytest.raises(publishing.OtherEmbedder):
        publishing.way_back(tried, first, prove)
    with pytest.raises(publishing.OtherEmbedder, match="made by embedder") as across:
        publishing.way_back(tried, None, prove)
    assert across.value.hint.endswith(f"`ddr index rollback --to {first} --model-also`")
    assert tried.current() == forced
    assert publishing.way_back(tried, None, prove, model_also=True).after == first
    assert publishing.way_back(tried, None, prove, embedder="sha256:" + "e" * 64).after == first
    with pytest.raises(Missing):
        publishing.way_back(tried, "v000009-0123456789ab", prove)
    with pytest.raises(Conflict):
        tried.point("v000009-0123456789ab", first)
    with pytest.raises(Conflict):
        tried.point(None, first)
    with pytest.raises(Missing):
        tried.point(forced, "v000009-0123456789ab")
    assert tried.current() == forced
    bad = dataclasses.replace(two.manifest, files=(dataclasses.replace(two.manifest.files[0], name="../x"),))
    with pytest.raises(InputError):
        publishing.publish(tried, two.files, bad, prove, model_also=True)


def _lose(of: home.Home, name: str, content: bytes | None = None) -> None:
    """A file or an object of the home, gone or with other bytes."""
    if isinstance(of, bucket.BucketHome):
        key = f"{of.prefix}{name}"
        of.store.delete(key)
        if content is not None:
            of.store.create(key, content)
        return
    assert isinstance(of, folder.FolderHome)
    (of.root / name).unlink()
    if content is not None:
        (of.root / name).write_bytes(content)


def test_another_index_is_published_only_instead_of_the_one_that_serves(tried: home.Home, made: Making) -> None:
    prove = published.prover(tried, (0, 1))
    first = published.published(tried, made(1))
    named = dataclasses.replace(made(2).manifest, name="other docs")
    for instead_of in ("", "nodocs"):
        with pytest.raises(publishing.OtherIndex, match="is the home of index docs") as refused:
            publishing.publish(tried, made(2).files, named, prove, instead_of=instead_of)
        assert "`ddr index build --publish --instead-of docs`" in refused.value.hint
    assert (tried.versions(), tried.current()) == ((first,), first)
    renamed = publishing.publish(tried, made(2).files, named, prove, instead_of="docs").after
    assert publishing.publish(tried, made(2).files, named, prove).after == renamed, "from now on it is its home"
    with pytest.raises(publishing.OtherIndex, match="is the home of index other docs"):
        published.published(tried, made(3))
    back = publishing.way_back(tried, None, prove)
    assert back.warnings == (f"{first} is of index docs, {renamed} is of index other docs",)
    assert publishing.roll_back(tried, back).after == first


@pytest.mark.parametrize("harm", ["manifest", "pointer"])
def test_a_damaged_home_is_not_given_to_another_index(tried: home.Home, made: Making, harm: str) -> None:
    prove = published.prover(tried, (0, 1))
    versions = [published.published(tried, made(number)) for number in (1, 2)]
    if harm == "manifest":
        _lose(tried, f"versions/{versions[-1]}/manifest.json", b"{}")
    else:
        _lose(tried, "current")
        if isinstance(tried, folder.FolderHome):
            _lose(tried, "deployments.jsonl")
    named = dataclasses.replace(made(3).manifest, name="other docs")
    with pytest.raises(publishing.OtherIndex, match="is the home of index docs"):
        publishing.publish(tried, made(3).files, named, prove, model_also=True)
    publishing.publish(tried, made(3).files, named, prove, model_also=True, instead_of="docs")
    _lose(tried, f"versions/{tried.current()}/manifest.json", b"{}")
    published_again = dataclasses.replace(made(1).manifest, name="docs")
    publishing.publish(tried, made(1).files, published_again, prove, model_also=True)


def test_who_made_the_vectors_that_serve_is_asked_of_the_record(tried: home.Home, made: Making) -> None:
    prove = published.prover(tried, (0, 1))
    a, b = ("sha256:" + letter * 64 for letter in "ab")

    def by(embedder: str, number: int) -> publishing.Moved:
        manifest = dataclasses.replace(made(number).manifest, embedder=indexes.Embedder(embedder))
        return publishing.publish(tried, made(number).files, manifest, prove)

    first, second = by(a, 1).after, by(a, 2).after
    _lose(tried, f"versions/{second}/manifest.json")
    with pytest.raises(publishing.OtherEmbedder, match=f"made by {a}|by {a}"):
        by(b, 3)
    assert publishing.way_back(tried, first, prove).after == first
    third = by(a, 3).after
    moves = [dataclasses.replace(move, published=None) for move in tried.moves()]
    noted = home.published(tried.moves(), third)
    assert noted is not None
    assert noted.embedder == a
    assert home.published(moves, third) is None
    assert noted.plan == made(3).manifest.plan_digest


def test_a_pointer_that_is_none_is_told_with_the_way_back(tried: home.Home, made: Making) -> None:
    version = published.published(tried, made(1))
    _lose(tried, "current", b"v2")
    with pytest.raises(home.LostPointer) as lost:
        tried.current()
    assert lost.value.exit_code == 10
    found = check.pointed(tried)
    assert isinstance(found, indexes.Check)
    assert found.exit_code == 10
    assert f"`ddr index rollback --to {version} --apply`" in found.findings[0].next
    prove = published.prover(tried, (0, 1))
    with pytest.raises(home.LostPointer):
        publishing.way_back(tried, version, prove)
    _lose(tried, "current")
    publishing.roll_back(tried, publishing.way_back(tried, version, prove))
    assert check.pointed(tried) == version


def test_files_that_are_not_the_manifests(tried: home.Home, made: Making, tmp_path: Path) -> None:
    first = published.published(tried, made(1))
    two = made(2)
    damaged = tmp_path / "index.faiss"
    damaged.write_bytes(two.files["index.faiss"].read_bytes()[:-1] + b"\xff")
    with pytest.raises((Damaged, publishing.NotProved)):
        published.published(tried, dataclasses.replace(two, files={**two.files, "index.faiss": damaged}))
    assert (tried.versions(), tried.current()) == ((first,), first)


def test_collecting(tried: home.Home, made: Making) -> None:
    names = [published.published(tried, made(number)) for number in range(7)]
    prove = published.prover(tried, (0, 1))
    publishing.roll_back(tried, publishing.way_back(tried, names[4], prove))
    for why in ("for a while", "for the audit"):
        tried.pin(names[1], why)
    for ask in (tried.unpin, lambda name: tried.pin(name, "gone")):
        with pytest.raises(Missing):
            ask("v000009-0123456789ab")
    assert tried.pins() == {names[1]: "for the audit"}
    later = published.LONG_AFTER
    chosen = collecting.plan(tried, later, keep=2)
    assert chosen.gone == (names[0], names[2], names[3])
    assert [name for name, _ in chosen.kept] == [names[1], names[4], names[5], names[6]]
    assert collecting.plan(tried, published.AT + timedelta(hours=1), keep=2).gone == (), "all were made just now"
    with tried.lease(names[2]):
        done = collecting.apply(tried, chosen)
        assert done.gone == (names[0], names[3])
        assert any(name == names[2] and "being read" in why for name, why in done.kept)
    for kept in (names[1], names[4]):
        with pytest.raises(Refused):
            tried.remove(kept)
    with pytest.raises(Refused):
        tried.remove("v1")
    tried.unpin(names[1])
    done = collecting.apply(tried, collecting.plan(tried, later, keep=2))
    assert done.gone == (names[1], names[2])
    assert tried.versions() == tuple(names[4:])
    assert not tried.remove(names[0])
    with pytest.raises(Missing), tried.lease(names[0]):
        pass
    assert tried.sweep() == ()


def test_a_damaged_target_is_refused_and_named(made: Making, tmp_path: Path) -> None:
    of = published.at(tmp_path)
    names = [published.published(of, made(number)) for number in range(4)]
    index = published.loosened(tmp_path / "versions" / names[2] / "index.faiss")
    content = bytearray(index.read_bytes())
    content[100] ^= 1
    index.write_bytes(content)  # in place: versions and the work folder have files of their own
    prove = published.prover(of, (0, 1))
    with pytest.raises(publishing.NotProved) as caught:
        publishing.way_back(of, names[2], prove)
    assert caught.value.exit_code == 10
    assert caught.value.hint == f"still possible: {names[1]}, {names[0]}"
    assert made(2).files["index.faiss"].read_bytes() != bytes(content)
    assert of.current() == names[3]
    told: list[str] = []
    way = publishing.way_back(of, None, prove, report=told.append)
    assert way.after == names[1]
    assert told[0].startswith(f"passed over {names[2]}: {names[2]}/index.faiss has other bytes")
    assert way.warnings == (told[0],)
    for name in names[:2]:
        (tmp_path / "versions" / name / "index.faiss").unlink()
    with pytest.raises(Missing, match="no version to go back to"):
        publishing.way_back(of, None, prove)
    assert of.current() == names[3]


def test_the_current_version_is_gone_and_still_one_can_go_back(made: Making, tmp_path: Path) -> None:
    import shutil

    of = published.at(tmp_path)
    names = [published.published(of, made(number)) for number in range(2)]
    shutil.rmtree(tmp_path / "versions" / names[1])
    assert of.current() == names[1]
    publishing.roll_back(of, publishing.way_back(of, None, published.prover(of, (0, 1))))
    assert of.current() == names[0]


def test_others_read_the_folder(made: Making, tmp_path: Path) -> None:
    """The connector of `ddr rollback` knows versions, embedder and changes, also beside a version it had before."""
    root = tmp_path / "index"
    old = root / "versions/v1"
    old.mkdir(parents=True)
    (old / "index.faiss").write_bytes(b"old")
    (old / "ids.json").write_text("[]")
    (old / "card.json").write_text(json.dumps({"embedder": "sha256:old", "dim": 8, "count": 1}))
    (root / "current").symlink_to("versions/v1")
    of = published.at(root)
    moved = publishing.publish(of, made(1).files, made(1).manifest, published.prover(of, (0, 1)))
    assert moved.before == "v1"
    with_numbers = published.make(tmp_path / "numbers", rows=60, embedder="sha256:" + "e" * 64)
    newest = published.published(of, with_numbers)
    connected = faiss_index.connect(faiss_index.Settings("index"), tmp_path, clock.SystemClock())
    plane = connected.plane(faiss_index.Binding(), planes.Plane.INDEX)
    live = plane.revision()
    assert (live.name, live.facts) == (newest, {"embedder": "sha256:" + "e" * 64, "dim": "8", "count": "60"})
    assert plane.find(moved.after).facts["count"] == "60"
    assert plane.find("v1").facts["embedder"] == "sha256:old"
    changes = plane.changes(published.AT)
    assert [(change.before, change.after, change.actor) for change in changes] == [
        ("v1", moved.after, "tester"),
        (moved.after, newest, "tester"),
    ]
    assert plane.switch(plane.find(moved.after), live).name == moved.after
    assert of.current() == moved.after
    with pytest.raises(Refused, match="nothing says what its bytes must be"):
        publishing.way_back(of, "v1", published.prover(of, (0, 1)))
    assert "v1" not in collecting.plan(of, published.LONG_AFTER, keep=0).gone
    (root / "versions" / newest / "index.faiss").unlink()
    with pytest.raises(Damaged):
        plane.find(newest)
