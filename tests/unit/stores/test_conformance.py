"""What the port promises, on every store, plain and through Retrying. A new store is done when it passes this."""

from __future__ import annotations

import threading
from concurrent import futures

import pytest

from ddr.errors import Conflict, InputError, Missing
from ddr.ports import store

EIGHT_MIB = 8 << 20

# Keys whose order tells byte order from folder order, upper from lower case, and numbers from text.
TANGLED = (
    "-",
    "0",
    "A",
    "Z-",
    "_",
    "a",
    "b-1",
    "b.1",
    "b/-/x",
    "b/1",
    "b/10",
    "b/2",
    "b/x-/y",
    "b/x.y",
    "b/x/0",
    "b/x/y/z",
    "b0",
    "b_",
    "run",
    "run-1/a",
    "run-1/b",
    "run.old",
    "runs/1",
    "z",
)
PREFIXES = ("", "b", "b/", "b/x", "b/x/", "run", "run-", "run-1/", "r", "A", "zz", "b/x/y/z", "b/x/y/zz", "runs/")
MARKERS = (
    *TANGLED,
    "",
    "b/",
    "b/x",
    "b/x-",
    "b/x.",
    "c",
    "run-",
    "run-1",
    "run-1/",
    "run0",
    "runs",
    "zz",
    "0000",
    "b/00",
)

GOOD_KEYS = (
    "a",
    "journal/00000000000000000001",
    "-/_/a-b_c.d",
    "a..b/c...",
    "x.tmp/y.lock",
    "CON/nul.txt",
    "k" * 200,
    "/".join(["p" * 200, "q" * 200, "r" * 110]),
    "/".join(["d"] * 256),
)
BAD_KEYS = (
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    ".hidden",
    "a/.lock",
    "a b",
    "a\\b",
    "a:b",
    "ä",
    "a\n",
    "\na",
    "a\0b",
    "a%2fb",
    "a+b",
    "a~b",
    "k" * 201,
    "/".join(["k" * 170] * 3) + "kk",
)


def keys_of(listing: object) -> list[str]:
    return [entry.key for entry in listing]  # type: ignore[attr-defined]


def test_it_is_a_store(tried: store.Store) -> None:
    assert isinstance(tried, store.Store)
    assert tried.name
    assert tried.is_shared == tried.name.startswith("s3://")


@pytest.mark.parametrize("size", [0, 1, 4096, 1_000_003, EIGHT_MIB])
def test_what_was_written_is_read(tried: store.Store, size: int) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    entry = tried.create("some/key", content)
    assert entry == store.Entry("some/key", size, entry.version)
    assert entry.version
    assert tried.get("some/key") == content
    assert tried.head("some/key") == entry
    assert list(tried.list("")) == [entry]
    swapped = tried.swap("some/key", b"x" + content, entry.version)
    assert tried.get("some/key") == b"x" + content
    assert (swapped.size_bytes, tried.head("some/key")) == (size + 1, swapped)


def test_ranges_end_where_the_bytes_end(tried: store.Store) -> None:
    content = b"0123456789"
    tried.create("ten", content)
    tried.create("none", b"")
    for start in (0, 1, 9, 10, 11, 1_000_000):
        for size in (None, 0, 1, 9, 10, 1_000_000):
            expected = content[start:] if size is None else content[start : start + size]
            assert tried.get("ten", start, size) == expected, (start, size)
    for start, size in ((0, None), (0, 0), (0, 1), (1, None), (1, 0), (5, 5)):
        assert tried.get("none", start, size) == b"", (start, size)
        with pytest.raises(Missing):
            tried.get("absent", start, size)
    for start, size in ((-1, None), (0, -1), (-5, 5)):
        with pytest.raises(InputError, match="no range"):
            tried.get("ten", start, size)


