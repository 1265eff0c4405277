"""A home of indexes goes into a backup and comes back: what goes in, where it goes, what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ddr.backup import shrink
from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, InputError, Missing, Unavailable, UnknownName
from ddr.index import codec
from ddr.index.backing import component, record, restoring
from ddr.index.homes import bucket, home, naming, publishing
from ddr.lib import digest
from ddr.ports import restorable
from ddr.stores import memory
from tests import servers
from tests.unit.index import backed, published
from tests.unit.stores import conftest as stores

Making = Callable[[int], published.Made]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Making:
    one = published.make(tmp_path_factory.mktemp("corpus"), ids="texts", rows=60, embedder="sha256:" + "e" * 64)
    return one.as_another


@pytest.fixture(params=("folder", "moto"))
def tried(request: pytest.FixtureRequest, tmp_path: Path) -> home.Home:
    if request.param == "folder":
        return published.at(tmp_path / "home")
    server: servers.S3Server = request.getfixturevalue("moto_server")
    place = stores.s3_store(server, server.new_bucket())
    return bucket.BucketHome(place, "team/docs/", published.Clock(), "tester", segment_bytes=4000)


def three(of: home.Home, made: Making) -> list[str]:
    """Three versions; the second serves, the first is pinned."""
    names = [published.published(of, made(number)) for number in range(3)]
    of.point(names[2], names[1], "the third was bad")
    of.pin(names[0], "for the audit")
    return names


def done(
    mine: component.IndexHome, source: restorable.Source, wishes: restorable.RestoreOptions
) -> restorable.RestorePlan:
    """Not compared: that loads each version in a child."""
    plan = mine.plan_restore(source, wishes)
    assert plan.refusals == ()
    mine.restore(plan, source)
    return plan


def test_there_and_back(tried: home.Home, made: Making, tmp_path: Path) -> None:
    names = three(tried, made)
    vault, mine = backed.Vault(), backed.of(tried)
    found = vault.captured(mine)
    assert (found.problem, found.warnings) == ("", ())
    assert found.facts == {
        "home": tried.name, "serves": names[1], "versions": "3", "bytes of": names[1], "pinned": names[0],
        "rows": "60", "kind": "ivf-flat", "embedder": "sha256:" + "e" * 64,
    }  # fmt: skip
    source = vault.source()
    assert backed.files(source) == [f"{names[1]}/ids.json", f"{names[1]}/index.faiss"]
    assert backed.files(source, record.RECORDS) == [".home.json", *(f"{name}/manifest.json" for name in names)]
    for name in names:
        assert b"".join(source.read(record.RECORDS, f"{name}/manifest.json")) == codec.encode(tried.manifest(name))

    again = vault.run(mine)
    assert again.added_bytes < 2_000, "the same once more is stored once"

    elsewhere = tmp_path / "elsewhere"
    plan = mine.plan_restore(source, backed.options(str(elsewhere)))
    assert not elsewhere.exists(), "a plan touches nothing"
    assert backed.said(plan) == [
        ("create", f"version {names[1]}"),
        ("note", f"{names[0]}, {names[2]}"),
        ("create", "pointer"),
    ]
    backed.restored(mine, source, backed.options(str(elsewhere)))
    back = published.at(elsewhere)
    assert (back.versions(), back.current()) == ((names[1],), names[1])
    assert published.prover(back)(names[1]).findings == ()
    assert back.manifest(names[1]) == tried.manifest(names[1])
    assert [(move.before, move.after) for move in back.moves()] == [("", names[1])]

    twice = done(mine, source, backed.options(str(elsewhere)))
    assert backed.said(twice) == [("skip", f"version {names[1]}"), ("note", f"{names[0]}, {names[2]}")]
    onto = mine.plan_restore(source, backed.options())
    assert [does for does, _ in backed.said(onto)] == ["skip", "note"], "where it came from nothing is to be done"


def test_from_a_folder_into_a_bucket_and_back(tried: home.Home, made: Making, tmp_path: Path) -> None:
    """Whatever it came from, the same versions are in the other kind of home."""
    names = three(tried, made)
    vault = backed.Vault()
    vault.run(backed.of(tried, "all"))
    other: home.Home = bucket.BucketHome(memory.MemoryStore(), "", published.Clock(), segment_bytes=3000)
    if tried.local(names[0]) is None:
        other = published.at(tmp_path / "other")
    done(backed.of(other), vault.source(), backed.options())
    assert (other.versions(), other.current()) == (tuple(names), names[1])
    assert dict(other.pins()) == {names[0]: "for the audit"}
    for name in names:
        assert published.prover(other, (0, 1))(name).findings == ()


CHOICES: dict[indexes.Kept, list[int]] = {"serving": [1], "pinned": [0, 1], "all": [0, 1, 2], "records": []}


@pytest.mark.parametrize("choice", CHOICES)
def test_whose_bytes_go_in(tmp_path: Path, made: Making, choice: indexes.Kept) -> None:
    at = published.at(tmp_path / "home")
    names = three(at, made)
    vault = backed.Vault()
    found = vault.captured(backed.of(at, choice))
    wanted = [f"{names[number]}/{file}" for number in CHOICES[choice] for file in ("ids.json", "index.faiss")]
    source = vault.source()
    assert backed.files(source) == wanted
    assert len(backed.files(source, record.RECORDS)) == 4, "the record is always there, of all"
    assert bool(found.warnings) == (choice == "records"), "who gives up the bytes is told so"
    mine = backed.of(published.at(tmp_path / "other"))
    wishes = backed.options("", "fail", records=str(tmp_path / "records"))
    (backed.restored if choice in ("records", "serving") else done)(mine, source, wishes)
    assert mine.of.versions() == tuple(names[number] for number in CHOICES[choice])
    assert mine.of.current() == (names[1] if CHOICES[choice] else None)
    for name in names:
        written = (tmp_path / "records" / name / "manifest.json").read_bytes()
        assert written == codec.encode(at.manifest(name))


def test_the_record_says_how_to_build_it_again(tmp_path: Path, made: Making) -> None:
    at = published.at(tmp_path / "home")
    names = three(at, made)
    vault = backed.Vault()
    wanted = made(1).manifest.plan.wanted
    vault.run(component.IndexHome(at, backed.homes, wanted, "records"))
    source = vault.source()
    said = record.read(source)
    assert (said.current, said.wanted, dict(said.pins)) == (names[1], wanted, {names[0]: "for the audit"})
    assert [move.after for move in said.moves] == [*names, names[1]]
    for version in said.versions:
        manifest = record.manifest(source, version.name)
        assert manifest.scan.ids.count == 60
        assert version.files == manifest.files == at.manifest(version.name).files


def test_nothing_is_there_yet(tmp_path: Path, made: Making) -> None:
    at = published.at(tmp_path / "home")
    vault, mine = backed.Vault(), backed.of(at)
    assert vault.captured(mine).problem == ""
    plan = mine.plan_restore(vault.source(), backed.options())
    assert (plan.lines, plan.refusals) == ((), ())
    three(at, made)
    assert vault.captured(mine).facts["versions"] == "3"
    (tmp_path / "home").rename(tmp_path / "away")
    for _ in range(3):
        gone = vault.captured(mine)
        assert "had 3 versions and has none" in gone.problem, "a home that is not mounted is no empty home"
    (tmp_path / "away").rename(tmp_path / "home")
    assert vault.captured(mine).problem == ""


def test_a_damaged_version_stays_and_its_bytes_come_under_the_next_number(tried: home.Home, made: Making) -> None:
    names = three(tried, made)
    vault, mine = backed.Vault(), backed.of(tried)
    vault.run(mine)
    source = vault.source()
    harm(tried, names[1])
    for policy in ("fail", "skip"):
        plan = mine.plan_restore(source, backed.options("", policy))
        assert bool(plan.refusals) == (policy == "fail")
        assert plan.lines[0].does == ("conflict" if policy == "fail" else "leave")
        assert "index.faiss" in plan.lines[0].detail
        if policy == "fail":
            with pytest.raises(Conflict):
                mine.restore(plan, source)
        else:
            mine.restore(plan, source)
        assert (tried.versions(), tried.current()) == (tuple(names), names[1])
    plan = backed.restored(mine, source, backed.options("", "update"))
    assert backed.said(plan)[0] == ("recreate", f"version {names[1]}")
    assert ("update", "pointer") in backed.said(plan), "what serves was damaged: the pointer goes to the same bytes"
    new = tried.current()
    assert new is not None
    assert new.startswith("v000004-")
    assert new.partition("-")[2] == names[1].partition("-")[2], "the same manifest, the same bytes"
    assert published.prover(tried, (0, 1))(new).findings == ()
    assert published.prover(tried, (0, 1))(names[1]).findings != (), "nothing was overwritten"
    again = done(mine, source, backed.options("", "update"))
    assert backed.said(again)[0] == ("skip", f"version {names[1]}")
    assert len(tried.versions()) == 4
    mended = mine.plan_restore(source, backed.options())
    assert mended.refusals == (), "what is there under another number is there"


def harm(of: home.Home, version: str) -> None:
    """One bit in the middle of its index."""
    folder = of.local(version)
    if folder is not None:
        path = folder / "index.faiss"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.unlink()  # it may be the same file on the disk as that of the work folder
        path.write_bytes(content)
        return
    assert isinstance(of, bucket.BucketHome)
    entry = next(iter(of.store.list(f"{of.prefix}versions/{version}/index.faiss/")))
    content = bytearray(of.store.get(entry.key))
    content[0] ^= 1
    of.store.swap(entry.key, bytes(content), entry.version)


def test_the_pointer_moves_only_when_asked(tmp_path: Path, made: Making) -> None:
    at = published.at(tmp_path / "home")
    names = three(at, made)
    vault, mine = backed.Vault(), backed.of(at, "all")
    vault.run(mine)
    source = vault.source()
    at.point(names[1], names[0], "meanwhile")
    stays = done(mine, source, backed.options())
    assert at.current() == names[0]
    assert any(line.what == "pointer" and names[1] in line.detail for line in stays.lines if line.does == "note")
    done(mine, source, backed.options(pointer="recorded"))
    assert at.current() == names[1]
    done(mine, source, backed.options(pointer=names[2]))
    assert at.current() == names[2]
    done(mine, source, backed.options("", "fail", f"version:{names[0]}", pointer="stay"))
    assert at.current() == names[2]
    nowhere = mine.plan_restore(source, backed.options(pointer="v000009-0123456789ab"))
    assert "cannot go to v000009" in nowhere.refusals[0]
    empty = tmp_path / "empty"
    done(mine, source, backed.options(str(empty), pointer="stay"))
    assert published.at(empty).current() is None
    done(mine, source, backed.options(str(tmp_path / "one"), "fail", f"version:{names[2]}"))
    assert published.at(tmp_path / "one").current() is None, "what served is not there"


def test_who_moved_it_since_the_plan_is_not_overruled(tried: home.Home, made: Making) -> None:
    names = three(tried, made)
    vault, mine = backed.Vault(), backed.of(tried, "all")
    vault.run(mine)
    source = vault.source()
    tried.point(names[1], names[0], "meanwhile")
    plan = mine.plan_restore(source, backed.options(pointer="recorded"))
    tried.point(names[0], names[2], "and once more")
    with pytest.raises(Conflict, match="is not as it was planned for"):
        mine.restore(plan, source)
    assert tried.current() == names[2]


@pytest.mark.parametrize("manifest", ["whole", "damaged", "damaged, no record of moves"])
def test_another_embedder_is_not_gone_back_to(manifest: str, tmp_path: Path, made: Making) -> None:
    at = published.at(tmp_path / "home")
    old = published.published(at, made(1))
    vault, mine = backed.Vault(), backed.of(at)
    vault.run(mine)
    two = made(2)
    other = dataclasses.replace(two.manifest, embedder=indexes.Embedder("sha256:" + "f" * 64))
    new = publishing.publish(at, two.files, other, published.prover(at, (0, 1)), model_also=True).after
    if manifest != "whole":
        published.loosened(at.root / "versions" / new / naming.MANIFEST).write_bytes(b"{}")
    if "no record" in manifest:
        (at.root / "deployments.jsonl").unlink()
    plan = mine.plan_restore(vault.source(), backed.options(pointer="recorded"))
    assert "--model-also" in plan.refusals[0]
    assert ("not known" in plan.refusals[0]) == ("no record" in manifest)
    assert at.current() == new != old


def test_what_is_not_there_is_said(tmp_path: Path, made: Making) -> None:
    at = published.at(tmp_path / "home")
    names = three(at, made)
    vault, mine = backed.Vault(), backed.of(at)
    vault.run(mine)
    source = vault.source()
    with pytest.raises(UnknownName, match="is not in the snapshot with its bytes"):
        mine.plan_restore(source, backed.options("", "fail", f"version:{names[0]}"))
    with pytest.raises(InputError, match="no such wish"):
        mine.plan_restore(source, backed.options(pionter="stay"))
    with pytest.raises(InputError, match="absolute"):
        mine.plan_restore(source, backed.options("somewhere"))
    assert {restoring.POINTER, restoring.DOCUMENTS} == set(restoring.WISHES)


def test_a_version_that_something_else_published(tmp_path: Path, made: Making) -> None:
    """As the sandbox deploys its first index: a card with digests, no manifest of ours."""
    root = tmp_path / "home"
    folder = root / "versions" / "v1"
    folder.mkdir(parents=True)
    one = made(1)
    for name, path in one.files.items():
        (folder / name).write_bytes(path.read_bytes())
    digests = {name: digest.of_file(folder / name) for name in one.files}
    (folder / "card.json").write_text(json.dumps({"embedder": "x", "files": digests}))
    (root / "current").symlink_to("versions/v1")
    vault, mine = backed.Vault(), backed.of(published.at(root))
    found = vault.captured(mine)
    assert (found.problem, found.warnings, found.facts["bytes of"]) == ("", (), "v1")
    source = vault.source()
    elsewhere = tmp_path / "elsewhere"
    backed.restored(mine, source, backed.options(str(elsewhere)))
    back = elsewhere / "versions" / "v1"
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
    assert published.at(elsewhere).current() == "v1"
    assert backed.said(done(mine, source, backed.options(str(elsewhere)))) == [("skip", "version v1")]
    (back / "ids.json").write_bytes(b"[]")
    assert "has other bytes" in mine.plan_restore(source, backed.options(str(elsewhere), "update")).refusals[0]
    into = backed.of(bucket.BucketHome(memory.MemoryStore(), "", published.Clock()))
    assert "only a folder can hold it" in into.plan_restore(source, backed.options()).refusals[0]
    (folder / "index.faiss").write_bytes(b"IwFl" * 100)
    damaged = vault.captured(mine)
    assert "v1/index.faiss" in damaged.problem
    assert backed.files(vault.source()) == []
    (folder / "card.json").write_text(json.dumps({"embedder": "x"}))
    unproved = vault.captured(mine)
    assert (unproved.problem, unproved.warnings) == ("", ())
    assert "nobody wrote down" in unproved.facts["as they are"]


def test_a_collection_is_no_alarm_and_an_emptied_home_is(tmp_path: Path, made: Making) -> None:
    at = published.at(tmp_path / "home")
    names = [published.published(at, made(number)) for number in range(12)]
    vault, mine = backed.Vault(), backed.of(at, "all")
    before = vault.captured(mine)
    for name in names[:-2]:
        at.remove(name)
    after = vault.captured(mine)
    assert (before.files, after.files) == (37, 7)
    assert shrink.of_component(after, before) == ()
    assert shrink.of_component(dataclasses.replace(after, trees=()), before) != ()


def test_a_home_that_lost_its_pointer_is_told(tmp_path: Path, made: Making) -> None:
    at = published.at(tmp_path / "home")
    names = three(at, made)
    vault, mine = backed.Vault(), backed.of(at)
    at.link.unlink()
    at.link.mkdir()
    assert "is no symbolic link" in vault.captured(mine).problem
    at.link.rmdir()
    at.link.symlink_to("versions/v000009-0123456789ab")
    assert "is not there" in vault.captured(mine).problem
    at.link.unlink()
    found = vault.captured(mine)
    assert "is not there, and it was" in found.problem
    assert (found.facts["serves"], found.facts["bytes of"]) == ("nothing", names[1]), "what it named last is kept"


def test_a_restore_takes_the_room_of_the_version_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = published.at(tmp_path / "home")
    version = published.published(at, published.make(tmp_path / "corpus", rows=8000))
    vault = backed.Vault()
    vault.run(backed.of(at))
    source, into = vault.source(), published.at(tmp_path / "into")
    written = [0]

    def counting(real: Callable[..., int]) -> Callable[..., int]:
        def wrapped(*args: Any) -> int:
            count = real(*args)
            written[0] += count
            return count

        return wrapped

    with monkeypatch.context() as patched:
        for call in ("write", "pwrite"):
            patched.setattr(os, call, counting(getattr(os, call)))
        done(backed.of(into), source, backed.options(str(into.root), pointer="stay"))
    assert into.versions() == (version,)
    files = [path.stat() for path in (into.root / "versions" / version).iterdir()]
    assert written[0] < 1.2 * sum(file.st_size for file in files)
    assert {(file.st_nlink, file.st_mode & 0o777) for file in files} == {(1, 0o444)}
    assert list(into.root.rglob(".*")) == []


def test_a_snapshot_without_its_record_restores_nothing(tmp_path: Path) -> None:
    class Broken:
        def capture(self, sink: object) -> None:
            raise Unavailable("the bucket is away")

    vault = backed.Vault()
    vault.run(Broken())
    with pytest.raises((Missing, Damaged)):
        backed.of(published.at(tmp_path / "home")).plan_restore(vault.source(), backed.options())
