"""Prints what runs backups without anybody: cron lines, systemd units, Kubernetes CronJobs. Hardened and complete.

Pure text: nothing is installed here. How often comes from `pace`. A path may hold spaces and `%`, which cron and
systemd read in their own ways; a line break in any wish is refused, as it would begin a line of its own.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from ddr.backup import pace as paces
from ddr.errors import InputError

Opening = Literal["key-file", "passphrase-file", "written", "none"]
"""How the repository is opened: a file that ddr.yaml or $DDR_PASSPHRASE_FILE names, a passphrase that ddr.yaml refers
to by itself, or nothing because it is not sealed."""

POD_STATE = "/var/lib/ddr"
"""All that a pod can write, and keeps."""

_STATE_ROOT = "/var/lib/"
_SECRETS = "/run/secrets/ddr"


@dataclass(frozen=True)
class Wish:
    """What the units are for. Paths are absolute; `local_repository` is '' for one in a bucket.

    `passphrase_file` and `key_file` lie on the machine (systemd hands them over as a credential, so only root must be
    able to read them); with Kubernetes `secret` names the Secret with the key `passphrase` or `key`. `environment`
    are the variables that ddr.yaml refers to; their values are written into `environment_file`, or into the Secret
    `environment_secret`. `writable` are folders beside state and repository that are written: the spool, the metrics.
    `databases` are the folders of SQLite databases: who reads one writes beside it.
    """

    program: str = "/usr/local/bin/ddr"
    config: str = "/etc/ddr/ddr.yaml"
    state: str = "/var/lib/ddr"
    local_repository: str = ""
    opening: Opening = "passphrase-file"
    passphrase_file: str = "/etc/ddr/passphrase"  # noqa: S105 - where it lies, not what it is
    key_file: str = ""
    environment: tuple[str, ...] = ()
    environment_file: str = "/etc/ddr/environment"
    writable: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    user: str = "ddr"
    mail_to: str = ""
    image: str = ""
    namespace: str = "ddr"
    secret: str = "ddr-backup"  # noqa: S105
    environment_secret: str = "ddr-environment"  # noqa: S105
    config_map: str = "ddr-config"
    state_claim: str = "ddr-state"
    jobs: tuple[paces.Job, ...] = paces.decide({}).jobs

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            for value in given if isinstance(given, tuple) else (given,):
                if isinstance(value, str) and re.search(r"[\x00-\x1f\x7f]", value):
                    raise InputError(f"schedule: {field.name} has a line break or control character in it: {value!r}")
        files = ("program", "config", "state", "local_repository", "passphrase_file", "key_file", "environment_file")
        paths = [(name, getattr(self, name)) for name in files] + [
            ("writable", path) for path in (*self.writable, *self.databases)
        ]
        for name, value in paths:
            if value and not value.startswith("/"):
                raise InputError(f"schedule: {name} is {value!r}", hint="write an absolute path")
        if not re.fullmatch(r"[a-z_][a-z0-9_-]*", self.user):
            raise InputError(f"schedule: {self.user!r} is no name of a user", hint="write it like ddr")
        if self.opening == "key-file" and not self.key_file:
            raise InputError("schedule: there is no key file", hint="`keyFile: PATH` under `backup:` in ddr.yaml")


def cron(wish: Wish) -> str:
    """A file for /etc/cron.d. cron turns an unescaped % into a line break, so each is escaped."""
    secret = {"key-file": wish.key_file, "passphrase-file": wish.passphrase_file}.get(wish.opening, "")
    told = (
        f"# /etc/cron.d/ddr-backup: cron mails to {wish.mail_to} what each job prints, also when all is"
        "\n# well; a job that fails says its exit code there."
        if wish.mail_to
        else "# /etc/cron.d/ddr-backup: nobody is mailed (--mail-to NAME does). What the jobs print, and the exit"
        "\n# code of one that fails, goes to the system log: `journalctl -t ddr-backup`."
    )
    before = [f"install -d -m 0700 -o {wish.user} {shlex.quote(path)}" for path in (wish.state, *wish.writable)]
    lines = [
        told,
        "# A job that does not run says nothing: use the alert rules or pings that see absence.",
        *[f"# once, before: {line}" for line in before],
        *([f"# {wish.user} must be able to read {secret}, and nobody else."] if secret else []),
        *_names(wish),
        "SHELL=/bin/sh",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        f"MAILTO={_cron_variable(wish.mail_to)}",
    ]
    lines += [f"{job.cron} {wish.user} {_cron_command(wish, job).replace('%', chr(92) + '%')}" for job in wish.jobs]
    return "\n".join(lines) + "\n"


def _cron_command(wish: Wish, job: paces.Job) -> str:
    """flock: one of a kind at a time; it waits a minute and then says so by exit code 75. Kinds may overlap."""
    given = [f"XDG_STATE_HOME={wish.state}"]
    if wish.opening == "passphrase-file":
        given.append(f"DDR_PASSPHRASE_FILE={wish.passphrase_file}")
    lock = f"{wish.state}/schedule-{job.name}.lock"
    words = ["flock", "-w", "60", "-E", "75", lock, "nice", "-n", "10", "env", *given, *_call(wish, job)]
    text = f'{shlex.join(words)} || echo "ddr backup {job.name} ended with exit code $?"'
    if wish.environment:
        text = f"set -a; . {shlex.quote(wish.environment_file)}; set +a; {text}"
    return text if wish.mail_to else f"{{ {text}; }} 2>&1 | logger -t ddr-backup"


def _names(wish: Wish) -> list[str]:
    """Which variables the units need; never a value."""
    if not wish.environment:
        return []
    return [f"# {wish.environment_file} has a line NAME=VALUE for each of: {', '.join(wish.environment)}"]


def _cron_variable(value: str) -> str:
    return '"' + value.replace('"', "") + '"'


def _call(wish: Wish, job: paces.Job) -> list[str]:
    return [wish.program, "--config", wish.config, *job.command, "--json"]


def systemd(wish: Wish) -> dict[str, str]:
    """Files for /etc/systemd/system by name: a service and a timer for each job."""
    files = {}
    for job in wish.jobs:
        files[f"ddr-backup-{job.name}.service"] = _service(wish, job)
        files[f"ddr-backup-{job.name}.timer"] = (
            "[Unit]\n"
            f"Description=When ddr backup {job.name} begins\n"
            "\n[Timer]\n"
            f"OnCalendar={job.calendar}\n"
            f"RandomizedDelaySec={job.jitter_s}\n"
            "Persistent=true\n"
            "\n[Install]\n"
            "WantedBy=timers.target\n"
        )
    return files


def _service(wish: Wish, job: paces.Job) -> str:
    made = wish.state.removeprefix(_STATE_ROOT)
    is_made = wish.state.startswith(_STATE_ROOT) and bool(made) and not re.search(r":|(^|/)\.\.?(/|$)", made)
    writable = [*([] if is_made else [wish.state]), *([wish.local_repository] if wish.local_repository else [])]
    writable = list(dict.fromkeys([*writable, *wish.writable, *wish.databases]))
    lines = [
        *[f"# {path} has to be there before: systemd starts nothing without it" for path in writable],
        *_names(wish),
        "[Unit]",
        f"Description=ddr backup {job.name}",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=oneshot",
        f"User={wish.user}",
        f"ExecStart={_command(_call(wish, job))}",
        *_credential(wish),
        *([f"EnvironmentFile={_specifiers(wish.environment_file)}"] if wish.environment else []),
        f"Environment={_quoted(f'XDG_STATE_HOME={wish.state}')}",
        *([f"StateDirectory={_quoted(made)}", "StateDirectoryMode=0700"] if is_made else []),
        f"TimeoutStartSec={job.deadline_s}",
        "Nice=10",
        "IOSchedulingClass=idle",
        "CPUSchedulingPolicy=batch",
        "UMask=0077",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        *([f"ReadWritePaths={' '.join(_quoted(path) for path in writable)}"] if writable else []),
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


def _credential(wish: Wish) -> list[str]:
    """The file that opens the repository, handed over by systemd: only root has to be able to read it."""
    if wish.opening == "key-file":
        return [f"LoadCredential=key:{_specifiers(wish.key_file)}", "Environment=DDR_KEY_FILE=%d/key"]
    if wish.opening == "passphrase-file":
        return [
            f"LoadCredential=passphrase:{_specifiers(wish.passphrase_file)}",
            "Environment=DDR_PASSPHRASE_FILE=%d/passphrase",
        ]
    return []


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

    What opens the repository comes from a Secret that the kubelet mounts, so the pod's own account needs no right.
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
        *(_cronjob(wish, job, labels) for job in wish.jobs),
    ]

    class _Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    config = shlex.quote(wish.config)
    made = [f"kubectl -n {wish.namespace} create configmap {wish.config_map} --from-file=ddr.yaml={config}"]
    item = _item(wish)
    if item:
        path = wish.key_file if wish.opening == "key-file" else wish.passphrase_file
        create = f"kubectl -n {wish.namespace} create secret generic"
        made.append(f"{create} {wish.secret} --from-file={item}={shlex.quote(path)}")
    if wish.environment:
        create = f"kubectl -n {wish.namespace} create secret generic {wish.environment_secret}"
        made.append(f"{create} --from-env-file=FILE   # with a line for each of: {', '.join(wish.environment)}")
    made.append(f"a PersistentVolumeClaim {wish.state_claim}, mounted at {POD_STATE}: all that a pod can write")
    head = "".join(f"# once, before: {line}\n" for line in made)
    return head + yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, explicit_start=True, width=1000)


def _item(wish: Wish) -> str:
    """What the Secret's entry is called, '' where none is needed."""
    return {"key-file": "key", "passphrase-file": "passphrase"}.get(wish.opening, "")