def test_what_is_not_there(tried: store.Store) -> None:
    for key in ("absent", "absent/below"):
        with pytest.raises(Missing, match=key):
            tried.get(key)
        assert tried.head(key) is None
        tried.delete(key)
        with pytest.raises(Conflict, match=key) as caught:
            tried.swap(key, b"new", "some-version")
        assert (caught.value.expected, caught.value.found) == ("some-version", "")
        assert not isinstance(caught.value, store.Exists)
        assert tried.head(key) is None
    assert list(tried.list("")) == []


def test_a_key_is_created_once(tried: store.Store) -> None:
    first = tried.create("once", b"first")
    for content in (b"second", b"first", b""):
        with pytest.raises(store.Exists, match="once") as caught:
            tried.create("once", content)
        assert caught.value.found == first.version
    assert tried.get("once") == b"first"
    assert tried.head("once") == first


def test_a_swap_needs_the_version_that_is_there(tried: store.Store) -> None:
    first = tried.create("pointer", b"v1")
    second = tried.swap("pointer", b"v2", first.version)
    assert second.version != first.version
    for stale in (first.version, "", "nonsense", "*"):
        with pytest.raises(Conflict, match="pointer") as caught:
            tried.swap("pointer", b"v3", stale)
        assert (caught.value.expected, caught.value.found) == (stale, second.version)
        assert not isinstance(caught.value, store.Exists)
    assert tried.get("pointer") == b"v2"
    assert tried.head("pointer") == second


def test_what_was_deleted_is_gone_and_may_come_again(tried: store.Store) -> None:
    first = tried.create("d/x", b"first")
    tried.create("d/y", b"other")
    tried.delete("d/x")
    tried.delete("d/x")
    assert tried.head("d/x") is None
    assert keys_of(tried.list("")) == ["d/y"]
    with pytest.raises(Missing):
        tried.get("d/x")
    with pytest.raises(Conflict):
        tried.swap("d/x", b"second", first.version)
    again = tried.create("d/x", b"second")
    assert (tried.get("d/x"), tried.head("d/x")) == (b"second", again)


def test_listings_are_in_byte_order_from_anywhere(plain: store.Store) -> None:
    assert list(TANGLED) == sorted(TANGLED, key=str.encode)
    for key in reversed(TANGLED):
        plain.create(key, key.encode())
    checked = 0
    for number, prefix in enumerate(PREFIXES):
        for after in MARKERS[number % 3 :: 3] if plain.is_shared else MARKERS:
            expected = [key for key in TANGLED if key.startswith(prefix) and key > after]
            assert keys_of(plain.list(prefix, after)) == expected, (prefix, after)
            checked += 1
    print(f"{checked} listings")
    for entry in plain.list(""):
        assert entry == plain.head(entry.key)
        assert entry.size_bytes == len(entry.key)


def test_a_listing_is_in_byte_order_through_a_wrapper(tried: store.Store) -> None:
    for key in TANGLED:
        tried.create(key, b"")
    assert keys_of(tried.list("")) == list(TANGLED)
    assert keys_of(tried.list("b/", after="b/x.y")) == ["b/x/0", "b/x/y/z"]


def test_every_key_the_rule_allows(tried: store.Store) -> None:
    for key in GOOD_KEYS:
        tried.create(key, key.encode())
    for key in GOOD_KEYS:
        assert tried.get(key) == key.encode()
    assert keys_of(tried.list("")) == sorted(GOOD_KEYS)
    for key in GOOD_KEYS:
        tried.delete(key)
    assert list(tried.list("")) == []


def test_no_other_key(tried: store.Store) -> None:
    for key in BAD_KEYS:
        for attempt in (
            lambda key=key: tried.get(key),
            lambda key=key: tried.head(key),
            lambda key=key: tried.create(key, b""),
            lambda key=key: tried.swap(key, b"", "v"),
            lambda key=key: tried.delete(key),
        ):
            with pytest.raises(InputError, match="is not a key") as caught:
                attempt()
            assert "letters, digits" in caught.value.hint
    for text in set(BAD_KEYS) - {"", "a/"}:
        for prefix, after in ((text, ""), ("", text)):
            with pytest.raises(InputError, match="is not the beginning of a key"):
                tried.list(prefix, after)
    assert list(tried.list("")) == []


