"""What planes have in common whose revisions are folders, with a link that says which one is current.

The link is moved under the lock file beside it, which ddr and every deployer that asks for it obey; a deployer that
does not ask can still move it in the millisecond between ddr's look and ddr's move, and is seen when the link is
read back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ddr.domain import changes, planes, revisions
from ddr.errors import Damaged
from ddr.lib import jsonl, pointer


@dataclass(frozen=True)
class LinkedPlane:
    """Implements Observable without `health`, and Switchable. A revision's digest is that of its whole folder.

    `deployments` is the log that deployers write, `{"at", "from", "to", "actor"?, "summary"?}` on a line.
    """

    which: planes.Plane
    object: str
    pointer: pointer.Pointer
    deployments: Path

    def facts(self, folder: Path) -> Mapping[str, str]:
        """What a revision says of itself. Damaged where its folder is not whole."""
        raise NotImplementedError

    def revision(self) -> revisions.Revision:
        return self.find(self.pointer.read())

    def find(self, name: str) -> revisions.Revision:
        facts = self.facts(self.pointer.path(name))
        return revisions.Revision(self.which, self.object, name, self.pointer.digest(name), facts)

    def pointed(self) -> revisions.Revision:
        try:
            return self.revision()
        except Damaged:
            return revisions.Revision(self.which, self.object, self.pointer.read())

    def write(self, to: revisions.Revision, expect: revisions.Revision) -> str:
        return f"move the link {self.pointer.link} from {expect.name} to {to.name}, under its lock"

    def switch(self, to: revisions.Revision, expect: revisions.Revision) -> revisions.Revision:
        live = self.pointed()
        if not revisions.must_move(live=live, to=to, expect=expect):
            return live
        revisions.must_be(self.find(to.name), to)
        self.pointer.swap(expect=expect.name, to=to.name, then=lambda: self.moved(expect.name, to.name))
        return self.revision()

    def moved(self, before: str, after: str) -> None:
        """Called under the lock, when the link was moved. Raises nothing: there is no way back from here."""

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        found = jsonl.read(self.deployments).objects
        return changes.of_deployments(found, since, self.which, self.object, str(self.deployments))

    @property
    def can(self) -> tuple[str, ...]:
        """For `health`: where it could go."""
        return (f"go to {', '.join(self.pointer.names())}",)
