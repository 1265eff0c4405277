"""Indexes as components of a backup: those that ddr.yaml describes, and homes that a `faiss-index` connector serves.

A component has the name that stands under `indexes:`, else that of the connector. `backup.indexes` names those that go
in, each with whose bytes; without it all do, with the bytes of what serves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ddr.errors import InputError, Missing
from ddr.wiring import backup_settings

if TYPE_CHECKING:
    from ddr.domain import indexes as nouns
    from ddr.index.backing import component
    from ddr.index.homes import home
    from ddr.wiring import build, config

KIND = "vector-index"
CONNECTOR = "faiss-index"


@dataclass(frozen=True)
class Served:
    """A home that only a connector names: where its versions lie."""

    name: str
    root: Path


def names(config: config.Config) -> tuple[str, ...]:
    """All that could go in."""
    return (*config.indexes, *(one.name for one in served(config)))


def served(config: config.Config) -> Iterator[Served]:
    """Homes of `faiss-index` connectors that no index of ddr.yaml has. One with folders of other names is no home."""
    known = {(config.base / entry.home).resolve() for entry in config.indexes.values()}
    for name, entry in config.connectors.items():
        if entry.type != CONNECTOR or name in config.indexes:
            continue
        settings = entry.settings
        root = (config.base / settings.root).resolve()
        if root not in known and (settings.versions, settings.current) == ("versions", "current"):
            yield Served(name, root)


def chosen(wired: build.Wired) -> dict[str, component.IndexHome]:
    """What `backup.indexes` names, all without it. InputError where a connector that is backed up has the name."""
    settings = wired.config.backup or backup_settings.BackupEntry()
    entries = settings.indexes
    there = names(wired.config)
    wanted: Mapping[str, backup_settings.IndexBackup] = (
        {name: backup_settings.IndexBackup() for name in there} if entries is None else entries
    )
    for name in wanted:
        if name not in there:
            raise InputError(
                f"backup.indexes: {name!r} is no index here", hint=f"there is: {', '.join(there) or 'none'}"
            )
    return {name: of(wired, name, entry.versions) for name, entry in wanted.items()}


def of(wired: build.Wired, name: str, choice: nouns.Kept = "serving") -> component.IndexHome:
    """The component of that name. Missing where there is none."""
    from ddr.index.backing import component
    from ddr.index.homes import folder
    from ddr.wiring import indexes

    wanted: nouns.Wanted | None = None
    of_home: home.Home
    if name in wired.config.indexes:
        index = indexes.Indexes(wired, wired.config.indexes).get(name)
        wanted, of_home, s3 = index.wanted, index.home, index.entry.s3
    else:
        root = next((one.root for one in served(wired.config) if one.name == name), None)
        if root is None:
            raise Missing(f"no index {name!r} in {wired.config.path}", hint="name it under `indexes:`")
        of_home, s3 = folder.FolderHome(root, wired.platform.clock.now, wired.platform.actor), None

    def opened(target: str) -> home.Home:
        return indexes.home_of(target, wired.platform.clock.now, wired.platform.actor, s3)

    return component.IndexHome(of_home, opened, wanted, choice)
