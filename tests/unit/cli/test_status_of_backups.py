"""Backups belong to the platform: `ddr status` shows them with many services, with one, and with none."""

from __future__ import annotations

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
