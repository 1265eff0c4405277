"""Data as DVC pins it: the commit that a link points at, and other commits restored beside it.

The live files are never touched: a commit's data is restored into a git worktree of its own, after every hash is
proved to be there, and then the link is moved. DVC itself is not needed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ddr.connectors.files import dvc, dvc_s3, pins, trees
from ddr.domain import changes, health, planes, revisions, signals
from ddr.errors import Conflict, Damaged, DdrError, Missing, Unavailable
from ddr.lib import clock as clocks
from ddr.lib import commits, digest, durable, openfiles, pointer, redact, timetext

_CANNOT = (
    pointer.UNLOCKED,
    "bring back what DVC keeps in no remote (`cache: false`, `push: false`): it is not restored",
)


@dataclass(frozen=True)
class Settings:
    """`root` is a folder of a git repository with DVC; `versions` is where trees of data are made, outside of it.

    `current` is the link that those who read the data follow: to `root`, or into `versions`.
    """

    root: str
    versions: str
    current: str


@dataclass(frozen=True)
class Binding:
    """A plane says nothing more: one root is one plane."""


@dataclass(frozen=True)
class PinnedData:
    root: Path
    versions: Path
    link: Path
    look_ups: dvc.LookUps

    def plane(self, binding: Binding, plane: planes.Plane) -> DataPlane:
        del binding
        return DataPlane(plane, self.root, self.versions, self.link, self.look_ups)


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> PinnedData:
    del clock
    return PinnedData(base / settings.root, base / settings.versions, base / settings.current, dvc_s3.anywhere)


@dataclass(frozen=True)
class DataPlane:
    """Implements Observable and Switchable. A revision is a commit; its digest is that of all hashes it pins."""

    which: planes.Plane
    root: Path
    versions: Path
    link: Path
    look_ups: dvc.LookUps = field(repr=False)
    lock_timeout_s: float = 5.0

    def revision(self) -> revisions.Revision:
        """What the link points at, with the hashes that are pinned there now; of a tree that ddr made a file that was
        changed counts with its own hash. Whether the live folder has every file is for `health`."""
        tree, name = self._pointed()
        if not name:
            here = commits.Repository(tree)
            return self._revision(here.head(), self._pins_on_disk(here, tree), {})
        made = self._trees()
        here = commits.Repository(made.root(name))
        other = {path: trees.hash_of(made.root(name) / path) for path in made.changed(name)}
        return self._revision(name, self._pins_on_disk(here, made.root(name)), other)

    def find(self, name: str) -> revisions.Revision:
        """By commit, tag or branch. Damaged when an object that it pins is neither in the remote nor in the cache."""
        commit = self._repository.commit(name)
        found = self._pins(commit)
        objects = self._objects()
        files = objects.proved(found)
        return self._revision(commit, found, {}, objects=len(files), only_here=objects.only_here)

    def pointed(self) -> revisions.Revision:
        try:
            return self.revision()
        except Damaged:
            tree, name = self._pointed()
            return revisions.Revision(self.which, self.root.name, name or commits.Repository(tree).head())

    def write(self, to: revisions.Revision, expect: revisions.Revision) -> str:
        del expect
        made = self._trees()
        how = "is there" if made.is_made(to.name) else "is restored first"
        return f"point {self.link} at {made.path(to.name)}, which {how}; {self.root} stays as it is"

    def switch(self, to: revisions.Revision, expect: revisions.Revision) -> revisions.Revision:
        target = self._target()
        live = self.pointed()
        if not revisions.must_move(live=live, to=to, expect=expect):
            return live
        commit = revisions.must_be(self.find(to.name), to).name
        objects = self._objects()
        made = self._trees()
        made.make(commit, objects.proved(self._pins(commit)), objects)
        self._swap(target, made.path(commit), live)
        return self.revision()

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        """Commits of the live branch that pin other data; git does not remember where the link pointed."""
        found = self._repository.log((f":(glob)**/{dvc.LOCK}", ":(glob)**/*.dvc"))
        seen = (
            changes.Change(
                self.which, self.root.name, timetext.parse_time(one.at), one.before, one.commit, one.author,
                one.summary, f"git {self.root}",
            )
            for one in found
        )  # fmt: skip
        return tuple(sorted((change for change in seen if change.at >= since), key=lambda change: change.at))

    def health(self) -> health.Health:
        try:
            tree, name = self._pointed()
            live = self.revision()
            changed = self._trees().changed(name) if name else ()
            paths = [pin.path for pin in self._pins(live.name)]
        except DdrError as problem:
            return health.Health.of(problem, _CANNOT)
        if changed:
            why = f"{self.link} points at {live.name[:12]}, whose files were changed: {', '.join(changed[:3])}"
            return health.Health(signals.State.BAD, why, (), _CANNOT)
        why = f"{self.link} points at {'commit ' if name else f'the live folder {tree}, at commit '}{live.name[:12]}"
        absent = [path for path in paths if not name and not os.path.lexists(self.root / path)]
        if absent:
            why += f"; {len(absent)} of {len(paths)} outs are not checked out there: {absent[0]}"
        cannot = _CANNOT if name else (*_CANNOT, f"tell whether the bytes in {tree} are those that are pinned")
        return health.Health(signals.State.OK, why, ("go to any commit whose data is in the remote",), cannot)

    @property
    def _repository(self) -> commits.Repository:
        return commits.Repository(self.root)

    def _trees(self) -> trees.Trees:
        return trees.Trees(self.versions, self._repository, self._repository.below_top())

    def _pins(self, commit: str) -> tuple[pins.Pin, ...]:
        found = self._repository.paths(commit)
        return pins.read(found, lambda path: self._repository.read(commit, path))

    def _pins_on_disk(self, here: commits.Repository, root: Path) -> tuple[pins.Pin, ...]:
        def content(path: str) -> bytes:
            try:
                return (root / path).read_bytes()
            except OSError as problem:
                raise Damaged(
                    f"{root / path} cannot be read: {redact.foreign(problem)}", hint="`git status` there says more"
                ) from problem

        return pins.read(here.paths(), content)

    def _objects(self) -> pins.Objects:
        """Where the live repository says that objects are now; an old commit may name a remote that moved."""
        report = dvc.Report()
        folder = dvc.folder_of(self.root.resolve())
        return pins.Objects(dvc.remotes_of(folder / ".dvc", report) if folder else dvc.Remotes(), self.look_ups)

    def _revision(
        self, commit: str, found: Sequence[pins.Pin], other: dict[str, str], **numbers: int
    ) -> revisions.Revision:
        if not found:
            raise Damaged(
                f"{self.root}: commit {commit[:12]} pins no data", hint="name a commit with a dvc.lock or a .dvc file"
            )
        hashes = {**{pin.path: pin.hash for pin in found}, **other}
        facts = {revisions.COMMIT: commit, "outs": str(len(found))}
        facts |= {name: str(number) for name, number in numbers.items()}
        return revisions.Revision(self.which, self.root.name, commit, digest.of_value(hashes), facts)

    def _target(self) -> str:
        try:
            return str(self.link.readlink())
        except FileNotFoundError:
            raise Missing(
                f"there is no {self.link}", hint=f"ln -s {self.root} {self.link}, and let readers follow it"
            ) from None
        except OSError as problem:
            raise Damaged(
                f"{self.link} is no symbolic link: {problem.strerror}", hint="readers must follow a link"
            ) from problem

    def _pointed(self) -> tuple[Path, str]:
        """The tree, and its commit when ddr made it. Damaged when the link leads elsewhere, Missing."""
        place = Path(os.path.normpath(self.link.parent / self._target()))
        if not place.is_dir():
            raise Missing(f"{self.link} points at {place}, which is not there", hint="point it back by hand")
        if place.resolve() == self.root.resolve():
            return place, ""
        made = self._trees()
        if place.parent.resolve() == self.versions.resolve() and made.is_made(place.name):
            return place, place.name
        raise Damaged(
            f"{self.link} points at {place}: neither {self.root} nor a tree that was made whole in {self.versions}",
            hint="point it back by hand",
        )

    def _swap(self, expect: str, to: Path, live: revisions.Revision) -> None:
        try:
            with openfiles.locked(self.link.with_name(pointer.LOCK), self.lock_timeout_s):
                found = self._target()
                if found != expect or not self.pointed().is_same(live):
                    raise Conflict(
                        f"{self.link} points at {found} now; nothing was changed",
                        expected=expect, found=found, hint="someone moved it since the plan: plan again",
                    )  # fmt: skip
                durable.point(self.link, os.path.relpath(to, self.link.parent))
        except OSError as problem:
            raise Unavailable(
                f"{self.link} cannot be moved: {redact.foreign(problem)}", hint="look at its rights"
            ) from problem
