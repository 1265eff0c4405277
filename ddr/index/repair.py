"""What to do about a version that a check found something in: the least that helps, told before it is done.

    nothing is wrong                         nothing
    another whole version has the same bytes point at it
    the work folder still has its parts      merge again; those that are damaged are made again first
    only the corpus is left, by its rows     build all of it again
    not even that                            go back to the newest whole version of the same embedder

The work folder of a version whose manifest is damaged is found by the record of moves. Deciding changes nothing; in a
bucket a lease keeps what is proved meanwhile. A repaired version is a new one: published things are never changed, and
the damaged one stays as it is until it is collected.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, DdrError, Missing, Refused, Unavailable
from ddr.index import corpus_levels
from ddr.index.homes import history, home, naming, publishing

_CORPUS_LEVEL = 3
_EMBED = (
    "`ddr index build --publish --model-also` with the embedder of the queries, or go back to the embedder that made it"
)
_UNKNOWN = "what made its vectors is not known any more, so what is built waits for `ddr index publish --model-also`"
_BY_HAND = (
    "`ddr index publish --model-also` serves what was built, when the queries are made by its embedder from now on"
)
_BRING = "bring back its corpus or its work folder, then this again; `ddr restore` brings versions back from a backup"
_AS_IT_IS = f"`ddr index build --publish` serves the corpus as it is now; or {_BRING}"
_WRITTEN_AGAIN = "the files of its corpus were written again or moved since, with the rows that they had"


class Step(enum.StrEnum):
    NOTHING = "nothing"
    POINT = "point"
    MERGE = "merge"
    PARTS = "parts"
    BUILD = "build"
    ROLL_BACK = "roll-back"
    HELPLESS = "helpless"


_REMAKING = frozenset({Step.MERGE, Step.PARTS})


@dataclass(frozen=True)
class Repair:
    """`version` is what is repaired, `to` where the pointer goes without a build; `parts` are made again. `next` is
    what a person can do where nothing here can. `sooner`: where something is made again of a version that is gone, or
    all of it, one that served and lies there with its sizes, not proved yet."""

    version: str
    step: Step
    why: str
    to: str = ""
    parts: tuple[int, ...] = ()
    next: str = ""
    sooner: str = ""

    @property
    def sentence(self) -> str:
        numbers = ", ".join(str(part) for part in self.parts)
        said = {
            Step.NOTHING: "nothing is to be done",
            Step.POINT: f"point at {self.to}, which has the same bytes",
            Step.MERGE: "merge its parts again and publish that",
            Step.PARTS: f"make part {numbers} again, merge and publish that",
            Step.BUILD: "build all of it again and publish that",
            Step.ROLL_BACK: f"go back to {self.to}",
            Step.HELPLESS: "nothing here can repair it",
        }
        return f"{self.version}: {said[self.step]} ({self.why})"


@dataclass(frozen=True)
class Left:
    """What there is to repair with. `parts`: of the work folder of its plan, whether each is whole; () where the folder
    is gone. `is_source_same`: whether the corpus is still what the plan was made of; `has_source`: it can be read."""

    parts: tuple[bool, ...] = ()
    is_trained: bool = False
    is_source_same: bool = False
    has_source: bool = False
    is_scanned: bool = True
    """What was read of the corpus is whole: ids, rows that were left out, queries."""


class Workshop(Protocol):
    """What builds: the caller's. Every method may be repeated and goes on where it was cut off."""

    def left(self, version: str) -> Left:
        """Looked at now, digests included. Touches nothing."""
        ...

    def has_rows(self, manifest: indexes.Manifest) -> bool:
        """Whether the files of the corpus were written again since, with the rows of which the version was made. Reads
        them, where no more speaks against it. Touches nothing."""
        ...

    def rebuild(self, version: str, manifest: indexes.Manifest | None, parts: Sequence[int] | None) -> None:
        """Make these parts again (None: everything, () none), merge, measure and publish. `manifest` is that of the
        version, None where it cannot be read."""
        ...


