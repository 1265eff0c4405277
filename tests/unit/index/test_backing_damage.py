"""Damage at every place of the way: in the home, in the snapshot, in what was restored. Deaths and full disks."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from ddr.backup import repository as repositories
from ddr.errors import Damaged, DdrError, Refused
from ddr.index.backing import record
from ddr.index.homes import folder
from ddr.ports import restorable
from ddr.stores import memory
from tests.unit.backup import house
from tests.unit.index import backed, published

Change = Callable[[bytes], bytes | None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> published.Made:
    return published.make(tmp_path_factory.mktemp("corpus"), ids="texts", rows=40)


def _turned(at: int, content: bytes) -> bytes:
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


def _cut(at: int, content: bytes) -> bytes:
    return content[:at]


def harms(size: int, step: int) -> Iterator[tuple[str, Change]]:
    """Bits turned, cut at every length of a grid, a block of zeros, more than there was, nothing, gone."""
    for at in range(0, size, step):
        yield f"bit {at}", functools.partial(_turned, at)
        yield f"cut {at}", functools.partial(_cut, at)
    yield "zeros", lambda content: content[: size // 3] + bytes(64) + content[size // 3 + 64 :]
    yield "longer", lambda content: content + b"\0"
    yield "gone", lambda content: None


def put(path: Path, content: bytes | None, like: os.stat_result) -> None:
    """As a new file with the old times: only what the kernel keeps tells that it was written."""
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
        os.utime(path, ns=(like.st_atime_ns, like.st_mtime_ns))


def test_damage_in_the_home_is_told_and_does_not_go_in(tmp_path: Path, made: published.Made) -> None:
    at, first, second = backed.two(tmp_path / "home", made)
    vault, mine = backed.Vault(), backed.of(at, "pinned")
    assert vault.captured(mine).problem == ""
    whole = [f"{name}/{file}" for name in (first, second) for file in ("ids.json", "index.faiss")]
    assert backed.files(vault.source()) == whole
    tried = 0
    for name, step in (("index.faiss", 211), ("ids.json", 97), ("manifest.json", 401)):
        path = at.root / "versions" / second / name
        content, like = path.read_bytes(), path.stat()
        for what, change in harms(len(content), step):
            changed = change(content)
            if changed == content:
                continue
            put(path, changed, like)
            found = vault.captured(mine)
            assert f"{second}/{name}" in found.problem, (what, found.problem)
            source = vault.source()
            assert backed.files(source) == whole[:2], (what, "the other version went in, nothing of this one")
            assert b"".join(source.read(record.VERSIONS, f"{first}/index.faiss"))
            assert record.read(source).damaged == (found.problem,)
            tried += 1
        put(path, content, like)
    assert vault.captured(mine).problem == "", "mended, it is whole again"
    assert backed.files(vault.source()) == whole
    print(f"{tried} kinds of damage, all told, none in a backup")
    assert tried > 60


def test_a_version_of_a_newer_ddr_needs_that_ddr(tmp_path: Path, made: published.Made) -> None:
    at, _, second = backed.two(tmp_path / "home", made)
    newer = published.of_a_newer_ddr(at, second)
    at.point(second, newer, "upgraded")
    found = backed.Vault().captured(backed.of(at))
    assert found.problem.endswith("says what this ddr does not know: use the ddr that wrote it, or newer")


def test_what_was_proved_once_is_not_read_again(tmp_path: Path, made: published.Made) -> None:
    read: list[str] = []

    class Watched(folder.FolderHome):
        def read(self, version: str, file: str) -> Iterator[bytes]:
            read.append(f"{version}/{file}")
            return super().read(version, file)

    at, _, second = backed.two(tmp_path / "home", made)
    mine = backed.of(Watched(at.root, published.Clock()))
    vault = backed.Vault()
    for _ in range(3):
        assert vault.captured(mine).problem == ""
    assert sorted(read) == [f"{second}/ids.json", f"{second}/index.faiss"]
    touched = at.root / "versions" / second / "index.faiss"
    put(touched, touched.read_bytes(), touched.stat())
    vault.captured(mine)
    assert read[2:] == [f"{second}/index.faiss"], "written again with the same bytes and times: read again"


def test_who_collects_and_publishes_meanwhile(tmp_path: Path, made: published.Made) -> None:
    """What is being backed up is not taken away; a pointer that moves meanwhile is the next backup's."""
    refused: list[str] = []

    class Busy(folder.FolderHome):
        def read(self, version: str, file: str) -> Iterator[bytes]:
            if not refused:
                with pytest.raises(Refused) as problem:
                    at.remove(first)
                refused.append(problem.value.message)
                at.point(first, published.published(at, made.as_another(7)))
            return super().read(version, file)

    at = published.at(tmp_path / "home")
    first, second = (published.published(at, made.as_another(number)) for number in range(2))
    at.point(second, first)
    vault = backed.Vault()
    found = vault.captured(backed.of(Busy(at.root, published.Clock()), "all"))
    assert (found.problem, found.facts["serves"], found.facts["versions"]) == ("", first, "2")
    assert refused
    later = vault.captured(backed.of(at, "all"))
    assert (later.problem, later.facts["serves"], later.facts["versions"]) == ("", at.current(), "3")
    assert at.remove(first), "and behind it it goes"


