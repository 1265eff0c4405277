"""What shrank suddenly stays marked, in each snapshot since, until the source has it back or somebody accepted it.

The mark is two facts of the component: what was lost, and the newest snapshot that was full. A backup is held against
that one, not against the emptied one before it, so the alarm does not end with its first morning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ddr.backup import repository as repositories
from ddr.backup import shrink
from ddr.domain import snapshots
from ddr.errors import Damaged, Missing

LOST, FULL = "shrunk", "shrunk.full"
_MOST_SAID = 3


@dataclass(frozen=True)
class Full:
    """A component as the newest snapshot that was full has it."""

    snapshot: str
    component: snapshots.Component


def full(
    repository: repositories.Repository, parent: snapshots.Snapshot | None, accepted_at: datetime | None
) -> dict[str, Full]:
    """What the next backup is held against, by component. What `parent` has where that was accepted, or where the one
    that was full is not there any more."""
    found = {one.name: Full(parent.id, one) for one in parent.components} if parent else {}
    if parent is None or (accepted_at is not None and parent.at <= accepted_at):
        return found
    for one in parent.components:
        if id_ := one.facts.get(FULL, ""):
            try:
                older = repository.read(repository.head(id_)).component(one.name)
            except (Damaged, Missing):
                continue
            if older is not None:
                found[one.name] = Full(id_, older)
    return found


def marked(component: snapshots.Component, before: Full | None) -> snapshots.Component:
    """With the two facts, where less than half is left of something."""
    lost = shrink.of_component(component, before.component) if before else ()
    if before is None or not lost:
        return component
    said = [str(one).removeprefix(f"{component.name}: ").removeprefix(f"{component.name} ") for one in lost]
    more = f"; and {len(said) - _MOST_SAID} more" if len(said) > _MOST_SAID else ""
    facts = {**component.facts, LOST: "; ".join(said[:_MOST_SAID]) + more, FULL: before.snapshot}
    return dataclasses.replace(component, facts=facts)


def lost(snapshot: snapshots.Snapshot, before: Mapping[str, Full]) -> tuple[shrink.Shrink, ...]:
    """What shrank in any component; one that is gone altogether shrank to zero."""
    return tuple(
        finding
        for name, one in before.items()
        for finding in shrink.of_component(snapshot.component(name), one.component)
    )


def of(snapshot: snapshots.Snapshot) -> tuple[str, ...]:
    """Names of the components that are marked."""
    return tuple(one.name for one in snapshot.components if LOST in one.facts)


def warning(component: snapshots.Component) -> str:
    """For who is about to restore it; '' for one that is not marked."""
    if LOST not in component.facts:
        return ""
    newest = component.facts.get(FULL, "")[:8]
    return (
        f"warning: {component.name} had shrunk suddenly when this snapshot was taken ({component.facts[LOST]})\n"
        f"  the newest one that was full: --snapshot {newest}"
    )
