"""The `backup` section of ddr.yaml: how the repository is opened, what goes in, what stays, where copies go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from ddr.backup import retention
from ddr.domain import indexes
from ddr.lib import located

RECOVERY_WINDOW = retention.RECOVERY_WINDOW
"""`recoveryWindow` of ddr.yaml: how far back every plane can be taken; what that needs is kept."""


@dataclass(frozen=True)
class IndexBackup:
    versions: indexes.Kept = "serving"


@dataclass(frozen=True)
class BackupEntry:
    """As it is written. Exactly one of `passphrase`, `keyFile` and `encryption: none` says how it is opened.

    `connectors` are the names of those to back up, all that can be by default, `indexes` those of vector indexes, all
    by default, each with whose bytes go in. `allow` are fingerprints of findings of the secret scanner that somebody
    looked at. `shrunkAccepted` is when a sudden shrinking was last said to be meant.
    """

    passphrase: str = field(default="", repr=False)
    key_file: str = ""
    encryption: Literal["on", "none"] = "on"
    connectors: tuple[str, ...] = ()
    indexes: Mapping[str, IndexBackup] | None = None
    keep: retention.Policy = retention.DEFAULT
    grace: timedelta = timedelta(hours=24)
    copies: Mapping[str, located.Node] = field(default_factory=dict)
    allow: tuple[str, ...] = ()
    shrunk_accepted: datetime | None = None
    metrics: str = ""
    ping: str = ""

    def __post_init__(self) -> None:
        given = [bool(self.passphrase), bool(self.key_file), self.encryption == "none"]
        if sum(given) > 1:
            raise ValueError("passphrase, keyFile and encryption: none exclude each other; keep one")
