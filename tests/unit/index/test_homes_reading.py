"""A version is read where nothing can be written, and while others take it away."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from ddr.cli import main
from ddr.domain import indexes
from ddr.errors import Away, DdrError, Missing, Unavailable
from ddr.index import check, codec
from ddr.index.homes import bucket, collecting, fetching, notes, publishing, reading
from ddr.lib import timetext
from ddr.ports import store
from ddr.stores import memory
from ddr.wiring import indexes as wirings
from tests.unit.index import published

_LEASES = "leases/"


class Shop(memory.MemoryStore):
    """Leases are what it does not let us write, or delete."""

    def __init__(self) -> None:
        super().__init__()
        self.no_create: DdrError | None = None
        self.no_delete = False

    def create(self, key: str, content: bytes) -> store.Entry:
        if self.no_create is not None and _LEASES in key:
            raise self.no_create
        return super().create(key, content)

    def delete(self, key: str) -> None:
        if self.no_delete and _LEASES in key:
            raise store.Unusable("AccessDenied")
        super().delete(key)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> published.Made:
    return published.make(tmp_path_factory.mktemp("corpus"), rows=40)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def of(shop: Shop) -> bucket.BucketHome:
    return published.in_store(shop)


@pytest.mark.parametrize("trouble", [store.Unusable("AccessDenied"), store.Full("no room"), Unavailable("503")])
def test_where_no_lease_can_be_written_it_is_read_without_and_told(
    shop: Shop, of: bucket.BucketHome, made: published.Made, tmp_path: Path, trouble: Unavailable
) -> None:
    version, told = published.published(of, made), list[str]()
    shop.no_create = trouble
    with reading.held(of, version, told.append):
        fetching.fetch(of, version, tmp_path / "served")
    assert told == [f"{version} is read without a lease, a gc may take it away meanwhile: {trouble.message}"]
    assert (tmp_path / "served" / "index.faiss").read_bytes() == made.files["index.faiss"].read_bytes()


def test_a_lease_that_cannot_be_deleted_ends_by_the_clock(
    shop: Shop, of: bucket.BucketHome, made: published.Made
) -> None:
    version, told = published.published(of, made), list[str]()
    shop.no_delete = True
    with reading.held(of, version, told.append):
        assert told == []
    (key,) = (entry.key for entry in shop.list(of.prefix + _LEASES))
    end = timetext.format_clock(codec.decode(notes.Note, shop.get(key), key).at)
    assert told == [f"no gc takes {version} away before {end}, its lease cannot be deleted: AccessDenied"]
    with pytest.raises(KeyError), reading.held(of, version):
        raise KeyError


def test_what_goes_while_it_is_read_without_a_lease_is_not_damaged(
    shop: Shop, of: bucket.BucketHome, made: published.Made, tmp_path: Path
) -> None:
    older, _ = (published.published(of, made.as_another(number)) for number in (1, 2))
    shop.no_create = store.Unusable("AccessDenied")

    def read() -> None:
        with reading.held(of, older):
            assert of.remove(older)
            fetching.fetch(of, older, tmp_path / "served")

    with pytest.raises(Missing, match=f"{older} was removed meanwhile"):
        read()


def test_a_system_that_is_away_as_a_whole_is_missing_as_ever(
    shop: Shop, of: bucket.BucketHome, made: published.Made
) -> None:
    version = published.published(of, made)
    shop.no_create = Away("it is not mounted")
    with pytest.raises(Away), reading.held(of, version):
        pass


@pytest.mark.parametrize("step", ["open", "lock"])
@pytest.mark.parametrize("words", ["fetch {file} {served} --version {older}", "check {file} {older} --level 1"])
def test_a_folder_that_cannot_be_held_is_read_without_and_told(
    step: str,
    words: str,
    made: published.Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    of = published.at(tmp_path / "home")
    older, _ = (published.published(of, made.as_another(number)) for number in (1, 2))
    (tmp_path / "a.yaml").write_text("home: home\nvectors: [a.npy]\n")
    opened, locked = os.open, fcntl.flock

    def refused(path: Any, *given: Any, **named: Any) -> int:
        if Path(path).name == older:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *given, **named)

    def unlocked(fd: int, how: int) -> None:
        if how == fcntl.LOCK_SH:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        locked(fd, how)

    if step == "open":
        monkeypatch.setattr(os, "open", refused)
    else:
        monkeypatch.setattr(fcntl, "flock", unlocked)
    filled = words.format(file=tmp_path / "a.yaml", served=tmp_path / "served", older=older)
    assert main.run(["index", *filled.split()]) == 0
    why = "Permission denied" if step == "open" else "Function not implemented"
    told = capsys.readouterr().err
    assert f"{older} is read without a lease" in told
    assert f"cannot hold {older} of {tmp_path}/home: {why}" in told


@pytest.mark.parametrize("harm", ["create", "delete"])
@pytest.mark.parametrize(
    "words",
    [
        "fetch {file} {served} --version {older}",
        "check {file} {older} --level 1",
        "rollback {file} --to {older}",
        "repair {file}",
    ],
)
def test_a_lease_that_is_none_or_stays_is_told(
    words: str,
    harm: str,
    shop: Shop,
    of: bucket.BucketHome,
    made: published.Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    older, newer = (published.published(of, made.as_another(number)) for number in (1, 2))
    if words.startswith("repair"):
        shop.delete(f"{of.prefix}versions/{newer}/index.faiss/000000")
    if harm == "create":
        shop.no_create = store.Unusable("AccessDenied")
    shop.no_delete = harm == "delete"
    monkeypatch.setattr(wirings, "home_of", lambda *given: of)
    (tmp_path / "a.yaml").write_text("home: s3://bucket/team\nvectors: [a.npy]\n")
    filled = words.format(file=tmp_path / "a.yaml", served=tmp_path / "served", older=older)
    assert main.run(["index", *filled.split()]) == (2 if words.startswith("repair") else 0)
    told = {
        "create": f"{older} is read without a lease, a gc may take it away meanwhile: AccessDenied",
        "delete": f"no gc takes {older} away before 2026-11-21 18:00",
    }
    assert told[harm] in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "fetch"])
def test_the_help_tells_of_the_lease(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["index", command, "--help"]) == 0
    assert "In a bucket a lease keeps" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("words", ["check {file} {older}", "rollback {file} --to {older}"])
@pytest.mark.parametrize("is_leased", [True, False])
def test_what_is_proved_is_not_taken_away_or_told_as_removed(
    words: str,
    is_leased: bool,
    shop: Shop,
    of: bucket.BucketHome,
    made: published.Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    older, newer = (published.published(of, made.as_another(number)) for number in (1, 2))
    if not is_leased:
        shop.no_create = store.Unusable("AccessDenied")
    monkeypatch.setattr(wirings, "home_of", lambda *given: of)
    (tmp_path / "a.yaml").write_text("home: s3://bucket/team\nvectors: [a.npy]\n")
    kept: list[str] = []
    at = check.Look.at

    def beside(look: check.Look, level: int) -> None:
        if level == 1:
            kept.extend(collecting.apply(of, collecting.Collection((older,), ())).kept[0][:1] if is_leased else ())
            assert is_leased or of.remove(older)
        at(look, level)

    monkeypatch.setattr(check.Look, "at", beside)
    code = main.run(["index", *words.format(file=tmp_path / "a.yaml", older=older).split()])
    assert (code, kept) == ((0, [older]) if is_leased else (1, []))
    assert is_leased or f"{older} was removed meanwhile" in capsys.readouterr().err
    assert of.versions() == ((older, newer) if is_leased else (newer,))
    assert [entry.key for entry in shop.list(of.prefix + _LEASES)] == []


def test_a_version_that_went_before_it_was_proved_is_not_in_the_way_of_a_publication(
    of: bucket.BucketHome, made: published.Made
) -> None:
    first, _ = (published.published(of, made.as_another(number)) for number in (1, 2))
    proved = published.prover(of, (0, 1))

    def prove(version: str) -> indexes.Check:
        if version == first:
            of.remove(first)
            return reading.proved(of, version, lambda: proved(version))
        return proved(version)

    again = made.as_another(1)
    assert publishing.publish(of, again.files, again.manifest, prove).after != first
