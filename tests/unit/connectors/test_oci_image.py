"""Images by digest: what the registry says, what the deployment's file says, and the one write between them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ddr.domain import revisions, signals
from ddr.errors import Damaged, DdrError, InputError, Missing, Refused, Unavailable, Unsupported
from tests.unit.connectors import oci_registry, rigs
from tests.unit.connectors.rigs_code_data import REPOSITORY, VALUES, deployed, image_plane

Served = tuple[str, oci_registry.Contents]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_the_registry_of_the_tests_has_the_trap(served: Served) -> None:
    """Without Accept a manifest that is there is a 404: proved here, so that the connector is proved to avoid it."""
    url, contents = served
    oci_registry.put(contents, REPOSITORY, oci_registry.build("1"), "1")
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(f"{url}/v2/{REPOSITORY}/manifests/1", timeout=5)
    assert raised.value.code == 404
    assert b"accept header does not support OCI manifests" in raised.value.read()


@pytest.mark.parametrize("kind", [oci_registry.IMAGE, oci_registry.DOCKER])
@pytest.mark.parametrize("platforms", [(), ("linux/amd64", "linux/arm64")])
def test_a_tag_and_a_digest_are_one_revision(
    served: Served, tmp_path: Path, kind: str, platforms: tuple[str, ...]
) -> None:
    url, contents = served
    built = oci_registry.build("1.4.0", kind=kind, platforms=platforms, labels={"ddr.inputs_schema": "sha256:in"})
    oci_registry.put(contents, REPOSITORY, built, "1.4.0")
    deployed(tmp_path, built)
    plane = image_plane(url, tmp_path)
    by_tag, by_digest, live = plane.find("1.4.0"), plane.find(built.digest), plane.revision()
    assert by_tag.is_same(by_digest)
    assert live.is_same(by_tag)
    assert (live.name, live.digest, live.object) == (built.digest, built.digest, REPOSITORY)
    facts = by_tag.facts
    assert facts[revisions.COMMIT] == "c0ffee1.4.0"
    assert facts[revisions.PYTHON] == "3.11.9"
    assert facts[revisions.INPUTS_SCHEMA] == "sha256:in"
    assert (facts["tag"], facts["version"]) == ("1.4.0", "1.4.0")
    first = oci_registry.sha256(built.manifests[0][1])
    assert facts["platform_digest"] == first
    assert (first == built.digest) == (not platforms)
    assert "never-shown" not in repr(by_tag), "no variable of the image's environment is kept"


def test_an_index_without_the_platform_is_missing(served: Served, tmp_path: Path) -> None:
    url, contents = served
    built = oci_registry.build("1", platforms=("linux/arm64", "linux/s390x"))
    oci_registry.put(contents, REPOSITORY, built, "1")
    deployed(tmp_path, built)
    with pytest.raises(Missing, match="not built for linux/amd64") as raised:
        image_plane(url, tmp_path).find("1")
    assert raised.value.hint == "it is built for: linux/arm64, linux/s390x"
    assert image_plane(url, tmp_path, platform="linux/arm64").find("1").facts["platform"] == "linux/arm64"
    assert image_plane(url, tmp_path, platform="linux/arm64/v8").find("1").name == built.digest


def test_a_login_is_asked_for_and_used(served: Served, tmp_path: Path) -> None:
    url, contents = served
    contents.login = ("ci", "pass-word-1")
    built = oci_registry.build("1")
    oci_registry.put(contents, REPOSITORY, built, "1")
    deployed(tmp_path, built)
    plane = image_plane(url, tmp_path, username="ci", password="pass-word-1")
    assert plane.find("1").name == built.digest
    assert plane.find("1").name == built.digest
    assert contents.tokens == 1, "one login for a repository"
    contents.tokens += 1  # the registry forgets its tokens
    assert plane.find("1").name == built.digest
    assert all("pass-word" not in path for _, path, _ in contents.seen)
    for username, password in (("", ""), ("ci", "wrong-word-2")):
        plane = image_plane(url, tmp_path, username=username, password=password)
        with pytest.raises(Refused) as raised:
            plane.find("1")
        assert raised.value.hint
        assert "wrong-word" not in str(raised.value)
        assert plane.health().state is signals.State.BAD
        assert "wrong-word" not in repr(plane)


def test_credentials_do_not_follow_a_blob_to_its_store(served: Served, tmp_path: Path) -> None:
    url, contents = served
    contents.login, contents.stores = ("ci", "pass-word-1"), True
    built = oci_registry.build("1")
    oci_registry.put(contents, REPOSITORY, built, "1")
    deployed(tmp_path, built)
    assert image_plane(url, tmp_path, username="ci", password="pass-word-1").find("1").facts[revisions.PYTHON]
    stored = [login for _, path, login in contents.seen if path.startswith("/stored")]
    assert stored
    assert not any(stored)


def test_damage_of_every_part_is_found_before_anything_is_written(served: Served, tmp_path: Path) -> None:
    """Each manifest and each blob of the platform removed, each manifest and the configuration replaced."""
    url, contents = served
    live, target = oci_registry.build("1.4.0"), oci_registry.build("1.3.0", platforms=("linux/amd64", "linux/arm64"))
    oci_registry.put(contents, REPOSITORY, live, "1.4.0")
    path = deployed(tmp_path, live)
    plane = image_plane(url, tmp_path)
    oci_registry.put(contents, REPOSITORY, target, "1.3.0")
    to, expect = plane.find("1.3.0"), plane.revision()
    before = path.read_bytes()
    index, amd = oci_registry.sha256(target.manifests[-1][1]), oci_registry.sha256(target.manifests[0][1])
    described = json.loads(target.manifests[0][1])
    config = described["config"]["digest"]
    blobs = [config, *(layer["digest"] for layer in described["layers"])]
    kinds: list[tuple[Callable[[], object], type[DdrError]]] = [
        (lambda: contents.manifests[REPOSITORY].pop(index), Missing),
        (lambda: contents.manifests[REPOSITORY].pop(amd), Damaged),
        *((lambda blob=blob: contents.blobs[REPOSITORY].pop(blob), Damaged) for blob in blobs),
        (lambda: contents.blobs[REPOSITORY].update({config: b"{}"}), Damaged),
        (lambda: contents.manifests[REPOSITORY].update({index: (oci_registry.INDEX, b"{}")}), Damaged),
        (lambda: contents.manifests[REPOSITORY].update({amd: (oci_registry.IMAGE, b"x")}), Damaged),
        (lambda: contents.manifests.pop(REPOSITORY), Missing),
    ]
    for harm, wanted in kinds:
        oci_registry.put(contents, REPOSITORY, target, "1.3.0")
        oci_registry.put(contents, REPOSITORY, live, "1.4.0")
        harm()
        with pytest.raises((Missing, Damaged)) as raised:
            plane.switch(to, expect)
        assert isinstance(raised.value, wanted) or wanted is Missing, raised.value
        assert raised.value.hint
        assert path.read_bytes() == before
    print(f"{len(kinds)} kinds of damage")


def test_one_can_go_away_from_an_image_that_is_gone(served: Served, tmp_path: Path) -> None:
    url, contents = served
    live, other = oci_registry.build("1.4.0"), oci_registry.build("1.3.0")
    oci_registry.put(contents, REPOSITORY, live, "1.4.0")
    oci_registry.put(contents, REPOSITORY, other, "1.3.0")
    path = deployed(tmp_path, live)
    plane = image_plane(url, tmp_path)
    contents.manifests[REPOSITORY].pop(live.digest)
    with pytest.raises(Missing):
        plane.revision()
    assert plane.health().state is signals.State.BAD
    expect = plane.pointed()
    assert (expect.name, expect.digest) == (live.digest, "")
    assert plane.switch(plane.find("1.3.0"), expect).name == other.digest
    assert other.digest in path.read_text()


def test_a_tag_that_moved_since_is_said(served: Served, tmp_path: Path) -> None:
    url, contents = served
    built, pushed = oci_registry.build("1.4.0"), oci_registry.build("1.4.0", labels={"again": "yes"})
    oci_registry.put(contents, REPOSITORY, built, "1.4.0")
    path = deployed(tmp_path, built)
    plane = image_plane(url, tmp_path)
    assert "has moved" not in plane.health().why
    oci_registry.put(contents, REPOSITORY, pushed, "1.4.0")
    assert f"the tag 1.4.0 has moved since: it is {pushed.digest[7:19]} now" in plane.health().why
    assert plane.revision().name == built.digest, "the digest stands in the file"
    del contents.tags[REPOSITORY]["1.4.0"]
    assert "is not there any more" in plane.health().why
    path.write_text("image: team/scorer:latest\n")
    oci_registry.put(contents, REPOSITORY, built, "latest")
    assert plane.revision().name == built.digest
    assert any("the tag latest" in sentence for sentence in plane.health().cannot)
    oci_registry.put(contents, REPOSITORY, pushed, "latest")
    assert plane.revision().name == pushed.digest, "by tag, what is live changes with no change of the file"


def test_what_answers_is_named(tmp_path: Path) -> None:
    """Servers that are no registry, or are in trouble."""
    (tmp_path / "values.yaml").write_text("image: team/scorer:1\n")
    old = b'{"schemaVersion": 1, "mediaType": "application/vnd.docker.distribution.manifest.v1+json"}'
    wrong = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"accept header does not support these"}]}'
    cases: list[tuple[tuple[int, bytes], type[DdrError]]] = [
        ((500, b"oops"), Unavailable),
        ((429, b"slow down"), Unavailable),
        ((403, b'{"errors":[{"code":"DENIED","message":"no"}]}'), Refused),
        ((401, b"who?"), Refused),
        ((302, b""), InputError),
        ((400, b"<html>"), InputError),
        ((200, b"<html>"), Unsupported),
        ((200, old), Unsupported),
        ((404, wrong), Unsupported),
        ((404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'), Missing),
    ]
    for answer, problem in cases:
        with rigs.serving(lambda *_, answer=answer: answer) as server, pytest.raises(problem) as raised:
            image_plane(server.url, tmp_path).find("1")
        assert raised.value.hint, answer


@pytest.fixture
def real(tmp_path: Path) -> Iterator[str]:
    """The registry that everybody runs, where it is installed (Debian: docker-registry)."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed: the registry of the tests stands in")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "registry.yml").write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path / 'store'}}}, "
        f"delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
    )
    command = [program, "serve", str(tmp_path / "registry.yml")]
    with subprocess.Popen(
        command, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        url = f"http://127.0.0.1:{port}"
        try:
            while True:
                try:
                    urllib.request.urlopen(f"{url}/v2/", timeout=5).close()
                    break
                except OSError:
                    assert running.poll() is None
                    time.sleep(0.05)
            yield url
        finally:
            running.kill()


@pytest.mark.parametrize("platforms", [(), ("linux/amd64", "linux/arm64")])
def test_a_real_registry(real: str, tmp_path: Path, platforms: tuple[str, ...]) -> None:
    live, other = (oci_registry.build(version, platforms=platforms) for version in ("1.4.0", "1.3.0"))
    for built, tag in ((live, "1.4.0"), (other, "1.3.0")):
        oci_registry.push(real, REPOSITORY, built, tag)
    path = deployed(tmp_path, live)
    plane = image_plane(real, tmp_path)
    assert plane.revision().name == live.digest
    assert plane.find("1.3.0").name == other.digest
    assert plane.find("1.3.0").facts[revisions.COMMIT] == "c0ffee1.3.0"
    assert plane.switch(plane.find("1.3.0"), plane.revision()).name == other.digest
    for name in ("99", "sha256:" + "0" * 64):
        with pytest.raises(Missing):
            plane.find(name)
    path.write_text(VALUES.format(tag="1.4.0", digest=live.digest))
    oci_registry.retag(real, REPOSITORY, other, "1.4.0")
    assert "has moved since" in plane.health().why
    request = urllib.request.Request(f"{real}/v2/{REPOSITORY}/manifests/{other.digest}", method="DELETE")
    urllib.request.urlopen(request, timeout=5).close()
    for name in ("1.3.0", "1.4.0", other.digest):
        with pytest.raises(Missing):
            plane.find(name)
