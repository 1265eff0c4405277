"""Names of versions and of their files; a manifest that proves itself by the name of its version.

The name of a version ends with digits of the digest of its manifest, and the manifest has the digests of its files: no
byte of either can be changed without the name knowing. That finds accidents and hands that meant well. Who can write
to a home can publish a version too: against that only rights help.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ddr.domain import index_versions, indexes
from ddr.errors import Damaged, InputError
from ddr.index import codec

MANIFEST = "manifest.json"
INDEX, NAMES, TRAINED, DROPPED = FILES = ("index.faiss", "ids.json", "trained.faiss", "dropped.npy")
"""What a version may be made of: the index, its ids where they are texts, what it was trained with, rows left out."""
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
OLD = "nothing is served by it or goes back to it; `ddr index gc` removes it when it is old"
"""What is done about damage of a version that does not serve."""
_NEXT = "`ddr index check` says what is left; `ddr index rollback` goes to a version that is whole"

is_ours, number = index_versions.is_ours, index_versions.number


class NewerVersion(codec.Newer):
    """`index`: the name of the one that the version is of, "" where it does not say that as this ddr would."""

    def __init__(self, what: str, said: Mapping[str, Any]) -> None:
        super().__init__(what)
        name = said.get("name")
        self.index = name if isinstance(name, str) else ""


def seal(manifest: indexes.Manifest, versions: Iterable[str]) -> indexes.Manifest:
    """With the name that it gets behind `versions`. InputError when a file has a name that no home can have."""
    for file in manifest.files:
        check_file(file.name)
    after = 1 + max((number(version) for version in versions), default=0)
    return dataclasses.replace(manifest, version=index_versions.name(after, codec.told(manifest)))


def is_plain(name: str) -> bool:
    """Whether it names something in a folder and leads nowhere else: others call their files as they like."""
    return name not in ("", ".", "..") and not set(name) & {"/", "\0"}


def check_file(name: str) -> None:
    if not _FILE.fullmatch(name) or name == MANIFEST:
        raise InputError(f"{name!r} is no name for a file of a version", hint="letters, digits, '.', '_' and '-'")


def open_manifest(content: bytes, version: str, where: str) -> indexes.Manifest:
    """Damaged when a single byte is not as it was when `version` got its name, whichever ddr gave it; NewerVersion
    when that was a newer one, which wrote what this one does not know."""
    said = index_versions.proved(content, version, where, _NEXT)
    try:
        manifest = codec.decode(indexes.Manifest, content, where)
    except Damaged as problem:
        raise NewerVersion(f"{where} says what this ddr does not know: {problem.message}", said) from problem
    if codec.encode(manifest) != content:
        raise NewerVersion(f"{where} says what this ddr does not know", said)
    names = [file.name for file in manifest.files]
    if len(set(names)) != len(names) or not all(_FILE.fullmatch(name) and name != MANIFEST for name in names):
        raise Damaged(f"{where} names files that no version can have", hint=_NEXT)
    return manifest
