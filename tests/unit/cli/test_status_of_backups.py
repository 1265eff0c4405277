"""Backups belong to the platform: `ddr status` shows them with many services, with one, and with none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ddr.cli import main

SERVICE = "{planes: {}, objectives: {rpo: 1h, rto: 15m}, owners: {team: a, oncall: b, decisionMaker: c}}"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    assert main.run(["init", str(tmp_path)]) == 0
    return tmp_path / "ddr.yaml"


def _status(capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main.run(["status"]) == 0
    return capsys.readouterr().out


def test_a_platform_without_services_shows_its_backups(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "backups" not in _status(capsys), "a new ddr.yaml has other next moves"
    config.write_text(config.read_text() + "\nbackup: {encryption: none}\n")
    assert "newest verified backup: never" in _status(capsys)
    assert main.run(["backup", "run"]) == 0
    told = _status(capsys)
    assert "is not verified" in told
    assert "3-2-1-1-0: " in told
    assert main.run(["backup", "verify"]) == 0
    told = _status(capsys)
    assert "newest verified backup: " in told
    assert "not verified" not in told
    assert "RPO no service promises one" in told
    assert "RTO no drill passed yet" in told


def test_with_services_the_platform_stands_once_and_promises_for_each(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = re.sub(r"(?m)^services:.*\n(?: .*\n)*", "", config.read_text())
    config.write_text(f"{plain}\nbackup: {{encryption: none}}\nservices: {{fraud: {SERVICE}, search: {SERVICE}}}\n")
    assert main.run(["backup", "run"]) == 0
    assert main.run(["backup", "verify"]) == 0
    told = _status(capsys)
    assert told.count("newest verified backup") == told.count("3-2-1-1-0") == told.count("backups\n") == 1
    assert len(re.findall(r"(?m)^  RPO ok: ", told)) == 2
    assert main.run(["status", "fraud"]) == 0
    alone = capsys.readouterr().out
    assert alone.count("newest verified backup") == alone.count("3-2-1-1-0") == alone.count("RPO ok: ") == 1


def _check(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str]]:
    capsys.readouterr()
    code = main.run(["status", "--check", "--json", *words])
    return code, json.loads(capsys.readouterr().out)["missed"]


def test_a_missed_objective_of_backups_fails_the_check(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The service has no planes and no signals: only its backups can be wrong."""
    plain = re.sub(r"(?m)^services:.*\n(?: .*\n)*", "", config.read_text())
    (config.parent / "things").mkdir()
    (config.parent / "things" / "a.yaml").write_text("a: 1\n")
    services = f"\nservices: {{fraud: {SERVICE}}}\n"
    config.write_text(plain + services)
    is_ok, missed = _check(capsys)
    assert (is_ok, missed) == (0, []), "backups are somebody else's"
    config.write_text(f"{plain}\nbackup: {{encryption: none}}{services}")
    code, missed = _check(capsys)
    assert (code, [line.split(":")[0] for line in missed]) == (2, ["fraud RPO unknown", "fraud RTO unknown"])
    assert main.run(["backup", "run"]) == 0
    assert [line.split(":")[0] for line in _check(capsys)[1]] == ["fraud RPO unknown", "fraud RTO unknown"]
    assert main.run(["backup", "verify"]) == 0
    assert [line.split(":")[0] for line in _check(capsys)[1]] == ["fraud RTO unknown"]
    assert main.run(["backup", "run"]) == main.run(["backup", "verify"]) == 0, "now with a journal in it"
    assert main.run(["backup", "drill"]) == 0
    assert _check(capsys) == (is_ok, [])
    capsys.readouterr()
    assert main.run(["status", "--check"]) == is_ok
    assert "missed" not in capsys.readouterr().out
    config.write_text(config.read_text().replace("rpo: 1h", "rpo: 1ms").replace("rto: 15m", "rto: 1ms"))
    code, missed = _check(capsys, "fraud")
    assert (code, [line.split(":")[0] for line in missed]) == (2, ["fraud RPO bad", "fraud RTO bad"])
    capsys.readouterr()
    assert main.run(["status"]) == 0, "who only looks is not failed"