def _cronjob(wish: Wish, job: paces.Job, labels: dict[str, str]) -> dict[str, object]:
    item = _item(wish)
    variable = {"key": "DDR_KEY_FILE", "passphrase": "DDR_PASSPHRASE_FILE"}.get(item, "")
    mounts: Sequence[dict[str, object]] = (
        {"name": "config", "mountPath": "/etc/ddr", "readOnly": True},
        *([{"name": item, "mountPath": _SECRETS, "readOnly": True}] if item else []),
        {"name": "state", "mountPath": POD_STATE},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own
    )
    container = {
        "name": "ddr",
        "image": wish.image,
        # in the image `ddr` is on the PATH; the paths of `wish` are those of a machine
        "command": ["ddr", "--config", "/etc/ddr/ddr.yaml", *job.command, "--json"],
        "env": [
            *([{"name": variable, "value": f"{_SECRETS}/{item}"}] if item else []),
            {"name": "HOME", "value": POD_STATE},
            {"name": "XDG_STATE_HOME", "value": POD_STATE},
        ],
        **({"envFrom": [{"secretRef": {"name": wish.environment_secret}}]} if wish.environment else {}),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "volumeMounts": list(mounts),
    }
    secret = {"secretName": wish.secret, "defaultMode": 0o440, "items": [{"key": item, "path": item}]}
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
            *([{"name": item, "secret": secret}] if item else []),
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
            "startingDeadlineSeconds": min(3600, job.every_s),
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
