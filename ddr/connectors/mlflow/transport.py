"""What the connector asks of MLflow, whichever way it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from ddr.errors import Conflict

DELETED_STAGE, ARCHIVED_STAGE = "Deleted_Internal", "Archived"
COMMIT_TAG = "mlflow.source.git.commit"
READY = "READY"
MLMODEL = "MLmodel"
KEPT = (MLMODEL, "requirements.txt", "conda.yaml", "python_env.yaml")  # small files whose words are facts
LOGGED_MODEL = "models:/m-"  # how a version's source begins when it was registered from a logged model


@dataclass(frozen=True)
class Model:
    """A registered model: alias to version number, tag to value, stage to the highest version number in it."""

    name: str
    aliases: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Version:
    """A model version. `location` is where its files are, '' where the transport finds out when it reads them."""

    model: str
    number: str
    created_at: datetime
    source: str = ""
    location: str = ""
    run: str = ""
    status: str = READY
    stage: str = ""
    user: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Files:
    """A version's files: relative name to digest, and the bytes of those in KEPT. `unread` says why there are none."""

    entries: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, bytes] = field(default_factory=dict)
    unread: str = ""


@dataclass(frozen=True)
class Run:
    """What a training run was made from: the commit of its code, its data sets as `name@digest`."""

    commit: str = ""
    data: tuple[str, ...] = ()


class Transport(Protocol):
    """Writes change what MLflow's own client would change, and nothing else.

    Every method may raise Unavailable, Refused (no rights) and InputError (no MLflow there).
    """

    @property
    def where(self) -> str:
        """For people: the file or the address, without secrets."""
        ...

    @property
    def is_atomic(self) -> bool:
        """Whether `move` compares and sets in one step."""
        ...

    def schema(self) -> str:
        """Which MLflow is there, for people."""
        ...

    def model(self, name: str) -> Model:
        """Missing."""
        ...

    def versions(self, name: str, only: str = "") -> Sequence[Version]:
        """By number, deleted ones left out; one when `only` is given. Missing when that one is not there."""
        ...

    def aliased(self, name: str, alias: str) -> Version | None:
        """The version behind exactly this alias where that is one question, else None: then `model` says more."""
        ...

    def files(self, version: Version, *, recall: bool = False) -> Files:
        """Digests read now, or with `recall` those of a reading moments ago. Damaged when there are no files where
        the registry says."""
        ...

    def run(self, identity: str) -> Run:
        """Nothing of a run that is not there (any more)."""
        ...

    def move(self, name: str, alias: str, expect: str, to: str) -> Version | None:
        """Set an alias that is there from one version to another. Missing; Conflict, and nothing was changed.

        The version that was read back behind it, where that is how the alias is read.
        """
        ...

    def promote(self, name: str, stage: str, expect: str, to: str) -> None:
        """Put a version into a stage, and what is there into Archived, as MLflow does when it is told to archive.

        Missing; Conflict when the highest version in the stage is not `expect`, and nothing was changed.
        """
        ...

    def tag(self, name: str, number: str, key: str, value: str | None) -> None:
        """Set a tag, or delete it with None, on a version or with '' on the model. Repeatable. Missing."""
        ...


def moved(what: str, expect: str, found: str) -> Conflict:
    return Conflict(
        f"{what} is at {found}, not at {expect}; nothing was changed",
        expected=expect,
        found=found,
        hint="someone moved it since the plan: plan again",
    )


def time_of(milliseconds: object) -> datetime:
    """MLflow's times: milliseconds since the epoch."""
    return datetime.fromtimestamp(int(str(milliseconds or 0)) / 1000, UTC)
