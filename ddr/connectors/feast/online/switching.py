"""Putting one kept state of a view in the place of another: the values, then the entry in the registry.

An unfinished switch leaves a mark beside the values, which says from where to where. With it the same switch, or the
one back, goes on from whatever is there: every row and the entry may be as in either state. Another one is a conflict.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from ddr.connectors.feast import registry as registries
from ddr.connectors.feast.online import state, view
from ddr.domain import planes, revisions
from ddr.errors import Conflict, Missing, Unavailable, Unsupported
from ddr.lib import durable, redact

MARK = "switch"


class _Nothing(Exception):
    """What is asked for is live already."""


@dataclass(frozen=True)
class Switch:
    """One call of `switch`. The store is open."""

    of: view.View
    at: view.Place
    which: planes.Plane
    to: revisions.Revision
    expect: revisions.Revision
    stored: Callable[[str], state.Stored | None]

    def run(self) -> revisions.Revision:
        store = self.at.store
        noted = store.mark(MARK)
        if noted:
            self._same_pair(noted)
            target, before = self._kept(self.to), self._kept(self.expect)
        else:
            generation = store.generation()
            looked = self._looked()
            if looked is None:
                return self._live()
            target = looked
            before = self._kept(self.expect)
            self._begin(generation)
        try:
            self._put(before, target)
        except (Conflict, Unsupported):
            if not noted:
                store.drop_mark(MARK)
            raise
        found = self._live()
        store.passed()
        store.drop_mark(MARK)
        return revisions.must_be(found, self.to)

    def _live(self) -> revisions.Revision:
        at = self.of.place()  # the entry may be another one now
        return state.look(at.view, self.at.store).revision(self.which)

    def _looked(self) -> state.Stored | None:
        """The target, whole; None when it is live. What is live is what is expected, and kept now.

        One pass over the values: they are kept while they are looked at, and if they are others nothing is kept.
        """
        stored = self.stored(self.to.name)
        if stored is not None:
            self._fits(stored)

        def check(seen: state.Seen) -> None:
            if not revisions.must_move(live=seen.revision(self.which), to=self.to, expect=self.expect):
                raise _Nothing
            if stored is None:
                raise self._missing(self.to)

        try:
            self.of.shelf.keep(
                self.of.keeps, state.capture(self.at.view, self.at.registry, self.at.store, check),
                f"before {self.to.name} takes its place",
            )  # fmt: skip
        except _Nothing:
            return None
        return stored

    def _fits(self, stored: state.Stored) -> None:
        """Every byte of it is read. Conflict when it is another than planned; Unsupported where it cannot be put."""
        revisions.must_be(stored.revision(self.which, self.of.settings.view), self.to)
        if self.at.registry_file is None and stored.view(self.of.settings.view).digest != self.at.view.digest:
            raise Unsupported(
                f"the definition of {self.of.settings.view} was another one, and the registry is a database",
                hint="`feast apply` the definition of then, or `ddr restore --only view:NAME`; then go back",
            )

    def _kept(self, wanted: revisions.Revision) -> state.Stored:
        found = self.stored(wanted.name)
        if found is None:
            raise self._missing(wanted)
        return found

    def _missing(self, wanted: revisions.Revision) -> Missing:
        return Missing(
            f"no state {wanted.name} of {self.of.settings.view} is kept (any more)",
            hint="`ddr features list` shows those that are",
        )

    def _same_pair(self, noted: str) -> None:
        pair = {self.to.name, self.expect.name}
        try:
            known = set(json.loads(noted))
        except (ValueError, TypeError):
            known = {noted}
        if known != pair:
            raise Conflict(
                f"{self.of.settings.view} is between {' and '.join(sorted(known))}: a switch is at work or was cut off",
                expected=self.expect.name, found=" or ".join(sorted(known)),
                hint="wait for it; if it was cut off, run it again or take it back",
            )  # fmt: skip

    def _begin(self, generation: str) -> None:
        store = self.at.store
        if not store.set_mark(MARK, json.dumps([self.expect.name, self.to.name])):
            self._same_pair(store.mark(MARK))
        elif store.generation() != generation:
            store.drop_mark(MARK)
            raise Conflict(
                f"{self.of.settings.view} was switched by somebody else just now; nothing was changed",
                expected=self.expect.name, found="another state", hint="look again, then plan again",
            )  # fmt: skip

    def _put(self, before: state.Stored, target: state.Stored) -> None:
        store = self.at.store
        digests = [one.kept.facts.get(state.VALUES_DIGEST, "") for one in (before, target)]
        old, new = before.view(self.of.settings.view), target.view(self.of.settings.view)
        self._entry_is(old.content, new.content, self._registry())
        store.exchange(before.rows, target.rows, *digests)
        if self.at.registry_file is not None:
            self._write_entry(old.content, target)

    def _registry(self) -> registries.Registry:
        return self.of.place().registry

    def _entry_is(self, old: bytes, new: bytes, now: registries.Registry) -> registries.Object:
        """The entry as it is, when it is as in one of both states. Of a database only what a person wrote counts."""
        (live,) = (one for one in now.views(self.of.settings.view) if one.number == self._number(now))
        if self.at.registry_file is not None and live.content not in (old, new):
            raise Conflict(
                f"the entry of {self.of.settings.view} in the registry was written since the look",
                expected="the entry as it was kept", found="another one", hint="look again, then plan again",
            )  # fmt: skip
        return live

    def _number(self, now: registries.Registry) -> int:
        """Which kind of view it is."""
        return next(one.number for one in now.views(self.of.settings.view) if one.ttl_s is not None or one.features)

    def _write_entry(self, old: bytes, target: state.Stored) -> None:
        kept = target.registry()
        entry = next(one for one in kept.views(self.of.settings.view) if one.number == self._number(kept))
        now = self._registry()
        live = self._entry_is(old, entry.content, now)
        if live.content == entry.content:
            return
        content = state.put_back(entry, kept, now, self.of.clock.now())
        place = self.at.registry_file
        assert place is not None
        try:
            durable.replace(place, content)
        except OSError as problem:
            raise Unavailable(
                f"{place} cannot be written: {redact.foreign(problem)}", hint="look at its rights and disk"
            ) from problem
