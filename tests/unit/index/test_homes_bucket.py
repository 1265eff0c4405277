"""A home in a bucket: stores that lie or are overwritten, pointers of another format, damage of one segment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, Missing, Refused, Unavailable
from ddr.index import check, codec
from ddr.index.homes import home, notes
from ddr.ports import store
from ddr.stores import memory
from tests.unit.index import published


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], published.Made]:
    one = published.make(tmp_path_factory.mktemp("corpus"), ids="texts", rows=60, embedder="sha256:" + "e" * 64)
    return one.as_another


Making = Callable[[int], published.Made]


def test_a_pointer_in_a_bucket_of_a_format_that_is_not_known_is_lost_and_is_not_deleted_lightly(made: Making) -> None:
    place = memory.MemoryStore()
    own = published.in_store(place)
    version = published.published(own, made(1))
    entry = place.head("team/docs/current")
    assert entry is not None
    place.swap(entry.key, place.get(entry.key).replace(b'"format":1', b'"format":3'), entry.version)
    found = check.pointed(own)
    assert isinstance(found, indexes.Check)
    assert found.exit_code == 10
    assert found.findings[0].next.startswith(
        "use the ddr that wrote it; where none did, delete the object team/docs/current, then `ddr index rollback"
    )
    with pytest.raises(home.LostPointer):
        published.published(own, made(2))
    with pytest.raises(home.LostPointer):
        own.point(None, version)


class Lying(memory.MemoryStore):
    """Says yes to every conditional write."""

    lies: tuple[str, ...] = ("create", "swap")

    def create(self, key: str, content: bytes) -> store.Entry:
        if "create" in self.lies:
            self.delete(key)
        return super().create(key, content)

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        entry = self.head(key)
        return super().swap(key, content, entry.version if entry and "swap" in self.lies else expect)


@pytest.mark.parametrize("lies", [("create",), ("swap",), ("create", "swap")])
def test_a_store_that_lies_is_found_before_anything_is_written(lies: tuple[str, ...], made: Making) -> None:
    place = Lying()
    place.lies = lies
    of = published.in_store(place)
    with pytest.raises(Refused, match=" and ".join(f"a {lie}" for lie in lies).replace(" and ", ".* and ")):
        published.published(of, made(1))
    assert list(place.list("")) == []


def test_a_moved_pointer_is_read_back(made: Making) -> None:
    """Between the probe and the move another writer was let overwrite it."""

    class Overwritten(memory.MemoryStore):
        stale = b""

        def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
            entry = super().swap(key, content, expect)
            return super().swap(key, self.stale, entry.version) if key.endswith("current") else entry

    place = Overwritten()
    of = published.in_store(place)
    first = published.published(of, made(1))
    place.stale = place.get("team/docs/current")
    with pytest.raises(Conflict, match="another writer overwrote it"):
        published.published(of, made(2))
    assert of.current() == first


def test_damage_in_a_bucket_has_a_place(made: Making, tmp_path: Path) -> None:
    place = memory.MemoryStore()
    of = dataclasses.replace(published.in_store(place), segment_bytes=512)
    version = published.published(of, made(1))
    keys = [entry.key for entry in place.list(f"team/docs/versions/{version}/") if not entry.key.endswith(".json")]
    for key in keys:
        content, entry = place.get(key), place.head(key)
        assert entry
        place.swap(key, content[:-1] + bytes([content[-1] ^ 1]), entry.version)
        assert check.check(of, version, check.Means(), (0, 1)).exit_code == 10
        with pytest.raises(Damaged):
            home.fetch(of, version, tmp_path)
        place.delete(key)
        assert check.check(of, version, check.Means(), (0, 1)).exit_code == 10
        place.create(key, content)
    assert check.check(of, version, check.Means(), (0, 1)).findings == ()
    place.create(f"team/docs/versions/{version}/evil", b"")
    (finding,) = check.check(of, version, check.Means(), (0,)).findings
    assert finding.where == f"{version}/evil"
    print(f"{len(keys)} segments damaged and deleted, one after the other")


class Beside(memory.MemoryStore):
    """Before the next change of a key that ends so, something else is done."""

    key = ""
    do: Callable[[], object]

    def then(self, key: str, do: Callable[[], object]) -> None:
        self.key, self.do = key, do

    def _meanwhile(self, key: str) -> None:
        if self.key and key.endswith(self.key):
            self.key = ""
            self.do()

    def create(self, key: str, content: bytes) -> store.Entry:
        self._meanwhile(key)
        return super().create(key, content)

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        self._meanwhile(key)
        return super().swap(key, content, expect)

    def delete(self, key: str) -> None:
        self._meanwhile(key)
        super().delete(key)


def test_a_version_that_goes_between_look_and_move_is_not_gone_to_or_pinned(made: Making) -> None:
    place = Beside()
    of = published.in_store(place)
    first, second, third = (published.published(of, made(number)) for number in range(3))
    place.then("/current", lambda: of.remove(first))
    with pytest.raises(Conflict, match=f"{first} was removed or is being; .* points at {third}$"):
        of.point(third, first)
    assert of.current() == third
    place.then(f"pins/{second}", lambda: of.remove(second))
    with pytest.raises(Missing, match=f"no version '{second}'"):
        of.pin(second, "why")
    assert of.pins() == {}
    assert of.versions() == (third,)


def test_a_pointer_that_is_gone_is_known_to_have_been_there(made: Making) -> None:
    place = memory.MemoryStore()
    of = published.in_store(place)
    first, second = (published.published(of, made(number)) for number in range(2))
    moves = of.moves()
    place.delete(of.prefix + "current")
    found = check.pointed(of)
    assert isinstance(found, indexes.Check)
    assert found.exit_code == 10
    assert found.findings[0].next == f"`ddr index rollback --to {second} --apply`"
    assert of.moves() == moves
    assert of.point(None, second) == ""
    assert check.pointed(of) == second
    assert of.moves()[:-1] == moves
    place.delete(of.prefix + "moves")
    assert of.point(second, first) == ""
    place.delete(of.prefix + "current")
    assert of.moves()[-1].after == first


@pytest.mark.parametrize("harm", ["gone", "damaged", "a store that is away"])
def test_a_copy_of_the_moves_is_in_nobodys_way(harm: str, made: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    place = memory.MemoryStore()
    of = published.in_store(place)
    first, second = (published.published(of, made(number)) for number in range(2))
    entry = place.head(of.prefix + "moves")
    assert entry
    if harm == "gone":
        place.delete(of.prefix + "moves")
    elif harm == "damaged":
        place.swap(of.prefix + "moves", b"{", entry.version)
    else:
        real = place.swap

        def swap(key: str, content: bytes, expect: str) -> store.Entry:
            if key.endswith("moves"):
                raise Unavailable("the store is away", hint="")
            return real(key, content, expect)

        monkeypatch.setattr(place, "swap", swap)
    said = of.point(second, first)
    assert (of.current(), "its record was not written" in said) == (first, harm == "a store that is away")
    assert of.moves()[-1].after == first


def test_a_first_pointer_to_a_version_that_goes_is_told_as_it_stays(made: Making) -> None:
    place = Beside()
    of = published.in_store(place)
    place.then("/current", lambda: of.remove(*of.versions()))
    with pytest.raises(Conflict) as told:
        published.published(of, made(0))
    assert told.value.message.endswith(f"points at {of.current()}")
    assert of.versions() == ()
    assert published.published(of, made(0)) == of.current()
    assert of.versions() == (of.current(),)


class Counted(memory.MemoryStore):
    """Tells which leases were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[str] = []

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        if "leases/" in key:
            self.read.append(key)
        return super().get(key, start, size)


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_removal_reads_the_leases_of_its_version_alone(is_begun: bool, made: Making) -> None:
    """Once a look, of which a removal takes two and a sweep one; a sweep then looks which of all are over."""
    place = Counted()
    of = published.in_store(place)
    older, newer = (published.published(of, made(number)) for number in (1, 2))
    over = codec.encode(notes.Note(published.AT - timedelta(days=1), "reader"))
    keys = [f"{of.prefix}leases/{name}" for name in (f"{older}/0", f"{older}/1", f"{older}-0/0", f"{newer}/0")]
    for key in keys:
        place.create(key, over)
    if is_begun:
        place.create(f"{of.prefix}removing/{older}", over)
        of.sweep()
    else:
        of.remove(older)
    assert sorted(place.read) == sorted([*keys, *keys[:2]] if is_begun else [*keys[:2], *keys[:2]])


