"""Who gets in and who does not; what a lost or forged object may do; nothing secret anywhere it should not be."""

from __future__ import annotations

import dataclasses
import json
import secrets
import stat
import time
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from ddr.backup import keys, layout
from ddr.backup import repository as repositories
from ddr.errors import Damaged, DdrError, InputError, Missing, Refused, Unsupported
from ddr.ports import store
from ddr.stores import memory
from tests.unit.backup import house

PASSPHRASE = "correct horse battery staple"
WITH = keys.Opening(passphrase=PASSPHRASE)


@pytest.fixture(autouse=True)
def cheap_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost stands in the slot: the same code, a thousandth of the time."""
    monkeypatch.setattr(keys, "_SCRYPT", {"n": 1 << 7, "r": 8, "p": 1})


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    keys.new_key_file(path)
    return path


def made(opening: keys.Opening = WITH) -> tuple[memory.MemoryStore, repositories.Repository]:
    place = memory.MemoryStore()
    return place, repositories.create(place, opening, house.NOW)


def keys_in(place: store.Store, kind: str) -> list[str]:
    return [entry.key for entry in place.list(kind)]


def replace(place: store.Store, key: str, content: bytes) -> None:
    place.delete(key)
    place.create(key, content)


def test_every_kind_of_slot_opens_the_same_master_key(key_file: Path) -> None:
    place, repository = made()
    ring = repository.ring
    keys.add(place, ring, keys.Opening(key_file=key_file), house.NOW, "scheduler")
    keys.add(place, ring, keys.Opening(passphrase="other"), house.NOW)
    openings = (WITH, keys.Opening(passphrase="other"), keys.Opening(key_file=key_file))
    for opening in (*openings, keys.Opening(recovery=ring.paper())):
        assert repositories.open_(place, opening).ring.master == ring.master
    for wrong in (
        keys.Opening(passphrase=PASSPHRASE + " "), keys.Opening(passphrase=PASSPHRASE.upper()), keys.Opening(),
    ):  # fmt: skip
        with pytest.raises(Refused):
            repositories.open_(place, wrong)


def test_the_shipped_cost_is_owasps_minimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert keys._SCRYPT == {"n": 1 << 17, "r": 8, "p": 1}
    place, repository = made()
    assert repositories.open_(place, WITH).ring.master == repository.ring.master


def test_a_removed_slot_opens_nothing_and_the_last_one_stays(key_file: Path) -> None:
    place, repository = made()
    (first,) = [name for name, _ in keys.slots(place)]
    with pytest.raises(Refused, match="last key slot"):
        keys.remove(place, first)
    second = keys.add(place, repository.ring, keys.Opening(key_file=key_file), house.NOW)
    keys.remove(place, first[:8])
    with pytest.raises(Refused, match="no slot of kind passphrase"):
        repositories.open_(place, WITH)
    with pytest.raises(Refused, match="last key slot"):
        keys.remove(place, second)
    for name in ("", "zz", first):
        with pytest.raises(Missing):
            keys.remove(place, name)


def test_a_slot_that_opens_is_not_removed_when_all_others_are_damaged(key_file: Path) -> None:
    place, repository = made()
    (good,) = [name for name, _ in keys.slots(place)]
    broken = keys.add(place, repository.ring, keys.Opening(key_file=key_file), house.NOW)
    replace(place, f"{layout.KEYS}{broken}", b"{}")
    with pytest.raises(Refused, match="last key slot"):
        keys.remove(place, good)
    with pytest.raises(Damaged, match=broken[:12]):
        list(keys.slots(place))
    keys.remove(place, broken)
    assert repositories.open_(place, WITH)


def test_a_creation_that_was_cut_off_leaves_nothing_that_is_in_the_way() -> None:
    """Its slot has a master key of its own; with kind `none` nothing but the repository's id tells it."""
    for opening in (keys.Opening(), WITH):
        for _ in range(8):  # names are random: before and behind
            place = memory.MemoryStore()
            cut = house.Faulty(place, house.at_call(2, "kill-before"))
            with pytest.raises(house.Killed):
                repositories.create(cut, opening, house.NOW)
            repository = repositories.create(place, opening, house.NOW)
            assert repositories.open_(place, opening).ring.master == repository.ring.master


def test_an_answer_that_is_lost_while_a_repository_is_made_is_no_other_writer() -> None:
    for number in (1, 2):
        faulty = house.Faulty(memory.MemoryStore(), house.at_call(number, "after"))
        repository = repositories.create(house.patient(faulty), WITH, house.NOW)
        assert len(faulty.calls) == 3
        assert repositories.open_(faulty.inner, WITH).ring.master == repository.ring.master


@pytest.mark.parametrize("change", ["letter", "group", "short", "empty", "other"])
def test_a_typo_in_the_recovery_key_is_told(change: str) -> None:
    place, repository = made()
    paper = repository.ring.paper()
    wrong = {
        "letter": paper[:20] + ("A" if paper[20] != "A" else "B") + paper[21:],
        "group": paper[:-6],
        "short": "ddr-recovery-1-",
        "empty": "0189",
        "other": keys.new_keyring().paper(),
    }[change]
    with pytest.raises(Refused, match="recovery key"):
        repositories.open_(place, keys.Opening(recovery=wrong))


