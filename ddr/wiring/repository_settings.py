"""Where a repository lies, as ddr.yaml says it: `repository` and each of `backup.copies`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

_MOST_LOCK_DAYS = 3650
"""A lock in mode compliance cannot be taken back: a slip of the finger should not cost a century."""


@dataclass(frozen=True)
class LocalRepository:
    """A folder on this machine. `spool` and the journal's local copy default to the user's state folder."""

    type: Literal["local"]
    path: str
    spool: str = ""


@dataclass(frozen=True)
class LockEntry:
    """For a bucket with Object Lock: backups cannot be deleted for so many days from the newest one on. `governance`
    can be lifted by who has a right of its own, `compliance` by nobody, also not by the owner of the account."""

    mode: Literal["compliance", "governance"]
    days: int

    def __post_init__(self) -> None:
        if not 1 <= self.days <= _MOST_LOCK_DAYS:
            raise ValueError(f"days is {self.days}; a lock takes 1 to {_MOST_LOCK_DAYS} days")


@dataclass(frozen=True)
class S3Repository:
    """A bucket, or a part of one. Without keys the usual AWS chain is asked (environment, profile, role)."""

    type: Literal["s3"]
    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = ""
    spool: str = ""
    lock: LockEntry | None = None


Repository = LocalRepository | S3Repository
BY_TYPE: dict[str, type[Repository]] = {"local": LocalRepository, "s3": S3Repository}
