"""Prints what runs backups without anybody: cron lines, systemd units, Kubernetes CronJobs. Hardened and complete.

Pure text: nothing is installed here. Three jobs each: `run`, `drill`, `prune`. A path may hold spaces and `%`, which
cron and systemd read in their own ways; a line break in any wish is refused, as it would begin a line of its own.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields

from ddr.errors import InputError


@dataclass(frozen=True)
class Job:
    """`cron` are five fields, `calendar` the same for systemd. `deadline_s`: later than that is the next one's turn."""

    name: str
    command: tuple[str, ...]
    cron: str
    calendar: str
    deadline_s: int


JOBS = (
    Job("run", ("backup", "run"), "17 2 * * *", "*-*-* 02:17:00", 4 * 3600),
    Job("drill", ("backup", "drill"), "43 4 * * 0", "Sun *-*-* 04:43:00", 24 * 3600),
    Job("prune", ("backup", "prune"), "11 6 * * 1", "Mon *-*-* 06:11:00", 24 * 3600),
)
"""Odd minutes: at full hours everybody's jobs begin. The drill comes after a backup, the prune after the drill."""


@dataclass(frozen=True)
class Wish:
    """What the units are for. Paths are absolute; `local_repository` is '' for one in a bucket.

    `passphrase_file` lies on the machine (systemd hands it over as a credential, so only root must be able to read
    it) or, with Kubernetes, is ignored: there `secret` names the Secret with the key `passphrase`.
    """

    program: str = "/usr/local/bin/ddr"
    config: str = "/etc/ddr/ddr.yaml"
    state: str = "/var/lib/ddr"
    local_repository: str = ""
    passphrase_file: str = "/etc/ddr/passphrase"  # noqa: S105 - where it lies, not what it is
    user: str = "ddr"
    mail_to: str = ""
    image: str = ""
    namespace: str = "ddr"
    secret: str = "ddr-backup"  # noqa: S105
    config_map: str = "ddr-config"
    state_claim: str = "ddr-state"

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if re.search(r"[\x00-\x1f\x7f]", value):
                raise InputError(f"schedule: {field.name} has a line break or control character in it: {value!r}")
        for name in ("program", "config", "state", "local_repository", "passphrase_file"):
            value = getattr(self, name)
            if value and not value.startswith("/"):
                raise InputError(f"schedule: {name} is {value!r}", hint="write an absolute path")
        if not re.fullmatch(r"[a-z_][a-z0-9_-]*", self.user):
            raise InputError(f"schedule: {self.user!r} is no name of a user", hint="write it like ddr")


def cron(wish: Wish) -> str:
    """A file for /etc/cron.d. cron turns an unescaped % into a line break, so each is escaped."""
    lock = f"{wish.state}/schedule.lock"
    lines = [
        "# /etc/cron.d/ddr-backup: cron mails what is printed to MAILTO; exit codes are only in that mail.",
        "# A job that does not run mails nothing: use the alert rules or pings that see absence.",
        "SHELL=/bin/sh",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        f"MAILTO={_cron_variable(wish.mail_to)}",
    ]
    for job in JOBS:
        given = ["env", f"DDR_PASSPHRASE_FILE={wish.passphrase_file}", *_call(wish, job, wish.config)]
        # flock: one at a time; it waits a quarter of an hour and then says so by exit code 75
        command = shlex.join(["flock", "-w", "900", "-E", "75", lock, "nice", "-n", "10", *given])
        lines.append(f"{job.cron} {wish.user} {command.replace('%', chr(92) + '%')}")
    return "\n".join(lines) + "\n"


def _cron_variable(value: str) -> str:
    return '"' + value.replace('"', "") + '"'


def _call(wish: Wish, job: Job, config: str) -> list[str]:
    return [wish.program, "--config", config, *job.command, "--json"]


def systemd(wish: Wish) -> dict[str, str]:
    """Files for /etc/systemd/system by name: a service and a timer for each job."""
    files = {}
    for job in JOBS:
        files[f"ddr-backup-{job.name}.service"] = _service(wish, job)
        files[f"ddr-backup-{job.name}.timer"] = (
            "[Unit]\n"
            f"Description=When ddr backup {job.name} begins\n"
            "\n[Timer]\n"
            f"OnCalendar={job.calendar}\n"
            "RandomizedDelaySec=15m\n"
            "Persistent=true\n"
            "\n[Install]\n"
            "WantedBy=timers.target\n"
        )
    return files


