"""The printed units are read by what will read them: systemd, a shell, YAML."""

from __future__ import annotations

import configparser
import dataclasses
import itertools
import os
import re
import shlex
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from ddr.backup import metrics, pace, schedule
from ddr.errors import InputError

PLAIN = schedule.Wish(image="registry/ddr@sha256:" + "0" * 64)
SEALED: dict[schedule.Opening, schedule.Wish] = {
    "passphrase-file": PLAIN,
    "key-file": dataclasses.replace(PLAIN, opening="key-file", key_file="/srv/ml/backup.key"),
    "written": dataclasses.replace(PLAIN, opening="written", environment=("BACKUP_PHRASE", "DB_URL")),
    "none": dataclasses.replace(PLAIN, opening="none"),
}
HOSTILE = dataclasses.replace(
    PLAIN,
    program="/opt/my tools/100% $HOME/ddr",
    config='/etc/d d/a\'b "c" %n.yaml',
    state="/var/lib/d %d r",
    local_repository="/mnt/back up/%",
    passphrase_file="/etc/d d/pass%word",
    key_file="/etc/d d/k%y",
    writable=("/mnt/the spool/%",),
    environment=("A",),
    environment_file="/etc/d d/e%v",
)


def _units(wish: schedule.Wish) -> dict[str, configparser.ConfigParser]:
    """A setting that stands there twice keeps its last value."""
    units = {}
    for name, text in schedule.systemd(wish).items():
        units[name] = configparser.ConfigParser(interpolation=None, strict=False)
        units[name].optionxform = str  # type: ignore[assignment, method-assign]
        units[name].read_string(text)
    return units


