"""Walking lineage: from a model, a feature view, an index, code, data, a run or a commit up to what it was made from,
and down to the services that have or had it. From the ledger's releases and observations, and what is live now."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ddr.domain import lineages, planes, releases, revisions
from ddr.errors import DdrError, Missing, UnknownName
from ddr.journal import views
from ddr.lib import timetext
from ddr.ports import connector
from ddr.ports import platform as platforms
from ddr.release import ledger

Node = lineages.Node
_SHORTEST_COMMIT = 7


@dataclass(frozen=True)
class _Use:
    """A revision that a service has or had. `said` is what the newest release with it was made of; `beside` are the
    revisions of the other planes at the last time it was seen."""

    service: str
    revision: revisions.Revision
    first: datetime
    last: datetime
    is_live: bool
    named_by: tuple[str, ...]
    said: releases.Lineage
    beside: tuple[revisions.Revision, ...]

    @property
    def key(self) -> tuple[planes.Plane, str, str, str]:
        return (self.revision.plane, self.revision.object, self.revision.name, self.revision.digest)

    def fact(self, name: str) -> str:
        """Of the revision, or of the release where that says it of the plane."""
        own = self.revision.facts.get(name, "")
        plane = self.revision.plane
        if own or (name, plane) not in _OF_RELEASE:
            return own
        return str(getattr(self.said, _OF_RELEASE[name, plane]))


_OF_RELEASE = {
    (revisions.COMMIT, planes.Plane.CODE): "commit",
    (revisions.RUN, planes.Plane.MODEL): "run",
    (revisions.DATA, planes.Plane.MODEL): "data",
}


def walk(platform: platforms.Platform, subject: lineages.Subject, known: views.Board | None = None) -> lineages.Lineage:
    """Raises UnknownName where neither the ledger nor a live plane knows the subject. Only looks."""
    board = known or ledger.board(platform)
    silent: list[str] = []
    uses = [use for service in platform.services for use in _uses(platform, board, service, silent)]
    found = [use for use in uses if _is(subject, use)]
    made = [use for use in uses if _is_made_from(subject, use)] if not found else []
    if not found and not made:
        never = _never_served(platform, subject)
        if never is None:
            raise UnknownName(f"no release and no live plane has {subject}", hint=_known(subject, uses))
        return lineages.Lineage(subject, _up(never), (), (), (), _missing([never]), tuple(silent))
    tops = found or made
    up = tuple(dict.fromkeys(node for use in tops for node in (_up(use) if found else _up_of_run(subject, use))))
    down = _services(platform, found) if found else _made(platform, made)
    missing = _missing(tops)
    if not found and subject.kind == planes.Plane.DATA:
        missing = (*missing, f"{subject}: no service has a data plane that says which commit pins it")
    serving = tuple(dict.fromkeys(use.service for use in tops if use.is_live))
    served = tuple(name for name in dict.fromkeys(use.service for use in tops) if name not in serving)
    return lineages.Lineage(subject, up, down, serving, served, missing, tuple(silent))


def _uses(platform: platforms.Platform, board: views.Board, service: str, silent: list[str]) -> Iterator[_Use]:
    sighted: list[tuple[releases.Sighting, bool]] = [(one, False) for one in board.sightings(service)]
    try:
        live = ledger.observe(platform, service)
        sighted.append((live, True))
        silent += [f"{service}: {live.note}"] if live.note else []
    except DdrError as problem:
        silent.append(f"{service}: {problem.message}")
    found: dict[tuple[str, str, str, str], _Use] = {}
    for sighting, is_live in sighted:
        release = sighting if isinstance(sighting, releases.Release) and not is_live else None
        for one in sighting.revisions.values():
            beside = tuple(other for other in sighting.revisions.values() if other is not one)
            use = _Use(service, one, sighting.at, sighting.at, is_live, (), releases.Lineage(), beside)
            before = found.get(use.key)
            if before is not None:
                use = dataclasses.replace(before, last=sighting.at, is_live=is_live, beside=beside, revision=one)
            if release is not None:
                use = dataclasses.replace(use, named_by=(*use.named_by, release.id), said=release.lineage)
            found[use.key] = use
    yield from found.values()


def _is(subject: lineages.Subject, use: _Use) -> bool:
    """Whether the subject is this revision. `code:1.4.0` is understood where no object is called so."""
    one = use.revision
    if subject.kind != one.plane:
        return False
    if subject.object == one.object:
        return not subject.name or subject.name == one.name
    return not subject.name and subject.object == one.name


def _is_made_from(subject: lineages.Subject, use: _Use) -> bool:
    if subject.kind == lineages.RUN:
        return use.fact(revisions.RUN) == subject.object
    if subject.kind == lineages.COMMIT:
        return len(subject.object) >= _SHORTEST_COMMIT and use.fact(revisions.COMMIT).startswith(subject.object)
    if subject.kind == lineages.LOCK:
        lock = use.said.lock or use.fact(revisions.REQUIREMENTS)
        return use.revision.plane is planes.Plane.CODE and lock.removeprefix("sha256:").startswith(
            subject.object.removeprefix("sha256:")
        )
    if subject.kind == planes.Plane.DATA:
        return any(_is_data(subject, entry) for entry in _entries(use.fact(revisions.DATA)))
    return False


def _entries(text: str) -> list[str]:
    return [entry.strip() for entry in text.split(",") if entry.strip()]


def _is_data(subject: lineages.Subject, entry: str) -> bool:
    name, _, bytes_ = entry.partition("@")
    return name == subject.object and (not subject.name or bytes_.startswith(subject.name))


def _label(one: revisions.Revision) -> str:
    return f"{one.plane}:{one}"


def _up(use: _Use) -> tuple[Node, ...]:
    """What it was made from. Data and the commit of a model hang on its run, where that is known."""
    commit, run, data = (use.fact(name) for name in (revisions.COMMIT, revisions.RUN, revisions.DATA))
    leaves = [Node(f"data:{entry}", "trained on" if run else "made from") for entry in _entries(data)]
    if commit:
        leaves.append(Node(f"commit:{commit}", "its program"))
    found = [Node(f"run:{run}", "training run", tuple(leaves))] if run else leaves
    embedder = use.fact(revisions.EMBEDDER)
    if embedder and use.revision.plane is planes.Plane.INDEX:
        found.append(Node(f"embedder:{embedder}", "built with"))
    if use.revision.plane is planes.Plane.CODE:
        lock = use.said.lock or use.fact(revisions.REQUIREMENTS)
        found += [Node(f"lock:{lock}", "environment")] if lock else []
        found += [Node(use.said.image, "image")] if use.said.image else []
    return tuple(found)


def _up_of_run(subject: lineages.Subject, use: _Use) -> tuple[Node, ...]:
    """What a run took, as what came out of it says. A commit and a lock file are made from nothing ddr knows."""
    return tuple(leaf for node in _up(use) for leaf in node.below) if subject.kind == lineages.RUN else ()


def _made(platform: platforms.Platform, made: Sequence[_Use]) -> tuple[Node, ...]:
    """Each revision made from the subject, with the services that have it."""
    by_revision: dict[tuple[str, ...], list[_Use]] = {}
    for use in made:
        by_revision.setdefault(use.key, []).append(use)
    return tuple(
        Node(_label(uses[0].revision), "made from it", _services(platform, uses)) for uses in by_revision.values()
    )


def _services(platform: platforms.Platform, uses: Sequence[_Use]) -> tuple[Node, ...]:
    """Services that have one of these now come first, then those that had one."""
    nodes = []
    several = len({use.key for use in uses}) > 1
    for use in sorted(uses, key=lambda use: (not use.is_live, use.service)):
        which = f"{use.revision} " if several else ""
        until = "" if use.first == use.last else f" to {_clock(use.last)}"
        when = f"now, since {_clock(use.first)}" if use.is_live else f", seen {_clock(use.first)}{until}"
        how = f"{'serves' if use.is_live else 'served'} {which or 'it '}".rstrip() + (" " if use.is_live else "") + when
        consumers = platform.services[use.service].consumers if use.is_live else ()
        below = [Node(name, "depends on it") for name in consumers]
        nodes.append(Node(f"service:{use.service}", how, (*_fed(use), *below)))
    return tuple(nodes)


def _fed(use: _Use) -> tuple[Node, ...]:
    """The model that reads this view, or asks this index, as far as their facts say so."""
    by = {planes.Plane.FEATURES: revisions.INPUTS_SCHEMA, planes.Plane.DATA: revisions.INPUTS_SCHEMA}
    fact = by.get(use.revision.plane)
    if fact is None:
        return ()
    gives = use.fact(fact)
    return tuple(
        Node(_label(one), "takes these columns")
        for one in use.beside
        if one.plane is planes.Plane.MODEL and gives and one.facts.get(fact, "") == gives
    )


def _missing(uses: Sequence[_Use]) -> tuple[str, ...]:
    found = []
    for use in uses:
        expected = lineages.EXPECTED.get(use.revision.plane, {})
        for fact, what in expected.items():
            if not use.fact(fact):
                found.append(f"{_label(use.revision)} does not say {what}")
        if use.revision.plane is planes.Plane.FEATURES and not _fed(use):
            found.append(f"{_label(use.revision)}: nothing says which model of {use.service} takes its columns")
    return tuple(dict.fromkeys(found))


def _never_served(platform: platforms.Platform, subject: lineages.Subject) -> _Use | None:
    """A revision that its own system has, and nobody was ever seen to serve."""
    at = platform.clock.now()
    for service, planes_ in platform.planes.items():
        for plane, acting in planes_.items():
            if plane != subject.kind or not isinstance(acting, connector.Switchable):
                continue
            try:
                one = acting.find(subject.name or subject.object)
            except (Missing, DdrError):
                continue
            if not subject.name or one.object == subject.object:
                return _Use(service, one, at, at, False, (), releases.Lineage(), ())
    return None


def _known(subject: lineages.Subject, uses: Sequence[_Use]) -> str:
    if subject.kind == lineages.RUN:
        names = [f"run:{use.fact(revisions.RUN)}" for use in uses if use.fact(revisions.RUN)]
    elif subject.kind == lineages.COMMIT:
        names = [f"commit:{use.fact(revisions.COMMIT)}" for use in uses if use.fact(revisions.COMMIT)]
    else:
        names = [f"{use.revision.plane}:{use.revision.object}@{use.revision.name}" for use in uses]
        names = [name for name in names if name.startswith(f"{subject.kind}:")] or names
    return f"known: {', '.join(list(dict.fromkeys(names))[:8]) or 'nothing yet; `ddr release record`'}"


def _clock(at: datetime) -> str:
    return timetext.format_clock(at)
