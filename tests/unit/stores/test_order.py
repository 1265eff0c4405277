"""Listings of servers that sort folder by folder, and drop what hides behind a marker, become right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddr.errors import Damaged
from ddr.ports import store
from ddr.stores import keys, order

Server = Callable[[list[str], str, str], list[str]]


def plain_server(kept: list[str], prefix: str, marker: str) -> list[str]:
    """As S3 promises."""
    return sorted(key for key in kept if key.startswith(prefix) and key > marker)


def folder_server(kept: list[str], prefix: str, marker: str) -> list[str]:
    """As SeaweedFS 4.48 was seen to answer: folder by folder; a marker hides the folder of its own name."""
    found = sorted((key for key in kept if key.startswith(prefix)), key=lambda key: key.split("/"))
    if not marker:
        return found
    if not marker.startswith(prefix):
        return []  # up to 4.47, though every key may sort behind it
    return [key for key in found if key.split("/") > marker.split("/") and not key.startswith(f"{marker}/")]


def listed(server: Server, kept: list[str], prefix: str, after: str) -> list[str]:
    marker = order.start(prefix, after)
    if marker is None:
        return []
    answer = [store.Entry(key, 0, "v") for key in server(kept, prefix, marker)]
    return [entry.key for entry in order.by_bytes(answer, prefix) if entry.key > after]


# Few signs, and the ones around the slash, so that names collide as often as they can.
ours = st.text("-.0aZ_", min_size=1, max_size=3).filter(keys.is_part)
part = st.one_of(ours, st.text(" +.0a~é\ue000", min_size=1, max_size=3))
key = st.lists(part, min_size=1, max_size=4).map("/".join)
beginning = st.one_of(st.just(""), key, key.map(lambda text: f"{text}/"))


@settings(max_examples=200, deadline=None)
@given(st.sets(key, max_size=25), beginning, beginning, st.data())
def test_every_listing_is_whole_and_in_byte_order(kept: set[str], prefix: str, after: str, data: st.DataObject) -> None:
    # S3 may have a key beside a folder of its name; ddr does not, but foreign keys may.
    for first in [prefix, *data.draw(st.lists(st.sampled_from(sorted(kept)), max_size=2) if kept else st.just([]))]:
        for last in [after, *sorted(kept)[:3]]:
            expected = sorted(each for each in kept if each.startswith(first) and each > last)
            assert listed(plain_server, sorted(kept), first, last) == expected
            assert listed(folder_server, sorted(kept), first, last) == expected


def test_a_listing_from_the_middle_of_a_journal_begins_there() -> None:
    """Digits have no sign below the slash, so nothing before the marker is asked for."""
    kept = [f"journal/{number:06d}" for number in range(1_000)]
    marker = order.start("journal/", "journal/000899")
    assert marker
    assert folder_server(kept, "journal/", marker) == kept[899:]
    assert plain_server(kept, "journal/", marker) == kept[899:]
    for number in range(1_000):
        marker = order.start("journal/", f"journal/{number:06d}")
        assert marker
        assert plain_server(kept, "journal/", marker) == kept[number:]


def test_little_is_held() -> None:
    """A flat folder flows through; a tree waits for one of its branches."""
    names = [f"journal/{number:06d}" for number in range(1_000)]
    taken = 0

    def entries() -> object:
        nonlocal taken
        for name in names:
            taken += 1
            yield store.Entry(name, 0, "v")

    for number, _ in enumerate(order.by_bytes(entries(), "journal/")):  # type: ignore[arg-type]
        assert taken <= number + 2


def test_a_server_that_lists_in_no_order_is_found_out() -> None:
    answer = [store.Entry(name, 0, "v") for name in ("b", "a", "c")]
    with pytest.raises(Damaged, match="'a' behind 'b'"):
        list(order.by_bytes(answer, ""))
