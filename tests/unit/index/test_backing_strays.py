"""What of a home cannot be captured is told, by name, and costs nothing else."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from ddr.errors import Unavailable
from ddr.index.backing import record
from ddr.index.homes import folder
from tests.unit.index import backed, published

FOREIGN = "v1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> published.Made:
    return published.make(tmp_path_factory.mktemp("corpus"), rows=40)


def put_foreign(root: Path, made: published.Made) -> Path:
    """A version that something else put there: its folder."""
    place = root / "versions" / FOREIGN
    place.mkdir(parents=True)
    (place / "index.faiss").write_bytes(made.files["index.faiss"].read_bytes())
    (place / "card.json").write_text("{}")
    return place


def refuse(patched: pytest.MonkeyPatch, place: Path, code: int) -> None:
    """As a disk or its rights do for this file, or this folder with all in it: nothing stops root, who runs tests."""

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(self: Path, *args: Any, **kwargs: Any) -> Any:
            if place in (self, *self.parents):
                raise OSError(code, os.strerror(code), str(self))
            return real(self, *args, **kwargs)

        return wrapped

    for call in ("open", "iterdir"):
        patched.setattr(Path, call, wrap(getattr(Path, call)))


FILES = (("", "card.json", "index.faiss"), ("", "manifest.json", "index.faiss"))


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize(("victim", "file"), [(at, file) for at in range(3) for file in FILES[at > 0]])
def test_an_unreadable_version_costs_no_other(
    tmp_path: Path, made: published.Made, monkeypatch: pytest.MonkeyPatch, victim: int, file: str, code: int
) -> None:
    at, first, second = backed.two(tmp_path / "home", made)
    put_foreign(at.root, made)
    names = [FOREIGN, first, second]
    lost = names.pop(victim)
    vault, mine = backed.Vault(), backed.of(at, "all")
    with monkeypatch.context() as patched:
        refuse(patched, at.root / "versions" / lost / file, code)
        found = vault.captured(mine)
    assert found.problem.startswith(lost) or f"/{lost}/{file}" in found.problem
    assert os.strerror(code) in found.problem
    source = vault.source()
    assert set(backed.files(source)) == {f"{name}/index.faiss" for name in names}
    assert {one.name for one in record.read(source).versions if one.is_kept} == set(names)
    assert vault.captured(mine).problem == "", "readable again, it is whole again"


def test_a_version_that_goes_while_it_is_read_costs_no_other(tmp_path: Path, made: published.Made) -> None:
    class Leaving(folder.FolderHome):
        def local(self, version: str) -> Path | None:
            left.append(version)
            if left == [first]:
                shutil.rmtree(self.root / "versions" / first)
            return super().local(version)

    left: list[str] = []
    at, first, second = backed.two(tmp_path / "home", made)
    vault = backed.Vault()
    found = vault.captured(backed.of(Leaving(at.root, published.Clock()), "all"))
    assert found.problem == f"{first} was taken away while it was backed up; its bytes are not in this backup"
    assert backed.files(vault.source()) == [f"{second}/index.faiss"]


def test_beside_a_lost_pointer(tmp_path: Path, made: published.Made, monkeypatch: pytest.MonkeyPatch) -> None:
    at, first, second = backed.two(tmp_path / "home", made)
    at.link.unlink()
    refuse(monkeypatch, at.root / "versions" / first / "manifest.json", errno.EACCES)
    refuse(monkeypatch, at.root / "versions" / second / "manifest.json", errno.EACCES)
    put_foreign(at.root, made)
    vault = backed.Vault()
    found = vault.captured(backed.of(at, "all"))
    assert all(told in found.problem for told in (f"the pointer of {at.root}", first, second))
    assert backed.files(vault.source()) == [f"{FOREIGN}/index.faiss"]


def test_a_home_that_goes_away_meanwhile_is_told_once(tmp_path: Path, made: published.Made) -> None:
    class Away(folder.FolderHome):
        def marks(self, version: str) -> NoReturn:
            (self.root / "versions").rename(self.root / "unmounted")
            (self.root / "versions").write_text("")
            raise Unavailable("the network is gone")

    at, _, _ = backed.two(tmp_path / "home", made)
    found = backed.Vault().captured(backed.of(Away(at.root, published.Clock()), "all"))
    assert found.problem == f"cannot read {at.root}: {os.strerror(errno.ENOTDIR)}"


STRAYS: dict[str, Callable[[Path], object]] = {
    "a folder": lambda path: (path / "below").mkdir(parents=True),
    "a link": lambda path: path.symlink_to("index.faiss"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("name", ["more", "manifest.json"])
@pytest.mark.parametrize("put", STRAYS.values(), ids=STRAYS)
def test_what_is_no_plain_file_in_a_version_of_others(
    tmp_path: Path, made: published.Made, put: Callable[[Path], object], name: str
) -> None:
    """It is told and left out; all else of the version goes in, and comes back beside it."""
    at = published.at(tmp_path / "home")
    place = put_foreign(at.root, made)
    at.point(None, FOREIGN)
    put(place / name)
    vault, mine = backed.Vault(), backed.of(at)
    found = vault.captured(mine)
    assert found.problem == ""
    assert found.warnings[0].startswith(f"{FOREIGN} has {name}, which a backup leaves out")
    source = vault.source()
    assert backed.files(source) == [f"{FOREIGN}/index.faiss"]
    assert f"{FOREIGN}/card.json" in backed.files(source, record.RECORDS)
    onto = mine.plan_restore(source, backed.options())
    assert (onto.refusals, onto.lines[0].does) == ((), "skip")
    elsewhere = backed.options(str(tmp_path / "elsewhere"))
    mine.restore(mine.plan_restore(source, elsewhere), source)
    back = published.at(tmp_path / "elsewhere")
    assert (back.current(), list(back.sizes(FOREIGN))) == (FOREIGN, ["card.json", "index.faiss"])


def _behind_a_link(place: Path, file: str) -> None:
    (place / file).rename(place / "real")
    (place / file).symlink_to("real")


def _in_a_folder(place: Path, file: str) -> None:
    (place / "parts").mkdir()
    (place / file).rename(place / "parts" / file)
    (place / "card.json").write_text(json.dumps({"files": {f"parts/{file}": "sha256:" + "0" * 64}}))


@pytest.mark.parametrize("move", [_behind_a_link, _in_a_folder])
def test_without_its_index_a_version_of_others_is_not_kept(
    tmp_path: Path, made: published.Made, move: Callable[[Path, str], None]
) -> None:
    at, first, second = backed.two(tmp_path / "home", made)
    move(put_foreign(at.root, made), "index.faiss")
    vault = backed.Vault()
    found = vault.captured(backed.of(at, "all"))
    assert f"{FOREIGN}/" in found.problem
    assert "index.faiss is not there as a plain file; its bytes are not in this backup" in found.problem
    assert backed.files(vault.source()) == [f"{first}/index.faiss", f"{second}/index.faiss"]
    assert vault.captured(backed.of(at)).problem == "", "nobody wants its bytes"


def test_the_hint_says_who_mends_what_is_told(tmp_path: Path, made: published.Made) -> None:
    at, first, _ = backed.two(tmp_path / "home", made)
    place = put_foreign(at.root, made)
    told = backed.Raising(backed.of(at, "all"))
    others = f"whoever put {FOREIGN} there makes it whole, of plain files with names in UTF-8, or takes it away"
    (at.root / "versions" / first / "index.faiss").unlink()
    backed.Vault().run(told)
    assert told.hint == "`ddr index repair`; then back up again"
    _behind_a_link(place, "index.faiss")
    backed.Vault().run(told)
    assert told.hint == f"{others}; `ddr index repair`; then back up again"


def test_others_call_their_files_as_they_like(tmp_path: Path, made: published.Made) -> None:
    at, _, _ = backed.two(tmp_path / "home", made)
    place = put_foreign(at.root, made)
    (place / "index.faiss").unlink()
    names = [".DS_Store", "read me.txt", "größe", "-rf", "a\nb", "x" * 255]
    for number, name in enumerate(names):
        (place / name).write_bytes(bytes(number))
    at.point(at.current(), FOREIGN)
    vault, mine = backed.Vault(), backed.of(at)
    assert vault.captured(mine).problem == ""
    assert backed.files(vault.source()) == sorted(f"{FOREIGN}/{name}" for name in names)
    elsewhere = backed.options(str(tmp_path / "elsewhere"), records=str(tmp_path / "records"))
    backed.restored(mine, vault.source(), elsewhere)
    back = tmp_path / "elsewhere" / "versions" / FOREIGN
    assert {path.name: path.read_bytes() for path in back.iterdir()} == {
        path.name: path.read_bytes() for path in place.iterdir()
    }
    onto = mine.plan_restore(vault.source(), backed.options())
    assert (onto.refusals, onto.lines[0].does) == ((), "skip")


@pytest.mark.parametrize(("put", "does"), [("{}", "skip"), ("{} ", "conflict"), ("", "conflict")])
def test_a_document_that_was_captured_through_a_link(tmp_path: Path, made: published.Made, put: str, does: str) -> None:
    """As earlier ddrs did. `put`: what the link leads to, "" for a folder."""
    at = published.at(tmp_path / "home")
    card = put_foreign(at.root, made) / "card.json"
    at.point(None, FOREIGN)
    vault, mine = backed.Vault(), backed.of(at)
    vault.run(mine)
    card.unlink()
    elsewhere = tmp_path / "elsewhere"
    if put:
        elsewhere.write_text(put)
    else:
        elsewhere.mkdir()
    card.symlink_to(elsewhere)
    assert mine.plan_restore(vault.source(), backed.options()).lines[0].does == does


LATIN, SHOWN = os.fsdecode(b"caf\xe9.bin"), r"caf\udce9.bin"


@pytest.mark.parametrize("home", ["home", LATIN])
@pytest.mark.parametrize("serves", [LATIN, ""])
@pytest.mark.parametrize("moved", [LATIN, ""])
def test_no_place_and_no_move_needs_a_name_that_is_text(
    tmp_path: Path, made: published.Made, home: str, serves: str, moved: str
) -> None:
    """Of the pointer also where no version has the name that it names."""
    at, first, second = backed.two(tmp_path / home, made)
    if moved:
        (at.root / "versions" / moved).mkdir()
        at.point(second, moved)
        at.point(moved, second)
        (at.root / "versions" / moved).rmdir()
    if serves:
        at.link.unlink()
        at.link.symlink_to(f"versions/{serves}")
    vault = backed.Vault()
    found = vault.captured(backed.of(at))
    assert (f"points at {SHOWN}, which is not there" in found.problem) == bool(serves)
    source = vault.source()
    said = record.read(source)
    assert (said.current, SHOWN in {move.after for move in said.moves}) == ("" if serves else second, bool(moved))
    assert said.place == found.facts["home"] == str(tmp_path / home.replace(LATIN, SHOWN))
    assert backed.files(source) == [f"{second}/index.faiss"], "also what served before the pointer was lost"
    assert {one.name for one in said.versions} == {first, second}


def test_of_a_place_that_is_no_text_it_is_told_that_it_is_away(tmp_path: Path, made: published.Made) -> None:
    at, _, _ = backed.two(tmp_path / LATIN, made)
    vault, mine = backed.Vault(), backed.of(at)
    vault.run(mine)
    (at.root / "versions").rename(tmp_path / "unmounted")
    assert SHOWN in vault.captured(mine).problem


@pytest.mark.parametrize("where", [f"versions/{FOREIGN}/{LATIN}", f"versions/{LATIN}/file", f"pins/{LATIN}"])
def test_a_name_that_is_no_text_is_told_and_left_out(tmp_path: Path, made: published.Made, where: str) -> None:
    at, first, second = backed.two(tmp_path / "home", made)
    put_foreign(at.root, made)
    (at.root / where).parent.mkdir(exist_ok=True)
    (at.root / where).write_bytes(b"1")
    at.point(second, FOREIGN)
    if where.startswith(f"versions/{LATIN}"):
        at.link.unlink()
        at.link.symlink_to(f"versions/{LATIN}")
    vault, mine = backed.Vault(), backed.of(at, "all")
    found = vault.captured(mine)
    assert (SHOWN in found.problem) == where.startswith(f"versions/{LATIN}")
    assert any(SHOWN in text for text in found.warnings) == where.startswith(f"versions/{FOREIGN}")
    assert backed.files(vault.source()) == [f"{name}/index.faiss" for name in (first, second, FOREIGN)]
    onto = mine.plan_restore(vault.source(), backed.options())
    assert (onto.refusals, [line.does for line in onto.lines[:3]]) == ((), ["skip"] * 3)
