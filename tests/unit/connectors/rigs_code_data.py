"""Rigs of the planes whose connectors are `oci-image` and `dvc`, and a model that is loaded by its stage."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ddr.connectors.files import pinned
from ddr.connectors.oci_image import connector as oci
from ddr.domain import planes
from ddr.lib import clock, digest, durable, process
from tests.unit.connectors import oci_registry, rigs
from tests.unit.connectors.official import Official

REPOSITORY = "team/scorer"
VALUES = """\
# How the scorer runs. Do not sort!
replicas: 3        # two are too few
image: "registry.example.com/team/scorer:{tag}@{digest}"   # set by CI

resources: {{cpu: 1, memory: 2Gi}}
"""


def image_plane(url: str, base: Path, key: str = "image", file: str = "values.yaml", **more: Any) -> Any:
    settings = oci.Settings(url, **more)
    return oci.connect(settings, base, clock.ManualClock(rigs.NOW)).plane(
        oci.Binding(REPOSITORY, file, key), planes.Plane.CODE
    )


@contextlib.contextmanager
def image_rig(root: Path) -> Iterator[rigs.Rig]:
    """Three images, each for two platforms; the first is deployed by a values file."""
    built = [oci_registry.build(tag, platforms=("linux/amd64", "linux/arm64")) for tag in ("1.4.0", "1.3.0", "1.4.1")]
    path = root / "values.yaml"

    def move(name: str) -> None:
        durable.replace(path, VALUES.format(tag="other", digest=name).encode())

    with oci_registry.serving() as (url, contents):
        for tag, one in zip(("1.4.0", "1.3.0", "1.4.1"), built, strict=True):
            oci_registry.put(contents, REPOSITORY, one, tag)
        path.write_text(f'image: "registry.example.com/team/scorer:1.4.0@{built[0].digest}"\n')
        names = (built[0].digest, built[1].digest, built[2].digest)
        down = image_plane(f"http://127.0.0.1:{process.free_port()}", root)
        path.write_text(VALUES.format(tag="1.4.0", digest=names[0]))
        yield rigs.Rig(image_plane(url, root), down, names, move, state=lambda: (named_in(path), contents.tags))


def deployed(root: Path, built: oci_registry.Built, tag: str = "1.4.0") -> Path:
    path = root / "values.yaml"
    path.write_text(VALUES.format(tag=tag, digest=built.digest))
    return path


def named_in(path: Path) -> str:
    """Everything in the file but the tag: ddr writes digests alone."""
    return path.read_text().replace(":1.4.0@", "@").replace(":other@", "@")


def git(folder: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.com",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.com",
    }
    done = subprocess.run(["git", *words], cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def kept(remote: Path, content: bytes, suffix: str = "") -> str:
    """An object of a remote as DVC 3 lays it out; its hash."""
    hashed = md5(content) + suffix
    path = remote / "files" / "md5" / hashed[:2] / hashed[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return hashed


def kept_folder(remote: Path, files: Mapping[str, bytes]) -> str:
    listed = [{"md5": kept(remote, content), "relpath": name} for name, content in sorted(files.items())]
    return kept(remote, json.dumps(listed).encode(), ".dir")


def data_repository(root: Path, versions: tuple[str, ...]) -> tuple[Path, Path, list[str]]:
    """A git repository whose commits pin a file, a folder and the out of a stage; its remote; its commits."""
    repository, remote = root / "ml", root / "remote"
    (repository / ".dvc").mkdir(parents=True)
    (repository / "data").mkdir()
    git(repository, "init", "-q", "-b", "main")
    (repository / ".dvc" / "config").write_text(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = ../../remote\n"
    )
    (repository / ".gitignore").write_text("/data/train.csv\n/images\n/model\n")
    (repository / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: python train.py\n    wdir: model\n    outs:\n"
        "    - weights.bin\n    - note.txt: {cache: false}\n"
    )
    (repository / "train.py").write_text("print('train')\n")
    commits = []
    for version in versions:
        csv = f"a,b\n1,{version}\n".encode() * 50
        hashed = kept(remote, csv)
        (repository / "data" / "train.csv.dvc").write_text(
            f"outs:\n- md5: {hashed}\n  size: {len(csv)}\n  hash: md5\n  path: train.csv\n"
        )
        images = {"a.png": b"same", f"deep/{version}.png": version.encode()}
        (repository / "images.dvc").write_text(
            f"outs:\n- md5: {kept_folder(remote, images)}\n  nfiles: 2\n  hash: md5\n  path: images\n"
        )
        weights = kept(remote, f"weights of {version}".encode())
        (repository / "dvc.lock").write_text(
            "schema: '2.0'\nstages:\n  train:\n    cmd: python train.py\n    outs:\n"
            f"    - path: weights.bin\n      hash: md5\n      md5: {weights}\n      size: 12\n"
            f"    - path: note.txt\n      hash: md5\n      md5: {'0' * 32}\n      size: 1\n"
        )
        git(repository, "add", "-A")
        git(repository, "commit", "-qm", f"data {version}")
        git(repository, "tag", version)
        commits.append(git(repository, "rev-parse", "HEAD"))
    return repository, remote, commits


def data_plane(root: Path, folder: str = "ml") -> Any:
    settings = pinned.Settings(folder, "versions", "current")
    return pinned.connect(settings, root, clock.ManualClock(rigs.NOW)).plane(pinned.Binding(), planes.Plane.DATA)


def data_rig(root: Path) -> rigs.Rig:
    """Three commits of data; the link points at a tree of the newest, as if an earlier switch had made it."""
    repository, _, commits = data_repository(root, ("v1", "v2", "v3"))
    (root / "current").symlink_to("ml")
    plane = data_plane(root)
    live, *others = map(plane.find, reversed(commits))
    for revision in (*others, live):  # so that every tree is there, and moving is moving a link
        plane.switch(revision, plane.revision())
    names = (live.name, others[0].name, others[1].name)

    def move(name: str) -> None:
        durable.point(root / "current", f"versions/{name}")

    def overwrite(name: str) -> None:
        path = root / "versions" / name / "data" / "train.csv"
        path.chmod(0o644)
        path.write_bytes(b"other bytes")

    def state() -> object:
        return str((root / "current").readlink()), digest.of_tree(repository, (".git",))

    return rigs.Rig(plane, data_plane(root / "nowhere"), names, move, overwrite, state)


def stage_rig(official: Official, root: Path, *, over_rest: bool) -> rigs.Rig:
    """A model that is loaded as `models:/NAME/Production`."""
    folders = rigs.copied(official, root)
    model = rigs.registered(official, [str(folder) for folder in folders])
    if over_rest:
        model = rigs.registered(official, [rigs.logged(official, number) for number in (1, 2, 3)])

    def move(name: str) -> None:
        official.rest(
            "transition_model_version_stage",
            name=model,
            version=name,
            stage="Production",
            archive_existing_versions=True,
        )

    def overwrite(name: str) -> None:
        (folders[int(name) - 1] / "model.skops").write_bytes(b"other bytes")

    def state() -> object:
        """Without the times of the last write, and with Archived as None: who has left a stage is in Archived."""
        seen = official.sql("get_registered_model", name=model)
        stages = {
            number: official.sql("get_model_version", name=model, version=number)["current_stage"] for number in "123"
        }
        tags = {number: official.sql("get_model_version", name=model, version=number)["tags"] for number in "123"}
        left = {number: "None" if stage == "Archived" else stage for number, stage in stages.items()}
        return {"model": seen["tags"], "aliases": str(seen["aliases"]), "stages": left, "tags": tags}

    move("1")
    tracking = official.url if over_rest else official.tracking
    down = f"http://127.0.0.1:{process.free_port()}" if over_rest else f"sqlite:///{root / 'none.db'}"
    made = [rigs.mlflow_plane(at, official.folder, model, "", stage="Production") for at in (tracking, down)]
    return rigs.Rig(made[0], made[1], ("1", "2", "3"), move, overwrite, state, not over_rest)


def data_with_link(root: Path) -> Path:
    """`ml` with commits v1 and v2, `remote`, and a link to the live folder."""
    data_repository(root, ("v1", "v2"))
    (root / "current").symlink_to("ml")
    return root