def test_every_single_wrong_letter_is_found() -> None:
    place, repository = made(house.OPEN)
    paper = repository.ring.paper()
    begin, tried = len("ddr-recovery-1-"), 0
    for at in range(begin, len(paper)):
        if paper[at] == "-":
            continue
        for letter in "A7" if paper[at] not in "A7" else "BC":
            tried += 1
            wrong = keys.Opening(recovery=paper[:at] + letter + paper[at + 1 :])
            try:
                # The last letter has two bits more than the key: they say nothing.
                assert keys.unlock(place, repository.ring.repository, wrong).master == repository.ring.master
                assert at == len(paper) - 1
            except Refused:
                pass
    print(f"{tried} typos")
    for spoken in (paper.lower(), paper.replace("-", " - "), paper.removeprefix("ddr-recovery-1-")):
        assert keys.unlock(place, repository.ring.repository, keys.Opening(recovery=spoken)).master


@pytest.mark.parametrize(
    "costs",
    [
        {"n": 1 << 21}, {"n": 1 << 30}, {"r": 1 << 12}, {"p": 1 << 20}, {"n": 0}, {"n": 3}, {"n": -2}, {"r": 0},
        {"r": -1}, {"p": 0}, {"p": -5}, {"n": 1 << 62, "r": 1 << 62}, {"salt": "zz"}, {"wrapped": "00"},
        {"wrapped": "xy"}, {"repository": "00"}, {"repository": "q"}, {"kind": "none"},
    ],
    ids=str,
)  # fmt: skip
def test_a_forged_slot_costs_nothing_and_opens_nothing(costs: dict[str, object]) -> None:
    place, repository = made()
    (key,) = keys_in(place, layout.KEYS)
    slot = json.loads(place.get(key)) | costs
    place.delete(key)
    stored = json.dumps(slot).encode()
    place.create(f"{layout.KEYS}{layout.name_of(stored)}", stored)
    began = time.process_time()
    for opening in (WITH, house.OPEN):
        with pytest.raises((Refused, Damaged)):
            repositories.open_(place, opening)
        with pytest.raises(DdrError):
            repositories.rewrite_config(place, opening, house.NOW)
    assert time.process_time() - began < 60, "no work worth the name"
    assert repositories.open_(place, keys.Opening(recovery=repository.ring.paper()))


def test_a_slot_of_another_repository_opens_it_not_this_one() -> None:
    place, _ = made()
    other, _ = made()
    (key,) = keys_in(other, layout.KEYS)
    for mine in keys_in(place, layout.KEYS):
        place.delete(mine)
    place.create(key, other.get(key))
    with pytest.raises(Damaged, match="backup/config"):
        repositories.open_(place, WITH)


def test_key_files_have_rules(tmp_path: Path, key_file: Path) -> None:
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    with pytest.raises(Refused):
        keys.new_key_file(key_file)
    with pytest.raises(InputError):
        keys.new_key_file(tmp_path / "no" / "folder")
    place, repository = made(keys.Opening(key_file=key_file))
    same_key = tmp_path / "with-newlines"
    same_key.write_bytes(b"\n" + key_file.read_bytes() + b"\r\n")
    assert repositories.open_(place, keys.Opening(key_file=same_key)).ring.master == repository.ring.master
    for name, content in {"short": b"x" * 31, "blank": b" " * 100, "huge": b"x" * ((1 << 20) + 1)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError):
            repositories.open_(place, keys.Opening(key_file=tmp_path / name))
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputError):
            repositories.open_(place, keys.Opening(key_file=path))
    (tmp_path / "other").write_bytes(secrets.token_bytes(64))
    with pytest.raises(Refused, match="opens none of its 1 slots"):
        repositories.open_(place, keys.Opening(key_file=tmp_path / "other"))


@pytest.mark.parametrize("harm", ["gone", "empty", "flipped"])
@pytest.mark.parametrize("way", ["passphrase", "recovery"])
def test_a_lost_configuration_is_written_anew_from_a_slot(harm: str, way: str, tmp_path: Path) -> None:
    place, repository = made()
    shop = house.small_shop(tmp_path / "shop")
    house.backup(repository, {"shop": shop})
    stored = place.get(layout.CONFIG)
    if harm == "gone":
        place.delete(layout.CONFIG)
    else:
        replace(place, layout.CONFIG, b"" if harm == "empty" else stored.replace(b"1048576", b"1048577"))
    opening = WITH if way == "passphrase" else keys.Opening(recovery=repository.ring.paper())
    with pytest.raises(Damaged, match="backup/config"):
        repositories.open_(place, opening)
    with pytest.raises((Damaged, Refused)):
        repositories.create(place, opening, house.NOW)  # never a second repository among the first one's packs
    repositories.rewrite_config(place, opening, house.NOW + timedelta(days=1))
    assert place.get(layout.CONFIG) == stored
    found = house.restored(repositories.open_(place, opening), "latest", "shop", tmp_path / "out")
    assert house.same(found, shop.world())


