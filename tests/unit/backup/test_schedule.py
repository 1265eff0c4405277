"""The printed units are read by what will read them: systemd, a shell, YAML."""

from __future__ import annotations

import configparser
import dataclasses
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from ddr.backup import schedule
from ddr.errors import InputError

PLAIN = schedule.Wish(image="registry/ddr@sha256:" + "0" * 64)
HOSTILE = dataclasses.replace(
    PLAIN,
    program="/opt/my tools/100% $HOME/ddr",
    config='/etc/d d/a\'b "c" %n.yaml',
    state="/var/lib/d %d r",
    local_repository="/mnt/back up/%",
    passphrase_file="/etc/d d/pass%word",
)


def _units(wish: schedule.Wish) -> dict[str, configparser.ConfigParser]:
    units = {}
    for name, text in schedule.systemd(wish).items():
        units[name] = configparser.ConfigParser(interpolation=None, strict=True)
        units[name].optionxform = str  # type: ignore[assignment, method-assign]
        units[name].read_string(text)
    return units


@pytest.mark.parametrize("wish", [PLAIN, HOSTILE])
def test_systemd_units_are_hardened_and_persistent(wish: schedule.Wish) -> None:
    units = _units(wish)
    assert sorted(units) == sorted(
        f"ddr-backup-{job.name}.{kind}" for job in schedule.JOBS for kind in ("service", "timer")
    )
    for name, unit in units.items():
        if name.endswith(".timer"):
            assert unit["Timer"]["Persistent"] == "true"
            assert unit["Timer"]["RandomizedDelaySec"]
            assert unit["Install"]["WantedBy"] == "timers.target"
            continue
        service = unit["Service"]
        assert service["ProtectSystem"] == "strict"
        assert service["NoNewPrivileges"] == service["PrivateTmp"] == "true"
        assert service["LoadCredential"].startswith("passphrase:/")
        assert "AF_INET6" in service["RestrictAddressFamilies"]
        assert "passphrase" not in service["ExecStart"]
        assert "%" not in service["ReadWritePaths"].replace("%%", "")
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
    for job in schedule.JOBS:
        subprocess.run([analyze, "calendar", job.calendar], check=True, capture_output=True)


@pytest.mark.parametrize("wish", [PLAIN, HOSTILE])
def test_cron_runs_one_job_at_a_time_with_its_words_whole(wish: schedule.Wish) -> None:
    lines = [line for line in schedule.cron(wish).splitlines() if line and not line.startswith("#")]
    jobs = [line for line in lines if re.match(r"[\d*]", line)]
    assert [line.partition("=")[0] for line in lines if line not in jobs] == ["SHELL", "PATH", "MAILTO"]
    assert len(jobs) == len(schedule.JOBS)
    limits = (59, 23, 31, 12, 7)
    for line, job in zip(jobs, schedule.JOBS, strict=True):
        *times, user, command = line.split(" ", 6)
        assert all(field == "*" or 0 <= int(field) <= most for field, most in zip(times, limits, strict=True))
        assert user == "ddr"
        assert re.search(r"(?<!\\)%", command) is None
        words = shlex.split(command.replace(r"\%", "%"))
        assert words[:6] == ["flock", "-w", "900", "-E", "75", f"{wish.state}/schedule.lock"]
        assert words[words.index(wish.program) :] == [wish.program, "--config", wish.config, *job.command, "--json"]


def test_the_shell_and_flock_run_a_hostile_cron_line(tmp_path: Path) -> None:
    program = tmp_path / "100% $HOME's" / "ddr"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nprintf "%s|" "$DDR_PASSPHRASE_FILE" "$@" >> "$(dirname "$0")/seen"\n')
    program.chmod(0o755)
    wish = dataclasses.replace(HOSTILE, program=str(program), state=str(tmp_path))
    line = schedule.cron(wish).splitlines()[-1].split(" ", 6)[6].replace(r"\%", "%")
    subprocess.run(["/bin/sh", "-c", line], check=True)
    seen = (program.parent / "seen").read_text()
    assert seen == "|".join([wish.passphrase_file, "--config", wish.config, "backup", "prune", "--json", ""])


def test_cronjobs_have_least_rights() -> None:
    documents = list(yaml.safe_load_all(schedule.cronjob(HOSTILE)))
    assert [one["kind"] for one in documents] == ["ServiceAccount", "Role", "RoleBinding"] + ["CronJob"] * 3
    for rule in documents[1]["rules"]:
        assert "secrets" not in rule["resources"]
        assert not {"*", "create", "update", "patch", "delete"} & {*rule["verbs"], *rule["resources"]}
    for document, job in zip(documents[3:], schedule.JOBS, strict=True):
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
def test_a_wish_that_would_begin_a_line_of_its_own_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(InputError):
        dataclasses.replace(PLAIN, **wrong)


def test_a_cronjob_without_an_image_is_refused() -> None:
    with pytest.raises(InputError, match="image"):
        schedule.cronjob(dataclasses.replace(PLAIN, image=""))
