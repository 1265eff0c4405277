"""`ddr backup schedule` on a real ddr.yaml: what it prints is run here, as cron and systemd would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.cli import calls

USER = "ml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty platform with a repository in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "ddr", "init", str(tmp_path)],
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / ".state")},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    return tmp_path


def _say(root: Path, text: str) -> None:
    with (root / "ddr.yaml").open("a") as file:
        file.write(f"\n{text}\n")


def _units(root: Path, form: str, *more: str) -> tuple[dict[str, str], list[str]]:
    document = calls.ddr(root, "backup", "schedule", form, "--json", "--user", USER, *more).document
    return document["files"], document["warnings"]


def test_a_cron_line_runs_with_the_key_file_of_readme(root: Path) -> None:
    assert calls.ddr(root, "backup", "key", "new-file", str(root / "backup.key")).code == 0
    _say(root, "backup: {keyFile: backup.key}")
    files, warnings = _units(root, "--cron", "--mail-to", "oncall")
    assert warnings == []
    done = {}
    for line in files["ddr-backup"].splitlines():
        if f" {USER} " in line and not line.startswith("#"):
            command = line.split(f" {USER} ", 1)[1].replace("/var/lib/ddr", str(root / "var"))
            # the program is whatever runs here: the tests need none that is installed
            command = re.sub(r"XDG_STATE_HOME=\S+ \S+", rf"\g<0> {sys.executable} -m ddr", command).replace(
                f" {_program(command)} {sys.executable}", f" {sys.executable}"
            )
            (root / "var").mkdir(exist_ok=True)
            ran = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
            done[re.findall(r"backup (\w+) --json", command)[0]] = ran
    assert list(done) == ["run", "verify", "drill", "prune"]
    for name in ("run", "verify", "prune"):
        assert "ended with exit code" not in done[name].stdout, (name, done[name])
    # an empty platform has nothing that could be compared, and the drill says so
    assert done["drill"].stdout.endswith("ddr backup drill ended with exit code 2\n")


def _program(command: str) -> str:
    return str(re.findall(r"XDG_STATE_HOME=\S+ (\S+)", command)[0])


def test_the_credential_of_systemd_opens_the_repository(root: Path) -> None:
    """Only root can read the file that ddr.yaml names; the unit reads the copy that systemd made."""
    assert calls.ddr(root, "backup", "key", "new-file", str(root / "backup.key")).code == 0
    _say(root, "backup: {keyFile: backup.key}")
    files, _ = _units(root, "--systemd")
    for name, text in files.items():
        if name.endswith(".service"):
            assert f"LoadCredential=key:{root}/backup.key\n" in text
            assert "passphrase" not in text
    credential = root / "credentials" / "key"
    credential.parent.mkdir()
    (root / "backup.key").rename(credential)
    assert calls.ddr(root, "backup", "run").code == 64
    (missing,) = [line for line in _units(root, "--systemd")[1] if "backup.key" in line]
    assert "is not there" in missing
    done = subprocess.run(
        [sys.executable, "-m", "ddr", "--config", str(root / "ddr.yaml"), "backup", "run"],
        env={**os.environ, "XDG_STATE_HOME": str(root / ".state"), "DDR_KEY_FILE": str(credential)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("said", "unit", "kube"),
    [
        ("{passphrase: '${env:PHRASE}'}", "EnvironmentFile=/etc/ddr/environment", "ddr-environment"),
        ("{encryption: none}", "", ""),
        ("{}", "LoadCredential=passphrase:/etc/ddr/passphrase", "ddr-backup"),
    ],
)
def test_the_units_follow_what_ddr_yaml_says(
    root: Path, said: str, unit: str, kube: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHRASE", "correct horse battery")
    _say(root, f"backup: {said}")
    text = _units(root, "--systemd")[0]["ddr-backup-run.service"]
    assert (unit in text) if unit else ("LoadCredential" not in text and "EnvironmentFile" not in text)
    files, _ = _units(root, "--cronjob")
    for document in yaml.safe_load_all(files["ddr-backup.yaml"]):
        if document["kind"] == "CronJob":
            assert kube in yaml.safe_dump(document["spec"])
            assert kube or "secret" not in yaml.safe_dump(document["spec"])
    assert "correct horse" not in text + files["ddr-backup.yaml"]


def test_the_spool_is_written_and_has_to_be_there(root: Path) -> None:
    path = root / "ddr.yaml"
    path.write_text(re.sub(r"(?m)^repository:.*\n(?: .*\n)*", "repository: {type: local, path: .ddr, spool: .spool}\n",
                           path.read_text()))  # fmt: skip
    _say(root, "backup: {encryption: none, metrics: prom/ddr.prom}")
    files, warnings = _units(root, "--systemd")
    text = files["ddr-backup-run.service"]
    assert f'ReadWritePaths="{root}/.ddr" "{root}/.spool" "{root}/prom"\n' in text
    assert 'StateDirectory="ddr"\n' in text
    assert 'Environment="XDG_STATE_HOME=/var/lib/ddr"\n' in text
    there = [line.split()[0] for line in warnings if "PrivateTmp" not in line]
    assert there == [f"{root}/.spool", f"{root}/prom"]
    pod = _units(root, "--cronjob")[1]
    assert len(pod) == 3
    assert all("/var/lib/ddr" in line for line in pod)


def test_what_cannot_hold_is_said_beside_the_units(root: Path) -> None:
    service = "{planes: {}, objectives: {rpo: RPO, rto: 15m}, owners: {team: a, oncall: b, decisionMaker: c}}"
    path = root / "ddr.yaml"
    plain = re.sub(r"(?m)^services:.*\n(?: .*\n)*", "", path.read_text()) + "\nbackup: {encryption: none}\n"
    for rpo, every, is_told in (("5m", "*:02,07,", True), ("1h", "*:17,37,57", False), ("24h", "02,10,18:17", False)):
        path.write_text(f"{plain}services: {{fraud: {service.replace('RPO', rpo)}}}\n")
        files, warnings = _units(root, "--systemd")
        assert every in files["ddr-backup-run.timer"], files["ddr-backup-run.timer"]
        assert any("rpo 5m of fraud cannot hold" in line for line in warnings) == is_told
    (alerts,) = calls.ddr(root, "backup", "schedule", "--alerts", "--json").document["warnings"]
    assert "no `metrics: FILE.prom`" in alerts
    files, _ = _units(root, "--alerts")
    assert "last_verified_timestamp_seconds > 61200" in files["ddr-alerts.yaml"], "two intervals of 8 h and an hour"
