"""Homes that are backed up: a repository in memory, a component over a home, and what comes back of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ddr.backup import capture, drill, keys, reading, source
from ddr.backup import repository as repositories
from ddr.domain import indexes, snapshots
from ddr.errors import DdrError
from ddr.index.backing import component, record
from ddr.index.homes import bucket, folder, home
from ddr.ports import restorable, store
from ddr.stores import memory
from tests.unit.index import published

NAME = "docs"


def homes(target: str) -> home.Home:
    return folder.FolderHome(Path(target), published.Clock(), "tester")


def of(place: home.Home, choice: indexes.Kept = "serving") -> component.IndexHome:
    return component.IndexHome(place, homes, None, choice)


@dataclass
class Vault:
    store: memory.MemoryStore = field(default_factory=memory.MemoryStore)
    clock: published.Clock = field(default_factory=published.Clock)

    def __post_init__(self) -> None:
        self.repository: repositories.Repository = repositories.create(
            self.store, keys.Opening(), datetime(2026, 11, 21, tzinfo=UTC)
        )

    def run(self, made: restorable.Capturable) -> snapshots.Snapshot:
        """With something else beside it, so that there is a snapshot whatever happens to the home."""
        origins = {
            NAME: capture.Origin(NAME, "vector-index", "a home", made),
            "else": capture.Origin("else", "else", "", _Else()),
        }
        return capture.run(self.repository, origins, capture.Maker("here", "anna", "0", self.clock), workers=1)

    def captured(self, made: restorable.Capturable) -> snapshots.Component:
        found = self.run(made).component(NAME)
        assert found is not None
        return found

    def source(self, at: int = -1) -> source.ChunkSource:
        """Of the newest snapshot, or another one."""
        snapshot = self.repository.read(self.repository.heads()[at])
        found = snapshot.component(NAME)
        assert found is not None
        return source.ChunkSource(self.repository, reading.Reader(self.repository, self.repository.index()), found)

    def drill(self, made: restorable.Restorable) -> drill.Part:
        snapshot = self.repository.read(self.repository.heads()[-1])
        done = drill.rehearse(self.repository, snapshot, {NAME: made})
        return next(part for part in done.parts if part.component == NAME)


class _Else:
    def capture(self, sink: restorable.Sink) -> None:
        sink.stream("word", [b"there is something else"])


class Raising:
    """Keeps the hint of what the capture raises; a snapshot has the message alone."""

    def __init__(self, real: restorable.Capturable) -> None:
        self.real, self.hint = real, ""

    def capture(self, sink: restorable.Sink) -> None:
        try:
            self.real.capture(sink)
        except DdrError as problem:
            self.hint = problem.hint
            raise


def files(of_source: restorable.Source, tree: str = record.VERSIONS) -> list[str]:
    if of_source.component.tree(tree) is None:
        return []
    return [one.path for one in of_source.files(tree) if one.kind == "file"]


def options(target: str = "", policy: restorable.Policy = "fail", *only: str, **more: str) -> restorable.RestoreOptions:
    return restorable.RestoreOptions(target, policy, only, more=more)


def said(plan: restorable.RestorePlan) -> list[tuple[str, str]]:
    return [(line.does, line.what) for line in plan.lines]


def restored(
    made: restorable.Restorable, of_source: restorable.Source, wishes: restorable.RestoreOptions
) -> restorable.RestorePlan:
    """Planned, done and compared: everything must be equal."""
    plan = made.plan_restore(of_source, wishes)
    assert plan.refusals == ()
    made.restore(plan, of_source)
    compared = made.compare(plan, of_source)
    assert [one for one in compared if not one.is_equal] == []
    assert compared
    return plan


def two(root: Path, made: published.Made) -> tuple[folder.FolderHome, str, str]:
    """The first version is pinned, the second serves."""
    at = published.at(root)
    first, second = (published.published(at, made.as_another(number)) for number in range(2))
    at.pin(first, "for the audit")
    return at, first, second


def in_bucket(place: store.Store) -> bucket.BucketHome:
    return bucket.BucketHome(place, "", published.Clock(), segment_bytes=2000)
