"""`ddr index check | repair`, and what `build` and `publish` prove."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddr.cli import index_progress, index_text, output
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import index_records, indexes
    from ddr.index import build as builds
    from ddr.index import check as checks
    from ddr.index import repair as repairs
    from ddr.index.homes import publishing
    from ddr.wiring import indexes as wirings

_LEVELS = 4
_REPAIRED = 2
_TOLD = 10

instead_of_option = click.option(
    "--instead-of", default="", metavar="NAME", help="What serves there is index NAME: it was renamed, or is replaced."
)


def opened(session: sessions.Session, name: str | None) -> wirings.Index:
    """The named index, or the only one. From here on commands that are told have its name in."""
    from ddr.wiring import indexes as wirings

    if wirings.is_file(name):
        found = wirings.of_file(Path(str(name)), session.actor or os.environ.get("DDR_ACTOR", "ddr"), os.environ)
        session.hide(found.secrets)
    else:
        wired = session.wired()
        found = wirings.Indexes(wired, wired.config.indexes).get(name)
    session.about_index(found.called)
    return found


def serving(index: wirings.Index) -> str | None:
    """The version that serves, None where nothing ever did. LostPointer where that is not known."""
    from ddr.domain import indexes
    from ddr.index import check as checks
    from ddr.index.homes import home

    found = checks.pointed(index.home)
    if isinstance(found, indexes.Check):
        lost = found.findings[0]
        raise home.LostPointer(f"index {index.called}: its pointer {lost.what}", then=lost.next)
    return found or None


def served(index: wirings.Index) -> str:
    """As `serving`. Missing where nothing is served."""
    from ddr.errors import Missing

    found = serving(index)
    if found is None:
        raise Missing(f"index {index.called} serves nothing", hint=f"ddr index build {index.called} --publish")
    return found


def live(index: wirings.Index) -> indexes.Manifest | None:
    """Of the version that serves, where it can be read."""
    from ddr.errors import DdrError

    try:
        current = index.home.current()
        return index.home.manifest(current) if current else None
    except DdrError:
        return None


def refusals(index: wirings.Index, manifest: indexes.Manifest) -> tuple[str, ...]:
    """Why it must not serve; () when it may."""
    from ddr.index import gate

    before = live(index)
    is_comparable = before is not None and not gate.uncompared(manifest, before)
    return gate.passes(manifest, before.quality if before is not None and is_comparable else None)


def uncompared(index: wirings.Index, manifest: indexes.Manifest) -> str:
    """Why its recall was not held against that of what serves; "" where it was, or nothing serves."""
    from ddr.index import gate
    from ddr.index.homes import naming

    before = live(index)
    if before is not None:
        return gate.uncompared(manifest, before)
    current = index.home.current()
    return f"the manifest of {current} cannot be read" if current and naming.is_ours(current) else ""


def built_record(index: wirings.Index, manifest: indexes.Manifest, took_s: float) -> index_records.IndexBuilt:
    from ddr.domain import index_records

    k = manifest.plan.wanted.k
    found = next((one for one in manifest.quality.recalls if one.k == k), None)
    return index_records.IndexBuilt(
        index.name,
        manifest.plan_digest,
        index_text.shape_of(manifest.plan.shape),
        manifest.scan.kept,
        k,
        found.share if found else 0.0,
        found.low if found else 0.0,
        round(took_s, 3),
    )


def published(
    session: sessions.Session,
    index: wirings.Index,
    built: builds.Built,
    manifest: indexes.Manifest,
    refused: tuple[str, ...],
    force: str,
    *,
    model_also: bool,
    instead_of: str = "",
    is_json: bool = False,
) -> publishing.Moved:
    """Add the version, prove it, move the pointer, record it. `is_json`: how the proof is told of."""
    from ddr.index import gate
    from ddr.index.homes import publishing

    files = {name: path for name, (_, path) in built.files.items()}
    judged = publishing.Gate(refused, force, gate.advice(manifest) if refused else "")
    with index_progress.telling(session, is_json=is_json) as tell:
        moved = publishing.publish(
            index.home,
            files,
            manifest,
            functools.partial(index.prove, report=tell.checked, told=tell.warned),
            gate=judged,
            model_also=model_also,
            instead_of=instead_of,
            intend=index.intend,
            report=tell.said,
        )
    record_move(index, moved, "published", force if refused else "")
    return moved


def record_move(index: wirings.Index, moved: publishing.Moved, what: str, forced: str = "") -> None:
    from ddr.domain import index_records
    from ddr.lib import legible

    if moved.before != moved.after:
        before = legible.text(moved.before)
        move = index_records.IndexMoved(index.name, index.home.name, before, moved.after, what, forced)
        record_done(index, move, f"index {index.called} serves {moved.after} now ({what})")


def record_done(index: wirings.Index, record: object, done: str) -> None:
    """Of what was done already: where it cannot be recorded, the error says first that it was `done`."""
    from ddr.errors import DdrError

    try:
        index.record(record)
    except DdrError as problem:
        problem.message = f"{done}, and that could not be recorded: {problem.message}"
        raise


def note(session: sessions.Session, index: wirings.Index, record: object) -> None:
    """Of what changed nothing that serves: where it cannot be recorded that is told, and the result is shown."""
    from ddr.errors import DdrError

    try:
        index.record(record)
    except DdrError as problem:
        session.notice(f"{output.mark('unknown')} not recorded: {problem.message}")


@click.command(short_help="Look at a version, level by level.")
@click.argument("name", required=False)
@click.argument("version", required=False)
@click.option("--level", type=click.IntRange(0, _LEVELS), default=2, show_default=True, help="The highest.")
@click.option("--part", type=click.IntRange(min=0), default=0, show_default=True, help="At level 4: made again.")
@click.option("--embedder", default="", metavar="FINGERPRINT", help="Of the one that makes the queries now.")
@index_progress.events_option
@sessions.json_option
@sessions.pass_session
def check(
    session: sessions.Session,
    name: str | None,
    version: str | None,
    level: int,
    part: int,
    embedder: str,
    events: bool,
) -> int:
    """Look at VERSION of NAME, by default the one that serves. No version changes, nor what serves.

    In a bucket a lease keeps one that does not serve meanwhile; who may not write there looks without one, and is told.

    \b
      0  the files are there, with their sizes
      1  every byte is what was published; what is damaged is not loaded
      2  a child loads it: rows, ids, search parameter, probes
      3  its ids are those of the corpus as it is now, sampled vectors are theirs, and the model of `embed` still
         gives its golden documents the vectors that they had
      4  one part is made again and has the same bytes

    \b
    Exit codes:
      0   nothing found
      10  damaged            11  out of step with the corpus
      12  another embedder   13  other search parameter or recall
      1   there is no such version or it was removed meanwhile, others put it there, or nothing is served
      64  usage, or a part that it has not
      69  a system is away
    """
    from ddr.domain import index_records, indexes
    from ddr.errors import Missing
    from ddr.index import check as checks
    from ddr.index.homes import reading
    from ddr.lib import legible

    index = opened(session, name)
    serves = checks.pointed(index.home)
    chosen = version or serves
    if isinstance(chosen, indexes.Check):
        lost = chosen
        session.show(lost, lambda: index_text.checked(lost, index.called))
        return lost.exit_code
    if not chosen:
        raise Missing(f"index {index.called} serves nothing", hint=f"ddr index build {index.called} --publish")
    plan = index.plan_of(chosen) if level == _LEVELS else None
    with index_progress.telling(session, is_json=events) as tell:
        means = index.means(embedder, plan, part, chosen, tell)
        look = functools.partial(checks.check, index.home, chosen, means, range(level + 1), tell.checked)
        found = look() if chosen == serves else reading.proved(index.home, chosen, look, tell.warned)
    if isinstance(serves, str) and serves not in ("", chosen):
        found = _of_old(found)
    if unread := index.home.unread():
        found = dataclasses.replace(found, not_checked=(*found.not_checked, unread))
    told = tuple(legible.text(f"{one.trouble.value}: {one.where}: {one.what}") for one in found.findings[:_TOLD])
    note(session, index, index_records.IndexChecked(index.name, chosen, found.levels, found.exit_code, told))
    session.show(found, lambda: index_text.checked(found, index.called))
    return found.exit_code


def _of_old(found: indexes.Check) -> indexes.Check:
    """Of a version that does not serve: a repair looks at what serves, and a way back leads away from that."""
    from ddr.index import check as checks
    from ddr.index.homes import naming

    told = (
        dataclasses.replace(one, next=naming.OLD) if one.next in checks.OF_WHAT_SERVES else one
        for one in found.findings
    )
    return dataclasses.replace(found, findings=tuple(told))


@click.command(short_help="Make what serves whole again: a plan, --apply does it.")
@click.argument("name", required=False)
@click.option("--apply", "is_applied", is_flag=True, help="Do it; without it the plan is shown.")
@click.option(
    "--level",
    type=click.IntRange(_REPAIRED, 3),
    default=_REPAIRED,
    show_default=True,
    help="3: held against its corpus too.",
)
@index_progress.events_option
@sessions.json_option
@sessions.pass_session
def repair(session: sessions.Session, name: str | None, is_applied: bool, level: int, events: bool) -> int:
    """Make what serves whole again, by the least that helps: point at a version with the same bytes, merge its parts
    again, make damaged parts again, build all of it, or go back to the newest version that is whole and that nobody
    went back from. It mends what `ddr index check` finds at levels 0 to 2, with --level 3 also an index that does not
    fit its corpus: what serves then is held against it, too.

    \b
    Exit codes:
      0   whole as far as it looked, or made so
      2   there is something to repair (the plan)
      1   nothing here can repair it (the message says what can), or it serves nothing
      3   the pointer was moved meanwhile
      10  the pointer is lost, or what it would go back to is damaged by now
      11  it is mended, and does not fit its corpus (--level 3)
      12  what made the vectors that serve is not known, or is another embedder by its golden documents (--level 3)
      13  what was built is below the gate
      15  a build works by this plan
      64  usage, 69 a system is away
    """
    from ddr.index import check as checks
    from ddr.index import repair as repairs
    from ddr.index import workshop
    from ddr.index.homes import publishing

    index = opened(session, name)
    gone = _gone(index)
    current = gone.version if gone else served(index)
    with index_progress.telling(session, is_json=events) as tell:
        shop = workshop.Workshop(index, functools.partial(_republished, session, index, is_json=events), tell)
        prove = functools.partial(index.prove, report=tell.checked, told=tell.warned)
        embedder = index.live_embedder()
        found = gone or checks.check(index.home, current, index.means(version=current), range(level + 1), tell.checked)
        chosen = repairs.decide(index.home, found, lambda: shop.left(current), prove, embedder, shop.has_rows)
        moved = None
        if is_applied:
            if chosen.step is repairs.Step.BUILD:
                publishing.ensure_same_index(index.home, index.name)
            moved = repairs.apply(index.home, chosen, shop, prove, embedder=embedder, intend=index.intend)
            if moved is not None:
                record_move(index, moved, "repaired")
            moved = moved or shop.moved
        after = None if moved is None else _after(index, moved.after, range(_REPAIRED + 1, level + 1), tell.checked)
    more = "" if level == _REPAIRED else f" --level {level}"
    if not is_applied and not chosen.next and chosen.step is not repairs.Step.NOTHING:
        chosen = dataclasses.replace(chosen, next=f"ddr index repair {index.called}{more} --apply")
    document = {"check": found, "repair": chosen, "moved": moved, "after": after, "applied": is_applied}
    session.show(document, lambda: _repaired(index, found, chosen, moved, after))
    if chosen.step is repairs.Step.HELPLESS:
        return 1
    if after is not None and after.findings:
        return after.exit_code
    return 0 if is_applied or chosen.step is repairs.Step.NOTHING else 2


def _gone(index: wirings.Index) -> indexes.Check | None:
    """What is found where the version that the pointer names is not there: its parts or its corpus may be."""
    from ddr.domain import indexes
    from ddr.index import check as checks

    found = checks.pointed(index.home)
    return found if isinstance(found, indexes.Check) and found.version else None


def _after(index: wirings.Index, version: str, levels: Sequence[int], report: checks.Report) -> indexes.Check | None:
    """What serves now, at the levels that no proof before a move has; None where none was asked for."""
    from ddr.domain import indexes
    from ddr.errors import DdrError
    from ddr.index import check as checks

    if not levels:
        return None
    try:
        index.shards()
        return checks.check(index.home, version, index.means(version=version), levels, report)
    except DdrError as problem:  # it was repaired all the same
        told = (f"level {level}: {problem.message}" for level in levels)
        return indexes.Check(version, (), not_checked=tuple(told))


def _republished(
    session: sessions.Session,
    index: wirings.Index,
    built: builds.Built,
    manifest: indexes.Manifest,
    force: str,
    is_same_model: bool,
    *,
    is_json: bool,
) -> publishing.Moved:
    refused = refusals(index, manifest)
    return published(session, index, built, manifest, refused, force, model_also=is_same_model, is_json=is_json)


def _repaired(
    index: wirings.Index,
    found: indexes.Check,
    chosen: repairs.Repair,
    moved: publishing.Moved | None,
    after: indexes.Check | None,
) -> str:
    lines = [index_text.checked(found, index.called), f"repair: {chosen.sentence}"]
    if moved is None and chosen.sooner:
        lines.append(
            f"sooner: ddr index rollback {index.called} --to {chosen.sooner} --apply   (proved before it serves)"
        )
    if moved is not None:
        lines.append(index_text.moved(index.called, moved, index.services))
    elif chosen.next:
        lines.append(f"next: {chosen.next}")
    if after is not None:
        lines.append(index_text.checked(after, index.called))
    return "\n".join(lines)
