"""`ddr index rollback | list | gc | pin | unpin | fetch`: what becomes of versions."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddr.cli import index_progress, index_proof, index_text, output, working
from ddr.cli import session as sessions
from ddr.report import words

if TYPE_CHECKING:
    from ddr.wiring import indexes as wirings


@click.command(short_help="Serve an earlier version: a proof, --apply does it.")
@click.argument("name", required=False)
@click.option("--to", "to", metavar="VERSION", help="Which; else the newest before the one that serves that is whole.")
@click.option("--apply", "is_applied", is_flag=True, help="Do it; without it only the proof is shown.")
@click.option("--model-also", is_flag=True, help="The embedder of the queries goes back with it.")
@click.option("--embedder", default="", metavar="FINGERPRINT", help="Of the one that makes the queries now.")
@index_progress.events_option
@sessions.json_option
@sessions.pass_session
def rollback(
    session: sessions.Session,
    name: str | None,
    to: str | None,
    is_applied: bool,
    model_also: bool,
    embedder: str,
    events: bool,
) -> int:
    """Serve an earlier version. Its digests, a load in a child and its probes come before the pointer moves.
    What was gone back from is gone to again by its name alone (--to): the same command twice goes back twice.

    For a service `ddr rollback index SERVICE` does the same with approvals, marks and proof from fresh traffic.

    \b
    Exit codes:
      0   done, or it can be
      1   there is none that is whole, or only one that was gone back from
      3   somebody else moved the pointer
      10  the one that was named is damaged, or the pointer is (--to a version points it back)
      11  it has other ids than its manifest says     13  it searches otherwise than it was measured
      12  it is of another embedder than the queries, or what made the vectors that serve is not known (--model-also)
      64  usage, 69 a system is away
    """
    from ddr.index.homes import publishing

    index = index_proof.opened(session, name)
    live = embedder or index.live_embedder()
    with index_progress.telling(session, is_json=events) as tell:
        moved = publishing.way_back(
            index.home,
            to,
            functools.partial(index.prove, report=tell.checked, told=tell.warned),
            embedder=live,
            model_also=model_also,
            report=tell.said,
        )
    if is_applied:
        moved = publishing.roll_back(index.home, moved, intend=index.intend)
        index_proof.record_move(index, moved, "rolled back")
    given = [*(["--model-also"] if model_also else []), *(["--embedder", embedder] if embedder else [])]
    session.show(
        moved,
        lambda: (
            index_text.moved(index.called, moved, index.services)
            if is_applied
            else index_text.may_move(index.called, moved, given)
        ),
    )
    return 0


def _version(index: wirings.Index, version: str) -> tuple[tuple[str, ...], dict[str, object]]:
    """When, rows, kind, recall and size, for people and as facts; Damaged."""
    from ddr.index.homes import naming

    if not naming.is_ours(version):
        return ("", "not published by ddr index"), {"foreign": True}
    manifest = index.home.manifest(version)
    k = manifest.plan.wanted.k
    found = next((one for one in manifest.quality.recalls if one.k == k), None)
    size = sum(file.size_bytes for file in manifest.files)
    row = (
        f"{manifest.created:%Y-%m-%d %H:%M}",
        words.plural(manifest.scan.kept, "row"),
        index_text.shape_of(manifest.plan.shape),
        f"recall@{k} {found.share:.4f}" if found else "",
        output.size(size),
        *([f"below its gate: {manifest.forced}"] if manifest.forced else []),
    )
    facts = {
        "created": manifest.created,
        "rows": manifest.scan.kept,
        "size_bytes": size,
        "quality": manifest.quality,
        "embedder": manifest.embedder.fingerprint,
        "forced": manifest.forced,
    }
    return row, facts


def show_list(session: sessions.Session, index: wirings.Index) -> int:
    """Rows of versions; 10 where a manifest is damaged, or the pointer is."""
    from ddr.domain import indexes
    from ddr.errors import Damaged, Missing
    from ddr.index import codec
    from ddr.index.homes import home, naming

    lost, bad, hints = "", [], []
    try:
        current = index_proof.serving(index)
    except home.LostPointer as problem:
        current, lost = None, problem.message
        bad.append(problem.message)
        hints.append(problem.hint)
    pins = index.home.pins()
    rows: list[tuple[str, ...]] = []
    document = []
    for version in index.home.versions():
        try:
            row, facts = _version(index, version)
        except codec.Newer:
            row, facts = ("", "made by a newer ddr"), {"newer": True}
        except (Damaged, Missing) as problem:
            bad.append(f"{version}: {problem.message}")
            hints.append(naming.OLD if current and version != current else problem.hint)
            row, facts = (output.mark("bad"), "damaged"), {"damaged": problem.message}
        pinned = f"pinned: {pins[version]}" if version in pins else ""
        rows.append((version, "serves" if version == current else "", *row, *filter(None, [pinned])))
        document.append({"version": version, "serves": version == current, **facts, "pinned": pins.get(version, "")})
    shown = {"index": index.name, "home": index.home.name, "current": current, "pointer": lost, "versions": document}
    session.show(shown, lambda: index_text.listed(index.called, index.home, rows, bad, hints))
    return indexes.EXIT_CODES[indexes.Trouble.CORRUPT] if bad else 0


@click.command(short_help="Remove old versions and work folders.")
@click.argument("name", required=False)
@click.option(
    "--keep", type=click.IntRange(min=1), default=3, show_default=True, help="How many of the newest whole ones."
)
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@sessions.json_option
@sessions.pass_session
def gc(session: sessions.Session, name: str | None, keep: int, dry_run: bool) -> int:
    """Remove old versions, and work folders of corpora that are no more.

    Never removed: what serves, is pinned, is being read, is needed by a known-good release of the recovery window, or
    was made, put there (by a restore, too) or served within a day. Work folders all stay while the corpus is away, and
    those at which a build is, or which are of another index. Where NAME is a YAML file, releases are those of the
    ddr.yaml here and of the one in its folder or above.

    Exit codes: 0 done, 10 the pointer is lost: what serves is not known, and nothing goes, 64 usage, 69 a system is
    away.
    """
    from ddr.domain import index_records
    from ddr.index.homes import collecting
    from ddr.wiring import index_releases

    index = index_proof.opened(session, name)
    index_proof.serving(index)
    chosen = collecting.plan(index.home, index.now(), keep)
    around = [index.wired] if index.wired else session.wired_around(index.base, "asked for releases that need versions")
    for wired in around:
        chosen = index_releases.spared(chosen, wired, index.wanted.home)
    old = index.old_work()
    if not dry_run:
        if chosen.gone:
            index.intend(removed=chosen.gone)
        with working.shown(session) as at_work:
            chosen = collecting.apply(index.home, chosen, lambda text: at_work.told(text, 0, 0))
        if chosen.gone:
            removed = index_records.IndexRemoved(index.name, index.home.name, chosen.gone)
            index_proof.record_done(index, removed, f"removed: {', '.join(chosen.gone)}")
        old = old.forgotten()
    document = {
        "gone": chosen.gone,
        "kept": [{"version": version, "why": why} for version, why in chosen.kept],
        "work": [str(folder.folder) for folder in old.gone],
        "work_kept": old.why,
        "work_spared": [{"folder": str(one.folder), "why": one.why} for one in old.kept],
        "dry_run": dry_run,
    }
    verb = "would go" if dry_run else "removed"
    gone = [*chosen.gone, *(f"work folder {folder.folder}" for folder in old.gone)]
    lines = [f"{verb}: {one}" for one in gone] or [f"nothing {'would go' if dry_run else 'to remove'}"]
    lines += [f"kept: {version}: it {why}" for version, why in chosen.kept]
    lines += [f"kept: work folder {one.folder}: {one.why}" for one in old.kept]
    lines += [f"kept: work folders: {old.why}"] if old.why else []
    session.show(document, lambda: "\n".join(lines))
    return 0


@click.command(short_help="Keep a version.")
@click.argument("name")
@click.argument("version")
@click.option("--why", required=True, help="Shown by `ddr index list`.")
@sessions.json_option
@sessions.pass_session
def pin(session: sessions.Session, name: str, version: str, why: str) -> int:
    """Keep VERSION whatever `ddr index gc` would do.

    Exit codes: 0 done, 1 there is no such version, 3 somebody else changed its pin at that moment, 10 its manifest is
    damaged, 64 usage, 69 a system is away.
    """
    from ddr.errors import InputError
    from ddr.index.homes import publishing

    why = " ".join(why.split())
    if not why:
        raise InputError("--why says nothing", hint="why it is kept, for whoever sees it in `ddr index list`")
    index = index_proof.opened(session, name)
    publishing.pin(index.home, version, why)
    session.show({"pinned": version, "why": why}, lambda: f"{output.mark('ok')} {version} is kept: {why}")
    return 0


@click.command(short_help="Take a pin off.")
@click.argument("name")
@click.argument("version")
@sessions.json_option
@sessions.pass_session
def unpin(session: sessions.Session, name: str, version: str) -> int:
    """Take a pin off VERSION.

    Exit codes: 0 done (or it had none), 1 there is no such version, 64 usage, 69 a system is away.
    """
    index = index_proof.opened(session, name)
    index.home.unpin(version)
    session.show({"unpinned": version}, lambda: f"{output.mark('ok')} {version} is kept by no pin")
    return 0


@click.command(short_help="Copy a version into a folder, each byte compared.")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--version", "version", metavar="VERSION", help="Which; else the one that serves.")
@sessions.json_option
@sessions.pass_session
def fetch(session: sessions.Session, name: str, folder: Path, version: str | None) -> int:
    """Copy a version into FOLDER, each byte compared with its digest: for a server that loads it from there.

    FOLDER becomes that version in one step, manifest.json with it: whatever version it had before is gone as a whole.
    In a bucket a lease keeps the version meanwhile; who may not write there fetches without one, and is told.

    Exit codes: 0 done, 1 there is no such version, 10 its bytes are damaged, or the pointer is lost, 64 usage, or a
    folder with other files, in the home of an index or in which you stand, 69 a system is away.
    """
    from ddr.errors import InputError
    from ddr.index.homes import fetching, reading

    if folder.parts[0].endswith(":"):
        raise InputError(
            f"{folder} is no folder of this machine", hint="a path; `ddr index list` tells what lies in a home"
        )
    index = index_proof.opened(session, name)
    chosen = version or index_proof.served(index)
    with reading.held(index.home, chosen, lambda text: session.notice(f"{output.mark('unknown')} {text}")):
        manifest = fetching.fetch(index.home, chosen, folder, index.homes)
    size = output.size(sum(file.size_bytes for file in manifest.files))
    said = {"version": chosen, "folder": str(folder), "files": manifest.files}
    session.show(said, lambda: f"{output.mark('ok')} {chosen}: {len(manifest.files)} files, {size}, in {folder}")
    return 0