def test_a_key_and_a_folder_of_that_name(tried: store.Store) -> None:
    """Stores that keep folders refuse it, the others keep both; neither loses anything."""
    tried.create("pp", b"key")
    tried.create("ff/q", b"below")
    kept = {"pp": b"key", "ff/q": b"below"}
    for key, content in (("pp/q", b"1"), ("pp/q/r", b"2"), ("ff", b"3")):
        try:
            tried.create(key, content)
        except (InputError, store.Exists):
            with pytest.raises(Missing):
                tried.get(key)
            assert tried.head(key) is None
            tried.delete(key)
        else:
            kept[key] = content
    assert {key: tried.get(key) for key in keys_of(tried.list(""))} == kept


def at_once(count: int, work: object) -> list[object]:
    """The results of `work(number)` in that many threads that begin together."""
    together = threading.Barrier(count)

    def begin(number: int) -> object:
        together.wait()
        return work(number)  # type: ignore[operator]

    with futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


@pytest.mark.parametrize("same", [False, True], ids=["other-bytes", "same-bytes"])
def test_of_many_creates_one_wins(tried: store.Store, same: bool) -> None:
    for number in range(3):
        key = f"race/{number}"

        def write(writer: int, key: str = key) -> store.Entry | None:
            try:
                return tried.create(key, b"same" if same else b"writer %d" % writer)
            except store.Exists:
                return None

        results = at_once(12, write)
        (winner,) = [writer for writer, entry in enumerate(results) if entry]
        assert tried.get(key) == (b"same" if same else b"writer %d" % winner)
        assert tried.head(key) == results[winner]


def test_no_swap_is_lost(plain: store.Store) -> None:
    """A counter that many increase at once ends at their sum."""
    writers, rounds = 6, 4
    plain.create("counter", b"0")

    def increase(_: int) -> int:
        conflicts = 0
        for _ in range(rounds):
            while True:
                entry = plain.head("counter")
                assert entry
                value = int(plain.get("counter"))
                try:
                    plain.swap("counter", b"%d" % (value + 1), entry.version)
                    break
                except Conflict:
                    conflicts += 1
        return conflicts

    conflicts = at_once(writers, increase)
    assert plain.get("counter") == b"%d" % (writers * rounds)
    print(f"{writers * rounds} increments, conflicts: {conflicts}")


def test_a_reader_sees_whole_values(plain: store.Store) -> None:
    """While one value replaces another, what is read is the one or the other."""
    size, values = 300_000, b"abcdef"
    entry = plain.create("value", values[:1] * size)
    done = threading.Event()

    def read() -> int:
        reads = 0
        while not done.is_set() or not reads:
            content = plain.get("value")
            assert len(content) == size
            assert len(set(content)) == 1
            reads += 1
        return reads

    with futures.ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            for value in values[1:]:
                entry = plain.swap("value", bytes([value]) * size, entry.version)
        finally:
            done.set()
        print(f"{sum(reader.result() for reader in readers)} reads")


def test_create_races_delete(plain: store.Store) -> None:
    """Whatever the order, a key is whole or absent, and a later create works."""

    def work(number: int) -> None:
        for _ in range(5):
            if number % 2:
                plain.delete("here/and/gone")
            else:
                try:
                    plain.create("here/and/gone", b"whole")
                except store.Exists:
                    continue

    at_once(4, work)
    entry = plain.head("here/and/gone")
    assert entry is None or plain.get("here/and/gone") == b"whole"
    plain.delete("here/and/gone")
    plain.create("here/and/gone", b"again")
    assert plain.get("here/and/gone") == b"again"
