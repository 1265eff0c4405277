"""What may be gone to without being named, also when the record of moves is damaged or others moved the pointer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ddr.domain import indexes
from ddr.errors import Missing
from ddr.index import check
from ddr.index.homes import bucket, folder, history, home, publishing
from ddr.stores import memory
from tests.unit.index import backed, published

Making = Callable[[int], published.Made]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Making:
    return published.make(tmp_path_factory.mktemp("corpus"), rows=60).as_another


@pytest.fixture(params=("folder", "bucket"))
def tried(request: pytest.FixtureRequest, tmp_path: Path) -> home.Home:
    return published.at(tmp_path / "home") if request.param == "folder" else backed.in_bucket(memory.MemoryStore())


@pytest.fixture
def own(tmp_path: Path) -> folder.FolderHome:
    return published.at(tmp_path / "home")


def three(of: home.Home, made: Making) -> list[str]:
    return [published.published(of, made(number)) for number in range(3)]


def back(of: home.Home, to: str | None = None) -> str:
    return publishing.roll_back(of, publishing.way_back(of, to, published.prover(of, (0,)))).after


def lose(of: home.Home, name: str, content: bytes | None = None) -> None:
    """A file or an object of the home, gone or with other bytes."""
    if isinstance(of, bucket.BucketHome):
        of.store.delete(name)
        if content is not None:
            of.store.create(name, content)
        return
    assert isinstance(of, folder.FolderHome)
    (of.root / name).unlink()
    if content is not None:
        (of.root / name).write_bytes(content)


def refused(of: home.Home) -> Missing:
    """Nothing is gone to by itself, and the pointer stays."""
    before = of.current()
    with pytest.raises(Missing) as nowhere:
        back(of)
    assert of.current() == before
    return nowhere.value


def test_what_was_gone_back_from_is_gone_to_by_its_name_alone(tried: home.Home, made: Making) -> None:
    """A rollback that is given twice, by a tired person, goes back twice and never forward."""
    names = three(tried, made)
    assert [back(tried), back(tried)] == [names[1], names[0]]
    assert history.of(tried).left == {names[1], names[2]}
    nowhere = refused(tried)
    assert f"{names[2]} was gone back from" in nowhere.message
    assert f"`ddr index rollback --to {names[2]}`" in nowhere.hint
    back(tried, names[1])
    assert history.of(tried).left == {names[2]}, "somebody went there all the same"
    assert published.published(tried, made(2)) == names[2]
    assert history.of(tried).left == frozenset(), "published anew"


def test_what_others_put_there_is_told_with_the_way_to_it(own: folder.FolderHome, made: Making) -> None:
    version = published.published(own, made(0))
    assert "there is no other version" in refused(own).message
    (own.root / "versions" / "v1").mkdir()
    nowhere = refused(own)
    assert "v1 was not published by `ddr index`" in nowhere.message
    assert "no other version" not in nowhere.message
    assert "`ddr rollback index --to v1` goes there without a proof" in nowhere.hint
    own.point(version, "v1", "by hand")
    assert back(own) == version


def test_what_was_never_served_is_gone_to_by_its_name_alone(tried: home.Home, made: Making) -> None:
    """A publication that was cut off, or a restore, puts a version there of which nobody knows how it was."""
    names = three(tried, made)
    fresh = backed.in_bucket(memory.MemoryStore())
    for name in names:
        fresh.add(name, made(0).files, tried.manifest(name))
    fresh.point(None, names[1])
    assert history.of(fresh).others == (names[2], names[0])
    nowhere = refused(fresh)
    assert f"{names[0]} is not known to have served" in nowhere.message
    assert back(fresh, names[0]) == names[0]


def flaws(content: bytes) -> Iterator[tuple[str, bytes | None]]:
    """Of a record: all that a torn write, a disk, an editor or a cleaning job can make of it."""
    lines = content.splitlines(keepends=True)
    yield "gone", None
    for size in range(len(content)):
        yield "cut", content[:size]
    for number in range(len(lines)):
        for what, other in (("line gone", b""), ("no JSON", b"x\n"), ("no move", b"{}\n"), ("list", b"[]\n")):
            yield what, b"".join([*lines[:number], other, *lines[number + 1 :]])
        yield "first lines gone", b"".join(lines[number + 1 :])
    yield "random", os.urandom(200)
    yield "no lines", content.replace(b"\n", b"")
    yield "zeros", bytes(len(content))


def test_a_damaged_record_never_sends_anybody_forward(own: folder.FolderHome, made: Making) -> None:
    names = three(own, made)
    back(own), back(own)
    log = own.root / "deployments.jsonl"
    content = log.read_bytes()
    count = 0
    for what, flaw in flaws(content):
        log.unlink(missing_ok=True)
        if flaw is not None:
            log.write_bytes(flaw)
        assert names[1] in refused(own).hint or names[2] in refused(own).hint, what
        if flaw in (None, b""):
            assert "tells no move" in own.unread()
        elif what in ("no JSON", "no move", "list", "random", "zeros"):
            assert "cannot be read" in own.unread(), what
        count += 1
    log.write_bytes(content)
    assert own.unread() == ""
    print(f"{count} damaged records: nobody is sent to what was gone back from")


def test_a_record_that_lost_its_beginning_serves_again_as_it_grows(own: folder.FolderHome, made: Making) -> None:
    names = three(own, made)
    (own.root / "deployments.jsonl").unlink()
    assert f"`ddr index rollback --to {names[1]}`" in refused(own).hint
    names.append(published.published(own, made(3)))
    assert back(own) == names[2], "it served before the new one, by the record"
    assert f"--to {names[1]}" in refused(own).hint


def test_a_pointer_that_others_moved(own: folder.FolderHome, made: Making) -> None:
    """By a link, or by `ddr rollback index`, which writes into the journal and not into the record."""
    names = three(own, made)
    other = own.root / "other"
    other.symlink_to(f"versions/{names[0]}")
    other.rename(own.link)
    assert history.of(own).left == {names[1], names[2]}
    last = published.published(own, made(3))
    assert last not in names
    assert back(own) == names[0], "it served before, and not what the record has last"


@pytest.mark.parametrize("is_published_after", [False, True])
def test_a_version_of_others_is_neither_older_nor_newer(
    own: folder.FolderHome, made: Making, is_published_after: bool
) -> None:
    """A hotfix, put there by hand: who goes there does not go back from all that ddr published."""
    names = three(own, made)
    (own.root / "versions" / "hotfix").mkdir()
    other = own.root / "other"
    other.symlink_to("versions/hotfix")
    other.rename(own.link)
    if is_published_after:
        published.published(own, made(3))
    assert history.of(own).left == frozenset()
    assert back(own) == names[2]


def test_who_goes_back_by_way_of_a_version_of_others_went_back(own: folder.FolderHome, made: Making) -> None:
    names = three(own, made)
    (own.root / "versions" / "hotfix").mkdir()
    own.point(names[2], "hotfix")
    assert back(own, names[0]) == names[0]
    assert history.of(own).left == {names[1], names[2]}
    refused(own)


def test_a_lost_pointer_is_sent_to_what_served_and_to_nothing_else_by_itself(tried: home.Home, made: Making) -> None:
    first, second = (published.published(tried, made(number)) for number in range(2))
    back(tried)
    is_folder = isinstance(tried, folder.FolderHome)
    lose(tried, "current", None if is_folder else b"torn")
    way = "`ddr index rollback --to {} --apply`"
    assert told(tried) == ("" if is_folder else "delete the object current, then ") + way.format(first)
    if is_folder:
        named = f"`ddr index build --publish`; or {way.format(second)}, though {second} was gone back from"
    else:  # the record is lost, too
        assert not tried.unread()
        lose(tried, "moves", b"torn")
        assert "the next move of the pointer writes it anew" in tried.unread()
        named = (
            f"then one of both: {way.format(second)}, if {second} is what served, which no record tells;"
            " or `ddr index build --publish`"
        )
        assert told(tried).endswith(named)
    for version, then in ((first, named), (second, "`ddr index build --publish`")):
        lose(tried, f"versions/{version}/manifest.json", b"torn")
        assert told(tried).endswith(then)


def test_pointer_and_record_gone_together_are_lost_and_no_other_embedder_slips_in(
    tried: home.Home, made: Making
) -> None:
    """As after a first publication that was cut off between version and pointer: the same one goes on."""
    assert check.pointed(tried) == ""
    first = made(1).by("modelA")
    version = published.published(tried, first)
    for name in ("current", "deployments.jsonl" if isinstance(tried, folder.FolderHome) else "moves"):
        lose(tried, name)
    assert not tried.moves()
    assert told(tried).startswith(f"`ddr index rollback --to {version} --apply`, if {version} is what served")
    with pytest.raises(publishing.OtherEmbedder, match="made by embedder modelB, queries are made by modelA"):
        published.published(tried, made(2).by("modelB"))
    assert published.published(tried, first) == version
    assert check.pointed(tried) == version


def test_a_version_that_is_gone_is_repaired_before_anybody_goes_elsewhere(own: folder.FolderHome, made: Making) -> None:
    first, second, third = three(own, made)
    back(own)
    for gone, then in ((second, first), (first, third)):
        (own.root / "versions" / gone).rename(own.root / gone)
        assert told(own).startswith("`ddr index repair`, or ")
        assert f"--to {then} --apply" in told(own)
    assert told(own).endswith(f"though {third} was gone back from")


def told(of: home.Home) -> str:
    found = check.pointed(of)
    assert isinstance(found, indexes.Check)
    return found.findings[0].next
