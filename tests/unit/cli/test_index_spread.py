"""`ddr index prepare | worker | manifests` as other machines call them: exit codes that decide what comes next."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
import yaml

from ddr.cli import main
from ddr.domain import indexes
from ddr.errors import Damaged
from ddr.index import codec, stages, worker
from ddr.index import work as works
from ddr.wiring import index_settings
from ddr.wiring import indexes as wirings
from tests import servers
from tests.unit.cli import calls
from tests.unit.index import builds

KEYS = "vectors: [data/v*.npy]\nids: data/i*.npy\nkind: ivf-flat\nrecall: 0.5\nrowsPerPart: 300\nmemoryMib: 4096\n"


def ddr(folder: Path, *words: str, **environ: str) -> calls.Done:
    done = subprocess.run(
        [sys.executable, "-m", "ddr", *words],
        cwd=folder,
        env={**os.environ, "XDG_STATE_HOME": str(folder / ".state"), **environ},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return calls.Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    builds.write(tmp_path / "data", 600)
    (tmp_path / "small.index.yaml").write_text(f"home: home\n{KEYS}")
    return tmp_path


def prepared(place: Path, **environ: str) -> str:
    done = ddr(place, "index", "prepare", "small.index.yaml", "--json", **environ)
    assert done.code == 0, done.err
    assert done.document["parts"] == 2
    return str(done.document["plan"])


def test_a_worker_ends_by_what_comes_next(place: Path) -> None:
    written = ddr(place, "index", "plan", "small.index.yaml", "--write")
    assert written.code == 0, written.err
    (path,) = (place / "home" / ".work").glob("*/plan.json")
    too_early = ddr(place, "index", "worker", "--plan", str(path), "--part", "0")
    assert (too_early.code, "scan is not done" in too_early.err) == (1, True)
    assert prepared(place) == str(path)
    assert ddr(place, "index", "worker", "--plan", str(path), "--part", "2").code == 64
    # the number of the pod is the number of the part
    made = ddr(place, "index", "worker", "--plan", str(path), "--threads", "1", JOB_COMPLETION_INDEX="0")
    assert (made.code, "part 0 is made" in made.out) == (0, True), made.err
    again = ddr(place, "index", "worker", "--plan", str(path), "--part", "0")
    assert (again.code, again.out) == (0, made.out)

    shard = place / "data" / "v1.npy"
    before, content = shard.stat(), shard.read_bytes()
    shard.write_bytes(b"BROKEN" + content[6:])
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    bad = ddr(place, "index", "worker", "--plan", str(path), "--part", "1")
    assert (bad.code, "v1.npy" in bad.err) == (42, True), bad.err
    assert "Traceback" not in bad.err

    os.utime(shard, ns=(1, 1))
    changed = ddr(place, "index", "worker", "--plan", str(path), "--part", "1")
    assert changed.code == 3, changed.err

    shard.write_bytes(content)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    built = ddr(place, "index", "build", "small.index.yaml", "--publish")
    assert built.code == 0, built.err
    assert "part-00000" in built.err
    assert "there already" in built.err


@pytest.mark.parametrize(
    ("s3", "told"),
    [
        ("", index_settings.S3Entry()),
        ("{endpoint: 'http://minio:9000'}", index_settings.S3Entry("http://minio:9000")),
        (
            "{endpoint: 'https://s3.eu-1.host', region: eu-1, accessKey: '${env:KEY}', secretKey: '${env:KEY}'}",
            index_settings.S3Entry("https://s3.eu-1.host", "eu-1"),
        ),
    ],
)
def test_the_call_of_a_worker_works_as_it_is_told(
    tmp_path: Path,
    s3: str,
    told: index_settings.S3Entry,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a folder whose name has a blank, and with access to buckets as the settings have it, but for the keys."""
    place, given, of_plan = tmp_path / "my data", [], wirings.of_plan
    builds.write(place / "data", 600)
    monkeypatch.chdir(place)
    monkeypatch.setenv("KEY", "swordfish")
    Path("small.yaml").write_text(f"home: home\n{KEYS}" + (f"s3: {s3}\n" if s3 else ""))
    assert main.run(["index", "prepare", "small.yaml"]) == 0
    out, err = capsys.readouterr()
    (call,) = re.findall(r"^ready for 2 workers: ddr (.*) 0 … 1$", out, re.MULTILINE)
    assert "swordfish" not in out + err
    assert ("AWS_SECRET_ACCESS_KEY" in err) == ("secretKey" in s3)

    def opened(path: str, report: stages.Report, s3: index_settings.S3Entry) -> stages.Bench:
        given.append(s3)
        return of_plan(path, report, s3)

    monkeypatch.setattr(wirings, "of_plan", opened)
    assert main.run([*shlex.split(call), "1"]) == 0
    assert given == [told]


