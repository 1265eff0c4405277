"""What a snapshot says of a home of indexes, beside the documents and the bytes of its versions.

Two trees. `versions` has <version>/<file>: the bytes, of the versions that were chosen. `records` has this record as
.home.json and the <version>/manifest.json of every version: plan, scan with id-set digest, golden documents, digests of
files, quality, probes; of versions that others put there also card.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ddr.domain import indexes
from ddr.errors import Damaged
from ddr.index import codec
from ddr.index.homes import home, naming
from ddr.ports import restorable

HOME, RECORDS, VERSIONS = ".home.json", "records", "versions"
CARD = "card.json"


@dataclass(frozen=True)
class Version:
    """`files` without its documents; the SHA-256 is "" where nobody wrote it down (only where not `is_ours`).

    `is_kept`: its bytes are in the snapshot, and were those of its digests.
    """

    name: str
    files: tuple[indexes.File, ...]
    documents: tuple[str, ...] = (naming.MANIFEST,)
    is_ours: bool = True
    is_kept: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True)
class Record:
    """`place` is the home, for people; `current` is the version that the pointer named, "" for none; `wanted`
    what ddr.yaml asked for, where it did.

    `damaged` is what was wrong with the home, for people.
    """

    place: str
    current: str
    versions: tuple[Version, ...]
    pins: Mapping[str, str] = field(default_factory=dict)
    moves: tuple[home.Move, ...] = ()
    wanted: indexes.Wanted | None = None
    damaged: tuple[str, ...] = ()
    format: int = indexes.FORMAT

    def version(self, name: str) -> Version | None:
        return next((one for one in self.versions if one.name == name), None)


def read(source: restorable.Source) -> Record:
    """Of a snapshot. Damaged; Missing where nothing of the home was captured."""
    content = b"".join(source.read(RECORDS, HOME))
    return codec.decode(Record, content, f"the record of {source.component.name} in the snapshot")


def manifest(source: restorable.Source, version: str) -> indexes.Manifest:
    """Of one of ours; Damaged when it is not the one that the version was named after."""
    path = f"{version}/{naming.MANIFEST}"
    return naming.open_manifest(b"".join(source.read(RECORDS, path)), version, f"{path} in the snapshot")


def can_name(name: str) -> bool:
    """Whether a record can have this name of a version or a file: a disk also takes what is no text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return naming.is_plain(name)


def check_names(version: Version) -> None:
    """Raises Damaged for names that lead out of a folder: the record is bytes of somewhere else."""
    for name in (version.name, *version.documents, *(file.name for file in version.files)):
        if not can_name(name) or (name == version.name and name.startswith(".")):
            raise Damaged(f"the record names {name!r}: no home has such a thing", hint="restore another snapshot")
