"""The manifest of a Kubernetes Indexed Job that makes the parts of a plan: one pod a part, the worker call in each.

Fields as in batch/v1 of Kubernetes 1.31 and later (per-index retries since 1.29, off by default before). How a pod
ends decides what comes next: bad input fails its part at once, an eviction costs nothing, a corpus that changed ends
the Job, and whatever may pass is tried again. Credentials are named, never written down.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

from ddr import errors
from ddr.domain import indexes
from ddr.index import choosing
from ddr.lib import digest

_ENDS_THE_JOB = (errors.EXIT_FAILED, errors.EXIT_CONFLICT, errors.EXIT_USAGE)
_BUCKET = "s3://"
_LONGEST_NAME = 63
_SUFFIX = len("-00000-xxxxx")  # of a pod: the number of its part, and what Kubernetes draws
_MOST_FAILED = 10_000
_RETRIES = 4
_HEADROOM = 1.25
_STEP_MIB = 64
_SCRATCH = "/scratch"
_SCRATCH_MIB = 256
_USER = 10001  # of ddr's image
_MIB = 1 << 20
_OF_THE_SYSTEM = (
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/opt",
    "/opt/ddr",  # what ddr's image runs
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/tmp",  # noqa: S108 - a name that is refused
    "/usr",
    "/usr/local",
    "/var",
    _SCRATCH,
)
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_MEMORY = re.compile(r"([1-9][0-9]*)(Mi|Gi)")


@dataclass(frozen=True)
class Asked:
    """What a person may say. 0 and "" leave it to ddr; `cpus` may be a fraction; `memory` is `2Gi` or `900Mi`.

    `claim` is a PersistentVolumeClaim that pods mount at `mount`, where its root is mounted here, too: the plan names
    files by their whole paths. `secret` has AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; `service_account` has a role
    instead (IRSA, workload identity).
    """

    image: str = ""
    namespace: str = "default"
    parallelism: int = 0
    cpus: float = 2.0
    memory: str = ""
    user: int = _USER
    claim: str = ""
    mount: str = ""
    secret: str = ""
    service_account: str = ""
    endpoint: str = ""
    region: str = ""


def manifest(plan: indexes.Plan, key: str, place: str, called: str, asked: Asked) -> str:
    """YAML for `kubectl apply -f -`, with what to do before and after as comments.

    `place` is plan.json as a worker is told it: a path, or `s3://…` of a depot. InputError, Refused.
    """
    _check(plan, asked)
    mount = mount_of(plan, place, asked)
    name = job_name(plan.wanted.name, key)
    job = _job(plan, key, place, name, mount, asked)
    head = "".join(f"# {line}\n" for line in _words(plan, name, called, mount, asked))
    return head + yaml.safe_dump(job, sort_keys=False, width=120, allow_unicode=True)


def job_name(name: str, key: str) -> str:
    """`ddr-NAME-DIGEST`, short enough that the names of its pods are whole: another plan is another Job."""
    tail = f"-{digest.short(key, 8)}"
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "index"
    return f"ddr-{slug}"[: _LONGEST_NAME - _SUFFIX - len(tail)].rstrip("-") + tail


def _check(plan: indexes.Plan, asked: Asked) -> None:
    for what, value in (
        ("namespace", asked.namespace),
        ("pvc", asked.claim),
        ("secret", asked.secret),
        ("service-account", asked.service_account),
    ):
        if value and not _LABEL.fullmatch(value):
            raise errors.InputError(
                f"--{what} {value!r} is no name of Kubernetes", hint="small letters, digits and -, at most 63"
            )
    if not 0 < asked.cpus <= 1024:
        raise errors.InputError(f"--cpu {asked.cpus:g}", hint="more than 0, such as 2 or 0.5")
    if asked.user <= 0:
        raise errors.InputError(f"--user {asked.user}", hint="a user id that is not root's")
    if "@" in asked.endpoint:
        raise errors.InputError(
            "the endpoint has credentials in it", hint="put them into a Secret and name it: --secret"
        )
    if plan.device.partition(":")[2]:
        raise errors.Refused(f"the plan names {plan.device}, and a pod sees one GPU", hint="device: cuda")


def memory_mib(plan: indexes.Plan, asked: Asked) -> int:
    """Of a pod: what was asked for, or the plan's estimate with a quarter on top. Refused below the estimate."""
    estimate = max((one.memory_mib for one in plan.estimates if one.stage == "parts"), default=0)
    if not asked.memory:
        return -(-int(estimate * _HEADROOM) // _STEP_MIB) * _STEP_MIB or _STEP_MIB * 8
    found = _MEMORY.fullmatch(asked.memory)
    if found is None:
        raise errors.InputError(f"--memory {asked.memory!r}", hint="such as 900Mi or 2Gi")
    size = int(found[1]) * (1024 if found[2] == "Gi" else 1)
    if size < estimate:
        raise errors.Refused(
            f"--memory {asked.memory} is less than the {estimate:,} MiB that a part is expected to take",
            hint="more memory, or a smaller rowsPerPart",
        )
    return size


def _paths(plan: indexes.Plan, place: str) -> list[str]:
    """Files that a worker opens, as paths."""
    found = {place, *(shard.uri for shard in plan.shards), *(shard.ids_uri for shard in plan.shards)}
    return sorted(path for path in found if path and not path.startswith(_BUCKET))


def mount_of(plan: indexes.Plan, place: str, asked: Asked) -> str:
    """Where the claim is mounted, the deepest folder that has all files where that was not asked for; "" where
    everything lies in buckets. InputError."""
    paths = _paths(plan, place)
    if not paths:
        if asked.claim or asked.mount:
            raise errors.InputError(
                "everything lies in buckets: pods need no volume", hint="leave --pvc and --mount out"
            )
        return ""
    if not asked.claim:
        raise errors.InputError(
            f"pods cannot see {paths[0]}",
            hint="--pvc NAME of a claim that all pods may mount (ReadWriteMany); or corpus and home in a bucket",
        )
    below = "corpus and work folder (`work:`) lie below it"
    mount = str(PurePosixPath(asked.mount)) if asked.mount else _common(paths)
    if mount in _OF_THE_SYSTEM and not asked.mount:
        raise errors.InputError(
            f"where claim {asked.claim} is mounted is not known: {paths[0]} and {paths[-1]} have no more than {mount}"
            " in common",
            hint=f"--mount PATH: where its root is here; {below}",
        )
    if not mount.startswith("/") or ".." in PurePosixPath(mount).parts:
        raise errors.InputError(
            f"{mount} is no path from the root", hint=f"--mount PATH: where the claim is here; {below}"
        )
    if mount in _OF_THE_SYSTEM:
        raise errors.InputError(
            f"{mount} cannot be where the claim is mounted: pods have that folder themselves",
            hint=f"--mount PATH of another folder; {below}",
        )
    for path in paths:
        if not PurePosixPath(path).is_relative_to(mount):
            raise errors.InputError(f"{path} does not lie below {mount}", hint="corpus and work folder on one claim")
    return mount


def taken(mount: str) -> str:
    """Of a place that nobody said."""
    return f"{mount} is taken for the root of the claim: the deepest folder that has all files; --mount PATH if not so"


def _common(paths: Sequence[str]) -> str:
    """The deepest folder that has all of them."""
    import posixpath

    return posixpath.commonpath([str(PurePosixPath(path).parent) for path in paths])


def _job(plan: indexes.Plan, key: str, place: str, name: str, mount: str, asked: Asked) -> dict[str, Any]:
    parts = len(plan.parts)
    labels = {
        "app.kubernetes.io/name": "ddr-index",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": "part",
        "app.kubernetes.io/managed-by": "ddr",
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": asked.namespace,
            "labels": labels,
            "annotations": {"ddr/index": plan.wanted.name, "ddr/plan": key},
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": parts,
            "parallelism": min(asked.parallelism or 8, parts),
            "backoffLimitPerIndex": _RETRIES,
            "maxFailedIndexes": min(max(1, parts // 10), _MOST_FAILED),
            "podFailurePolicy": {"rules": _rules()},
            "template": {"metadata": {"labels": dict(labels)}, "spec": _pod(plan, place, mount, asked)},
        },
    }


def _rules() -> list[dict[str, Any]]:
    """The first that matches decides; a pod that none matches counts as one of its part's tries."""

    def exits(action: str, *codes: int) -> dict[str, Any]:
        return {"action": action, "onExitCodes": {"containerName": "worker", "operator": "In", "values": sorted(codes)}}

    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        exits("FailIndex", indexes.EXIT_BAD_INPUT),
        exits("FailJob", *_ENDS_THE_JOB),
    ]


def _pod(plan: indexes.Plan, place: str, mount: str, asked: Asked) -> dict[str, Any]:
    scratch = _scratch_mib(plan) if place.startswith(_BUCKET) else _SCRATCH_MIB
    volumes: list[dict[str, Any]] = [{"name": "scratch", "emptyDir": {"sizeLimit": f"{scratch}Mi"}}]
    mounts: list[dict[str, Any]] = [{"name": "scratch", "mountPath": _SCRATCH}]
    if mount:
        volumes.append({"name": "corpus", "persistentVolumeClaim": {"claimName": asked.claim}})
        mounts.append({"name": "corpus", "mountPath": mount})
    account = {"serviceAccountName": asked.service_account} if asked.service_account else {}
    return {
        "restartPolicy": "Never",
        **account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": asked.user,
            "runAsGroup": asked.user,
            "fsGroup": asked.user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(plan, place, mounts, scratch, asked)],
        "volumes": volumes,
    }