def decide(
    of: home.Home,
    found: indexes.Check,
    left: Callable[[], Left],
    prove: publishing.Prove,
    embedder: str = "",
    has_rows: Callable[[indexes.Manifest], bool] = lambda manifest: False,
) -> Repair:
    """The least that helps. `left`, `prove` and `has_rows` (of the workshop) are asked only where their answer counts.
    `embedder`: fingerprint of the one that makes the queries now."""
    chosen = _least(of, found, left, prove, embedder, has_rows)
    is_gone = found.version not in of.versions()
    is_damage = all(one.trouble is indexes.Trouble.CORRUPT for one in found.findings)
    if (chosen.step in _REMAKING and is_gone) or (chosen.step is Step.BUILD and is_damage):
        return dataclasses.replace(chosen, sooner=_sooner(of, found.version, embedder))
    return chosen


def _least(
    of: home.Home,
    found: indexes.Check,
    left: Callable[[], Left],
    prove: publishing.Prove,
    embedder: str,
    has_rows: Callable[[indexes.Manifest], bool],
) -> Repair:
    if not found.findings:
        return Repair(found.version, Step.NOTHING, _whole(found))
    troubles = {finding.trouble for finding in found.findings}
    first = f"{found.findings[0].where}: {found.findings[0].what}"
    manifest = _manifest(of, found.version)
    if troubles == {indexes.Trouble.OTHER_EMBEDDER}:
        return _back(of, found, prove, embedder, Repair(found.version, Step.HELPLESS, first, next=_EMBED))
    there = left()
    helpless = Repair(found.version, Step.HELPLESS, first, next=_BRING)
    if all(one.where == corpus_levels.CORPUS for one in found.findings):
        return helpless
    if indexes.Trouble.OUT_OF_SYNC in troubles and there.has_source:
        return Repair(found.version, Step.BUILD, first)
    if manifest is not None and (twin := _twin(of, found.version, manifest, prove)):
        return Repair(found.version, Step.POINT, first, twin)
    if there.parts and there.is_trained:
        damaged = tuple(number for number, is_whole in enumerate(there.parts) if not is_whole)
        if not damaged and (there.is_scanned or there.is_source_same):
            return Repair(found.version, Step.MERGE, first)
        if damaged and there.is_source_same:
            return Repair(found.version, Step.PARTS, first, parts=damaged)
    if there.is_source_same or (manifest is None and there.has_source):
        is_known = publishing.embedder_of(of, found.version) is not None
        return Repair(found.version, Step.BUILD, first if is_known else f"{first}; {_UNKNOWN}")
    if not there.has_source:
        away = dataclasses.replace(helpless, why=f"{first}; its corpus is not at hand")
        return _back(of, found, prove, embedder, away)
    try:
        if manifest is not None and has_rows(manifest):
            return Repair(found.version, Step.BUILD, f"{first}; {_WRITTEN_AGAIN}")
    except Unavailable as problem:
        away = dataclasses.replace(helpless, why=f"{first}; its corpus cannot be read: {problem.message}")
        return _back(of, found, prove, embedder, away)
    other = dataclasses.replace(helpless, why=f"{first}; its corpus is another one by now", next=_AS_IT_IS)
    return _back(of, found, prove, embedder, other)


def _whole(found: indexes.Check) -> str:
    looked = ", ".join(str(level) for level in found.levels)
    more = "" if _CORPUS_LEVEL in found.levels else "; whether it fits its corpus: `ddr index repair --level 3`"
    return f"levels {looked} found nothing{more}"