def test_only_who_reads_it_still_is_named(made: Making) -> None:
    place = memory.MemoryStore()
    of = published.in_store(place)
    older, _ = (published.published(of, made(number)) for number in (1, 2))
    for number, (who, until) in enumerate({"was": published.AT - timedelta(1), "is": published.LONG_AFTER}.items()):
        place.create(f"{of.prefix}leases/{older}/{number}", codec.encode(notes.Note(until, who)))
    with pytest.raises(Refused, match=f"^{older} is being read by is$"):
        of.remove(older)


class Killed(BaseException):
    pass


class Deadly(memory.MemoryStore):
    """Dies before it deletes a key that ends so."""

    at = ""

    def delete(self, key: str) -> None:
        if self.at and key.endswith(self.at):
            raise Killed
        super().delete(key)


def test_a_version_that_a_killed_removal_left_is_told_as_being_removed(made: Making) -> None:
    place = Deadly()
    of = published.in_store(place)
    older, _ = (published.published(of, made(number)) for number in (1, 2))
    place.at = f"{older}/manifest.json"
    with pytest.raises(Killed):
        of.remove(older)
    asked: tuple[Callable[[], object], ...] = (
        lambda: of.unpin(older),
        lambda: of.pin(older, "why"),
        lambda: of.lease(older).__enter__(),
    )
    for ask in asked:
        with pytest.raises(Missing, match=f"version '{older}' in .* is being removed") as told:
            ask()
        assert told.value.hint == "`ddr index gc` ends it"