def _container(
    plan: indexes.Plan, place: str, mounts: list[dict[str, Any]], scratch: int, asked: Asked
) -> dict[str, Any]:
    threads = max(1, int(asked.cpus))
    gpu = {"nvidia.com/gpu": 1} if plan.device == "cuda" else {}
    sized = {"memory": f"{memory_mib(plan, asked)}Mi", "ephemeral-storage": f"{scratch + _STEP_MIB}Mi"}
    endpoint = ["--endpoint", asked.endpoint] if asked.endpoint else []
    region = ["--region", asked.region] if asked.region else []
    return {
        "name": "worker",
        "image": asked.image or ("ddr:gpu" if gpu else "ddr:cpu"),
        "command": ["ddr"],
        # which part is told by JOB_COMPLETION_INDEX, which an Indexed Job sets
        "args": ["index", "worker", "--plan", place, "--threads", str(threads), *endpoint, *region, "--events"],
        "workingDir": _SCRATCH,
        "env": _environment(plan, place, asked),
        "resources": {
            "requests": {"cpu": f"{round(asked.cpus * 1000)}m", **sized},
            "limits": {**sized, **gpu},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }


def _environment(plan: indexes.Plan, place: str, asked: Asked) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"name": "HOME", "value": _SCRATCH}, {"name": "TMPDIR", "value": _SCRATCH}]
    if asked.region:
        found.append({"name": "AWS_REGION", "value": asked.region})
        found.append({"name": "AWS_DEFAULT_REGION", "value": asked.region})
    if asked.secret and _is_in_bucket(plan, place):
        for name, is_optional in (
            ("AWS_ACCESS_KEY_ID", False),
            ("AWS_SECRET_ACCESS_KEY", False),
            ("AWS_SESSION_TOKEN", True),
        ):
            chosen = {"name": asked.secret, "key": name, **({"optional": True} if is_optional else {})}
            found.append({"name": name, "valueFrom": {"secretKeyRef": chosen}})
    return found


