"""Every object class, damaged in every way: it is named, what is lost is named exactly, the rest comes back (T2)."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.backup import keys, layout, listings, packs, reading, source, verify, writing
from ddr.backup import repository as repositories
from ddr.errors import DdrError
from ddr.lib import rowdigest
from ddr.stores import memory
from tests.unit.backup import house

CLASSES = ("config", "keys", "packs", "index", "snapshots")
WAYS = ("delete", "empty", "half", "minus-one", "flip-first", "flip-early", "flip-middle", "flip-last", "replace")


@dataclasses.dataclass(frozen=True)
class Original:
    """A whole repository: its objects, how it is opened, and what each snapshot's components hold."""

    objects: dict[str, bytes]
    opening: keys.Opening
    worlds: dict[tuple[str, str], house.World]

    def place(self, changed: dict[str, bytes | None]) -> memory.MemoryStore:
        """As it was, but for these."""
        made = memory.MemoryStore()
        for key, content in (self.objects | changed).items():
            if content is not None:
                made.create(key, content)
        return made

    def keys_of(self, kind: str) -> list[str]:
        return [key for key in self.objects if house.key_kind(key) == kind]


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "FULL", 12_000)
    monkeypatch.setattr(writing, "_INDEXED_EVERY", 3)
    monkeypatch.setattr(verify, "MOST_AFFECTED", 10**6)


@functools.cache
def original(*, is_tiny: bool = False) -> Original:
    """Two snapshots of two components in several packs and index objects; or the least that has one of each."""
    place, now = memory.MemoryStore(), house.Clock()
    repository = repositories.create(place, house.OPEN, house.NOW)
    keys.add(place, repository.ring, house.OPEN, now())
    worlds: dict[tuple[str, str], house.World] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if is_tiny:
            (root / "tiny/sub").mkdir(parents=True)
            (root / "tiny/sub/file").write_bytes(b"content")
            shops = {"one": house.Shop(root / "tiny", {"rows": [(1, "a", 0.5)]}, {"stream": b"bytes"})}
        else:
            shops = {"one": house.small_shop(root / "1", 1), "two": house.small_shop(root / "2", 50)}
        for _ in range(1 if is_tiny else 2):
            made = house.backup(repository, shops, now)
            worlds |= {(made.id, name): shop.world() for name, shop in shops.items()}
            if not is_tiny:
                (shops["one"].root / "models/2/weights.bin").write_bytes(house._noise(99, 15_000))
                shops["two"].tables["runs"] = shops["two"].tables["runs"][1:]
                shops["two"].streams["registry.db"] += b"more"
    objects = {entry.key: place.get(entry.key) for entry in place.list("")}
    return Original(objects, keys.Opening(recovery=repository.ring.paper()), worlds)


