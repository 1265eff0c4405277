"""A manifest is proved by the name of its version, whichever ddr wrote it: this one, an earlier one, a newer one."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from ddr.domain import index_versions, indexes
from ddr.errors import Damaged, InputError, Refused
from ddr.index import check, codec
from ddr.index.homes import collecting, fetching, folder, naming, publishing
from ddr.index.homes.home import DamagedVersion
from ddr.lib import digest
from tests.unit.index import backed, published

EARLIER = Path(__file__).parent.parent.parent / "data" / "golden-indexes"
"""Versions that earlier states of ddr published. They are never made again: what lies at users is like them."""
VERSIONS = {
    "v000001-d3ec4fb10b22": "before a row was compared with near centres alone",
    "v000001-2236788c46cc": "when the number of near centres was written also where it was none",
}


@pytest.fixture
def home(tmp_path: Path) -> folder.FolderHome:
    return published.at(tmp_path / "home")


@pytest.fixture
def version(home: folder.FolderHome, tmp_path: Path) -> str:
    return published.published(home, published.make(tmp_path / "corpus", rows=80))


def path_of(home: folder.FolderHome, version: str) -> Path:
    return published.loosened(home.root / "versions" / version / naming.MANIFEST)


def named(said: dict[str, Any]) -> tuple[str, bytes]:
    """A manifest with these values as a ddr that knows them would have named and written it."""
    name = index_versions.name(1, said)
    return name, digest.line({**said, "version": name})


def test_edited_by_hand(home: folder.FolderHome, version: str) -> None:
    """Valid, canonical, and every digest in it may be right: it is not the one that the version is named by."""
    path = path_of(home, version)
    manifest = home.manifest(version)
    file = manifest.files[0]
    edited = [
        dataclasses.replace(manifest, name="others"),
        dataclasses.replace(manifest, version="v000002-0123456789ab"),
        dataclasses.replace(manifest, files=(dataclasses.replace(file, sha256="sha256:" + "0" * 64),)),
        dataclasses.replace(manifest, files=()),
        dataclasses.replace(manifest, files=(file, dataclasses.replace(file, name="../../passwd"))),
        dataclasses.replace(manifest, quality=indexes.Quality()),
        dataclasses.replace(manifest, embedder=indexes.Embedder("sha256:other")),
        dataclasses.replace(manifest, forced="because"),
        dataclasses.replace(manifest, probes=()),
        dataclasses.replace(manifest, format=2),
        dataclasses.replace(manifest, plan=dataclasses.replace(manifest.plan, format=2)),
    ]
    for one in edited:
        path.write_bytes(codec.encode(one))
        with pytest.raises(Damaged):
            home.manifest(version)
        assert check.check(home, version, check.Means(), (0, 1)).exit_code == 10
    print(f"{len(edited)} edits of a manifest found")


def test_bytes_that_no_ddr_writes(version: str, home: folder.FolderHome) -> None:
    content = codec.encode(home.manifest(version))
    flaws = {
        "nothing": b"",
        "no JSON": b"index",
        "a list": b"[]\n",
        "a text": b'"manifest"\n',
        "null": b"null\n",
        "no UTF-8": content.replace(b"docs", b"\xff\xfe\xfd\xfc", 1),
        "half a character": content.replace(b'"docs"', b'"\\udc00"', 1),
        "deeper than any": b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n",
        "a key twice": content.replace(b"{", b'{"created":"2026-11-21T12:00:00Z",', 1),
        "a space": content[:-2] + b" }\n",
        "no line end": content[:-1],
        "a number otherwise": content.replace(b'"format":1', b'"format":1e0', 1),
        "not a number": content.replace(b'"format":1', b'"format":NaN', 1),
        "a field more": content.replace(b'"shape":{', b'"shape":{"neighbours":null,', 1),
    }
    for what, flaw in flaws.items():
        assert flaw != content, what
        with pytest.raises(Damaged) as raised:
            naming.open_manifest(flaw, version, "the manifest")
        assert raised.value.hint, what
    print(f"{len(flaws)} kinds of other bytes found")


def test_of_a_newer_ddr(version: str, home: folder.FolderHome) -> None:
    """Its name says that it is whole. It is told as newer, and never read as if what is unknown did not count."""
    said = codec.told(home.manifest(version))
    for newer in (
        {**said, "format": 2},
        {**said, "more": 1},
        {**said, "plan": {**said["plan"], "shape": {**said["plan"]["shape"], "more": 1}}},
        {**said, "plan": {**said["plan"], "shape": {**said["plan"]["shape"], "kind": "later"}}},
        {**said, "format": 2, "files": {"index.faiss": "otherwise"}},
    ):
        name, content = named(newer)
        with pytest.raises(InputError) as raised:
            naming.open_manifest(content, name, "the manifest")
        assert "newer" in raised.value.hint
        with pytest.raises(Damaged):
            naming.open_manifest(content, version, "the manifest")
    name, content = named(said)
    assert naming.open_manifest(content, name, "the manifest").version == name == version


class TestBesideANewerDdr:
    """Two ddrs on one home while one is upgraded: the earlier one proves nothing of the newer one's, and goes on."""

    @pytest.fixture
    def newer(self, home: folder.FolderHome, version: str) -> str:
        name, content = named({**codec.told(home.manifest(version)), "more": 1})
        name = name.replace("v000001", "v000002")
        content = content.replace(b'"version":"v000001-', b'"version":"v000002-')
        folder_ = home.root / "versions" / name
        shutil.copytree(home.root / "versions" / version, folder_)
        published.loosened(folder_ / naming.MANIFEST).write_bytes(content)
        return name

    @pytest.fixture(params=["serves", "lies there"])
    def serving(self, request: pytest.FixtureRequest, home: folder.FolderHome, version: str, newer: str) -> str:
        if request.param == "serves":
            home.point(version, newer, "it serves")
        return home.current() or ""

    def test_is_told_and_passed_over(self, home: folder.FolderHome, version: str, newer: str) -> None:
        for ask in (home.manifest, lambda name: check.check(home, name, check.Means(), (0,))):
            with pytest.raises(codec.Newer, match="does not know") as told:
                ask(newer)
            assert (told.value.exit_code, bool(told.value.hint)) == (64, True)
        with pytest.raises(codec.Newer):
            publishing.pin(home, newer, "ours")
        chosen = collecting.plan(home, published.LONG_AFTER, keep=1)
        assert chosen.gone == ()
        assert (newer, "was made by a newer ddr") in chosen.kept
        assert version in dict(chosen.kept)

    def test_is_gone_away_from(self, home: folder.FolderHome, version: str, newer: str) -> None:
        home.point(version, newer, "it serves")
        for to in (None, version):
            assert publishing.way_back(home, to, published.prover(home, (0, 1))).after == version
        with pytest.raises(codec.Newer):
            publishing.way_back(home, newer, published.prover(home, (0, 1)))

    def test_keeps_its_home_from_another_index(self, home: folder.FolderHome, version: str, newer: str) -> None:
        home.point(version, newer, "it serves")
        with pytest.raises(publishing.OtherIndex, match="is the home of index docs"):
            publishing.ensure_same_index(home, "others")
        for allowed in (("docs",), ("others", "docs")):
            publishing.ensure_same_index(home, *allowed)

    def test_is_published_beside(self, home: folder.FolderHome, serving: str, tmp_path: Path) -> None:
        made = published.published(home, published.make(tmp_path / "other", rows=70))
        assert (home.current(), naming.number(made)) == (made, 3)


