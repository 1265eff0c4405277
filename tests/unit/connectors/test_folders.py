"""Release folders, index versions and a configuration file: what only they do, and what damage looks like."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors import config_file, faiss_index, release_folder
from ddr.domain import planes, revisions, signals
from ddr.errors import Damaged, Missing, Unavailable
from ddr.lib import clock, digest
from tests.unit.connectors import rigs

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def test_a_release_says_what_its_card_says(tmp_path: Path) -> None:
    plane = rigs.release_rig(tmp_path).plane
    live = plane.revision()
    folder = tmp_path / "code" / "releases" / "1.4.0"
    assert (live.plane, live.object, live.name) == (planes.Plane.CODE, "code", "1.4.0")
    assert live.digest == digest.of_tree(folder)
    assert live.facts == {"version": "1.4.0", "commit": "abc"}
    (folder / "release.json").unlink()
    assert plane.revision().facts == {}
    for text in ("", "[1]", '{"version": '):
        (folder / "release.json").write_text(text)
        with pytest.raises(Damaged, match=r"release\.json"):
            plane.revision()
        assert plane.health().state is signals.State.BAD


def test_bytecode_of_a_loaded_release_is_no_change(tmp_path: Path) -> None:
    plane = rigs.release_rig(tmp_path).plane
    before = plane.revision()
    cache = tmp_path / "code" / "releases" / "1.4.0" / "__pycache__"
    cache.mkdir()
    (cache / "app.cpython-311.pyc").write_bytes(b"x")
    assert plane.revision() == before


def test_changes_are_those_of_the_deployment_log(tmp_path: Path) -> None:
    plane = rigs.release_rig(tmp_path).plane
    first, second = plane.changes(LONG_AGO)
    assert (first.before, first.after, first.actor, first.recorded) == ("", "1.3.0", "ci-bot", True)
    assert second.name == "code:code 1.3.0 → 1.4.0"
    assert second.at == datetime(2026, 11, 2, 7, 30, tzinfo=UTC)
    log = tmp_path / "code" / "deployments.jsonl"
    log.write_text('{"at": "soon", "to": "1"}\n{"at": "2026-11-02T06:00:00Z"}\nbad\n' + log.read_text() + '{"at": "2')
    assert plane.changes(LONG_AGO) == (first, second)
    assert "1 lines cannot be read" in plane.health().why
    log.unlink()
    assert plane.changes(LONG_AGO) == ()
    log.mkdir()
    with pytest.raises(Unavailable):
        plane.changes(LONG_AGO)


def test_a_link_that_the_log_does_not_know_of_is_said(tmp_path: Path) -> None:
    rig = rigs.release_rig(tmp_path)
    assert "outside of that log" not in rig.plane.health().why
    rig.move("1.4.1")
    assert "deployments.jsonl ends with 1.4.0: moved since, outside of that log" in rig.plane.health().why


def test_names_of_other_layouts_are_settings(tmp_path: Path) -> None:
    (tmp_path / "app" / "builds" / "7").mkdir(parents=True)
    (tmp_path / "app" / "live").symlink_to("builds/7")
    settings = release_folder.Settings("app", releases="builds", current="live", deployments="log", card="card.json")
    plane = release_folder.connect(settings, tmp_path, clock.ManualClock(rigs.NOW)).plane(
        release_folder.Binding(), planes.Plane.CODE
    )
    assert plane.revision().name == "7"
    assert plane.health().state is signals.State.OK


def test_an_index_names_its_embedder(tmp_path: Path) -> None:
    plane = rigs.index_rig(tmp_path).plane
    live = plane.revision()
    assert live.facts[revisions.EMBEDDER] == "sha256:e"
    card = tmp_path / "index" / "versions" / "v1" / "card.json"
    card.write_text(json.dumps({"dim": 16}))
    assert any("embedder" in sentence for sentence in plane.health().cannot)


def test_an_index_with_a_part_missing_or_empty_is_damaged(tmp_path: Path) -> None:
    rig = rigs.index_rig(tmp_path)
    live, two = rig.plane.find("v1"), rig.plane.find("v2")
    folder = tmp_path / "index" / "versions" / "v2"
    shutil.copytree(folder, tmp_path / "copy")
    tried = 0
    for part in ("index.faiss", "ids.json", "card.json"):
        for damage in (None, b""):
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / "copy", folder)
            if damage is None:
                (folder / part).unlink()
            else:
                (folder / part).write_bytes(damage)
            with pytest.raises(Damaged, match=part) as raised:
                rig.plane.switch(two, live)
            assert raised.value.hint
            assert rig.plane.revision() == live
            tried += 1
    print(f"{tried} kinds of damage")


@pytest.mark.parametrize("where", ["card", "manifest"])
def test_an_index_whose_files_are_not_those_of_their_digests_is_not_gone_to(tmp_path: Path, where: str) -> None:
    """Every byte of every file, one after the other; and what may be wrong with the digests themselves."""
    rig = rigs.index_rig(tmp_path)
    folder = tmp_path / "index" / "versions" / "v2"
    parts = {part: digest.of_file(folder / part) for part in ("index.faiss", "ids.json")}

    def publish(said: object) -> None:
        card = {"embedder": "sha256:e", **({"files": said} if where == "card" else {})}
        (folder / "card.json").write_text(json.dumps(card))
        if where == "manifest":
            (folder / "manifest.json").write_text(json.dumps({"files": said}))

    def listed(of: dict[str, str]) -> object:
        return of if where == "card" else [{"name": name, "sha256": plain, "bytes": 1} for name, plain in of.items()]

    publish(listed(parts))
    live, two = rig.plane.find("v1"), rig.plane.find("v2")
    assert any("v1 are whole" in sentence for sentence in rig.plane.health().cannot)
    tried = 0
    for part in parts:
        content = (folder / part).read_bytes()
        for at in range(len(content)):
            (folder / part).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            with pytest.raises(Damaged, match=rf"{part} has other bytes"):
                rig.plane.find("v2")
            with pytest.raises(Damaged, match=rf"{part} has other bytes"):
                rig.plane.switch(two, live)
            tried += 1
        (folder / part).write_bytes(content)
    for said in (
        listed({**parts, "more.bin": "sha256:" + "0" * 64}),
        listed({"ids.json": parts["ids.json"]}),
        listed({**parts, "ids.json": "md5:1"}),
        ["index.faiss"],
    ):
        publish(said)
        with pytest.raises(Damaged):
            rig.plane.switch(two, live)
        tried += 1
    assert rig.plane.revision() == live
    publish(listed(parts))
    assert rig.plane.switch(rig.plane.find("v2"), live).name == "v2"
    assert not any("whole" in sentence for sentence in rig.plane.health().cannot)
    print(f"{tried} kinds of damage")


VERSION, OTHER = "v000001-d3ec4fb10b22", "v000001-2236788c46cc"
FINGERPRINT = "sha256:" + "0" * 64


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, Any]:
    """A version that `ddr index` published, and the plane that serves it."""
    versions = tmp_path / "index" / "versions"
    shutil.copytree(Path(__file__).parents[2] / "data" / "golden-indexes", versions)
    (tmp_path / "index" / "current").symlink_to(f"versions/{VERSION}")
    connected = faiss_index.connect(faiss_index.Settings("index"), tmp_path, clock.ManualClock(rigs.NOW))
    return versions / VERSION, connected.plane(faiss_index.Binding(), planes.Plane.INDEX)


def of_another_embedder(folder: Path, said: dict[str, Any]) -> None:
    said["embedder"]["fingerprint"] = FINGERPRINT


def of_other_rows(folder: Path, said: dict[str, Any]) -> None:
    said["scan"]["kept"] += 1


def of_another_file(folder: Path, said: dict[str, Any]) -> None:
    """With the digest that fits it."""
    (folder / "index.faiss").write_bytes(b"IxFI")
    said["files"][0]["sha256"] = digest.of_bytes(b"IxFI")
    assert said["files"][0]["name"] == "index.faiss"


def of_another_version(folder: Path, said: dict[str, Any]) -> None:
    said |= json.loads((folder.parent / OTHER / "manifest.json").read_text())


def with_a_card(folder: Path, said: dict[str, Any]) -> None:
    of_another_embedder(folder, said)
    (folder / "card.json").write_text(json.dumps({"embedder": FINGERPRINT}))


@pytest.mark.parametrize("edit", [of_another_embedder, of_other_rows, of_another_file, of_another_version, with_a_card])
def test_a_manifest_that_is_not_the_one_its_version_is_named_by_is_not_believed(
    edit: Callable[[Path, dict[str, Any]], None], published: tuple[Path, Any]
) -> None:
    folder, plane = published
    said = json.loads((folder / "manifest.json").read_text())
    edit(folder, said)
    (folder / "manifest.json").write_bytes(digest.line(said))
    with pytest.raises(Damaged, match=f"manifest of {VERSION}") as raised:
        plane.find(VERSION)
    assert raised.value.hint
    assert plane.health().state is signals.State.BAD
    assert plane.pointed().facts == {}


def test_a_card_does_not_stand_for_a_manifest_that_is_gone(published: tuple[Path, Any]) -> None:
    folder, plane = published
    (folder / "manifest.json").unlink()
    (folder / "card.json").write_text(json.dumps({"embedder": FINGERPRINT}))
    (folder / "ids.json").write_text("[]")
    with pytest.raises(Damaged, match=r"manifest\.json is not there"):
        plane.find(VERSION)


def test_what_others_put_beside_or_in_place_of_a_manifest(published: tuple[Path, Any]) -> None:
    """A card beside a manifest that is whole says nothing; a version under a name of theirs is believed as it is."""
    folder, plane = published
    facts = plane.find(VERSION).facts
    assert facts["count"]
    for card in ("no JSON", json.dumps({"files": {"index.faiss": "no digest"}}), json.dumps({"embedder": FINGERPRINT})):
        (folder / "card.json").write_text(card)
        assert plane.find(VERSION).facts == facts
    theirs = folder.parent / "theirs"
    shutil.copytree(folder, theirs)
    assert plane.find("theirs").facts == {"embedder": FINGERPRINT}
    (theirs / "card.json").unlink()
    assert plane.find("theirs").facts == facts


LOCKS = {
    "requirements.lock": (
        "# made\nScikit_Learn==1.9.0 \\\n    --hash=sha256:1\nnumpy==2.3.1\n",
        "numpy==2.3.1,scikit-learn==1.9.0",
    ),
    "requirements.txt": ("numpy>=2\nmlflow[extras] == 3.17.2 ; python_version > '3'\n-r other.txt\n", "mlflow==3.17.2"),
    "uv.lock": (
        'version = 1\n[[package]]\nname = "numpy"\nversion = "2.3.1"\n[[package]]\nname = "own"\n',
        "numpy==2.3.1",
    ),
    "poetry.lock": ('[[package]]\nname = "NumPy"\nversion = "2.3.1"\n', "numpy==2.3.1"),
}


def test_a_release_says_its_python_its_commit_and_its_packages(tmp_path: Path) -> None:
    plane = rigs.release_rig(tmp_path).plane
    folder = tmp_path / "code" / "releases" / "1.4.0"
    (folder / ".python-version").write_text("3.11.9\n")
    (folder / "REVISION").write_text("c0ffee\n")
    assert plane.revision().facts == {"version": "1.4.0", "commit": "abc", "python": "3.11.9"}
    for name, (text, packages) in reversed(LOCKS.items()):  # the first of the list is taken
        (folder / name).write_text(text)
        facts = plane.revision().facts
        assert facts[revisions.REQUIREMENTS] == digest.of_bytes(text.encode())
        assert facts[revisions.PACKAGES] == packages
    (folder / "release.json").write_text(json.dumps({"python": "3.12.1", "requirements": "sha256:r"}))
    facts = plane.revision().facts
    assert (facts["python"], facts["requirements"], facts["commit"]) == ("3.12.1", "sha256:r", "c0ffee")
    for name in ("requirements.lock", "requirements.txt"):
        (folder / name).unlink()
    (folder / "uv.lock").write_text("[[package]]\nname = ")
    with pytest.raises(Damaged, match=r"uv\.lock") as raised:
        plane.revision()
    assert raised.value.hint


def test_a_configuration_is_named_by_its_digest(tmp_path: Path) -> None:
    plane = rigs.config_rig(tmp_path).plane
    path = tmp_path / "config" / "serving.yaml"
    live = plane.revision()
    assert (live.object, live.digest) == ("serving.yaml", digest.of_file(path))
    assert live.name == digest.short(live.digest)
    path.write_text("log_level: debug\n")
    assert not plane.revision().is_same(live)
    assert len(plane.changes(LONG_AGO)) == 2


@pytest.mark.parametrize(
    ("name", "text"), [("c.yaml", "a: {"), ("c.yml", "a: 1\na: 2"), ("c.json", "{"), ("c.json", "\xff")]
)
def test_a_configuration_that_cannot_be_read_is_bad_and_still_has_a_digest(
    name: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    made = config_file.connect(config_file.Settings(name), tmp_path, clock.ManualClock(rigs.NOW))
    plane = made.plane(config_file.Binding(), planes.Plane.CONFIG)
    assert plane.health().state is signals.State.BAD
    assert plane.revision().digest
    (tmp_path / name).unlink()
    with pytest.raises(Missing, match=name):
        plane.revision()
    (tmp_path / name).mkdir()
    with pytest.raises(Unavailable, match=name):
        plane.revision()
