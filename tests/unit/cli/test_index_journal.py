"""`ddr index` where the journal can be written nowhere: what was found is shown all the same."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ddr.cli import main
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
