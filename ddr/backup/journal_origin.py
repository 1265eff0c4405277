"""The journal in a backup: deployment history, releases, incidents, runs. Its objects, byte for byte."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ddr.errors import Conflict, InputError
from ddr.journal import layout
from ddr.ports import restorable, store

TREE = "events"


class JournalOrigin:
    """Implements ports.restorable.Restorable over the store that the journal lies in.

    It is restored into the store of this ddr.yaml, and only where it has no journal, or the beginning of the same one.
    """

    def __init__(self, lies_in: store.Store) -> None:
        self._store = lies_in
        self.where = lies_in.name

    def rehearse(
        self, source: restorable.Source, folder: Path, progress: restorable.Progress | None = None
    ) -> restorable.Rehearsal:
        """Into the store it was made with, which is an empty one for a drill."""
        del folder
        began = time.monotonic()
        plan = self.plan_restore(source, restorable.RestoreOptions())
        self.restore(plan, source, progress)
        compared = self.compare(plan, source)
        return restorable.Rehearsal({"restore": round(time.monotonic() - began, 3)}, tuple(compared), plan.refusals)

    def capture(self, sink: restorable.Sink) -> None:
        sink.tree(TREE, _Objects(self._store))

    def plan_restore(self, source: restorable.Source, options: restorable.RestoreOptions) -> restorable.RestorePlan:
        if options.target or options.only or options.rewrites:
            raise InputError(
                "the journal is restored whole, into the repository of ddr.yaml",
                hint="give another ddr.yaml with --config to restore it elsewhere",
            )
        restorable.check_wishes(options, {})
        stored = [file for file in source.files(TREE) if file.kind == "file"]
        there = {entry.key: entry.size_bytes for entry in self._store.list(layout.ROOT)}
        new = [file for file in stored if layout.ROOT + file.path not in there]
        other = [
            file
            for file in stored
            if layout.ROOT + file.path in there and not source.matches(TREE, file.path, [self._get(file)])
        ]
        lines = [restorable.PlanLine("create", f"{len(new)} objects of the journal", self._store.name)] if new else []
        same = len(stored) - len(new) - len(other)
        lines += [restorable.PlanLine("skip", f"{same} objects that are there already")] if same else []
        lines += [restorable.PlanLine("conflict", layout.ROOT + file.path, "has other bytes") for file in other]
        refusals = (f"{self._store.name} has another journal; it is never overwritten",) if other else ()
        return restorable.RestorePlan("journal", self._store.name, options, tuple(lines), refusals)

    def _get(self, file: restorable.FileStored) -> bytes:
        return self._store.get(layout.ROOT + file.path)

    def restore(
        self, plan: restorable.RestorePlan, source: restorable.Source, progress: restorable.Progress | None = None
    ) -> None:
        files = [file for file in source.files(TREE) if file.kind == "file"]
        for at, file in enumerate(sorted(files, key=lambda file: file.path), 1):
            content = b"".join(source.read(TREE, file.path))
            try:
                self._store.create(layout.ROOT + file.path, content)
            except store.Exists:
                if self._get(file) != content:
                    raise Conflict(
                        f"{self._store.name} has another journal",
                        expected=f"{layout.ROOT}{file.path} as in the snapshot",
                        found="other bytes",
                        hint="nothing of it was overwritten",
                    ) from None
            if progress:
                progress(TREE, at, len(files))

    def compare(self, plan: restorable.RestorePlan, source: restorable.Source) -> Sequence[restorable.Comparison]:
        found = []
        for file in source.files(TREE):
            if file.kind == "file":
                is_same = source.matches(TREE, file.path, [self._get(file)])
                found.append(restorable.Comparison(file.path, "same bytes", "same bytes" if is_same else "other bytes"))
        return found


class _Objects:
    """Implements FileTree over the keys of the journal."""

    def __init__(self, lies_in: store.Store) -> None:
        self._store = lies_in

    def entries(self) -> Iterator[restorable.FileSeen]:
        folders: set[str] = set()
        found = sorted(
            (entry.key.removeprefix(layout.ROOT).split("/"), entry) for entry in self._store.list(layout.ROOT)
        )
        for parts, entry in found:
            for depth in range(1, len(parts)):
                folder = "/".join(parts[:depth])
                if folder not in folders:
                    folders.add(folder)
                    yield restorable.FileSeen(folder, "folder", mode=0o755)
            yield restorable.FileSeen("/".join(parts), "file", entry.size_bytes, mark=entry.version)

    def local(self, seen: restorable.FileSeen) -> Path | None:
        return None

    def read(self, seen: restorable.FileSeen) -> Iterator[bytes]:
        yield self._store.get(layout.ROOT + seen.path)