@pytest.mark.parametrize("wish", [PLAIN, HOSTILE])
def test_systemd_units_are_hardened_and_persistent(wish: schedule.Wish) -> None:
    units = _units(wish)
    assert sorted(units) == sorted(
        f"ddr-backup-{job.name}.{kind}" for job in wish.jobs for kind in ("service", "timer")
    )
    for name, unit in units.items():
        if name.endswith(".timer"):
            assert unit["Timer"]["Persistent"] == "true"
            assert 0 < int(unit["Timer"]["RandomizedDelaySec"]) <= 900
            assert unit["Install"]["WantedBy"] == "timers.target"
            continue
        service = unit["Service"]
        assert service["ProtectSystem"] == "strict"
        assert service["NoNewPrivileges"] == service["PrivateTmp"] == "true"
        assert service["LoadCredential"].startswith("passphrase:/")
        assert "AF_INET6" in service["RestrictAddressFamilies"]
        assert "passphrase" not in service["ExecStart"]
        assert "%" not in service.get("ReadWritePaths", "").replace("%%", "")
        assert service["Environment"].replace("%%", "%") == f'"XDG_STATE_HOME={wish.state}"'
        assert service["StateDirectory"].replace("%%", "%") == f'"{wish.state.removeprefix("/var/lib/")}"'
        written = shlex.split(service.get("ReadWritePaths", "").replace("%%", "%"))
        assert {*wish.writable, wish.local_repository} - {""} == set(written)
        assert shlex.split(service["ExecStart"].replace("%%", "%"))[:3] == [
            wish.program,
            "--config",
            wish.config,
        ]


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_systemd_itself_finds_nothing_wrong(tmp_path: Path, name: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze here")
    program = tmp_path / ("100% $my tools/ddr" if name == "hostile" else "ddr")
    program.parent.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    base = HOSTILE if name == "hostile" else PLAIN
    files = schedule.systemd(dataclasses.replace(base, program=str(program), user="root"))
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--recursive-errors=no", *(str(tmp_path / file) for file in files)],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "ddr-backup" in line]
    assert ours == []
    assert done.returncode == 0, done.stderr


def test_systemd_understands_the_calendar() -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze here")
    jobs = [job for minutes in RPOS for job in _paced(minutes).jobs]
    for calendar in {job.calendar for job in jobs}:
        subprocess.run([analyze, "calendar", calendar], check=True, capture_output=True)


@pytest.mark.parametrize("wish", [PLAIN, HOSTILE])
def test_cron_runs_one_job_at_a_time_with_its_words_whole(wish: schedule.Wish) -> None:
    lines = [line for line in schedule.cron(wish).splitlines() if line and not line.startswith("#")]
    jobs = [line for line in lines if re.match(r"[\d*]", line)]
    assert [line.partition("=")[0] for line in lines if line not in jobs] == ["SHELL", "PATH", "MAILTO"]
    assert len(jobs) == len(wish.jobs)
    for line, job in zip(jobs, wish.jobs, strict=True):
        *times, user, command = line.split(" ", 6)
        assert _is_cron(times)
        assert user == "ddr"
        assert re.search(r"(?<!\\)%", command) is None
        words = shlex.split(command.replace(r"\%", "%"))
        at = words.index("flock")
        assert words[at + 1 : at + 6] == ["-w", "60", "-E", "75", f"{wish.state}/schedule-{job.name}.lock"]
        whole = [wish.program, "--config", wish.config, *job.command, "--json", "||"]
        assert words[words.index(wish.program) :][: len(whole)] == whole


@pytest.mark.parametrize("mail_to", ["", "oncall"])
def test_the_shell_and_flock_run_a_hostile_cron_line(tmp_path: Path, mail_to: str) -> None:
    """What it prints, and the exit code, go where the comment says: the mail, or the system log."""
    program = tmp_path / "100% $HOME's" / "ddr"
    program.parent.mkdir()
    told = '"$DDR_PASSPHRASE_FILE" "$XDG_STATE_HOME" "$A" "$@"'
    program.write_text(f'#!/bin/sh\nprintf "%s|" {told} >> "$(dirname "$0")/seen"\necho the result\nexit 69\n')
    program.chmod(0o755)
    logger = tmp_path / "bin" / "logger"
    logger.parent.mkdir()
    logger.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/log\ncat >> {tmp_path}/log\n')
    logger.chmod(0o755)
    environment = tmp_path / "e%v $x"
    environment.write_text("A=some value\n".replace("some value", "'some value'"))
    wish = dataclasses.replace(
        HOSTILE, program=str(program), state=str(tmp_path), mail_to=mail_to, environment_file=str(environment)
    )
    text = schedule.cron(wish)
    line = text.splitlines()[-1].split(" ", 6)[6].replace(r"\%", "%")
    path = f"{logger.parent}:{os.environ['PATH']}"
    done = subprocess.run(["/bin/sh", "-c", line], check=True, capture_output=True, text=True, env={"PATH": path})
    seen = (program.parent / "seen").read_text()
    words = [wish.passphrase_file, wish.state, "some value", "--config", wish.config, "backup", "prune", "--json", ""]
    assert seen == "|".join(words)
    printed = "the result\nddr backup prune ended with exit code 69\n"
    assert f'MAILTO="{mail_to}"' in text
    if mail_to:
        assert done.stdout == printed
        assert "cron mails to oncall what each job prints" in text
    else:
        assert done.stdout == ""
        assert (tmp_path / "log").read_text() == f"-t ddr-backup\n{printed}"
        assert "nobody is mailed" in text


def test_cronjobs_have_least_rights() -> None:
    documents = list(yaml.safe_load_all(schedule.cronjob(HOSTILE)))
    assert [one["kind"] for one in documents] == ["ServiceAccount", "Role", "RoleBinding"] + ["CronJob"] * 4
    for rule in documents[1]["rules"]:
        assert "secrets" not in rule["resources"]
        assert not {"*", "create", "update", "patch", "delete"} & {*rule["verbs"], *rule["resources"]}
    for document, job in zip(documents[3:], HOSTILE.jobs, strict=True):
        spec = document["spec"]
        assert (spec["schedule"], spec["concurrencyPolicy"]) == (job.cron, "Forbid")
        assert spec["startingDeadlineSeconds"] >= 100  # below 10 s the controller may never start it
        made = spec["jobTemplate"]["spec"]
        assert {"backoffLimit", "ttlSecondsAfterFinished", "activeDeadlineSeconds"} <= set(made)
        pod = made["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert set(container["resources"]) == {"requests", "limits"}
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert all("valueFrom" not in variable for variable in container["env"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"config": "/etc/x\n* * * * * root rm -rf /"},
        {"program": "ddr"},
        {"user": "root reboot"},
        {"mail_to": "a\rb"},
        {"state": "relative"},
    ],
)
def test_a_wish_that_would_begin_a_line_of_its_own_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        dataclasses.replace(PLAIN, **wrong)


RPOS = (1, 5, 10, 14, 15, 59, 60, 90, 120, 240, 720, 1440, 2880, 4320, 43200)


def _paced(minutes: int, stored_bytes: int = 0) -> pace.Pace:
    return pace.decide({"fraud": timedelta(minutes=minutes)}, stored_bytes)


def _is_cron(times: list[str]) -> bool:
    limits = (59, 23, 31, 12, 7)
    return all(
        field == "*" or all(0 <= int(one) <= most for one in field.split(","))
        for field, most in zip(times, limits, strict=True)
    )


def _begins(job: pace.Job) -> list[int]:
    """The minutes of a day at which a daily or more frequent job begins."""
    minutes, hours, *rest = job.cron.split()
    assert rest == ["*", "*", "*"]
    every = range(24) if hours == "*" else [int(hour) for hour in hours.split(",")]
    return sorted(hour * 60 + int(minute) for hour in every for minute in minutes.split(","))


@pytest.mark.parametrize("minutes", RPOS)
def test_the_pace_holds_the_rpo_or_says_that_it_cannot(minutes: int) -> None:
    """Played through: with every run and every verification on time, how old does the newest verified one get?"""
    found = _paced(minutes)
    run, verify = (next(job for job in found.jobs if job.name == name) for name in ("run", "verify"))
    assert _is_cron(run.cron.split())
    runs, oldest = [at - day for day in (2880, 1440, 0) for at in _begins(run)], 0
    ends = [at - day for day in (1440, 0) for at in _begins(verify)]
    for begun, ended in itertools.pairwise(ends):
        oldest = max(oldest, ended - max(at for at in runs if at <= begun))
    assert bool(found.warnings) == (oldest + 2 * run.jitter_s / 60 > minutes), (oldest, found.warnings)
    if minutes >= 15:
        assert not found.warnings
        assert 3 * run.every_s <= minutes * 60 or run.every_s == 24 * 3600
    if found.warnings:
        assert "of fraud cannot hold" in found.warnings[0]


def test_every_daily_pace_has_a_verification() -> None:
    assert [job.name for job in pace.decide({}).jobs] == ["run", "verify", "drill", "prune"]
    assert pace.decide({}).run_every_s == pace.decide({}).verify_every_s == 86400


def test_a_large_repository_is_read_by_shares_and_whole_once_a_week() -> None:
    found = _paced(1440, 1 << 40)
    commands = {job.name: job.command for job in found.jobs}
    assert commands["verify"] == ("backup", "verify", "--share", "today/7")
    assert commands["verify-whole"] == ("backup", "verify")
    assert "read back once a week" in found.warnings[0]
    assert found.verify_every_s == pace.WEEK_S
    wish = dataclasses.replace(PLAIN, jobs=found.jobs)
    assert "today/7" in schedule.cron(wish)
    assert "ddr-backup-verify-whole.timer" in schedule.systemd(wish)


@pytest.mark.parametrize("minutes", RPOS)
def test_no_alert_fires_while_everything_is_on_time(minutes: int) -> None:
    found = _paced(minutes)
    rules = metrics.alert_rules(found.run_every_s, pace.WEEK_S, found.verify_every_s)
    (group,) = yaml.safe_load(rules)["groups"]
    limits = {rule["alert"]: int(rule["expr"].split()[-1]) for rule in group["rules"] if " > " in rule["expr"]}
    # runs every interval, verified at most half of one behind, each up to a tenth late
    assert limits["DdrBackupNotVerified"] > 1.5 * found.verify_every_s + 2 * found.run_every_s / 10
    assert limits["DdrBackupMissing"] > 1.2 * found.run_every_s
    if minutes >= 15:
        assert limits["DdrBackupNotVerified"] <= max(minutes * 60, 49 * 3600)


@pytest.mark.parametrize("opening", list(SEALED))
def test_the_units_open_the_repository_as_ddr_yaml_says(opening: schedule.Opening) -> None:
    wish = SEALED[opening]
    file = {"passphrase-file": "/etc/ddr/passphrase", "key-file": "/srv/ml/backup.key"}.get(opening, "")
    name = {"passphrase-file": "passphrase", "key-file": "key"}.get(opening, "")
    variable = {"passphrase-file": "DDR_PASSPHRASE_FILE", "key-file": "DDR_KEY_FILE"}.get(opening, "")
    for unit, text in schedule.systemd(wish).items():
        if unit.endswith(".service"):
            assert ("LoadCredential=" in text) == bool(file)
            assert not file or f"LoadCredential={name}:{file}\n" in text
            assert not file or f"Environment={variable}=%d/{name}\n" in text
            assert ("EnvironmentFile=/etc/ddr/environment" in text) == (opening == "written")
            assert ("BACKUP_PHRASE, DB_URL" in text) == (opening == "written")
    cron = schedule.cron(wish)
    assert ("passphrase" in cron) == (opening == "passphrase-file")
    assert (". /etc/ddr/environment" in cron) == (opening == "written")
    printed = schedule.cronjob(wish)
    for document in list(yaml.safe_load_all(printed))[3:]:
        pod = document["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        given = {one["name"]: one["value"] for one in container["env"]}
        secrets = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
        assert [secret["items"] for secret in secrets] == ([[{"key": name, "path": name}]] if name else [])
        assert {key: value for key, value in given.items() if key.endswith("_FILE")} == (
            {variable: f"/run/secrets/ddr/{name}"} if variable else {}
        )
        assert ("envFrom" in container) == (opening == "written")
    assert not file or f"--from-file={name}={file}" in printed


def test_a_cronjob_without_an_image_is_refused() -> None:
    with pytest.raises(InputError, match="image"):
        schedule.cronjob(dataclasses.replace(PLAIN, image=""))