def _is_in_bucket(plan: indexes.Plan, place: str) -> bool:
    return place.startswith(_BUCKET) or any(shard.uri.startswith(_BUCKET) for shard in plan.shards)


def _scratch_mib(plan: indexes.Plan) -> int:
    """What a pod holds on its disk: the trained index, its part, neighbours of the queries, the rows left out."""
    shape = plan.shape
    rows = max((part.stop - part.start for part in plan.parts), default=0)
    held = rows * (choosing.bytes_per_vector(shape) + 8) + 2 * shape.lists * shape.dimension * 4 + plan.rows * 8
    return -(-int(held * _HEADROOM / _MIB + _SCRATCH_MIB) // _STEP_MIB) * _STEP_MIB


def _words(plan: indexes.Plan, name: str, called: str, mount: str, asked: Asked) -> list[str]:
    typed = " ".join(called.split())
    where = f"-n {asked.namespace}"
    found = [
        f"{len(plan.parts)} parts of an index, each one pod. In this order:",
        f"  ddr index prepare {typed}",
        f"  kubectl apply {where} -f THIS-FILE",
        f"  until kubectl get {where} job/{name} -o jsonpath='{{.status.conditions[*].type}}' |",
        "    grep -Ew 'Complete|Failed'; do sleep 10; done",
        f"  ddr index build {typed} --publish",
        "The last finds the parts that are made, makes those that are not, merges, proves and publishes.",
        "Parts that failed, and away with the Job:",
        f"  kubectl get {where} job/{name} -o jsonpath='{{.status.failedIndexes}}'",
        f"  kubectl delete {where} job/{name}",
    ]
    if mount:
        found.append(
            f"User {asked.user} must be able to write the work folder on claim {asked.claim}, mounted at {mount}."
        )
        if not asked.mount:
            found.append(taken(mount))
    return found
