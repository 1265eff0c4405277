"""One registered model as a plane: the version that its alias or stage names, with the digest of its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ddr.connectors.mlflow import mlmodel, seats, transport
from ddr.domain import changes, health, planes, revisions, signals
from ddr.errors import Damaged, DdrError, Missing
from ddr.lib import digest

FROZEN_TAG = "ddr.frozen"
BLOCKED_TAG = "ddr.blocked"
# MLflow writes this file into a local version's folder whenever someone loads it, with other bytes for each URI form.
WRITTEN_BY_LOADING = ("registered_model_meta",)
_LONGEST_TAG = 5000
_NO_HISTORY = "tell when the {kind} was moved: MLflow keeps no history of it"
_NO_SWAP = (
    "move the {kind} in one step: over REST another client can slip in between ddr's look and its write "
    "(some milliseconds); ddr reads back and says so when it comes later"
)


@dataclass(frozen=True)
class ModelPlane:
    """One alias or stage of one model. Implements Observable, Switchable, Freezable, Markable and Recalling.

    `recalls`: bytes may be those of a reading moments ago. No switch relies on that.
    """

    speaks: transport.Transport
    model: str
    seat: seats.Seat
    which: planes.Plane
    recalls: bool = False

    def recalled(self) -> ModelPlane:
        return dataclasses.replace(self, recalls=True)

    def revision(self) -> revisions.Revision:
        """As the port says; Refused when the alias exists only in another case."""
        return self._revision(self._version_live())

    def find(self, name: str) -> revisions.Revision:
        """Damaged when the files are not there or not whole, or MLflow has not finished the version."""
        return self._revision(self._version(name))

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        return tuple(
            changes.Change(
                self.which,
                self.model,
                version.created_at,
                before="",
                after=version.number,
                actor=version.user or "unknown",
                summary=f"version {version.number} registered" + (f" from run {version.run}" if version.run else ""),
                source=f"MLflow {self.speaks.where}",
            )
            for version in sorted(self.speaks.versions(self.model), key=lambda version: version.created_at)
            if version.created_at >= since
        )

    def pointed(self) -> revisions.Revision:
        version = self.seat.whole(self.speaks, self.model)
        number = version.number if version else self._live()
        try:
            return self._revision(version or self._version(number))
        except (Damaged, Missing):
            return revisions.Revision(self.which, self.model, number)

    def write(self, to: revisions.Revision, expect: revisions.Revision) -> str:
        sure = "in one transaction" if self.speaks.is_atomic else "read, set and read again: MLflow swaps nothing"
        archived = f"; version {expect.name} goes to Archived" if self.seat.kind == "stage" else ""
        what = f"set {self.seat.kind} {self.model}{self.seat.name} from {expect.name} to {to.name}"
        return f"{what} in {self.speaks.where}, {sure}{archived}"

    def switch(self, to: revisions.Revision, expect: revisions.Revision) -> revisions.Revision:
        if self.recalls:
            return dataclasses.replace(self, recalls=False).switch(to, expect)
        live = self.pointed()
        if not revisions.must_move(live=live, to=to, expect=expect):
            return live
        revisions.must_be(self._revision(self._version(to.name)), to)
        after = self.seat.move(self.speaks, self.model, expect=expect.name, to=to.name)
        return self._revision(after or self._version_live())

    def freeze(self, why: str) -> None:
        if not self.frozen():
            self.speaks.tag(self.model, "", FROZEN_TAG, (why or "frozen")[:_LONGEST_TAG])

    def thaw(self) -> None:
        self.speaks.tag(self.model, "", FROZEN_TAG, None)

    def frozen(self) -> str:
        return self.speaks.model(self.model).tags.get(FROZEN_TAG, "")

    def block(self, name: str, why: str) -> None:
        if not self._blocked(name):
            self.speaks.tag(self.model, name, BLOCKED_TAG, (why or "blocked")[:_LONGEST_TAG])

    def unblock(self, name: str) -> None:
        if self._blocked(name):
            self.speaks.tag(self.model, name, BLOCKED_TAG, None)

    def health(self) -> health.Health:
        said = (_NO_HISTORY,) if self.speaks.is_atomic else (_NO_HISTORY, _NO_SWAP)
        cannot = tuple(sentence.format(kind=self.seat.kind) for sentence in said)
        try:
            schema = self.speaks.schema()
            model = self.speaks.model(self.model)
            number = self.seat.version(model)
            version = self.speaks.versions(self.model, only=number)[0]
            live = self._revision(version)
            unread = "" if live.digest else self.speaks.files(version).unread
            remarks = self.seat.remarks(model)
        except DdrError as problem:
            return health.Health.of(problem, cannot)
        why = f"{self.speaks.where} ({schema}): {self.model}{self.seat.name} is version {number}"
        if unread:
            cannot = (*cannot, f"compare bytes: {unread}")
        return health.Health(signals.State.OK, "; ".join([why, *remarks]), (), cannot)

    def _blocked(self, name: str) -> str:
        return self.speaks.versions(self.model, only=name)[0].tags.get(BLOCKED_TAG, "")

    def _version(self, name: str) -> transport.Version:
        if not name.isascii() or not name.isdigit():
            raise Missing(f"{self.model} has no version {name!r}: versions are numbers", hint="write it like 3")
        return self.speaks.versions(self.model, only=name)[0]

    def _version_live(self) -> transport.Version:
        return self.seat.whole(self.speaks, self.model) or self._version(self._live())

    def _live(self) -> str:
        return self.seat.version(self.speaks.model(self.model))

    def _revision(self, version: transport.Version) -> revisions.Revision:
        where = f"{self.model} version {version.number}"
        if version.status != transport.READY:
            raise Damaged(f"{where} is {version.status} in MLflow", hint="register it again, or take another version")
        run = self.speaks.run(version.run) if version.run else transport.Run()
        said = {
            revisions.RUN: version.run,
            revisions.COMMIT: run.commit,
            revisions.DATA: ",".join(run.data),
            revisions.BLOCKED: version.tags.get(BLOCKED_TAG, ""),
        }
        facts = {name: value for name, value in said.items() if value}
        files = self.speaks.files(version, recall=self.recalls)
        if files.unread:
            return revisions.Revision(self.which, self.model, version.number, "", facts)
        place = f"{where} ({version.location})" if version.location else where
        facts |= mlmodel.facts(files, place)
        return revisions.Revision(
            self.which, self.model, version.number, digest.of_entries(files.entries, WRITTEN_BY_LOADING), facts
        )
