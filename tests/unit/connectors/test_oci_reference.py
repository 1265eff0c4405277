"""The file of a deployment that names an image: read in every form, changed in place, and nothing else in it."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors.oci_image import connector, reference
from ddr.domain import revisions, signals
from ddr.errors import Conflict, Damaged, DdrError, Refused
from tests.unit.connectors import oci_registry
from tests.unit.connectors.rigs_code_data import REPOSITORY, VALUES, deployed, git, image_plane

Served = tuple[str, oci_registry.Contents]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


FILES = {
    "values.yaml": ("image", 'a: 1\nimage: "{}"  # set by CI\nb: [1,   2]\n'),
    "chart.yaml": (
        "scorer.image.tag",
        "scorer:\n  image:\n    repository: team/scorer\n    tag: {}\nother: &x {{k: v}}\ny: *x\n",
    ),
    "kustomization.yml": ("images.1.digest", "images:\n- name: a\n  digest: sha256:0\n- name: b\n  digest: '{}'\n"),
    ".env": ("SCORER_IMAGE", "# images\nOTHER=x\nexport SCORER_IMAGE='{}' # here\nSCORER_IMAGE_OLD=y\n"),
    "image.txt": ("", "# what runs\n{}\n"),
    "windows.yaml": ("image", "image: {}\r\nnext: 1\r\n"),
}


FORMS = {
    "host.example:5000/team/scorer:1.4.0": "host.example:5000/team/scorer@{}",
    "team/scorer:1.4.0@{live}": "team/scorer@{}",
    "team/scorer@{live}": "team/scorer@{}",
    "1.4.0": "pinned@{}",
    "pinned@{live}": "pinned@{}",
    "{live}": "{}",
}


def test_every_form_in_every_kind_of_file_is_changed_in_place_and_nothing_else(served: Served, tmp_path: Path) -> None:
    url, contents = served
    live, other = oci_registry.build("1.4.0"), oci_registry.build("1.3.0")
    oci_registry.put(contents, REPOSITORY, live, "1.4.0")
    oci_registry.put(contents, REPOSITORY, other, "1.3.0")
    tried = 0
    for name, (key, text) in FILES.items():
        for form, after in FORMS.items():
            path = tmp_path / name
            path.write_bytes(text.format(form.format(live=live.digest)).encode())
            path.chmod(0o640)
            plane = image_plane(url, tmp_path, key, name)
            told = plane.write(plane.find("1.3.0"), plane.revision())
            assert plane.switch(plane.find("1.3.0"), plane.revision()).name == other.digest
            assert path.read_bytes().decode() == text.format(after.format(other.digest))
            assert after.format(other.digest) in told
            assert stat.S_IMODE(path.stat().st_mode) == 0o640
            assert plane.switch(plane.find(live.digest), plane.revision()).name == live.digest
            tried += 1
    print(f"{tried} forms of files")


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("image: [a]\n", "image", Damaged),
        ("image: a b\n", "image", Damaged),
        ("other: 1\n", "image", Damaged),
        ("image: x\nimage: y\n", "image", Damaged),
        ("image: x\n---\nimage: y\n", "image", Damaged),
        ("a: &i team/scorer:1\nimage: *i\n", "image", Damaged),
        ("a: &i {image: team/scorer:1}\nb: *i\n", "a.image", Damaged),
        ('image: "team/scorer\\x3a1"\n', "image", Damaged),
        ("image: >\n  team/scorer:1\n", "image", Damaged),
        ("image: team/scorer@sha256:12\n", "image", Damaged),
        ("image: {", "image", Damaged),
        ("image: team/other:1\n", "image", Refused),
        ("image: x/myteam/scorer:1\n", "image", Refused),
        ("\xff", "image", Damaged),
    ],
)
def test_a_file_that_is_not_as_told_is_not_written(
    served: Served, tmp_path: Path, text: str, key: str, problem: type[DdrError]
) -> None:
    url, contents = served
    built = oci_registry.build("1")
    oci_registry.put(contents, REPOSITORY, built, "1")
    path = tmp_path / "values.yaml"
    path.write_bytes(text.encode("latin-1"))
    plane = image_plane(url, tmp_path, key)
    with pytest.raises(problem) as raised:
        plane.revision()
    assert raised.value.hint
    with pytest.raises(problem):
        plane.switch(plane.find("1"), plane.find("1"))
    assert path.read_bytes() == text.encode("latin-1")
    assert plane.health().state is signals.State.BAD


def test_a_file_that_somebody_writes_in_between_is_a_conflict(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between ddr's look and its write, which is under the lock: every other part of the file may change."""
    url, contents = served
    live, other = oci_registry.build("1.4.0"), oci_registry.build("1.3.0")
    for built, tag in ((live, "1.4.0"), (other, "1.3.0")):
        oci_registry.put(contents, REPOSITORY, built, tag)
    path = deployed(tmp_path, live)
    plane = image_plane(url, tmp_path)
    look = connector.ImagePlane.find

    def and_then(text: str) -> None:
        def find(self: Any, name: str) -> revisions.Revision:
            found = look(self, name)
            path.write_text(text)
            return found

        monkeypatch.setattr(connector.ImagePlane, "find", find)

    expect, to = plane.revision(), plane.find("1.3.0")
    grown = path.read_text() + "more: 1\n"
    and_then(grown)
    assert plane.switch(to, expect).name == other.digest
    assert path.read_text().endswith("more: 1\n")
    hand = "image: team/scorer:handmade\n"
    and_then(hand)
    with pytest.raises(Conflict, match="handmade"):
        plane.switch(expect, to)
    assert path.read_text() == hand


