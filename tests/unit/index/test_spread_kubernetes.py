"""The manifest of an Indexed Job: by Kubernetes' own schema where it is installed, and field by field."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ddr.domain import indexes
from ddr.errors import InputError, Refused
from ddr.index import codec, plans
from ddr.index.spread import kubernetes
from tests.unit.index import builds

VERSIONS = ("1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35")
PVC = kubernetes.Asked(claim="corpus")


@pytest.fixture
def plan(tmp_path: Path) -> indexes.Plan:
    builds.write(tmp_path)
    return builds.plan(builds.wanted(tmp_path))


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "home" / ".work" / "key" / "plan.json")


def in_bucket(plan: indexes.Plan) -> indexes.Plan:
    shards = tuple(
        dataclasses.replace(one, uri=f"s3://corpus/v{at}.npy", ids_uri=f"s3://corpus/i{at}.npy")
        for at, one in enumerate(plan.shards)
    )
    return dataclasses.replace(plan, shards=shards)


DEPOT = "s3://indexes/small/work/key/plan.json"


def made(plan: indexes.Plan, place: str, asked: kubernetes.Asked = PVC, called: str = "small") -> Any:
    return yaml.safe_load(kubernetes.manifest(plan, codec.key(plan), place, called, asked))


def variants(plan: indexes.Plan, place: str) -> list[tuple[str, Any]]:
    secret = kubernetes.Asked(secret="s3-keys", endpoint="http://minio:9000", region="eu-1", cpus=0.5)
    role = kubernetes.Asked(service_account="builder", image="registry/ddr@sha256:00", parallelism=3, memory="9Gi")
    gpu = dataclasses.replace(plan, device="cuda")
    many = dataclasses.replace(plan, parts=plans.cut(300_000, 2))
    return [
        ("claim", made(plan, place)),
        ("secret", made(in_bucket(plan), DEPOT, secret)),
        ("role", made(in_bucket(plan), DEPOT, role)),
        ("corpus on a claim, home in a bucket", made(plan, DEPOT, dataclasses.replace(PVC, secret="s3-keys"))),
        ("gpu", made(gpu, place)),
        ("150,000 parts", made(many, place)),
    ]


@pytest.mark.parametrize(
    "version",
    [pytest.param(one, marks=() if one in (VERSIONS[0], VERSIONS[-1]) else pytest.mark.long) for one in VERSIONS],
)
def test_kubernetes_own_schema_takes_it(plan: indexes.Plan, place: str, version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="it is in requirements-heavy.lock")
    for name, job in variants(plan, place):
        assert kubernetes_validate.validate(job, version, strict=True) == version, name
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**job, "spec": {**job["spec"], "maxFailed": 1}}, version, strict=True)


def test_every_job_is_one_pod_a_part_and_hardened(plan: indexes.Plan, place: str) -> None:
    for name, job in variants(plan, place):
        spec, pod = job["spec"], job["spec"]["template"]["spec"]
        (worker,) = pod["containers"]
        assert (spec["completionMode"], pod["restartPolicy"]) == ("Indexed", "Never"), name
        assert 1 <= spec["parallelism"] <= spec["completions"]
        assert "backoffLimit" not in spec
        assert 1 <= spec["maxFailedIndexes"] <= 10_000
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert worker["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        named = {one["name"] for one in pod["volumes"]}
        assert {one["name"] for one in worker["volumeMounts"]} == named
        assert worker["resources"]["requests"]["memory"] == worker["resources"]["limits"]["memory"]
        assert "cpu" not in worker["resources"]["limits"]
        assert not {"hostPath", "hostNetwork", "hostPID", "privileged"} & _keys(job)


def _keys(node: Any) -> set[str]:
    if isinstance(node, dict):
        return set(node) | {key for value in node.values() for key in _keys(value)}
    return {key for value in node for key in _keys(value)} if isinstance(node, list) else set()


def test_how_a_pod_ends_decides_what_comes_next(plan: indexes.Plan, place: str) -> None:
    job = made(plan, place)
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert rules[0] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    ends = {code: rule["action"] for rule in rules for code in rule.get("onExitCodes", {"values": []})["values"]}
    assert ends == {42: "FailIndex", 1: "FailJob", 3: "FailJob", 64: "FailJob"}
    name = job["spec"]["template"]["spec"]["containers"][0]["name"]
    assert {rule["onExitCodes"]["containerName"] for rule in rules[1:]} == {name}
    assert not set(ends) & {0, indexes.EXIT_RESUMABLE, 69, 70, 137}  # those count as a try
    assert job["spec"]["backoffLimitPerIndex"] > 0  # FailIndex needs it


def test_the_worker_is_told_the_plan_and_finds_its_part_by_itself(plan: indexes.Plan, place: str) -> None:
    (worker,) = made(plan, place)["spec"]["template"]["spec"]["containers"]
    assert worker["command"] == ["ddr"]
    assert worker["args"] == ["index", "worker", "--plan", place, "--threads", "2", "--events"]
    job = made(in_bucket(plan), DEPOT, kubernetes.Asked(endpoint="http://minio:9000", region="eu-1", cpus=0.5))
    (worker,) = job["spec"]["template"]["spec"]["containers"]
    assert worker["args"][3:6] == [DEPOT, "--threads", "1"]
    assert worker["args"][6:] == ["--endpoint", "http://minio:9000", "--region", "eu-1", "--events"]
    assert worker["workingDir"] == "/scratch"  # `.ddr-work` is made where it can be written


def test_credentials_are_named_and_not_written(plan: indexes.Plan) -> None:
    asked = kubernetes.Asked(secret="s3-keys", region="eu-1")
    (worker,) = made(in_bucket(plan), DEPOT, asked)["spec"]["template"]["spec"]["containers"]
    found = {one["name"]: one for one in worker["env"]}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        assert found[name]["valueFrom"]["secretKeyRef"]["name"] == "s3-keys"
        assert "value" not in found[name]
    role = made(in_bucket(plan), DEPOT, kubernetes.Asked(service_account="builder"))["spec"]["template"]["spec"]
    assert role["serviceAccountName"] == "builder"
    assert not [one for one in role["containers"][0]["env"] if one["name"].startswith("AWS_")]
    with pytest.raises(InputError, match="credentials"):
        made(in_bucket(plan), DEPOT, kubernetes.Asked(endpoint="http://me:word@minio:9000"))


@pytest.mark.parametrize("name", ["small", "Größe & Co", "x" * 200, "---", "a.b_c/d", "9"])
def test_names_fit_kubernetes(plan: indexes.Plan, place: str, name: str) -> None:
    named = dataclasses.replace(plan, wanted=dataclasses.replace(plan.wanted, name=name))
    job = made(named, place)
    found = job["metadata"]["name"]
    assert kubernetes._LABEL.fullmatch(found)
    assert len(f"{found}-99999-abcde") <= 63
    other = kubernetes.job_name(name, "sha256:" + "1" * 64)
    assert other != found  # of another plan
    for value in job["metadata"]["labels"].values():
        assert len(value) <= 63


def test_memory_is_the_plans_estimate_and_more(plan: indexes.Plan, place: str) -> None:
    estimate = next(one.memory_mib for one in plan.estimates if one.stage == "parts")
    size = kubernetes.memory_mib(plan, PVC)
    assert estimate * 1.25 <= size < estimate * 1.25 + 64
    assert kubernetes.memory_mib(plan, dataclasses.replace(PVC, memory="2Gi")) == 2048
    with pytest.raises(Refused, match="less than"):
        made(plan, place, dataclasses.replace(PVC, memory=f"{estimate - 1}Mi"))
    with pytest.raises(InputError, match="--memory"):
        made(plan, place, dataclasses.replace(PVC, memory="2G"))


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"claim": ""}, "pods cannot see"),
        ({"claim": "Not_a_name"}, "no name of Kubernetes"),
        ({"namespace": "a\nkind: Secret"}, "no name of Kubernetes"),
        ({"secret": "a b"}, "no name of Kubernetes"),
        ({"mount": "/elsewhere"}, "does not lie below"),
        ({"mount": "/tmp"}, "cannot be where"),
        ({"mount": "/scratch"}, "pods have that folder themselves"),
        ({"mount": "relative"}, "is no path from the root"),
        ({"mount": "/data/../etc"}, "is no path from the root"),
        ({"user": 0}, "--user"),
        ({"cpus": 0.0}, "--cpu"),
        ({"cpus": float("nan")}, "--cpu"),
    ],
)
def test_what_cannot_run_is_refused(plan: indexes.Plan, place: str, changed: dict[str, Any], what: str) -> None:
    with pytest.raises(InputError, match=what):
        made(plan, place, dataclasses.replace(PVC, **changed))


@pytest.mark.parametrize(
    ("work", "corpus", "mount"),
    [
        ("/data/idx", "/data/corpus", "/data"),
        ("/mnt/claim/idx", "/mnt/claim/corpus", "/mnt/claim"),
        ("/srv/a", "/home/b", ""),
        ("/home/a", "/home/b", ""),
        ("/usr/local/a", "/usr/local/b", ""),
        ("/opt/ddr/a", "/opt/ddr/b", ""),
        ("/scratch/a", "/scratch/b", ""),
        ("/root/a", "/root/b", ""),
    ],
)
def test_where_a_claim_is_mounted_is_told_or_asked_for(plan: indexes.Plan, work: str, corpus: str, mount: str) -> None:
    shards = tuple(dataclasses.replace(one, uri=f"{corpus}/v.npy", ids_uri="") for one in plan.shards)
    plan = dataclasses.replace(plan, shards=shards)
    if not mount:
        with pytest.raises(InputError, match="in common") as raised:
            made(plan, f"{work}/plan.json")
        assert raised.value.hint.startswith("--mount PATH")
        return
    for asked, is_told in ((PVC, True), (dataclasses.replace(PVC, mount=mount), False)):
        text = kubernetes.manifest(plan, codec.key(plan), f"{work}/plan.json", "small", asked)
        assert (f"# {kubernetes.taken(mount)}\n" in text) is is_told
        (worker,) = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"]
        assert worker["volumeMounts"][1]["mountPath"] == mount


def test_a_claim_for_nothing_is_told(plan: indexes.Plan) -> None:
    with pytest.raises(InputError, match="need no volume"):
        made(in_bucket(plan), DEPOT, PVC)


def test_a_gpu_is_asked_for_and_not_by_number(plan: indexes.Plan, place: str) -> None:
    job = made(dataclasses.replace(plan, device="cuda"), place)
    (worker,) = job["spec"]["template"]["spec"]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert worker["image"] == "ddr:gpu"
    with pytest.raises(Refused, match="cuda:1"):
        made(dataclasses.replace(plan, device="cuda:1"), place)


def test_comments_are_comments_whatever_the_index_is_called(plan: indexes.Plan, place: str) -> None:
    called = shlex.quote("x\nkind: Secret\n- y.yaml")
    text = kubernetes.manifest(plan, codec.key(plan), place, called, PVC)
    assert len(list(yaml.safe_load_all(text))) == 1
    head = [line for line in text.splitlines() if line.startswith("#")]
    assert "#   ddr index prepare 'x kind: Secret - y.yaml'" in head
    assert any("--publish" in line for line in head)
    assert "&id" not in text  # no anchors: not everything that reads manifests knows them


def test_the_wait_for_a_job_ends_when_it_fails(plan: indexes.Plan, place: str, tmp_path: Path) -> None:
    """Run as it is printed, by a shell, with a `kubectl` that says what a cluster would."""
    text = kubernetes.manifest(plan, codec.key(plan), place, "docs", PVC)
    head = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    first = next(at for at, line in enumerate(head) if line.startswith("until kubectl"))
    program = tmp_path / "kubectl"
    program.touch(0o755)
    for said, ends in (("SuccessCriteriaMet Complete", "Complete"), ("FailureTarget Failed", "Failed")):
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        done = subprocess.run(
            ["sh", "-c", "\n".join(head[first : first + 2])],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert ends in done.stdout
