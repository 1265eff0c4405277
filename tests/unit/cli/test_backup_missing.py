"""Snapshots that are deleted behind ddr's back: everybody says so, nothing they need goes, and no false alarm."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from ddr.cli import main

_CONFIG = (
    "apiVersion: ddr/v1\nrepository: {type: local, path: .ddr}\nservices: {}\n"
    "backup: {encryption: none, grace: 0s, keep: {keepLast: 1, minimum: 1}, "
    "copies: {second: {type: local, path: second}}}\n"
    "connectors: {pipelines: {type: files, root: pipelines}}\n"
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ddr.yaml").write_text(_CONFIG)
    (tmp_path / "pipelines").mkdir()
    return tmp_path


class Person:
    """Types commands and reads what comes."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys
        self.out = self.err = ""

    def types(self, *words: str) -> int:
        self._capsys.readouterr()
        code = main.run(list(words))
        self.out, self.err = self._capsys.readouterr()
        return code

    def asks(self, *words: str) -> Any:
        self.types(*words, "--json")
        return json.loads(self.out)

    def backs_up(self, content: str) -> str:
        (self.root / "pipelines" / "a.yaml").write_text(content * 3000)
        made: str = self.asks("backup", "run")["snapshot"]["id"]
        return made

    def loses(self, snapshot: str) -> None:
        (path,) = [path for path in self.of("snapshots") if f"-{snapshot}" in path.name]
        path.unlink()

    def of(self, kind: str) -> list[Path]:
        return sorted(path for path in (self.root / ".ddr" / "backup" / kind).rglob("*") if path.is_file())


@pytest.fixture
def person(root: Path, capsys: pytest.CaptureFixture[str]) -> Person:
    return Person(root, capsys)


def test_deleted_snapshots_are_missed_by_everybody(person: Person) -> None:
    first, second = person.backs_up("a: 1\n"), person.backs_up("b: 2\n")
    assert person.types("backup", "verify") == 0
    packs = person.of("packs")
    for path in person.of("snapshots"):
        path.rename(person.root / path.name)
    for words in (("list",), ("verify",)):
        assert person.types("backup", *words) == 2, words
        assert first[:8] in person.out
        assert second[:8] in person.out
        assert "prune removes" not in person.out
        assert "copy (second" in person.out
    assert person.types("status") == 0
    assert first[:8] in person.out
    assert "2 snapshots gone" in person.out
    assert person.asks("status")["backups"]["verified_at"] is None, "nobody is ready with what is gone"
    assert person.types("backup", "prune") == 2
    assert "nothing is deleted" in person.err
    assert person.of("packs") == packs
    assert person.types("backup", "run") == 2, "it did its work and says what is missing"
    assert first[:8] in person.out
    for path in person.root.glob("2*Z-*"):
        path.rename(person.root / ".ddr" / "backup" / "snapshots" / path.name)
    assert person.types("backup", "verify") == 0, "back from where they were: all is well"


def test_the_newest_alone_is_missed_and_its_packs_stay_until_a_person_says_that_it_is_meant(person: Person) -> None:
    person.backs_up("a: 1\n")
    newest = person.backs_up("b: 2\n")
    person.loses(newest)
    packs = person.of("packs")
    for _ in range(2):
        assert person.types("backup", "prune") == 2
        assert newest[:8] in person.err
    assert person.of("packs") == packs
    assert person.types("restore", "pipelines", "--to", str(person.root / "there")) == 0
    assert newest[:8] in person.err, "what is restored is not the newest that there was"
    assert person.types("backup", "prune", "--forget-missing") == 0
    assert newest[:8] in person.err
    assert person.types("backup", "verify") == 0
    assert person.types("backup", "prune") == 0
    assert len(person.of("packs")) < len(packs)
    told = person.asks("journal", "show", "--all", "--kind", "backup.forgotten")["events"]
    assert newest in str(told)


def test_what_was_forgotten_is_not_missed(person: Person) -> None:
    person.backs_up("a: 1\n")
    person.backs_up("b: 2\n")
    dropped = person.backs_up("c: 3\n")
    assert person.types("backup", "prune") == 0
    assert person.types("backup", "verify") == 0
    assert person.types("backup", "repair", "--drop", dropped) == 0
    assert person.types("backup", "verify") == 0
    assert person.types("backup", "list") == 0


def test_a_repository_in_another_place_is_missed_by_nobody(person: Person) -> None:
    """A copy that becomes the repository, with the journal beside it, has its own past."""
    person.backs_up("a: 1\n")
    assert person.types("backup", "copy", "second") == 0
    person.backs_up("b: 2\n")
    shutil.copytree(person.root / ".ddr" / "journal", person.root / "second" / "journal")
    config = (person.root / "ddr.yaml").read_text()
    (person.root / "ddr.yaml").write_text(config.replace("path: .ddr", "path: second"))
    for words in (("list",), ("verify",), ("run",)):
        assert person.types("backup", *words) == 0, (words, person.out, person.err)


def test_an_older_journal_raises_no_alarm(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """The word that a snapshot was forgotten is lost with the newer events: that is a note and no finding."""
    lost = person.backs_up("a: 1\n")
    shutil.copytree(person.root / ".ddr" / "journal", person.root / "older")
    person.backs_up("b: 2\n")
    assert person.types("backup", "prune") == 0
    shutil.rmtree(person.root / ".ddr" / "journal")
    (person.root / "older").rename(person.root / ".ddr" / "journal")
    monkeypatch.setenv("XDG_STATE_HOME", str(person.root / "new-machine"))
    for words in (("list",), ("verify",)):
        assert person.types("backup", *words) == 0, (words, person.out, person.err)
    assert f"{lost[:8]} of" in person.out
    assert "lost the word of it" in person.out


def test_a_journal_that_was_restored_raises_no_alarm(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    person.backs_up("a: 1\n")
    person.backs_up("b: 2\n")
    person.backs_up("c: 3\n")
    assert person.types("backup", "prune") == 0
    shutil.rmtree(person.root / ".ddr" / "journal")
    monkeypatch.setenv("XDG_STATE_HOME", str(person.root / "new-machine"))
    assert person.types("restore", "journal", "--apply") == 0, person.err
    time.sleep(1)  # names have whole seconds: c, of which the journal lost the word, is older than what follows
    person.backs_up("d: 4\n")
    gone = person.backs_up("e: 5\n")
    assert person.types("backup", "verify") == 0, person.out
    person.loses(gone)
    assert person.types("backup", "verify") == 2, "what was made since is known for sure"
    assert gone[:8] in person.out