def test_a_link_to_the_file_stays_a_link(served: Served, tmp_path: Path) -> None:
    url, contents = served
    live, other = oci_registry.build("1.4.0"), oci_registry.build("1.3.0")
    for built, tag in ((live, "1.4.0"), (other, "1.3.0")):
        oci_registry.put(contents, REPOSITORY, built, tag)
    (tmp_path / "real").mkdir()
    real = deployed(tmp_path / "real", live)
    (tmp_path / "values.yaml").symlink_to("real/values.yaml")
    plane = image_plane(url, tmp_path)
    plane.switch(plane.find("1.3.0"), plane.revision())
    assert (tmp_path / "values.yaml").is_symlink()
    assert other.digest in real.read_text()


def test_commits_of_the_file_are_changes_and_who_brings_it_back(served: Served, tmp_path: Path) -> None:
    url, contents = served
    live, other = oci_registry.build("1.4.0"), oci_registry.build("1.3.0")
    for built, tag in ((live, "1.4.0"), (other, "1.3.0")):
        oci_registry.put(contents, REPOSITORY, built, tag)
    path = deployed(tmp_path, other, "1.3.0")
    plane = image_plane(url, tmp_path)
    assert plane.changes(LONG_AGO) == ()
    assert plane.who_reverts() == ()
    git(tmp_path, "init", "-q")
    for text, summary in (
        (path.read_text(), "first"),
        ("image: [", "broken"),
        (VALUES.format(tag="1.4.0", digest=live.digest), "deploy 1.4.0"),
        (VALUES.format(tag="1.4.0", digest=live.digest) + "more: 1\n", "other"),
    ):
        path.write_text(text)
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", summary)
    first, second = plane.changes(LONG_AGO)
    assert (first.before, first.after, first.summary) == ("", other.digest, "first")
    assert (second.before, second.after, second.actor) == (other.digest, live.digest, "Ada")
    assert plane.changes(datetime(2100, 1, 1, tzinfo=UTC)) == ()
    (reverter,) = plane.who_reverts()
    assert "in git" in reverter.how
    assert reverter.stop
    assert not reverter.is_stopped


@pytest.mark.parametrize("repository", ["", "UPPER/case", "team/scorer:1", "/x", "a@b"])
def test_a_repository_is_named_without_tag(repository: str) -> None:
    with pytest.raises(ValueError, match="without host and tag"):
        connector.Binding(repository, "values.yaml")


def test_references_are_taken_apart() -> None:
    digest = "sha256:" + "a" * 64
    cases = {
        "localhost:5000/team/scorer": ("localhost:5000/team/scorer", "", ""),
        "localhost:5000/team/scorer:1": ("localhost:5000/team/scorer", "1", ""),
        f"team/scorer:1@{digest}": ("team/scorer", "1", digest),
        "scorer:1": ("scorer", "1", ""),
        "1.4.0": ("", "1.4.0", ""),
        f"1.4.0@{digest}": ("", "1.4.0", digest),
        digest: ("", "", digest),
    }
    for text, wanted in cases.items():
        found = reference.parse(text)
        assert found is not None, text
        assert (found.name, found.tag, found.digest) == wanted, text
    for text in ("", "@", f"{digest}@{digest}", f"a@{digest[:-1]}", "a/b:", "a/b:x y", "-x", "a/b:-", "$(IMAGE)"):
        assert reference.parse(text) is None, text