@pytest.mark.parametrize("is_begun", [False, True])
@pytest.mark.parametrize("is_read", [False, True])
def test_the_note_of_a_removal_that_is_at_it_stays(is_read: bool, is_begun: bool, made: Making) -> None:
    """Its looks are done. A reader that looked before the note puts its lease, a gc comes by, the reader looks again.
    `is_begun`: a killed removal left a note long ago."""
    place = Beside()
    of = published.in_store(place)
    older, newer = (published.published(of, made(number)) for number in (1, 2))
    at = f"{of.prefix}removing/{older}"
    if is_begun:
        place.create(at, codec.encode(notes.Note(published.AT - timedelta(days=1))))

    def beside() -> None:
        if is_read:
            place.create(f"{of.prefix}leases/{older}/0", codec.encode(notes.Note(published.LONG_AFTER)))
        assert of.sweep() == ()
        with pytest.raises(Missing, match="is being removed"):
            of.unpin(older)

    place.then(f"{older}/manifest.json", beside)
    assert of.remove(older)
    assert (of.versions(), place.head(at), place.key) == ((newer,), None, "")


@pytest.mark.parametrize("died_at", ["manifest.json", "index.faiss/000000"])
@pytest.mark.parametrize("why", ["pin", "lease", "pointer", ""])
def test_what_a_killed_removal_left_goes_unless_it_is_whole_and_kept(died_at: str, why: str, made: Making) -> None:
    """What keeps it came at the moment of the removal, so that the removal would have ended and taken its note back."""
    place = Deadly()
    of = published.in_store(place)
    older, newer = (published.published(of, made(number)) for number in (1, 2))
    beginning = f"{of.prefix}versions/{older}/"
    place.at = f"{older}/{died_at}"
    with pytest.raises(Killed):
        of.remove(older)
    place.at = ""
    note = place.get(f"{of.prefix}removing/{older}")
    if why == "pin":
        place.create(f"{of.prefix}pins/{older}", note)
    if why == "lease":
        place.create(f"{of.prefix}leases/{older}/0", note.replace(b"2026", b"2126"))
    if why == "pointer":
        entry = place.head(f"{of.prefix}current")
        assert entry
        place.swap(entry.key, place.get(entry.key).replace(newer.encode(), older.encode()), entry.version)
    assert of.sweep() == ((f"removing/{older}",) if died_at != "manifest.json" else ()), "it may be at it"
    later = dataclasses.replace(of, now=lambda: of.now() + timedelta(hours=1))
    assert later.sweep() == ((f"removing/{older}",) if died_at == "manifest.json" else ())
    assert place.head(f"{of.prefix}removing/{older}") is None
    if why and died_at == "manifest.json":
        assert check.check(of, older, check.Means(), (0, 1)).findings == ()
    elif why != "pointer":
        assert older not in of.versions()
        assert list(place.list(beginning)) == []
    assert newer in of.versions()