def _service(wish: Wish, job: Job) -> str:
    writable = [wish.state, *([wish.local_repository] if wish.local_repository else [])]
    credential = f"passphrase:{_specifiers(wish.passphrase_file)}"
    lines = [
        "[Unit]",
        f"Description=ddr backup {job.name}",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=oneshot",
        f"User={wish.user}",
        f"ExecStart={_command(_call(wish, job, wish.config))}",
        f"LoadCredential={credential}",
        "Environment=DDR_PASSPHRASE_FILE=%d/passphrase",
        f"TimeoutStartSec={job.deadline_s}",
        "Nice=10",
        "IOSchedulingClass=idle",
        "CPUSchedulingPolicy=batch",
        "UMask=0077",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        f"ReadWritePaths={' '.join(_quoted(path) for path in writable)}",
        "PrivateTmp=true",
        "PrivateDevices=true",
        "NoNewPrivileges=true",
        "ProtectKernelTunables=true",
        "ProtectKernelModules=true",
        "ProtectKernelLogs=true",
        "ProtectControlGroups=true",
        "ProtectClock=true",
        "ProtectHostname=true",
        "ProtectProc=invisible",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "RestrictNamespaces=true",
        "RestrictRealtime=true",
        "RestrictSUIDSGID=true",
        "LockPersonality=true",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallErrorNumber=EPERM",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
    ]
    return "\n".join(lines) + "\n"


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """One word of a systemd setting: quoted, % doubled."""
    escaped = _specifiers(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _command(words: Sequence[str]) -> str:
    """ExecStart: `$` begins a variable in every word but the first, where `$$` would be taken as it stands."""
    program, *rest = words
    return " ".join([_quoted(program), *(_quoted(word.replace("$", "$$")) for word in rest)])


def cronjob(wish: Wish) -> str:
    """Kubernetes objects: ServiceAccount, Role (no right to read Secrets), RoleBinding and a CronJob for each job.

    The passphrase comes from a Secret that the kubelet mounts, so the pod's own account needs no right to it.
    """
    if not wish.image:
        raise InputError("schedule: a CronJob needs an image", hint="--image registry/ddr@sha256:...")
    import yaml

    labels = {"app.kubernetes.io/name": "ddr", "app.kubernetes.io/component": "backup"}
    meta = {"name": "ddr-backup", "namespace": wish.namespace, "labels": labels}
    # names of jobs are read, nothing is written; Secrets are not in the list on purpose
    readable = [
        {"apiGroups": [""], "resources": ["configmaps", "serviceaccounts", "services"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["get", "list"]},
        {"apiGroups": ["batch"], "resources": ["cronjobs"], "verbs": ["get", "list"]},
    ]
    rbac = "rbac.authorization.k8s.io"
    documents: list[dict[str, object]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": readable},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "ddr-backup"},
            "subjects": [{"kind": "ServiceAccount", "name": "ddr-backup", "namespace": wish.namespace}],
        },
        *(_cronjob(wish, job, labels) for job in JOBS),
    ]

    class _Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    return yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, explicit_start=True, width=1000)


def _cronjob(wish: Wish, job: Job, labels: dict[str, str]) -> dict[str, object]:
    mounts: Sequence[dict[str, object]] = (
        {"name": "config", "mountPath": "/etc/ddr", "readOnly": True},
        {"name": "passphrase", "mountPath": "/run/secrets/ddr", "readOnly": True},
        {"name": "state", "mountPath": "/var/lib/ddr"},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
    )
    container = {
        "name": "ddr",
        "image": wish.image,
        # in the image `ddr` is on the PATH; the paths of `wish` are those of a machine
        "command": ["ddr", "--config", "/etc/ddr/ddr.yaml", *job.command, "--json"],
        "env": [
            {"name": "DDR_PASSPHRASE_FILE", "value": "/run/secrets/ddr/passphrase"},
            {"name": "HOME", "value": "/var/lib/ddr"},
            {"name": "XDG_STATE_HOME", "value": "/var/lib/ddr"},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "volumeMounts": list(mounts),
    }
    secret = {"secretName": wish.secret, "defaultMode": 0o440, "items": [{"key": "passphrase", "path": "passphrase"}]}
    pod = {
        "serviceAccountName": "ddr-backup",
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": wish.config_map}},
            {"name": "passphrase", "secret": secret},
            {"name": "state", "persistentVolumeClaim": {"claimName": wish.state_claim}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": f"ddr-backup-{job.name}", "namespace": wish.namespace, "labels": labels},
        "spec": {
            "schedule": job.cron,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "spec": {
                    "backoffLimit": 2,
                    "activeDeadlineSeconds": job.deadline_s,
                    "ttlSecondsAfterFinished": 7 * 86400,
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                }
            },
        },
    }