@pytest.mark.parametrize("content", [b'{"version":', b'{"version":"v1","count":1,"format":9}\n'])
def test_a_damaged_pointer_of_a_bucket_is_told_and_all_else_goes_in(made: published.Made, content: bytes) -> None:
    place = memory.MemoryStore()
    of = backed.in_bucket(place)
    first, second = (published.published(of, made.as_another(number)) for number in range(2))
    of.pin(first, "for the audit")
    entry = place.head("current")
    assert entry
    place.swap("current", content, entry.version)
    vault = backed.Vault()
    found = vault.captured(backed.of(of, "pinned"))
    assert found.problem.startswith(f"the pointer of {of.name}: ")
    assert found.facts["serves"] == "nothing"
    source = vault.source()
    assert backed.files(source) == [f"{one}/{file}" for one in (first, second) for file in ("ids.json", "index.faiss")]
    said = record.read(source)
    assert [one.name for one in said.versions] == [first, second]
    assert [move.after for move in said.moves] == [first, second], "the copy has them"


def test_every_segment_of_a_bucket(tmp_path: Path, made: published.Made) -> None:
    """Fetched once; fetched again, and told, when somebody wrote one; told when one is gone or too many."""
    inner = memory.MemoryStore()
    counting = house.Faulty(inner, house.no_rule, ("get",))
    version = published.published(backed.in_bucket(inner), made)
    vault, mine = backed.Vault(), backed.of(backed.in_bucket(counting))
    assert vault.captured(mine).problem == ""
    keys = [entry.key for entry in inner.list(f"versions/{version}/") if not entry.key.endswith(".json")]
    assert len(keys) > 2
    assert {key for _, key in counting.calls} >= set(keys)
    counting.calls.clear()
    assert vault.captured(mine).problem == ""
    assert not {key for _, key in counting.calls} & set(keys), "nothing of it is fetched twice"
    for key in keys:
        content = inner.get(key)
        for changed in (content[:-1] + bytes([content[-1] ^ 1]), content[:-1], content + b"x", None):
            inner.delete(key)
            if changed is not None:
                inner.create(key, changed)
            found = vault.captured(mine)
            assert f"{version}/{key.split('/')[2]}" in found.problem, (key, found.problem)
            assert backed.files(vault.source()) == []
        inner.delete(key)
        inner.create(key, content)
    assert vault.captured(mine).problem == ""
    print(f"{4 * len(keys)} kinds of damage")


def test_a_snapshot_with_the_damaged_one_restores_the_others(tmp_path: Path, made: published.Made) -> None:
    at, first, second = backed.two(tmp_path / "home", made)
    path = at.root / "versions" / second / "index.faiss"
    put(path, path.read_bytes()[:-1], path.stat())
    vault, mine = backed.Vault(), backed.of(at, "all")
    vault.run(mine)
    other = backed.of(published.at(tmp_path / "other"))
    plan = backed.restored(other, vault.source(), backed.options())
    assert ("note", "when it was captured") in backed.said(plan)
    assert (other.of.versions(), other.of.current()) == ((first,), None), "what served cannot be pointed at"
    assert any("neither there nor restored" in line.detail for line in plan.lines)


def test_damage_of_what_was_restored_is_found(tmp_path: Path, made: published.Made) -> None:
    """Each behind the restore and before its comparison."""
    at, first, second = backed.two(tmp_path / "home", made)
    at.pin(second, "the one that serves")
    vault, mine = backed.Vault(), backed.of(at)
    vault.run(mine)
    source = vault.source()
    base = tmp_path / "once"
    more = {"pointer": "recorded", "records": str(tmp_path / "records")}
    plan = mine.plan_restore(source, restorable.RestoreOptions(str(base), more=more))
    mine.restore(plan, source)
    files = [base / "versions" / name / file for name in (second,) for file in ("index.faiss", "ids.json")]
    files += [base / "versions" / second / "manifest.json", tmp_path / "records" / first / "manifest.json"]
    changes: list[Change] = [lambda one: one[:-1] + b"~", lambda one: one[:-1], lambda one: None]
    found = 0
    for path in files:
        content, like = path.read_bytes(), path.stat()
        for change in changes:
            put(path, change(content), like)
            unequal = [one.what for one in mine.compare(plan, source) if not one.is_equal]
            name = f"{path.parent.name}/{path.name}"
            assert any(name in what for what in unequal), (path, unequal)
            found += 1
        put(path, content, like)
    back = published.at(base)
    back.link.unlink()
    back.unpin(second)
    unequal = [one.what for one in mine.compare(plan, source) if not one.is_equal]
    assert unequal == [f"pin of {second}", "pointer"]
    print(f"{found + 2} kinds of damage behind the restore, all found")


