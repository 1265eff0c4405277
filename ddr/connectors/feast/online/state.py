"""The state of a view: what is captured of it, what it is called, and how it is read back.

A view has no versions that hold its values, so its revision is called by its content: twelve digits of the digest over
its definition and its values. The same content has the same name wherever and whenever it is seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from ddr.connectors.feast import registry as registries
from ddr.connectors.feast.online import definition, stores
from ddr.domain import planes, revisions
from ddr.errors import Damaged, Unsupported
from ddr.lib import digest, protowire, rowbatch, rowdigest, timetext
from ddr.ports import keeping, restorable

VALUES, REGISTRY = "values", "registry"
ENTITIES, NEWEST, OLDEST, TTL, DEFINITION = "entities", "event_newest", "event_oldest", "ttl_s", "definition"
VALUES_DIGEST, _DIGEST, _COMPARED, _ROWS = "values_digest", "digest", "compared", "rows"
_NAME_DIGITS = 12

Check = Callable[["Seen"], None]


@dataclass(frozen=True)
class Seen:
    """What one pass over the values of a view came to."""

    view: definition.Definition
    values: str
    rows: int
    times: stores.Times

    @property
    def digest(self) -> str:
        return digest.of_value({"definition": self.view.digest, "values": self.values})

    @property
    def name(self) -> str:
        return digest.short(self.digest, _NAME_DIGITS)

    def facts(self) -> dict[str, str]:
        """Those of a revision."""
        found = {
            revisions.INPUTS_SCHEMA: self.view.schema,
            DEFINITION: self.view.digest,
            VALUES_DIGEST: self.values,
            _ROWS: str(self.rows),
            ENTITIES: str(self.times.entities),
            TTL: f"{self.view.ttl_s:g}",
        }
        for name, at_s in ((OLDEST, self.times.oldest_s), (NEWEST, self.times.newest_s)):
            if at_s is not None:
                found[name] = _spelled(at_s)
        return found

    def revision(self, which: planes.Plane) -> revisions.Revision:
        return revisions.Revision(which, self.view.name, self.name, self.digest, self.facts())


def _spelled(at_s: float) -> str:
    """A time nobody can spell is a broken value, not a broken store."""
    with contextlib.suppress(ValueError, OverflowError, OSError):
        return timetext.format_time(datetime.fromtimestamp(at_s, UTC))
    return f"{at_s:g} s"


def look(view: definition.Definition, store: stores.Online) -> Seen:
    """Reads every value once."""
    found, total, counter = store.rows(view), rowdigest.Sum(), store.counter()
    for batch in found.batches:
        total.add(batch.select(found.compared))
        counter.add(batch)
    return Seen(view, total.digest, total.rows, counter.times)


def capture(
    view: definition.Definition,
    registry: registries.Registry,
    store: stores.Online,
    check: Check = lambda _: None,
    change: Callable[[rowbatch.Batch], rowbatch.Batch] | None = None,
) -> Callable[[restorable.Sink], None]:
    """Everything of the view, in one pass. `check` looks at what it came to and may raise: then nothing is kept."""

    def put(sink: restorable.Sink) -> None:
        found, total, counter = store.rows(view), rowdigest.Sum(), store.counter()

        def watched() -> Iterator[rowbatch.Batch]:
            for raw in found.batches:
                batch = change(raw) if change else raw
                total.add(batch.select(found.compared))
                counter.add(batch)
                yield batch

        sink.stream(REGISTRY, [_registry_of(view, registry)])
        sink.table(VALUES, found.columns, watched())
        if change is None:
            store.knows(total.digest)
        seen = Seen(view, total.digest, total.rows, counter.times)
        check(seen)
        for name, value in seen.facts().items():
            sink.fact(name, value)
        sink.fact(_COMPARED, "\n".join(found.compared))
        sink.fact(_DIGEST, seen.digest)
        sink.fact(keeping.REVISION, seen.name)

    return put


def _registry_of(view: definition.Definition, registry: registries.Registry) -> bytes:
    """As the file is; of a database the view and what it needs, in the same form."""
    if registry.content:
        return registry.content
    chosen = [one for one in registry.objects if one.project in (view.project, "")]
    return protowire.joined(protowire.encoded(one.number, one.content) for one in chosen)


@dataclass(frozen=True)
class Stored:
    """A kept state, read back."""

    kept: keeping.Kept
    source: restorable.Source

    def registry(self) -> registries.Registry:
        return registries.parse(b"".join(self.source.stream(REGISTRY)), f"the kept state {self.kept.name}")

    def view(self, name: str) -> definition.Definition:
        return definition.of(self.registry(), name, f"the kept state {self.kept.name}")

    def rows(self) -> Iterator[rowbatch.Batch]:
        return self.source.rows(VALUES)

    def seen(self, name: str) -> Seen:
        """Every byte of it, read now. Damaged where it is not what was kept."""
        compared = self.kept.facts.get(_COMPARED, "").split("\n")
        view = self.view(name)
        total = rowdigest.Sum()
        for batch in self.rows():
            total.add(batch.select(compared))
        facts = self.kept.facts
        times = stores.Times(entities=int(facts.get(ENTITIES, "0")))
        found = Seen(view, total.digest, total.rows, times)
        if found.digest != facts.get(_DIGEST):
            raise Damaged(
                f"the kept state {self.kept.name} of {self.kept.object} is not what was kept",
                hint="`ddr backup verify` says what is affected; `ddr features list` shows the others",
            )
        return found

    def revision(self, which: planes.Plane, name: str) -> revisions.Revision:
        """As `Seen.revision` was when it was kept; every byte is read."""
        seen = self.seen(name)
        own = (_COMPARED, _DIGEST, keeping.REVISION)
        facts = {fact: value for fact, value in self.kept.facts.items() if fact not in own}
        return revisions.Revision(which, name, seen.name, seen.digest, facts)


def put_back(entry: registries.Object, of: registries.Registry, now: registries.Registry, at: datetime) -> bytes:
    """The registry with this entry as it was. Unsupported where it is not in the registry any more."""
    merge = registries.merged(now, entry, of, at)
    if merge.does == "create":
        raise Unsupported(
            f"{entry.name} is not in the registry any more", hint=f"`ddr restore --only view:{entry.name}` puts it back"
        )
    return merge.content