def harmed(of: Original, key: str, way: str) -> bytes | None:
    content = of.objects[key]
    others = [other for other in of.keys_of(house.key_kind(key)) if other != key]
    match way:
        case "delete":
            return None
        case "empty":
            return b""
        case "half":
            return content[: len(content) // 2]
        case "minus-one":
            return content[:-1]
        case "replace":
            return of.objects[others[0]] if others else content[::-1]
        case _:
            size = len(content)
            return flipped(
                content, {"first": 0, "early": min(50, size - 1), "middle": size // 2, "last": size - 1}[way[5:]]
            )


def flipped(content: bytes, at: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 1 << at % 8
    return bytes(changed)


def told_lost(report: verify.Report) -> set[str]:
    return {line for finding in report.findings for line in finding.affected}


def really_lost(of: Original, repository: repositories.Repository) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Each part of each snapshot: (its line, the lines that would also name it, whether it is lost).

    Asserts that what is not lost is what was backed up.
    """
    reader = reading.Reader(repository, repository.index_with_problems()[0])
    for (id_, component), world in of.worlds.items():
        begin = f"snapshot {id_[:8]}, "
        try:
            found = repository.read(repository.head(id_)).component(component)
        except DdrError:
            yield f"{begin}all of it", (), True
            continue
        assert found is not None
        read = source.ChunkSource(repository, reader, found)
        for table, rows in world.tables.items():
            line = f"{begin}{component}, table {table}"
            try:
                got = [row for batch in read.rows(table) for row in batch.rows()]
                assert repr(got) == repr(rows)
                stored = found.table(table)
                assert stored is not None
                assert rowdigest.of_batches(read.rows(table)) == stored.digest
                yield line, (), False
            except DdrError:
                yield line, (), True
        for stream, content in world.streams.items():
            line = f"{begin}{component}, stream {stream}"
            try:
                assert b"".join(read.stream(stream)) == content
                yield line, (), False
            except DdrError:
                yield line, (), True
        for path, expected in world.files.items():
            if isinstance(expected, str):
                continue
            line, above = f"{begin}{component}, tree files: ", path.split("/")
            folders = ["/".join(above[:count]) for count in range(1, len(above))]
            try:
                if expected is None:
                    listings.read(reader, read._entry("files", path).chunk_ids())
                else:
                    assert b"".join(read.read("files", path)) == expected
                yield line + path, (), False
            except DdrError:
                yield line + path, (f"{line}all of it", *(line + folder for folder in folders)), True


def check(of: Original, key: str, content: bytes | None) -> tuple[int, int]:
    """(parts lost, parts whole) when the object has this content. The report says exactly that, or nothing opens."""
    place = of.place({key: content})
    try:
        repository = repositories.open_(place, of.opening)
    except DdrError as refused:
        said = refused.message
        assert house.key_kind(key) == "config"
        assert "config" in said or "does not know" in said
        return 0, 0
    assert house.key_kind(key) != "config" or content == of.objects[key]
    verify.verify(repository, "structure")
    verify.verify(repository, "stored")
    report = verify.verify(repository, "full")
    named = {finding.object for finding in report.findings}
    kind = house.key_kind(key)
    if content == of.objects[key]:
        assert not report.findings
    elif content is not None or kind == "packs":
        assert named == {key} or (kind == "index" and named <= {key, layout.INDEX}), named
        assert all(finding.what and finding.next_move for finding in report.findings)
    elif kind == "index":
        assert named == {layout.INDEX}
    told, lost, whole = told_lost(report), 0, 0
    if content is None and kind == "snapshots":
        assert not told, "a snapshot that is gone is one that was forgotten"
        of = dataclasses.replace(
            of, worlds={at: world for at, world in of.worlds.items() if not key.split("-")[-1].startswith(at[0])}
        )
    explained = set()
    for line, or_these, is_lost in really_lost(of, repository):
        by = {line, *or_these} & told
        assert bool(by) == is_lost, f"{line}: lost {is_lost}, told {by}"
        explained |= by
        lost, whole = lost + is_lost, whole + (not is_lost)
    assert explained == told, "nothing is told to be lost that is not"
    hurt = {line.split()[1].rstrip(",") for line in told}
    assert {id_[:8] for id_ in report.whole} == {id_[:8] for id_, _ in of.worlds} - hurt
    return lost, whole


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", CLASSES)
def test_damage_is_named_exactly_and_the_rest_comes_back(kind: str, way: str) -> None:
    of = original()
    tried = lost = whole = 0
    for key in of.keys_of(kind):
        some_lost, some_whole = check(of, key, harmed(of, key, way))
        tried, lost, whole = tried + 1, lost + some_lost, whole + some_whole
    print(f"{kind} {way}: {tried} objects, {lost} parts lost and named, {whole} whole")
    assert tried
    if kind == "packs" and way not in ("flip-last", "minus-one"):  # the end mark is not needed
        assert lost
        assert whole


@pytest.mark.parametrize("stride", [13, pytest.param(1, marks=pytest.mark.long)])
def test_any_flipped_bit_is_seen(stride: int) -> None:
    """Of every byte (of every 13th), one bit, in every object of a tiny repository."""
    of = original(is_tiny=True)
    tried = lost = 0
    for key, content in of.objects.items():
        for at in range(0, len(content), stride):
            lost += check(of, key, flipped(content, at))[0]
            tried += 1
    print(f"{tried} flipped bits, {lost} parts lost and named")


def test_a_whole_repository_has_nothing_to_tell() -> None:
    of = original()
    assert check(of, layout.CONFIG, of.objects[layout.CONFIG])[0] == 0
    report = verify.verify(repositories.open_(of.place({}), of.opening), "full")
    assert (report.findings, report.notes) == ((), ())
    assert report.packs >= 6
    assert report.is_all


def test_objects_of_another_repository_are_refused() -> None:
    """The same content, another master key: its packs, index and snapshots under their own right names."""
    of = original()
    place = memory.MemoryStore()
    other = repositories.create(place, house.OPEN, house.NOW)
    for key, content in of.objects.items():
        if house.key_kind(key) in ("packs", "index", "snapshots"):
            place.create(key, content)
    report = verify.verify(other, "full")
    named = {finding.object for finding in report.findings}
    assert named == {key for key in of.objects if house.key_kind(key) in ("packs", "index", "snapshots")}
    assert report.whole == ()
    for head in other.heads():
        with pytest.raises(DdrError):
            other.read(head)


def test_an_old_snapshot_does_not_pass_for_a_new_one() -> None:
    """Its right bytes and hash under a later time."""
    of = original()
    old, new = sorted(of.keys_of("snapshots"))
    later = new.replace(layout.hash_in(new), layout.hash_in(old)).replace("T0", "T1")
    repository = repositories.open_(of.place({later: of.objects[old]}), of.opening)
    with pytest.raises(DdrError, match="another time"):
        repository.read(repository.head("latest"))
    newest = repository.newest()
    assert newest is not None
    assert newest.id == layout.hash_in(new)[:16]


def test_a_chunk_that_another_pack_has_whole_is_not_lost(tmp_path: Path) -> None:
    """A damaged pack, repair, the next backup: everything is whole again, and the finding affects nothing."""
    from ddr.backup import repair

    of = original()
    shop = house.small_shop(tmp_path / "shop", 1)
    for key in of.keys_of("packs"):
        place = of.place({key: flipped(of.objects[key], len(of.objects[key]) // 2)})
        repository = repositories.open_(place, of.opening)
        repair.rebuild_index(repository)
        made = house.backup(repository, {"one": shop}, house.Clock(house.NOW.replace(hour=20)))
        report = verify.verify(repository, "full")
        assert made.id in report.whole
        assert house.same(house.restored(repository, made.id, "one", tmp_path / "out"), shop.world())
