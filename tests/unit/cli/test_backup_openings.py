"""What is said when the configuration or keys of a repository are gone; how a copy and an older snapshot help."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.unit.cli.test_backup_words import PIPELINES, Person, harm, person

__all__ = ["person"]


@pytest.fixture
def sealed(person: Person, monkeypatch: pytest.MonkeyPatch) -> Person:
    monkeypatch.setenv("PP", "violet anchor tundra")
    person.writes("passphrase: '${env:PP}', copies: {second: {type: local, path: second}}")
    assert person.types("backup", "run") == 0
    return person


def _inside(person: Person, name: str) -> list[Path]:
    found = person.root / ".ddr" / "backup" / name
    return [found] if found.is_file() else sorted(found.iterdir())


def test_a_configuration_that_is_gone_is_mended_and_not_begun_anew(sealed: Person) -> None:
    _inside(sealed, "config")[0].unlink()
    for words in (("run",), ("list",), ("verify",), ("run", "--new-repository")):
        assert sealed.types("backup", *words) == 2, words
        assert "`ddr backup repair` writes it anew" in sealed.err, words
    assert sealed.types("backup", "repair") == 0
    assert sealed.types("backup", "run") == 0


def test_without_configuration_and_slots_the_recovery_key_is_named(sealed: Person) -> None:
    for path in (*_inside(sealed, "config"), *_inside(sealed, "keys")):
        path.unlink()
    for words in ("run", "list"):
        assert sealed.types("backup", words) == 2
        assert "`ddr backup repair --recovery`" in sealed.err
        assert "`ddr backup key add --recovery`" in sealed.err


def test_a_damaged_slot_has_a_way_on_by_the_recovery_key(sealed: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    from ddr.cli import asking

    assert sealed.types("backup", "key", "export") == 0
    paper = sealed.out.strip()
    harm(_inside(sealed, "keys")[0])
    assert sealed.types("backup", "list") == 1
    assert "`ddr backup key add --recovery" in sealed.err
    assert sealed.types("backup", "key", "list") == 2
    monkeypatch.setattr(asking, "secret", lambda *_words, **_how: paper)
    assert sealed.types("backup", "repair", "--recovery") == 0
    assert "next: ddr backup key add --recovery" in sealed.out
    assert sealed.types("backup", "key", "new-file", "new.key") == 0
    assert sealed.types("backup", "key", "add", "--recovery", "--key-file", "new.key") == 0
    sealed.writes("keyFile: new.key")
    assert sealed.types("backup", "list") == 0


def test_a_wrong_passphrase_is_told_by_where_it_came_from(sealed: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PP", "another long phrase")
    assert sealed.types("backup", "list") == 1
    assert "it came from ${env:PP}" in sealed.err
    assert "--recovery" in sealed.err
    assert "another long phrase" not in sealed.err


def test_what_the_newest_snapshot_lacks_is_taken_from_the_newest_that_has_it(person: Person) -> None:
    both = PIPELINES.replace("}}\n", "}, more: {type: files, root: more}}\n")
    (person.root / "more").mkdir()
    (person.root / "more" / "b.yaml").write_text("b: 2\n")
    person.writes("encryption: none", both)
    assert person.types("backup", "run", "--json") == 0
    whole = json.loads(person.out)["snapshot"]["id"]
    person.writes("encryption: none, connectors: [pipelines]", both)
    time.sleep(1.1)  # the names of snapshots have whole seconds
    assert person.types("backup", "run", "--json") == 2, "a component that vanishes is an alarm"
    lacking = json.loads(person.out)["snapshot"]["id"]
    there = person.root / "there"
    assert person.types("restore", "more", "--snapshot", lacking, "--to", str(there)) == 64
    assert f"ddr restore more --snapshot {whole[:8]}" in person.err
    assert person.types("restore", "more", "--to", str(there), "--apply") == 0
    assert whole[:8] in person.err
    assert (there / "b.yaml").read_text() == "b: 2\n"
    person.writes("encryption: none", both)
    (person.root / "more" / "b.yaml").unlink()
    (person.root / "more").rmdir()
    time.sleep(1.1)
    assert person.types("backup", "run") == 2, "partial"
    again = person.root / "again"
    assert person.types("restore", "more", "--to", str(again), "--apply") == 0
    assert "has not all of more" in person.err
    assert (again / "b.yaml").read_text() == "b: 2\n"


def test_a_copy_is_verified_and_restored_from_by_its_name(sealed: Person) -> None:
    assert sealed.types("backup", "verify", "--from", "second") == 1
    assert "`ddr backup copy second`" in sealed.err
    assert sealed.types("backup", "copy", "second") == 0
    assert sealed.types("backup", "verify", "--from", "second") == 0
    assert sealed.types("status", "--json") == 0
    assert json.loads(sealed.out)["backups"]["verified_at"] is None, "that was the copy"
    assert sealed.types("backup", "verify", "--from", "third") == 64
    for path in sealed.packs():
        path.unlink()
    assert sealed.types("restore", "pipelines", "--to", str(sealed.root / "bad"), "--apply") != 0
    there = sealed.root / "there"
    assert sealed.types("restore", "pipelines", "--from", "second", "--to", str(there), "--apply") == 0
    assert (there / "a.yaml").read_text() == "a: 1\n"
    harm(sorted(path for path in (sealed.root / "second/backup/packs").rglob("*") if path.is_file())[0])
    assert sealed.types("backup", "verify", "--from", "second") == 2