def test_a_configuration_that_asks_for_more_is_refused() -> None:
    place, _ = made()
    config = json.loads(place.get(layout.CONFIG))
    for change in ({"format": 2}, {"features": ["x25519"]}):
        replace(place, layout.CONFIG, json.dumps(config | change).encode())
        with pytest.raises(InputError, match="does not know"):
            repositories.open_(place, WITH)


def test_nothing_secret_is_shown_or_stored_in_plain(tmp_path: Path, key_file: Path) -> None:
    place, repository = made()
    ring = repository.ring
    keys.add(place, ring, keys.Opening(key_file=key_file), house.NOW, "scheduler")
    shop = house.small_shop(tmp_path / "shop")
    shop.streams["canary"] = b"CANARY-in-a-stream" * 30
    shop.tables["runs"] = [(1, "CANARY-in-a-table", 0.0)]
    (shop.root / "CANARY-in-a-name").write_bytes(b"CANARY-in-a-file" * 40)
    house.backup(repository, {"shop": shop})
    content = key_file.read_bytes().strip()
    purposes = ("chunk ids", "config", "pack", "object index", "object snapshot", "object tombstone")
    hidden = [ring.master, content, PASSPHRASE.encode(), b"CANARY", ring.chunk_key, *map(ring.derive, purposes)]
    hidden += [one.hex().encode() for one in hidden]
    hidden.append(ring.paper().encode())
    looked = 0
    for entry in place.list(""):
        stored = place.get(entry.key)
        for one in hidden:
            looked += 1
            assert one not in stored
            assert one.decode("latin-1") not in entry.key
    shown = [repr(ring), repr(repository), repr(WITH), repr(keys.Opening(recovery=ring.paper()))]
    shown += [repr(slot) for _, slot in keys.slots(place)]
    for wrong in (keys.Opening(passphrase=PASSPHRASE + "!"), keys.Opening(recovery=ring.paper()[:-2] + "AA")):
        with pytest.raises(Refused) as refused:
            repositories.open_(place, wrong)
        shown += [repr(refused.value), refused.value.message, refused.value.hint]
    for text in shown:
        for one in hidden:
            assert one.decode("latin-1") not in text
    print(f"{looked} looks into stored objects, {len(shown)} texts")


def test_a_repository_without_encryption_says_so_in_its_slot() -> None:
    place, repository = made(house.OPEN)
    ((_, slot),) = keys.slots(place)
    assert (slot.kind, slot.wrapped) == ("none", repository.ring.master.hex())
    assert dataclasses.replace(slot, wrapped="").format == 1
    assert msgspec.json.decode(place.get(keys_in(place, layout.KEYS)[0]), type=keys.Slot) == slot


def _recipient(place: store.Store, ring: keys.Keyring) -> str:
    """A slot as a later version may write it: for a host that writes and cannot read."""
    slot = {"kind": "recipient", "wrapped": "00" * 48, "created_at": "2027-01-01T00:00:00Z", "label": "edge",
            "repository": ring.repository.hex(), "format": 2}  # fmt: skip
    stored = json.dumps(slot).encode()
    layout.create_named(place, f"{layout.KEYS}{layout.name_of(stored)}", stored)
    return layout.name_of(stored)


def test_a_recipient_s_slot_is_of_a_newer_ddr_and_not_damaged() -> None:
    """It hinders nobody who has a key of today; who has none is told to use a newer ddr, not of damage."""
    place, repository = made()
    name = _recipient(place, repository.ring)
    assert repositories.open_(place, WITH).ring == repository.ring
    with pytest.raises(Unsupported, match=f"{name[:12]} is of the kind 'recipient'") as listed:
        list(keys.slots(place))
    assert "newer ddr" in listed.value.hint
    for key in keys_in(place, layout.KEYS):
        if layout.hash_in(key) != name:
            place.delete(key)
    with pytest.raises(Unsupported, match="'recipient', which this ddr does not know"):
        repositories.open_(place, WITH)
    assert repositories.open_(place, keys.Opening(recovery=repository.ring.paper())).ring == repository.ring
    broken = json.dumps({"kind": "passphrase", "wrapped": 7}).encode()
    layout.create_named(place, f"{layout.KEYS}{layout.name_of(broken)}", broken)
    with pytest.raises((Damaged, Unsupported)):
        list(keys.slots(place))


def test_a_repository_that_needs_recipients_is_refused_before_anything_else() -> None:
    """The word in the configuration: packs are sealed so that no key of today opens them."""
    place, repository = made()
    plain = dataclasses.replace(repository.config, features=("recipients",), mac="")
    mac = repositories._mac(repository.ring, msgspec.json.encode(plain))
    replace(place, layout.CONFIG, msgspec.json.encode(dataclasses.replace(plain, mac=mac)))
    for opening in (WITH, keys.Opening(passphrase="wrong"), keys.Opening(recovery=repository.ring.paper())):
        with pytest.raises(Unsupported, match="the feature recipients, which this ddr does not know") as caught:
            repositories.open_(place, opening)
        assert caught.value.hint == "use a newer ddr"
        assert caught.value.exit_code == 64