def test_a_drill_passes_and_fails_as_it_should(tmp_path: Path, made: published.Made) -> None:
    at, _, second = backed.two(tmp_path / "home", made)
    vault, mine = backed.Vault(), backed.of(at)
    vault.run(mine)
    part = vault.drill(mine)
    assert (part.holds, part.unequal, part.problems) == (True, (), ())
    assert set(part.phases) == {"restore", "compare and ask"}
    vault.run(backed.of(at, "records"))
    alone = vault.drill(mine)
    assert (alone.holds, alone.problems) == (True, ())
    assert alone.compared == 5, "the record, and two manifests each by its bytes and by its name"
    assert at.current() == second
    key = max(vault.store.list("backup/packs/"), key=lambda entry: entry.size_bytes).key
    content = vault.store.get(key)
    vault.store.delete(key)
    vault.store.create(key, content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    vault.repository = repositories.open_(vault.store, house.OPEN)
    older = vault.source(0)
    with pytest.raises(Damaged):
        backed.restored(mine, older, backed.options(str(tmp_path / "elsewhere")))
    elsewhere = published.at(tmp_path / "elsewhere")
    assert (elsewhere.versions(), elsewhere.current()) == ((), None)
    assert [path.name for path in elsewhere.root.iterdir()] == [], "nothing half is left"


class Lying:
    """A home whose backup has other bytes than its record says: of a writer with a mistake, or an ill will."""

    def __init__(self, real: restorable.Capturable) -> None:
        self.real = real

    def capture(self, sink: restorable.Sink) -> None:
        tree = sink.tree

        def swapped(name: str, files: restorable.FileTree) -> object:
            return tree(name, _Other(files) if name == record.VERSIONS else files)

        with mock.patch.object(sink, "tree", swapped):
            self.real.capture(sink)


class _Other:
    def __init__(self, real: restorable.FileTree) -> None:
        self.entries, self.local, self._real = real.entries, real.local, real

    def read(self, seen: restorable.FileSeen) -> Iterator[bytes]:
        for piece in self._real.read(seen):
            yield piece[:-1] + bytes([piece[-1] ^ 1])


def test_bytes_that_are_not_those_of_the_record_are_not_put_there(tmp_path: Path, made: published.Made) -> None:
    at, _, second = backed.two(tmp_path / "home", made)
    vault, mine = backed.Vault(), backed.of(at)
    vault.run(Lying(mine))
    into = tmp_path / "into"
    plan = mine.plan_restore(vault.source(), backed.options(str(into)))
    with pytest.raises(Damaged, match=f"{second}/.* it was not put into"):
        mine.restore(plan, vault.source())
    assert published.at(into).versions() == ()
    assert not vault.drill(mine).holds


@pytest.mark.parametrize("kind", ["index.faiss", "probes"])
def test_the_pointer_waits_for_the_load_and_the_probes(tmp_path: Path, made: published.Made, kind: str) -> None:
    """Right digests of a wrong file: only the child sees it, and the pointer does not move."""
    import dataclasses

    from ddr.index.homes import naming, writing

    manifest, files = made.manifest, dict(made.files)
    if kind == "probes":
        turned = tuple(dataclasses.replace(one, found=one.found[::-1][:1] * 5) for one in manifest.probes)
        manifest = dataclasses.replace(manifest, probes=turned)
    else:
        content = files["index.faiss"].read_bytes()
        path = tmp_path / "index.faiss"
        file = writing.write_bytes(path, content[: len(content) // 2])
        files["index.faiss"] = path
        manifest = dataclasses.replace(manifest, files=(file, *manifest.files[1:]))
    at = published.at(tmp_path / "home")
    sealed = naming.seal(manifest, ())
    at.add(sealed.version, files, sealed)
    at.point(None, sealed.version)
    vault, mine = backed.Vault(), backed.of(at)
    vault.run(mine)
    source = vault.source()
    plan = mine.plan_restore(source, backed.options(str(tmp_path / "into")))
    with pytest.raises(DdrError, match="stays at nothing"):
        mine.restore(plan, source)
    assert published.at(tmp_path / "into").current() is None
    assert not vault.drill(mine).holds
