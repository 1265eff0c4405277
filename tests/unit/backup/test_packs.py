"""Packs: their bytes for ever, their room, and that no blob passes for another one."""

from __future__ import annotations

import itertools
import random
import struct
from pathlib import Path

import blake3
import pytest

from ddr.backup import chunk_index, chunks, keys, layout, packs, reading, sealing, writing
from ddr.backup import repository as repositories
from ddr.errors import Damaged
from ddr.stores import memory
from tests.unit.backup import house

RING = keys.keyring_of(bytes(range(32)))


@pytest.fixture
def fixed_salts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Salts count up: 0101.., 0202.., so that sealed bytes can be written down."""
    count = itertools.count(1)
    monkeypatch.setattr("secrets.token_bytes", lambda size: bytes([next(count)]) * size)


def pack_of(contents: list[bytes], ring: keys.Keyring = RING) -> tuple[str, bytes, tuple[packs.Place, ...]]:
    builder = packs.Builder(ring)
    # The library's version may change what zstd makes of it: then these bytes change, and what reads them does not.
    for at, content in enumerate(contents):
        builder.put(chunks.id_of(ring.chunk_key, content), at % 2, content)
    made = builder.finish()
    return made.name, bytes(made.content), made.places


def test_derived_keys_and_ids_are_what_the_format_says() -> None:
    """Golden: whoever changes one of these makes every repository unreadable."""
    assert RING.repository.hex() == "166f770f2f979e71fb746bab1472d7d0"
    assert RING.chunk_key.hex() == "80755f375d06dfd25d4293b104337c315868213a7cafb24187b388f7df9c1627"
    assert RING.derive("pack", b"\1" * 32).hex() == "493e6e5d91449e667bfa4ceff314555c9e3c4dd5e34a5b511ba54a292d7b0852"
    assert (
        RING.derive("object snapshot", b"\1" * 32).hex()
        == "d1b232b1d67c254981866d5d1e664e846e46a3f3dcb4a2b95fd91d21cf112676"
    )
    assert RING.paper() == "ddr-recovery-1-AAAQE-AYEAU-DAOCA-JBIFQ-YDIOB-4IBCE-QTCQK-RMFYY-DENBW-HA5DY-PX5NJ-NCY"
    assert chunks.id_of(RING.chunk_key, b"").hex() == "f4d898dda21b7f12dbc72afc75a7b79c9f00d4369edd4421e75b78f70ef2419d"
    assert (
        chunks.id_of(RING.chunk_key, b"weights").hex()
        == "f46bc4bcd87a65131c93b0ce514c89af52eaf9c2d413e75bd79fb72700aecc04"
    )
    context = "ddr 2026-11-21 backup v1 chunk ids"
    assert blake3.blake3(RING.master, derive_key_context=context).digest() == RING.chunk_key


def test_the_bytes_of_a_pack_are_what_they_were(fixed_salts: None) -> None:
    name, content, places = pack_of([b"", b"a", b"compressible " * 100, random.Random(1).randbytes(300)])
    assert len(content) == 832
    assert name == "a4b7f1b9de02e6fa6d55600fb58dc766aa635ce2a4cacfd5a1b5552188ccf16c"
    assert [(place.kind, place.at, place.stored, place.size_bytes) for place in places] == [
        (0, 84, 17, 0),
        (1, 145, 18, 1),
        (0, 207, 47, 1300),
        (1, 298, 317, 300),
    ]
    assert content[:8] == b"DDRPACK1"
    assert content[-8:] == b"DDRPEND1"
    stored = sealing.seal(RING, "snapshot", b"{}")
    assert layout.name_of(stored) == "0401f3389b2a15f5e028cd13e02f92d4d1dc77fd74090d0d5eab74dccb6cfd3a"


@pytest.mark.parametrize(
    ("average", "golden"),
    [
        (chunks.SMALL, [111090, 67285, 86090, 221300, 99418, 125415, 75834]),
        (chunks.LARGE, [848218, 2257769, 1182347, 1903461, 1082757, 1576399, 1432183, 1781675, 518103]),
    ],
)
def test_content_is_cut_where_it_always_was(average: int, golden: list[int]) -> None:
    content = random.Random(7).randbytes(12 * average)
    assert [len(piece) for piece in chunks.cut_stream([content], average)] == golden


def test_cut_points_do_not_depend_on_how_content_arrives(tmp_path: Path) -> None:
    """Streams in pieces of any size, files through a buffer that is smaller than they are."""
    chance, checked = random.Random(3), 0
    for size in (0, 1, chunks.SMALL // 2, chunks.SMALL // 2 + 1, 700_000, 2_500_001):
        content = chance.randbytes(size)
        whole = list(chunks.cut_stream([content]))
        assert b"".join(whole) == content
        for mean in (900, 40_000, 300_000):
            pieces, at = [], 0
            while at < size:
                step = chance.randrange(1, 2 * mean)
                pieces.append(content[at : at + step])
                at += step
            assert list(chunks.cut_stream(pieces)) == whole
            checked += 1
    path = tmp_path / "large"
    path.write_bytes(chance.randbytes(9_000_000) + bytes(6_000_000))
    whole = list(chunks.cut_stream([path.read_bytes()], chunks.LARGE))
    for size in (4 * chunks.LARGE + 1, 5_000_000, 16 << 20):
        with path.open("rb", buffering=0) as file:
            assert list(chunks.cut_file(file, bytearray(size))) == whole
        checked += 1
    assert max(map(len, whole)) <= chunks.MOST
    print(f"{checked} ways, the same cuts")


def test_many_tiny_chunks_leave_room_for_their_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "FULL", 1 << 20)
    monkeypatch.setattr(packs, "ROOM", (1 << 20) + (1 << 19))
    builder = packs.Builder(RING)
    number = 0
    while not builder.is_full:
        content = struct.pack("<I", number)
        builder.put(chunks.id_of(RING.chunk_key, content), packs.DATA, content)
        number += 1
    made = builder.finish()
    assert len(made.content) <= (1 << 20) + (1 << 17)
    assert packs.Opened(RING, made.name, made.content[:40]).table(made.content) == made.places
    print(f"{number} chunks of 4 bytes in a pack of {len(made.content)}")


def test_rows_larger_than_a_chunk_are_stored_and_come_back(tmp_path: Path) -> None:
    """Cells of some MB, and one that is larger than any chunk should be."""
    chance = random.Random(5)
    shop = house.Shop(tmp_path / "none")
    shop.root.mkdir()
    texts = [chance.randbytes(size).hex() for size in (400_000, 400_000, 10, 900_000, 6_000_000, 5, 700_000)]
    shop.tables = {"spans": [(at, text, 0.5) for at, text in enumerate(texts)]}
    repository = repositories.create(memory.MemoryStore(), house.OPEN, house.NOW)
    made = house.backup(repository, {"shop": shop})
    table = made.components[0].tables[0]
    assert len(table.chunks) > 2
    assert house.same(house.restored(repository, "latest", "shop", tmp_path / "out"), shop.world())


def test_a_blob_is_read_only_as_what_it_is_where_it_is() -> None:
    """Blobs exchanged between slots, packs and repositories; another kind, another id: all are refused."""
    contents = [b"alpha" * 50, b"bravo" * 50, b"gamma" * 50]
    name, content, places = pack_of(contents)
    other_name, other, other_places = pack_of(contents)
    stranger = keys.new_keyring()
    assert [place.at for place in places] == [place.at for place in other_places]
    opened = packs.Opened(RING, name, content[:40])
    refused = 0

    def blob(of: bytes, place: packs.Place) -> bytes:
        start, size = packs.span_of(place)
        return of[start : start + size]

    for place, plain in zip(places, contents, strict=True):
        assert bytes(opened.chunk(place, blob(content, place))) == plain
        forged = []
        for at, wrong in enumerate(places):
            if wrong != place:
                forged.append((place, blob(content, wrong)))  # lies elsewhere
                header = packs._HEADER.pack(packs.BLOB, at, place.chunk, place.stored)
                forged.append((place, header + blob(content, place)[44:]))  # another slot
                forged.append((place, blob(content, place)[:44] + blob(content, wrong)[44:]))  # another ciphertext
                header = packs._HEADER.pack(packs.BLOB, places.index(place), wrong.chunk, wrong.stored)
                forged.append((wrong, header + blob(content, place)[44:]))  # another name
        forged.append((place, blob(other, place)))  # the same content, slot and name in another pack
        turned = packs.Place(place.chunk, 1 - place.kind, place.at, place.stored, place.size_bytes)
        forged.append((turned, blob(content, turned)))
        for claimed, bytes_ in forged:
            with pytest.raises(Damaged):
                opened.chunk(claimed, bytes_)
            refused += 1
        for foreign in (packs.Opened(stranger, name, content[:40]), packs.Opened(RING, other_name, other[:40])):
            with pytest.raises(Damaged):
                foreign.chunk(place, blob(content, place))
            refused += 1
    same_master = keys.Keyring(bytes(16), RING.master)
    with pytest.raises(Damaged):
        packs.Opened(same_master, name, content[:40]).chunk(places[0], blob(content, places[0]))
    with pytest.raises(Damaged):
        packs.Opened(same_master, name, content[:40]).table(content)
    print(f"{refused} forged blobs refused")


def test_a_sealed_object_is_read_only_as_its_kind_in_its_repository() -> None:
    kinds: list[sealing.ObjectKind] = ["index", "snapshot", "tombstone"]
    for kind in kinds:
        stored = sealing.seal(RING, kind, b"content")
        assert sealing.unseal(RING, kind, stored, "it") == b"content"
        for wrong in kinds:
            if wrong != kind:
                with pytest.raises(Damaged):
                    sealing.unseal(RING, wrong, stored, "it")
        for ring in (keys.new_keyring(), keys.Keyring(bytes(16), RING.master)):
            with pytest.raises(Damaged):
                sealing.unseal(ring, kind, stored, "it")
        for at in range(len(stored) * 8):
            flipped = bytearray(stored)
            flipped[at // 8] ^= 1 << at % 8
            with pytest.raises(Damaged):
                sealing.unseal(RING, kind, bytes(flipped), "it")


def test_every_bit_of_a_pack_counts() -> None:
    """Each byte of a tiny pack, changed: the chunk is whole or it is refused, never another one."""
    contents = [b"alpha", b"bravo" * 30, b""]
    name, content, places = pack_of(contents)
    whole = lost = tables = 0
    for at in range(len(content)):
        for bit in (1, 128):
            flipped = bytearray(content)
            flipped[at] ^= bit
            assert layout.name_of(flipped) != name
            try:
                opened = packs.Opened(RING, name, bytes(flipped[:40]))
                try:
                    assert opened.table(bytes(flipped)) == places
                    tables += 1
                except Damaged:
                    pass
            except Damaged:
                lost += len(places)
                continue
            for place, plain in zip(places, contents, strict=True):
                start, size = packs.span_of(place)
                try:
                    assert bytes(opened.chunk(place, bytes(flipped[start : start + size]))) == plain
                    whole += 1
                except Damaged:
                    lost += 1
    print(f"{len(content)} bytes: {whole} chunks whole, {lost} refused, {tables} tables whole")
    assert lost
    assert whole


def test_headers_alone_find_every_chunk() -> None:
    """Without the table, and also when a blob before was destroyed."""
    contents = [random.Random(at).randbytes(200 + at) for at in range(5)]
    name, content, places = pack_of(contents)
    opened = packs.Opened(RING, name, content[:40])
    found = set()
    for place in packs.scan(memoryview(content)[: places[-1].at + places[-1].stored]):
        start, size = packs.span_of(place)
        try:
            found.add(bytes(opened.chunk(place, content[start : start + size])))
        except Damaged:
            continue
    assert found == set(contents)


def test_a_chunk_added_twice_is_stored_once_and_read_back() -> None:
    repository = repositories.create(memory.MemoryStore(), house.OPEN, house.NOW)
    index = chunk_index.ChunkIndex()
    with writing.Writer(repository, index, workers=2) as writer:
        ids = [writer.add(content) for content in (b"one", b"two", b"one")]
        writer.finish()
    assert ids[0] == ids[2]
    assert writer.new_chunks_added == 2
    assert reading.Reader(repository, repository.index()).content(ids) == b"onetwoone"
