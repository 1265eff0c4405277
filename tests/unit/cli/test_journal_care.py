"""`ddr` with a journal that is gone, damaged, or waits in the spool: what each command says and how it exits."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ddr.domain import records
from ddr.journal import codec
from ddr.wiring import build, config, repository
from tests.unit.cli import calls

LOOKING = (("status",), ("runbook", "runs"), ("journal", "show"))
STRICT = (("journal", "sync"), ("journal", "verify"))


def _wired(root: Path) -> build.Wired:
    return build.build(
        root / "ddr.yaml", {"XDG_STATE_HOME": str(root / ".state")}, actor="ana", warn=lambda _text: None
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A fresh ddr.yaml without services, and five events."""
    assert calls.ddr(tmp_path, "init", str(tmp_path)).code == 0
    log = _wired(tmp_path).log
    for number in range(5):
        log.append(records.IncidentNoted("inc-1", f"note {number}"))
    return tmp_path


def test_all_is_well_at_first(root: Path) -> None:
    for words in (*LOOKING, *STRICT, ("doctor",)):
        done = calls.ddr(root, *words)
        assert done.code == 0, (words, done.out, done.err)


@pytest.mark.parametrize("how", ["gone", "empty", "another"])
def test_a_journal_that_is_gone_is_told_by_every_command(root: Path, how: str) -> None:
    store = root / ".ddr"
    said = {"gone": "its folder is gone", "empty": "no journal in it", "another": "another journal is there"}[how]
    store.rename(root / "moved")
    if how != "gone":
        store.mkdir()
    if how == "another":
        other = root / "other"
        other.mkdir()
        calls.ddr(other, "init", str(other))
        _wired(other).log.append(records.IncidentNoted("inc-9", "of another"))
        shutil.rmtree(store)
        (other / ".ddr").rename(store)
    before = sorted(store.rglob("*"))
    for words in (*LOOKING, *STRICT, ("doctor",)):
        done = calls.ddr(root, *words)
        assert done.code == 2, (words, done.out, done.err)
        assert said in done.out + done.err, words
        assert "ddr journal adopt" in done.out + done.err, words
        assert "of another" not in done.out, words
        assert sorted(store.rglob("*")) == before, words
    (root / "ddr.yaml").unlink()
    done = calls.ddr(root, "init", str(root))
    assert (done.code, said in done.out, (root / "ddr.yaml").exists()) == (2, True, True)
    assert sorted(store.rglob("*")) == before
    done = calls.ddr(root, "journal", "adopt", "--why", "moved on")
    assert done.code == 0, done.err
    shown = calls.ddr(root, "journal", "show", "--json").document["events"]
    assert [event["kind"] for event in shown] == [*(["incident.noted"] * (how == "another")), "journal.adopted"]
    for words in (*LOOKING, *STRICT, ("doctor",)):
        assert calls.ddr(root, *words).code == 0, words
    assert calls.ddr(root, "journal", "adopt").code == 1


@pytest.mark.parametrize("how", ["changed", "deleted"])
def test_a_damaged_event_is_read_around_told_of_and_repaired(root: Path, how: str) -> None:
    path = root / ".ddr" / "journal" / "000000000003"
    true = path.read_bytes()
    path.unlink() if how == "deleted" else path.write_bytes(true.replace(b'"ana"', b'"eve"'))
    for words in LOOKING:
        done = calls.ddr(root, *words)
        assert (done.code, "HISTORY ENDS EARLY" in done.err) == (2, True), words
        assert "ddr journal verify" in done.err
    assert calls.ddr(root, "journal", "sync").code == 2
    done = calls.ddr(root, "journal", "verify")
    assert (done.code, "ddr journal repair" in done.out) == (2, True)
    done = calls.ddr(root, "doctor")
    assert (done.code, "ddr journal repair" in done.out) == (2, True)
    assert calls.ddr(root, "journal", "repair").code == 0
    assert path.read_bytes() == true
    assert calls.ddr(root, "journal", "verify").code == 0
    assert calls.ddr(root, "journal", "repair").code == 0


def test_what_waits_in_the_spool_is_told(root: Path) -> None:
    log = _wired(root).log
    draft = log.draft(records.IncidentNoted("inc-1", "waits"))
    log.spool.add(5, draft)
    assert codec.of_draft(draft).is_spooled
    shown = calls.ddr(root, "status")
    assert "1 event waits" in shown.out
    assert "ddr journal sync" in shown.out
    assert calls.ddr(root, "status", "--json").document["pending_events"] == 1
    done = calls.ddr(root, "doctor")
    assert (done.code, "1 event waits" in done.out, "ddr journal sync" in done.out) == (2, True, True)
    assert "1 event waits in the spool" in calls.ddr(root, "journal", "verify").out
    assert calls.ddr(root, "journal", "sync").code == 0
    assert calls.ddr(root, "doctor").code == 0
    assert "waits" not in calls.ddr(root, "status").out


def test_doctor_tries_the_journals_own_folder_and_leaves_nothing(root: Path) -> None:
    folder = root / ".ddr" / "journal"
    before = sorted(path.name for path in folder.iterdir())
    assert calls.ddr(root, "doctor").code == 0
    assert sorted(path.name for path in folder.iterdir()) == before
    (folder / "trial-left-by-a-crash").write_bytes(b"x")
    assert calls.ddr(root, "journal", "verify").code == 0
    assert calls.ddr(root, "doctor").code == 0
    assert sorted(path.name for path in folder.iterdir()) == before
    if subprocess.run(["chattr", "+i", str(folder)], check=False, capture_output=True).returncode:
        pytest.skip("this file system knows no immutable folders, or this user may not make one")
    try:
        done = calls.ddr(root, "doctor")
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=True)
    assert (done.code, "ok repository" in done.out, "BAD journal" in done.out) == (2, True, True)


def test_a_sandbox_made_anew_in_the_same_place_is_watched_anew(root: Path) -> None:
    log = _wired(root).log
    log.spool.add(5, log.draft(records.IncidentNoted("inc-1", "of the old one")))
    shutil.rmtree(root / ".ddr")
    environ = {"XDG_STATE_HOME": str(root / ".state")}
    repository.forget(config.load(root / "ddr.yaml", environ), environ)
    assert calls.ddr(root, "journal", "sync").code == 0
    assert _wired(root).log.append(records.IncidentNoted("inc-1", "new")).seq == 1
    assert calls.ddr(root, "doctor").code == 0
    assert len(list((root / ".state" / "ddr").glob("*/*-before-*"))) == 3, "memory, copy and spool are kept"
