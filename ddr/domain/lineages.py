"""What something was made from, and what was made from it: nouns of a lineage walk."""

from __future__ import annotations

from dataclasses import dataclass

from ddr.domain import planes, revisions

RUN, COMMIT, LOCK = "run", "commit", "lock"
KINDS: tuple[str, ...] = (*planes.Plane, RUN, COMMIT, LOCK)

EXPECTED = {
    planes.Plane.CODE: {revisions.COMMIT: "the commit it was built from"},
    planes.Plane.MODEL: {revisions.RUN: "its training run", revisions.DATA: "the data it was trained on"},
    planes.Plane.FEATURES: {revisions.COMMIT: "the commit of its program"},
    planes.Plane.INDEX: {revisions.EMBEDDER: "the embedder it was built with"},
    planes.Plane.DATA: {revisions.COMMIT: "the commit that pins it"},
}
"""The facts a revision must have so that its lineage can be walked. A plane that is not here has none to give."""


@dataclass(frozen=True)
class Subject:
    """`kind:object@name`; `name` is '' where any revision of the object is meant."""

    kind: str
    object: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.object}" + (f"@{self.name}" if self.name else "")


@dataclass(frozen=True)
class Node:
    """One thing, how it hangs on the one above it, and what hangs on it."""

    what: str
    how: str = ""
    below: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Lineage:
    """`up` is what the subject was made from, `down` what was made from it, down to services and who depends on them.

    `serving` and `served` are the services that have it live now, and those that had it. `missing` names each link
    that nothing records: beyond it nobody can walk, and what hangs there is not in the tree. `silent` are systems and
    services that could not be asked.
    """

    subject: Subject
    up: tuple[Node, ...]
    down: tuple[Node, ...]
    serving: tuple[str, ...]
    served: tuple[str, ...]
    missing: tuple[str, ...]
    silent: tuple[str, ...]


def parse(text: str) -> Subject:
    """Raises ValueError with what is allowed."""
    kind, colon, rest = text.partition(":")
    object_, _, name = rest.partition("@")
    if not colon or kind not in KINDS or not object_:
        kinds = ", ".join(KINDS)
        raise ValueError(f"{text!r} names nothing; write KIND:NAME or KIND:NAME@REVISION, KIND one of {kinds}")
    return Subject(kind, object_, name)
