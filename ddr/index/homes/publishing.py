"""Publish, go back, pin: what is proved before a pointer moves. Nothing here ever changes a version.

The order is always the same: the version is there whole, its bytes are compared with its digests where they lie, a
child process loads it and answers its probes, and only then does the pointer move, from what was seen at the start.
Whatever fails before that leaves the pointer as it was; a kill leaves at most a version that nobody serves, which the
same command finds and uses.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ddr.domain import indexes
from ddr.errors import Damaged, DdrError, Missing, Refused
from ddr.index.homes import history, home, naming
from ddr.lib import digest

Prove = Callable[[str], indexes.Check]
"""Levels 0 to 2 of a version of the home: `check.check` with all but the version given."""

Report = Callable[[str], None]
Intend = Callable[[str, str], None]
"""Called right before the pointer moves, with from ("": from nothing) and to. Where it raises, nothing moves."""

_MUCH = 0.9
"""Of the rows that serve: an index with fewer is published with a warning."""


class NotProved(DdrError):
    """What was found in the version. Its exit code is that of the gravest finding."""

    def __init__(self, message: str, check: indexes.Check, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.check = check
        self.exit_code = check.exit_code


class BelowGate(Refused):
    """It finds too little of what it should."""

    exit_code = indexes.EXIT_CODES[indexes.Trouble.LOW_RECALL]


class OtherEmbedder(Refused):
    """Its vectors live in another space than the queries."""

    exit_code = indexes.EXIT_CODES[indexes.Trouble.OTHER_EMBEDDER]


class OtherIndex(Refused):
    """The home is that of another index: whoever asks that one would get the neighbours of this one."""


@dataclass(frozen=True)
class Gate:
    """What the gate said: `refusals` are reasons not to publish, `hint` is what would change that, `force` why it is
    published all the same."""

    refusals: tuple[str, ...] = ()
    force: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Moved:
    """For the journal: the pointer went from `before` to `after`. Equal: it was there already."""

    before: str
    after: str
    proof: indexes.Check
    warnings: tuple[str, ...] = ()


def publish(
    to: home.Home,
    files: Mapping[str, Path],
    manifest: indexes.Manifest,
    prove: Prove,
    *,
    gate: Gate = Gate(),
    model_also: bool = False,
    instead_of: str = "",
    intend: Intend = lambda before, after: None,
    report: Report = lambda text: None,
) -> Moved:
    """`manifest` without `version`, `parent` and `forced`: they are filled in here.

    BelowGate; OtherEmbedder unless `model_also`; OtherIndex unless `instead_of` names the one that serves; NotProved
    when the version is not what was built (it is taken away again); Conflict when somebody else moved the pointer
    meanwhile: the version stays, and the same command goes on.
    """
    if gate.refusals and not gate.force:
        raise BelowGate(
            f"{manifest.name} is not published: {'; '.join(gate.refusals)}",
            hint=f"{gate.hint + '; ' if gate.hint else ''}`--force` with a reason is written down",
        )
    before = to.current()
    ensure_same_index(to, manifest.name, instead_of)
    warnings = (*_embedder(to, manifest, before, "", model_also=model_also), *_fewer(to, manifest, before))
    forced = gate.force if gate.refusals else ""
    manifest = dataclasses.replace(manifest, version="", parent=before or "", forced=forced)
    version, proof = _there_already(to, manifest, prove, report)
    if not version:
        sealed = naming.seal(manifest, to.versions())
        version = sealed.version
        report(f"adding {version} to {to.name}")
        to.add(version, files, sealed)
        report(f"proving {version}: digests, load in a child, probes")
        proof = prove(version)
        if proof.findings:
            _take_away(to, version)
            raise _not_proved(f"{version} is not published", proof, "build it again; this disk may be failing")
    if version != before:
        intend(before or "", version)
    published = home.Published(manifest.plan_digest, manifest.embedder.fingerprint)
    warning = to.point(before, version, f"publish: plan {digest.short(manifest.plan_digest)}", published)
    report(f"{to.name} serves {version}")
    return Moved(before or "", version, proof, tuple(filter(None, (*warnings, warning))))


def ensure_same_index(to: home.Home, name: str, instead_of: str = "") -> None:
    """OtherIndex where the home is that of another index than `name`, but for `instead_of`."""
    its = _index_of(to, name)
    if its in (name, instead_of, ""):
        return
    raise OtherIndex(
        f"{name} is not published: {to.name} is the home of index {its}",
        hint=f"a `home:` of its own; or, where {name} is the new name of {its} or takes its place: "
        f"`ddr index build --publish --instead-of {shlex.quote(its)}`",
    )


def _index_of(to: home.Home, name: str) -> str:
    """The index that serves, or was the last to; where that is not to be known `name`, if it was ever published, else
    that of the newest version that says it. "" where none does."""
    if found := _said_by(to, _serves(to, to.current())):
        return found
    names = list(filter(None, (_said_by(to, version) for version in reversed(to.versions()))))
    return name if name in names else next(iter(names), "")


def _said_by(to: home.Home, version: str) -> str:
    """The index that a version is of; "" for what others put there, and for what cannot be read."""
    if not naming.is_ours(version):
        return ""
    try:
        return to.manifest(version).name
    except naming.NewerVersion as problem:
        return problem.index
    except (Damaged, Missing):
        return ""


def way_back(
    to: home.Home,
    version: str | None,
    prove: Prove,
    *,
    embedder: str = "",
    model_also: bool = False,
    report: Report = lambda text: None,
) -> Moved:
    """The move to `version`, or to the newest before the current one that is whole, proved and not made yet.

    `embedder` is the fingerprint of the one that makes the queries now, "" takes that of the current version. Missing,
    NotProved, OtherEmbedder: the hint names what is still possible.
    """
    before = to.current() if version is None else _left(to)
    warnings: tuple[str, ...] = ()
    if version is None:
        version, warnings, proof = _newest_whole(to, before, prove, embedder, report, model_also=model_also)
    else:
        try:
            manifest = _manifest_of(to, version)
        except (Damaged, Missing):
            if not (naming.is_ours(version) and version in to.versions()):
                raise
        else:  # where it cannot be read the proof says so
            warnings = _across(to, manifest, before, embedder, model_also=model_also)
        report(f"proving {version}: digests, load in a child, probes")
        proof = prove(version)
    if proof.findings:
        ways = history.of(to).before(before)
        others = [name for name in ways if name != version and home.is_whole_at_a_glance(to, name)]
        hint = f"still possible: {', '.join(others)}" if others else f"no other version is whole: {_mend(to, before)}"
        raise _not_proved(f"{version} is not gone to, {to.name} stays at {before or 'nothing'}", proof, hint)
    return Moved(before or "", version, proof, tuple(filter(None, (*warnings, to.unread()))))


def roll_back(
    to: home.Home,
    way: Moved,
    report: Report = lambda text: None,
    *,
    intend: Intend = lambda before, after: None,
) -> Moved:
    """Make the move that `way_back` proved; forward again is the same. Conflict when the pointer was moved since."""
    if way.before != way.after:
        intend(way.before, way.after)
    warning = to.point(way.before or None, way.after, f"rollback from {way.before or 'nothing'}")
    report(f"{to.name} serves {way.after}")
    return dataclasses.replace(way, warnings=tuple(filter(None, (*way.warnings, warning))))


def _mend(to: home.Home, before: str | None) -> str:
    """What to do where no version can be gone to: a repair asks what is wrong with the one that serves."""
    if before in to.versions():
        return "`ddr index repair`"
    try:
        to.current()
    except home.LostPointer as problem:
        return f"{problem.aside}`ddr index build --publish`"
    return "`ddr index build --publish`"


def _newest_whole(
    to: home.Home, before: str | None, prove: Prove, embedder: str, report: Report, *, model_also: bool
) -> tuple[str, tuple[str, ...], indexes.Check]:
    tried: list[str] = []
    others: list[str] = []
    known = history.of(to)
    for version in known.before(before):
        try:
            warnings = _across(to, _manifest_of(to, version), before, embedder, model_also=model_also)
            proof = prove(version)
        except OtherEmbedder as problem:
            tried.append(f"{version}: {problem.message}")
            if home.is_whole_at_a_glance(to, version):
                others.append(version)
        except (Damaged, Missing) as problem:
            tried.append(f"{version}: {problem.message}")
        else:
            if not proof.findings:
                return version, (*warnings, *(f"passed over {one}" for one in tried)), proof
            tried.append(f"{version}: {proof.findings[0].where} {proof.findings[0].what}")
        report(f"passed over {tried[-1]}")
    named = [name for name in known.others if name != before and home.is_whole_at_a_glance(to, name)]
    tried += [f"{name} {known.doubt(name)}" for name in named]
    foreign = [name for name in to.versions() if not naming.is_ours(name) and name != before]
    tried += [f"{name} {home.OF_OTHERS}" for name in foreign]
    found = "".join(f"\n  {one}" for one in tried) or " there is no other version"
    stays = f"{to.name} stays at {before or 'nothing'}: no version to go back to:{found}"
    if others:
        raise OtherEmbedder(
            stays, hint=f"with the embedder of then: `ddr index rollback --to {others[0]} --model-also`"
        )
    if named:
        unread = f"{to.unread()}; " if to.unread() else ""
        raise Missing(stays, hint=f"{unread}`ddr index rollback --to {named[0]}` goes there all the same")
    mend = f"`ddr index check`; what it finds is mended by {_mend(to, before)}"
    there = f"; `ddr rollback index --to {foreign[-1]}` goes there without a proof" if foreign else ""
    raise Missing(stays, hint=f"{mend}{there}")


def _left(to: home.Home) -> str | None:
    """What the pointer names, also when that is no version of this home: a named version puts it right."""
    try:
        return to.current()
    except home.LostPointer as problem:
        if not problem.target:
            raise
        return problem.target


def _manifest_of(to: home.Home, version: str) -> indexes.Manifest:
    try:
        return home.opened(to, version)
    except Refused as problem:
        raise Refused(
            problem.message, hint=f"`ddr rollback index --to {version}` goes there without that proof"
        ) from problem


def _across(
    to: home.Home, manifest: indexes.Manifest, before: str | None, live: str, *, model_also: bool
) -> tuple[str, ...]:
    """Warnings of a way back: what was published may be of another embedder, or another index."""
    warnings = _embedder(to, manifest, before, live, model_also=model_also)
    its = _said_by(to, before or "")
    if its in ("", manifest.name):
        return warnings
    return (*warnings, f"{manifest.version} is of index {manifest.name}, {before} is of index {its}")


def _embedder(
    to: home.Home, manifest: indexes.Manifest, before: str | None, live: str, *, model_also: bool
) -> tuple[str, ...]:
    """Warnings. Equal dimensions prove nothing: only fingerprints that are both known and equal do."""
    wanted = manifest.embedder.fingerprint
    serves = _serves(to, before) or _newest(to)
    if not live and serves:
        found = embedder_of(to, serves)
        if found is None and wanted and not model_also:
            raise OtherEmbedder(
                f"{manifest.version or manifest.name} was made by embedder {wanted}, and what made the vectors that "
                f"serve is not known: the manifest of {serves} cannot be read",
                hint="`--model-also`, when the queries are made by that one from now on",
            )
        live = found or ""
    if live and wanted and live != wanted and not model_also:
        raise OtherEmbedder(
            f"{manifest.version or manifest.name} was made by embedder {wanted}, queries are made by {live}",
            hint="move both together with `--model-also`, or embed the corpus again with the live one",
        )
    if (live or serves) and bool(live) != bool(wanted):
        return ("whether the embedder of the queries made these vectors is not known: only one fingerprint is",)
    return ()


def _serves(to: home.Home, before: str | None) -> str:
    """The version that serves, or was the last to; "" where none ever did."""
    return before or next((move.after for move in reversed(to.moves())), "")


def _newest(to: home.Home) -> str:
    """Of a home that lost pointer and record, what says most likely by which embedder queries are made; "" for none."""
    return next((name for name in reversed(to.versions()) if naming.is_ours(name)), "")


def _fewer(to: home.Home, manifest: indexes.Manifest, before: str | None) -> tuple[str, ...]:
    """A warning where much of the corpus is gone: what reads it, or who wrote it, may have failed."""
    try:
        served = to.manifest(before).scan.kept if before else 0
    except (Damaged, Missing):
        return ()
    kept = manifest.scan.kept
    if kept >= _MUCH * served:
        return ()
    return (f"it has {kept:,} rows, {before} has {served:,}: {1 - kept / served:.0%} fewer",)


def embedder_of(to: home.Home, version: str) -> str | None:
    """Fingerprint of what made the vectors of a version, by its manifest, else by the record of moves; "" for none, or
    where somebody else put it there, None where it was known and is not any more."""
    try:
        return to.manifest(version).embedder.fingerprint
    except (Damaged, Missing):
        if not naming.is_ours(version):
            return ""
        published = home.published(to.moves(), version)
        return published.embedder if published else None


def _there_already(
    to: home.Home, manifest: indexes.Manifest, prove: Prove, report: Report
) -> tuple[str, indexes.Check]:
    """A version with the same plan, bytes and answers that is still whole: of a run that was cut off, or published
    before. ("", ...) where there is none."""
    for version in reversed([name for name in to.versions() if naming.is_ours(name)]):
        try:
            if not is_same(to.manifest(version), manifest):
                continue
            proof = prove(version)
        except (Damaged, Missing):
            continue
        if not proof.findings:
            report(f"{version} has these bytes already")
            return version, proof
        report(f"{version} has these bytes no more: {proof.findings[0].where} {proof.findings[0].what}")
    return "", indexes.Check("", ())


def is_same(found: indexes.Manifest, manifest: indexes.Manifest) -> bool:
    """Whether `manifest` is published by going to the version `found`, as long as that is whole."""
    return _says(found) == _says(manifest)


def _says(manifest: indexes.Manifest) -> tuple[object, ...]:
    """What was measured is part of it: the same bytes may have been asked other queries."""
    measured = manifest.quality.search, manifest.quality.recalls, manifest.probes
    return (manifest.plan_digest, manifest.files, manifest.embedder, manifest.forced, *measured)


def _take_away(to: home.Home, version: str) -> None:
    try:
        to.remove(version)
    except Refused:  # somebody went to it: then it is theirs
        return


def _not_proved(what: str, proof: indexes.Check, hint: str) -> NotProved:
    found = [f"{finding.where}: {finding.what}" for finding in proof.findings]
    told = "".join(f"\n  {one}" for one in found) if len(found) > 1 else f" {found[0]}"
    return NotProved(f"{what}:{told}", proof, hint=hint)


def pin(to: home.Home, version: str, why: str) -> None:
    """Keep it whatever comes. DamagedVersion when it is not worth keeping."""
    home.opened(to, version)
    to.pin(version, why)