@pytest.mark.parametrize("has_manifest", [False, True])
@pytest.mark.parametrize("version", ["nobody's", "v000009-0123456789ab"])
def test_what_others_put_there_is_not_damaged(
    version: str, has_manifest: bool, home: folder.FolderHome, tmp_path: Path
) -> None:
    """Of ddr's own names a manifest must be there, and its own."""
    place = home.root / "versions" / version
    place.mkdir(parents=True)
    if has_manifest:
        (place / naming.MANIFEST).write_text('{"embedder": "theirs", "files": []}')
    expected = DamagedVersion if naming.is_ours(version) else Refused
    with pytest.raises(expected):
        fetching.fetch(home, version, tmp_path / "served")
    with pytest.raises(expected):
        publishing.pin(home, version, "ours")
    if naming.is_ours(version):
        assert check.check(home, version, check.Means()).exit_code == 10
    else:
        with pytest.raises(Refused, match="was not published by `ddr index`"):
            check.check(home, version, check.Means())


@pytest.mark.parametrize("name", VERSIONS, ids=VERSIONS.values())
class TestOfAnEarlierDdr:
    @pytest.fixture
    def earlier(self, home: folder.FolderHome, name: str) -> folder.FolderHome:
        shutil.copytree(EARLIER / name, home.root / "versions" / name)
        home.point(None, name, "it serves")
        return home

    def test_is_checked_and_written_as_it_was(self, earlier: folder.FolderHome, name: str) -> None:
        assert check.check(earlier, name, check.Means(), (0, 1, 2)).findings == ()
        manifest = earlier.manifest(name)
        assert codec.encode(manifest) == (EARLIER / name / naming.MANIFEST).read_bytes()
        anew = dataclasses.replace(manifest.plan, shape=dataclasses.replace(manifest.plan.shape))
        for plan in (manifest.plan, anew):
            assert codec.key(plan) == manifest.plan_digest, "its work folder is found, nothing is built again"
        assert not manifest.plan.shape.neighbours, "a rebuild is trained in full rounds"

    def test_is_fetched(self, earlier: folder.FolderHome, name: str, tmp_path: Path) -> None:
        fetching.fetch(earlier, name, tmp_path / "served")
        same(tmp_path / "served", EARLIER / name)

    def test_goes_into_a_backup_and_comes_back(self, earlier: folder.FolderHome, name: str, tmp_path: Path) -> None:
        vault, mine = backed.Vault(), backed.of(earlier)
        assert vault.captured(mine).problem == ""
        backed.restored(mine, vault.source(), backed.options(str(tmp_path / "elsewhere")))
        same(tmp_path / "elsewhere" / "versions" / name, EARLIER / name)


def same(one: Path, other: Path) -> None:
    assert digest.tree(one) == digest.tree(other)