def test_what_comes_before_the_parts_is_damaged_and_prepared_anew(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_STATE_HOME", str(place / ".state"))
    prepare = ["index", "prepare", "small.index.yaml"]
    assert main.run(prepare) == 0
    (plan,) = (place / "home" / ".work").glob("*/plan.json")
    make = ["index", "worker", "--plan", str(plan), "--part", "1"]
    for name in ("trained.faiss", "queries.npy", "dropped.npy"):
        path = plan.parent / name
        content = path.read_bytes()
        for harmed in (content[:-1] + bytes([content[-1] ^ 1]), None):
            path.unlink()
            if harmed:
                path.write_bytes(harmed)
            capsys.readouterr()
            assert main.run(make) == 1
            said = capsys.readouterr().err
            assert name in said
            assert "next: `ddr index prepare` makes it anew\n" in said
            assert main.run(prepare) == 0
            assert path.read_bytes() == content
    assert main.run(make) == 0


def test_a_worker_whose_disk_lies_may_be_called_again(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def part(bench: stages.Bench, number: int) -> NoReturn:
        raise Damaged(f"the disk gave other bytes back than were written to {number}")

    monkeypatch.setattr(worker, "part", part)
    work = works.opened(place / "work", builds.plan(builds.wanted(place / "data")))
    words = ["index", "worker", "--plan", str(work.path(works.PLAN)), "--part", "0"]
    assert main.run(words) == indexes.EXIT_RESUMABLE
    assert "next: call it again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "code", "told"),
    [
        ("s3://nob/plan.json", 64, "is no plan.json of a depot\n  next: s3://BUCKET/…/work/KEY/plan.json"),
        ("s3://work/0123456789abcdef/plan.json", 64, "is no plan.json of a depot"),
        ("s3://bucket/work/0123456789abcdef/", 64, "is no plan.json of a depot"),
        ("nowhere/plan.json", 64, "No such file or directory\n  next: the plan.json of a work folder"),
        ("broken/plan.json", 42, "broken/plan.json"),
        ("newer/plan.json", 42, "newer/plan.json has format 3"),
    ],
)
def test_a_worker_is_told_what_is_wrong_with_its_plan(
    tmp_path: Path,
    path: str,
    code: int,
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "plan.json").write_text("{")
    builds.write(tmp_path / "newer")
    newer = dataclasses.replace(builds.plan(builds.wanted(tmp_path / "newer")), format=3)
    (tmp_path / "newer" / "plan.json").write_bytes(codec.encode(newer))
    words = ["index", "worker", "--plan", path, "--part", "0"]
    assert main.run(words) == code
    said = capsys.readouterr().err
    assert said.startswith("ddr: ")
    assert "\n  next: " in said
    assert told in said
    assert main.run([*words, "--json"]) == code
    assert json.loads(capsys.readouterr().out)["error"]["exit_code"] == code


@pytest.mark.parametrize("shape", ["{key}", "link", "copy"])
def test_a_plan_that_its_folder_is_not_named_by_is_no_plan(
    tmp_path: Path, shape: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker makes nothing of it, and no other folder."""
    builds.write(tmp_path / "data")
    work = works.opened(tmp_path / "work", builds.plan(builds.wanted(tmp_path / "data")))
    (tmp_path / "work" / "link").symlink_to(work.folder)
    monkeypatch.chdir(tmp_path / "work")
    path = Path(shape.format(key=work.folder.name), "plan.json")
    words = ["index", "worker", "--plan", str(path), "--part", "0"]
    if shape == "copy":
        path.parent.mkdir()
        path.write_bytes(codec.encode(work.plan))
    else:
        assert main.run(words) == 1
        assert "scan is not done" in capsys.readouterr().err
        path.write_bytes(codec.encode(dataclasses.replace(work.plan, software={})))
    before = sorted(Path.cwd().rglob("*"))
    assert main.run(words) == 42
    said = f"ddr: {path} is not the plan that its folder is named by\n  next: `ddr index prepare` writes it anew"
    assert capsys.readouterr().err.startswith(said)
    assert sorted(Path.cwd().rglob("*")) == before


@pytest.mark.parametrize("home", ["s3://bucket", "s3://bucket/", "s3://bucket/work/indexes"])
def test_a_plan_in_a_depot_is_told_and_found_again(home: str) -> None:
    assert works.parts_of(works.uri_of(home, "0123456789abcdef")) == (home.rstrip("/"), "0123456789abcdef")


@pytest.mark.long
def test_a_worker_whose_system_is_away_may_be_called_again(place: Path) -> None:
    (port,) = servers.free_ports(1)
    away = ddr(
        place,
        *("index", "worker", "--plan", "s3://bucket/work/0123456789abcdef/plan.json", "--part", "0"),
        *("--endpoint", f"http://127.0.0.1:{port}"),
        AWS_ACCESS_KEY_ID="key",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_DEFAULT_REGION="us-east-1",
    )
    assert away.code == indexes.EXIT_RESUMABLE, away.err
    assert "call it again" in away.err


@pytest.mark.long
def test_a_processor_with_wider_sums_makes_the_bytes_of_the_plan(place: Path) -> None:
    import faiss

    if not faiss.SIMDConfig.is_simd_level_available(getattr(faiss, "SIMDLevel_AVX2", -1)):
        pytest.skip("no processor with AVX2")
    path = prepared(place, FAISS_SIMD_LEVEL="NONE")
    assert json.loads(Path(path).read_text())["software"]["simd"] == "NONE"
    found = []
    for number in (0, 1):
        done = ddr(place, "index", "worker", "--plan", path, "--part", str(number), "--json")
        assert done.code == 0, done.err
        found += [file["sha256"] for file in done.document["files"]]
    for made in (place / "home" / ".work").glob("*/done/part-*.json"):
        made.unlink()
    again = []
    for number in (0, 1):
        done = ddr(place, "index", "worker", "--plan", path, "--part", str(number), "--json", FAISS_SIMD_LEVEL="NONE")
        again += [file["sha256"] for file in done.document["files"]]
    assert found == again


def test_a_manifest_is_printed_for_what_was_prepared(place: Path) -> None:
    words = ("index", "manifests", "small.index.yaml")
    early = ddr(place, *words)
    assert (early.code, "ddr index prepare" in early.err) == (1, True)
    path = prepared(place)
    assert ddr(place, *words).code == 64  # files, and no claim
    done = ddr(place, *words, "--pvc", "corpus", "--namespace", "ml", "--parallelism", "1", "--cpu", "1.5")
    assert done.code == 0, done.err
    job = yaml.safe_load(done.out)
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (2, 1)
    (worker,) = job["spec"]["template"]["spec"]["containers"]
    assert worker["args"][2:6] == ["--plan", path, "--threads", "1"]
    assert worker["volumeMounts"][1]["mountPath"] == str(place)
    assert "--publish" in done.out
    assert f"{place} is taken for the root of the claim" in done.err
    assert "is taken for" not in ddr(place, *words, "--pvc", "corpus", "--mount", str(place)).err


@pytest.mark.parametrize("is_secret", [False, True])
def test_paths_by_a_reference_can_be_typed_and_what_is_secret_is_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, is_secret: bool
) -> None:
    """The same folder, named by a reference; once the key of a bucket is what the folder is called."""
    at, shown = tmp_path / "swordfish", "[redacted]" if is_secret else "swordfish"
    builds.write(at / "data", 600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(at))
    monkeypatch.setenv("KEY", "swordfish")
    keys = KEYS.replace("[data/v*.npy]", "['${env:HOME}/data/v*.npy']").replace("data/i", "${env:HOME}/data/i")
    s3 = "s3: {accessKey: '${env:KEY}', secretKey: '${env:KEY}'}\n" if is_secret else ""
    Path("own.yaml").write_text(f"home: ${{env:HOME}}/idx\n{keys}{s3}")

    def said(*words: str, code: int = 0) -> str:
        assert main.run(["index", words[0], "own.yaml", *words[1:]]) == code
        out, err = capsys.readouterr()
        assert set(re.findall(r"swordfish|\[redacted\]", out + err)) == {shown}, words
        return out

    plan = json.loads(said("prepare", "--json"))["plan"]
    assert plan.startswith(f"{tmp_path}/{shown}/idx/.work/")
    job = yaml.safe_load(said("manifests", "--pvc", "corpus", "--secret", "keys"))
    (worker,) = job["spec"]["template"]["spec"]["containers"]
    assert worker["args"][3] == plan
    assert worker["volumeMounts"][1]["mountPath"] == f"{tmp_path}/{shown}"
    (at / "data" / "v0.npy").write_bytes(b"odd")
    said("plan", code=64)
    said("plan", "--json", code=64)


@pytest.mark.long
def test_a_manifest_of_a_depot_runs_as_it_says(place: Path, moto_server: servers.S3Server) -> None:
    """Its container's own command, beside a folder that has nothing."""
    bucket = moto_server.new_bucket()
    client = moto_server.client()
    for path in (place / "data").iterdir():
        client.put_object(Bucket=bucket, Key=f"data/{path.name}", Body=path.read_bytes())
    keys = KEYS.replace("data/", f"s3://{bucket}/data/")
    region = f"s3: {{endpoint: '{moto_server.endpoint}', region: us-east-1}}\n"
    (place / "small.index.yaml").write_text(f"home: s3://{bucket}/indexes/small\n{keys}{region}")
    environ = {"AWS_ACCESS_KEY_ID": moto_server.key, "AWS_SECRET_ACCESS_KEY": moto_server.secret}
    assert prepared(place, **environ).startswith(f"s3://{bucket}/indexes/small/work/")
    done = ddr(place, "index", "manifests", "small.index.yaml", "--secret", "s3-keys", **environ)
    assert done.code == 0, done.err
    assert moto_server.secret not in done.out
    job = yaml.safe_load(done.out)
    (worker,) = job["spec"]["template"]["spec"]["containers"]
    given = {one["name"]: one["value"] for one in worker["env"] if one["name"] == "AWS_DEFAULT_REGION"}
    for number in range(job["spec"]["completions"]):
        pod = place / f"pod-{number}"
        pod.mkdir()
        made = ddr(pod, *worker["args"], JOB_COMPLETION_INDEX=str(number), **environ, **given)
        assert made.code == 0, made.err
    built = ddr(place, "index", "build", "small.index.yaml", "--publish", **environ)
    assert built.code == 0, built.err
    assert built.err.count("part-0000") == built.err.count("there already") - _before(built.err) == 2


def _before(told: str) -> int:
    """Other stages that were there already."""
    return sum("there already" in line and "part-" not in line for line in told.splitlines())
