"""`ddr index` where the journal can be written nowhere: what was found is shown, and nothing is done unrecorded."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ddr.cli import index_proof, main
from ddr.cli import session as sessions
from ddr.domain import index_records, indexes
from ddr.errors import Unavailable
from ddr.index.homes import folder, publishing
from tests.unit.index import published
from tests.unit.journal import places

_NOWHERE = "the journal can be written nowhere"


class Own:
    """An index of ddr.yaml with two versions, of which the newer one serves, and the corpus of a third."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self._capsys = root / "home", capsys
        at = published.at(self.home)
        self.older, self.newer = (
            published.published(at, published.make(root / f"corpus{seed}", rows=60, seed=seed)) for seed in (1, 2)
        )

    @property
    def serves(self) -> str:
        return (self.home / "current").readlink().name

    def harmed(self, version: str, file: str) -> None:
        published.loosened(self.home / "versions" / version / file).write_bytes(b"{")

    def say(self, command: str) -> tuple[int, str, str]:
        self._capsys.readouterr()
        code = main.run(["index", *command.split()])
        said = self._capsys.readouterr()
        return code, said.out, said.err


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Own:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    Path("ddr.yaml").write_text(
        "apiVersion: ddr/v1\nrepository: {type: local, path: repository}\nservices: {}\n"
        "indexes: {docs: {home: home, vectors: [a.npy]}}\n"
    )
    np.save("a.npy", published.vectors(60, 3))
    return Own(tmp_path, capsys)


@contextlib.contextmanager
def unwritable() -> Iterator[None]:
    """The journal's store and its spool, as on disks that are mounted to be read."""

    def refused(what: str) -> OSError:
        return OSError(errno.EROFS, "Read-only file system", what)

    with contextlib.ExitStack() as both:
        for name in ("repository", "state"):
            both.enter_context(places.listening(places.FileTrouble(Path.cwd() / name, 1, refused, lasting=True)))
        yield


@pytest.mark.parametrize(("harmed", "expected"), [("", 0), ("index.faiss", 10)])
def test_what_a_check_found_is_shown_also_where_it_cannot_be_recorded(own: Own, harmed: str, expected: int) -> None:
    if harmed:
        own.harmed(own.newer, harmed)
    with unwritable():
        code, out, err = own.say("check --level 1 --json")
    assert code == expected, err
    assert [Path(one["where"]).name for one in json.loads(out)["findings"]] == [harmed] * bool(harmed)
    assert f"not recorded: {_NOWHERE}" in err


@pytest.mark.parametrize("how", ["", " --json"])
def test_a_name_that_is_no_text_is_shown_and_recorded(own: Own, how: str) -> None:
    (own.home / "versions" / own.newer / os.fsdecode(b"x\xff")).touch()
    code, out, err = own.say(f"check --level 0{how}")
    assert (code, err) == (10, "")
    assert rf"{own.newer}/x\udcff" in out
    event = max(path for path in Path("repository").rglob("journal/*") if path.is_file())
    assert rf"{own.newer}/x\\udcff: is not of this version" in event.read_text()


def test_a_version_of_others_whose_name_is_no_text_is_gone_back_from(own: Own) -> None:
    theirs = os.fsdecode(b"v\xff")
    (own.home / "versions" / theirs).mkdir()
    (own.home / "current").unlink()
    (own.home / "current").symlink_to(f"versions/{theirs}")
    code, _, err = own.say(f"rollback --to {own.older} --apply")
    assert (code, own.serves) == (0, own.older), err
    events = [path.read_text() for path in Path("repository").rglob("journal/*") if path.is_file()]
    assert sum(r"v\\udcff" in text for text in events) == 2, "what was about to be done, and what was"


def test_what_was_built_is_told_also_where_it_cannot_be_recorded(own: Own) -> None:
    with unwritable():
        code, out, err = own.say("build")
    assert code == 0, err
    assert "not published; next: ddr index publish docs" in out
    assert f"not recorded: {_NOWHERE}" in err


@pytest.mark.parametrize("command", ["rollback --apply", "repair --apply", "build --publish", "publish", "gc --keep 1"])
def test_what_cannot_be_recorded_is_not_done(own: Own, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = f"{own.home} stays at {own.newer}"
    if command.startswith("repair"):
        own.harmed(own.newer, "index.faiss")
    if command == "publish":
        assert own.say("build")[0] == 0
    if command.startswith("gc"):
        said = "nothing was removed"
        own.harmed(own.older, "manifest.json")
        (own.home / "deployments.jsonl").unlink()
        monkeypatch.setattr(folder.FolderHome, "arrived", lambda *of: None)  # it lies there for long
    with unwritable():
        code, _, err = own.say(command)
    assert code == 69, err
    assert f"{said}: {_NOWHERE}" in err
    assert own.serves == own.newer
    assert (own.home / "versions" / own.older).is_dir()


def test_what_was_done_already_is_said_where_it_cannot_be_recorded(own: Own) -> None:
    index = index_proof.opened(sessions.Session(), "docs")
    moved = publishing.Moved(own.older, own.newer, indexes.Check(own.newer, ()))
    removed = index_records.IndexRemoved("docs", str(own.home), (own.older,))
    with unwritable():
        with pytest.raises(Unavailable) as caught:
            index_proof.record_move(index, moved, "rolled back")
        assert caught.value.message.startswith(f"index docs serves {own.newer} now (rolled back), and ")
        with pytest.raises(Unavailable) as caught:
            index_proof.record_done(index, removed, f"removed: {own.older}")
        assert caught.value.message.startswith(f"removed: {own.older}, and that could not be recorded: {_NOWHERE}")


def test_a_move_is_intended_before_it_is_made(own: Own, capsys: pytest.CaptureFixture[str]) -> None:
    assert own.say(f"rollback --to {own.older} --apply")[0] == 0
    assert own.say(f"rollback --to {own.older} --apply")[0] == 0, "there already"
    assert main.run(["journal", "show"]) == 0
    told = [line.partition("index docs ")[2] for line in capsys.readouterr().out.splitlines() if "index docs" in line]
    move = f"{own.newer} → {own.older}"
    assert told == [f"is about to move: {move}", f"rolled back: {move}"]
