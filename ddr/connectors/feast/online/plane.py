"""A feature view as a plane: its revision is its content, going back is putting a kept state in its place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ddr.connectors.feast.online import definition, refreshing, state, switching, view
from ddr.domain import changes, health, outcomes, planes, revisions, signals
from ddr.errors import Conflict, DdrError, Missing, Refused
from ddr.lib import digest
from ddr.ports import keeping

FROZEN, ISOLATED, ISOLATING = "frozen", "isolated", "isolating"
"""`isolating` says from where to where before the first write, `isolated` that the values are in place."""


@dataclass(frozen=True)
class OnlineView:
    """Implements Observable, Switchable, Spoken, Freezable, Isolatable and Materializable."""

    of: view.View
    which: planes.Plane

    def revision(self) -> revisions.Revision:
        with self.of.opened() as at:
            return state.look(at.view, at.store).revision(self.which)

    def find(self, name: str) -> revisions.Revision:
        """As the port says; every byte of a kept state is read."""
        stored = self._stored(name)
        if stored is not None:
            return stored.revision(self.which, self.of.settings.view)
        live = self.revision()
        if live.name == name:
            return live
        raise Missing(
            f"{name!r} is no state of {self.of.settings.view} that is live or kept",
            hint="`ddr features list` shows those that are",
        )

    def _stored(self, name: str) -> state.Stored | None:
        """The newest kept state of this name."""
        for one in reversed(self.of.shelf.kept(self.of.keeps)):
            if one.facts.get(keeping.REVISION) == name:
                return state.Stored(one, self.of.shelf.open(self.of.keeps, one.name))
        return None

    def write(self, to: revisions.Revision, expect: revisions.Revision) -> str:
        at = self.of.place()
        return (
            f"keep {expect.name}; put the values of {to.name} into {at.store.label}, that view's alone, where they are "
            f"as in {expect.name}; then its entry into the registry"
        )

    def switch(self, to: revisions.Revision, expect: revisions.Revision) -> revisions.Revision:
        """As the port says. What is live is kept before, so the way back is there; the kept state of `to` is read whole
        before the first write."""
        if to.name == expect.name and to.is_same(expect):
            return revisions.must_be(self.revision(), to)
        with self.of.opened() as at:
            job = switching.Switch(self.of, at, self.which, to, expect, self._stored)
            return job.run()

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        """When the definition was last written. Feast notes which windows were materialized, not when."""
        at = self.of.place()
        (entry,) = (one for one in at.registry.objects if one.content == at.view.content and one.name == at.view.name)
        if entry.updated is None or entry.updated < since:
            return ()
        after = digest.short(at.view.digest)
        summary = "the entry in the registry was written: a definition, or a materialized window"
        return (
            changes.Change(
                self.which, at.view.name, entry.updated, "", after, summary=summary, source="Feast registry"
            ),
        )

    def freeze(self, why: str) -> None:
        """Whoever materializes must ask for it: `ddr features frozen VIEW && feast materialize ...`."""
        with self.of.opened() as at:
            at.store.set_mark(FROZEN, why or FROZEN)

    def thaw(self) -> None:
        with self.of.opened() as at:
            at.store.drop_mark(FROZEN)

    def frozen(self) -> str:
        with self.of.opened() as at:
            return at.store.mark(FROZEN)

    def isolate(self, why: str) -> None:
        """The values become those that `fallback` in ddr.yaml declares; who has none gets none. Event times stay.

        What was there is kept before. A materialization writes over it: freeze the view, too.
        """
        if not self.of.settings.fallback:
            raise Refused(
                f"no fallback is declared for {self.of.settings.view}; nothing was changed",
                hint="`fallback: {FEATURE: VALUE}` at its connector in ddr.yaml, null for no value",
            )
        with self.of.opened() as at:
            values = definition.fallbacks(at.view, self.of.settings.fallback)
            noted = _noted(at.store.mark(ISOLATING))
            if at.store.mark(ISOLATED):
                return
            if noted is None:
                before = self.of.keep(f"before it is isolated: {why}" if why else "before it is isolated")
                stand_in = self.of.shelf.keep(
                    self.of.keeps,
                    state.capture(
                        at.view, at.registry, at.store, change=lambda batch: at.store.replaced(batch, values)
                    ),
                    "the fallback of ddr.yaml",
                )
                names = (before.facts[keeping.REVISION], stand_in.facts[keeping.REVISION])
                noted = _Noted(why or ISOLATED, *names)
                at.store.set_mark(ISOLATING, noted.text())
        self.switch(self.find(noted.stand_in), self.find(noted.before))
        with self.of.opened() as at:
            at.store.set_mark(ISOLATED, noted.why)

    def join(self) -> None:
        with self.of.opened() as at:
            noted = _noted(at.store.mark(ISOLATING))
        if noted is None:
            return
        try:
            self.switch(self.find(noted.before), self.find(noted.stand_in))
        except Conflict as problem:
            raise Conflict(
                f"{self.of.settings.view} has other values than the fallback: somebody wrote them; they stay",
                expected=problem.expected, found=problem.found,
                hint=f"if they are right leave them, else go back to {noted.before} by `ddr rollback features`",
            ) from problem  # fmt: skip
        with self.of.opened() as at:
            at.store.drop_mark(ISOLATED)
            at.store.drop_mark(ISOLATING)

    def isolated(self) -> str:
        with self.of.opened() as at:
            return at.store.mark(ISOLATED)

    def materialize(self) -> outcomes.Outcome:
        """As the port says. Blind: what it writes replaces newer values, too."""
        return refreshing.run(self.of)

    def health(self) -> health.Health:
        """Does not read the values: that is what `revision` and the signals are for."""
        cannot = (
            "stop who writes past ddr: a materialization must ask `ddr features frozen` itself",
            "keep others from reading while values are put back (Redis): they see some of both",
        )
        try:
            with self.of.opened() as at:
                entities = at.store.sample(at.view, 1)
                frozen, unfinished = at.store.mark(FROZEN), at.store.mark(switching.MARK)
                isolated = at.store.mark(ISOLATED)
        except DdrError as problem:
            return health.Health.of(problem, cannot)
        why = f"{at.store.label} answers"
        why += f"; frozen: {frozen}" if frozen else ""
        why += f"; isolated: {isolated}" if isolated else ""
        if unfinished:
            why += "; a switch was cut off: run it again"
            return health.Health(signals.State.BAD, why, (), cannot)
        if not entities.times_s:
            return health.Health(signals.State.BAD, f"{why}; no values", (), cannot)
        try:
            states = len(self.of.shelf.kept(self.of.keeps))
        except DdrError as problem:
            return health.Health(signals.State.OK, why, (), (*cannot, f"go back: {problem.message}"))
        can = (f"go back to {states} kept states",) if states else ()
        return health.Health(
            signals.State.OK, why, can, cannot if states else (*cannot, "go back: no state is kept yet")
        )


@dataclass(frozen=True)
class _Noted:
    """An isolation: from which state to which."""

    why: str
    before: str
    stand_in: str

    def text(self) -> str:
        return json.dumps([self.why, self.before, self.stand_in])


def _noted(text: str) -> _Noted | None:
    try:
        why, before, stand_in = json.loads(text)
        return _Noted(str(why), str(before), str(stand_in))
    except (ValueError, TypeError):
        return None