def apply(
    of: home.Home,
    repair: Repair,
    workshop: Workshop,
    prove: publishing.Prove,
    report: publishing.Report = lambda text: None,
    embedder: str = "",
    intend: publishing.Intend = lambda before, after: None,
) -> publishing.Moved | None:
    """Does what was decided; None where the pointer is the workshop's to move, or nobody's. Refused when helpless,
    Conflict when the pointer is not where it was, OtherEmbedder where nobody knows what made the vectors that serve."""
    report(repair.sentence)
    if repair.step is Step.NOTHING:
        return None
    if repair.step is Step.HELPLESS:
        raise Refused(repair.sentence, hint=repair.next)
    if repair.step in (Step.POINT, Step.ROLL_BACK):
        if of.current() not in (repair.version, repair.to):
            raise Conflict(
                f"{of.name} does not serve {repair.version}; nothing was changed",
                expected=repair.version,
                found=of.current() or "",
                hint="check what serves now",
            )
        way = publishing.way_back(of, repair.to, prove, embedder=embedder, report=report)
        return publishing.roll_back(of, way, report, intend=intend)
    parts = {Step.MERGE: (), Step.PARTS: repair.parts, Step.BUILD: None}[repair.step]
    try:
        workshop.rebuild(repair.version, _manifest(of, repair.version), parts)
    except publishing.OtherEmbedder as problem:
        raise publishing.OtherEmbedder(problem.message, hint=_BY_HAND) from problem
    return None


def _manifest(of: home.Home, version: str) -> indexes.Manifest | None:
    try:
        return of.manifest(version)
    except (Damaged, Missing):
        return None


def _twin(of: home.Home, version: str, manifest: indexes.Manifest, prove: publishing.Prove) -> str:
    """Another version with the same plan and files, whole; "" where there is none."""
    for name in reversed(of.versions()):
        other = _manifest(of, name) if naming.is_ours(name) and name != version else None
        if other is None or (other.plan_digest, other.files) != (manifest.plan_digest, manifest.files):
            continue
        try:
            is_whole = not prove(name).findings
        except (Damaged, Missing):
            continue  # another one may have the same bytes, too
        if is_whole:
            return name
    return ""


def _is_proved(prove: publishing.Prove, version: str) -> bool:
    """What is not known is no reason to pass it over: Unavailable."""
    try:
        return not prove(version).findings
    except Unavailable:
        raise
    except DdrError:
        return False


def _fits(made: str, embedder: str) -> bool:
    """As far as both are known."""
    return not embedder or not made or made == embedder


def _sooner(of: home.Home, gone: str, embedder: str) -> str:
    """The newest that served, has its sizes and is of the embedder of the queries; "" where there is none."""
    for name in history.of(of).before(gone):
        if home.is_whole_at_a_glance(of, name) and _fits(of.manifest(name).embedder.fingerprint, embedder):
            return name
    return ""


def _back(of: home.Home, found: indexes.Check, prove: publishing.Prove, embedder: str, helpless: Repair) -> Repair:
    """The newest whole version whose embedder is that of the queries, as far as both are known."""
    if of.current() != found.version:
        return dataclasses.replace(helpless, why=f"{helpless.why}; it does not serve, and can be collected")
    others = []
    known = history.of(of)
    for name in known.before(found.version):
        try:
            made = of.manifest(name).embedder.fingerprint
            is_whole = not prove(name).findings
        except Unavailable:
            raise
        except DdrError:
            continue
        if is_whole and _fits(made, embedder):
            return dataclasses.replace(helpless, step=Step.ROLL_BACK, to=name, next="")
        others += [name] if is_whole else []
    if others:
        return dataclasses.replace(helpless, why=f"{helpless.why}; other whole versions are of other embedders")
    named = next((name for name in known.others if name != found.version and _is_proved(prove, name)), "")
    if named:
        return dataclasses.replace(
            helpless,
            why=f"{helpless.why}; only {named} is whole, which {known.doubt(named)}",
            next=f"{helpless.next}; or `ddr index rollback --to {named} --apply`, if it is the lesser evil",
        )
    return dataclasses.replace(helpless, why=f"{helpless.why}; no other version is whole")
