"""`ddr release record | observe | mark | withdraw | list`: writing the ledger. Reading it is `release_look`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ddr.cli import options, release_look, release_text
from ddr.cli import session as sessions

if TYPE_CHECKING:
    from ddr.domain import releases
    from ddr.ports import platform
    from ddr.release import discovery, marking


@click.group()
def command() -> None:
    """Record what is live together, and what is known to be good."""


@command.command()
@click.argument("service", required=False)
@click.option("--known-good", is_flag=True, help="You vouch for it: rollbacks may go back here.")
@click.option("--although-bad", is_flag=True, help="Vouch for it while signals are bad; they go into the note.")
@click.option("--note", default="", help="Why, for the record.")
@click.option(
    "--commit", default="", metavar="SHA", help="The commit that was deployed; else what the code plane says."
)
@click.option("--image", default="", metavar="REF", help="The image, with its digest: repo@sha256:...")
@click.option(
    "--lock",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The environment's lock file; its digest is recorded.",
)
@click.option("--data", default="", metavar="NAME", help="The data it was trained on; else what the model plane says.")
@click.option("--run", default="", metavar="ID", help="The training run; else what the model plane says.")
@click.option("--backup", default="", metavar="ID", help="A snapshot that it needs: `ddr backup prune` keeps it then.")
@click.option(
    "--evaluation", multiple=True, metavar="NAME=NUMBER", help="A number it was accepted with, like accuracy=0.91; any."
)
@click.option("--link", default="", metavar="URL", help="Where a person reads on: the pipeline, the change request.")
@sessions.also_as_option
@sessions.json_option
@sessions.pass_session
def record(
    session: sessions.Session,
    service: str | None,
    known_good: bool,
    although_bad: bool,
    note: str,
    commit: str,
    image: str,
    lock: Path | None,
    data: str,
    run: str,
    backup: str,
    evaluation: tuple[str, ...],
    link: str,
) -> int:
    """Record the live revision of every plane, and what they were made of.

    For a pipeline behind its deployment, and for a person. What no option says is taken from the planes, where they
    know it. Run twice with the same content it records one release and says so.

    With --known-good the signals are looked at first: what is bad now is nothing to go back to.

    Exit codes: 0 recorded, or known already, 1 not recorded as known good: signals are bad, 64 no such service or a
    number that is none, 69 a plane does not answer (what the others show is recorded all the same, not as known good).
    """
    from ddr.domain import releases
    from ddr.lib import digest, redact
    from ddr.release import ledger

    numbers = _numbers(evaluation)
    _check_image(image)
    shown = redact.link(link)
    if shown != link:
        session.notice("the link is recorded without its login and its secret values: it is kept for people")
    on, name = session.wired().platform, session.service(service).name
    if known_good:
        note = _vouching(session, on, name, note, although_bad=although_bad)
    digest_of_lock = digest.of_file(lock) if lock else ""
    made_of = releases.Lineage(commit, image, digest_of_lock, data, run, backup, shown, numbers)
    done = ledger.enter(on, name, known_good=known_good, note=note, made_of=made_of)
    if done.how == "known":
        session.notice("nothing new: this is the newest release, and it was recorded just so")
    elif done.how == "updated":
        session.notice("the newest release is this one; what is new of it was added")
    session.show(_with_how(done.release, done.how), lambda: release_text.release(done.release))
    return 69 if any(plane not in done.release.revisions for plane in on.service(name).planes) else 0


def _with_how(made: releases.Release, how: str) -> dict[str, object]:
    from ddr.lib import decode

    return {**decode.encode(made), "how": how}


def _check_image(image: str) -> None:
    """A tag is moved: it would tell nobody what ran then."""
    import re

    from ddr.errors import InputError

    if image and not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", image):
        raise InputError(
            f"--image {image}: it has no digest, and a tag may be other bytes tomorrow; nothing was recorded",
            hint="write repo@sha256:…; `docker buildx imagetools inspect IMAGE` or the push itself prints it",
        )


def _numbers(texts: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for name, text in options.pairs(texts).items():
        try:
            found[name] = float(text)
        except ValueError:
            raise click.UsageError(f"--evaluation {name}={text}: {text!r} is no number") from None
    return found


def _vouching(session: sessions.Session, on: platform.Platform, service: str, note: str, *, although_bad: bool) -> str:
    """The note, with what was bad. Raises Refused."""
    from ddr.diagnose import watch
    from ddr.domain import signals
    from ddr.errors import Refused

    judged = watch.judge(on, service)
    bad = ", ".join(entry.signal for entry in judged if entry.state is signals.State.BAD)
    unknown = ", ".join(entry.signal for entry in judged if entry.state is signals.State.UNKNOWN)
    if bad and not although_bad:
        raise Refused(
            f"{service} is not recorded as known good: bad now: {bad}",
            hint=f"`ddr diagnose {service}` says why; without --known-good it is recorded as seen, "
            "with --although-bad you vouch for it all the same",
        )
    for label, what in (("bad now:", bad), ("not measured:", unknown)):
        if what:
            session.notice(f"{click.style(label, fg='yellow', bold=True)} {what}")
    return "; ".join(part for part in (note, f"recorded although bad: {bad}" if bad else "") if part)


@command.command()
@click.argument("service", required=False)
@click.option("--look-only", is_flag=True, help="Record nothing; say what is live and what is new.")
@sessions.also_as_option
@sessions.json_option
@sessions.pass_session
def observe(session: sessions.Session, service: str | None, look_only: bool) -> int:
    """Look for changes that nobody recorded, and record them: an alias moved by hand, weights overwritten in place, a
    tag moved, a config edited.

    For a scheduler, every few minutes. Each is recorded once, as `not recorded by anyone`, with when it was first seen
    and since when it can have happened; `ddr changes` tells them with the others. Without SERVICE all services.

    Exit codes: 0 nothing that somebody has not recorded, 2 something new that nobody recorded, 69 a plane does not
    answer (what the others show is recorded all the same).
    """
    import os

    from ddr.release import discovery
    from ddr.wiring import lastlooks

    wired = session.wired()
    names = [session.service(service).name] if service else sorted(wired.platform.services)
    names = names or [session.service(None).name]
    seen: list[discovery.Discovery] = []
    for name in names:
        last = lastlooks.read(wired.config, os.environ, name)
        seen.append(discovery.observe(wired.platform, name, only_look=look_only, last=last))
        if not look_only:
            lastlooks.write(wired.config, os.environ, name, seen[-1].memory)
    session.show({"services": seen}, lambda: "\n\n".join(release_text.discovery(one) for one in seen))
    if any(one.found for one in seen):
        return 2
    return 69 if any(one.live.note for one in seen) else 0


@command.command()
@click.argument("release")
@click.argument("verdict", type=click.Choice(["good", "bad"]))
@click.option("--plane", "which", multiple=True, help="With bad: which of its planes; any number of them.")
@click.option("--why", default="", help="For the record.")
@click.option("--yes", is_flag=True, help="Do not ask, also where the last known-good way back of a plane goes.")
@sessions.service_option
@sessions.json_option
@sessions.pass_session
def mark(
    session: sessions.Session,
    release: str,
    verdict: str,
    which: tuple[str, ...],
    why: str,
    yes: bool,
    service: str | None,
) -> int:
    """Vouch for RELEASE, or block what is bad about it: no rollback goes there, and nothing promotes it.

    RELEASE is an id, the beginning of one, `newest` or `last-good`. `bad` blocks the planes that differ from the newest
    other known-good release, or those that --plane names; the mark also goes into the plane's own system where that
    has marks (MLflow: a tag of the version). `good` lifts such blocks. Where the last known-good way back of a plane
    would be gone it asks; on a pipe it needs --yes.

    Exit codes: 0 marked, 1 marked in the journal and not everywhere else, 64 no such release, or nobody can tell which
    plane is meant, or --yes is missing.
    """
    from ddr.domain import planes
    from ddr.release import marking

    unknown = [entry for entry in which if entry not in set(planes.Plane)]
    if unknown:
        raise click.UsageError(f"--plane {unknown[0]}: one of {', '.join(planes.Plane)}")
    if which and verdict == "good":
        raise click.UsageError("--plane goes with bad: a release is good as a whole")
    on, name = session.wired().platform, session.service(service).name
    if verdict == "good":
        done = marking.good(on, name, release, why)
    else:
        chosen = [planes.Plane(entry) for entry in which]
        again = " ".join(["ddr release mark", release, "bad", *(f"--plane {entry}" for entry in which)])
        _agree(session, marking.last_way(on, name, release, chosen), f"{again} -s {name}", yes=yes)
        done = marking.bad(on, name, release, chosen, why)
    _warn_without_good(session, name)
    session.show(done, lambda: release_text.marked(done, verdict))
    return 1 if done.troubles else 0


@command.command()
@click.argument("release")
@click.option("--why", default="", help="For the record.")
@click.option("--yes", is_flag=True, help="Do not ask, also where the last known-good way back of a plane goes.")
@sessions.service_option
@sessions.json_option
@sessions.pass_session
def withdraw(session: sessions.Session, release: str, why: str, yes: bool, service: str | None) -> None:
    """Vouch for RELEASE no longer: nothing goes back there. What was live then stays in the record.

    Where the last known-good way back of a plane would be gone it asks; on a pipe it needs --yes.

    Exit codes: 0 withdrawn, 64 there is no such release, or --yes is missing.
    """
    from ddr.release import ledger, marking

    name = session.service(service).name
    losing = marking.last_way(session.wired().platform, name, release, None)
    _agree(session, losing, f"ddr release withdraw {release} -s {name}", yes=yes)
    made = ledger.withdraw(session.wired().platform, name, release, why)
    _warn_without_good(session, name)
    session.show(made, lambda: release_text.release(made))


def _agree(session: sessions.Session, losing: marking.Loss | None, again: str, *, yes: bool) -> None:
    """Nobody takes the last way back without having been told what is left."""
    from ddr.errors import InputError

    if losing is None or yes:
        return
    blocked = ", ".join(f"{one.plane} {one.name}" for one in losing.blocked)
    what = f"blocks {blocked}" if blocked else f"takes {losing.release.id} out"
    told = f"this {what}, and then nothing known good is left to go back to on {', '.join(losing.planes)}"
    if not sessions.is_terminal():
        raise InputError(
            f"{told}; nothing was done",
            hint=f"{again} --yes\n  still possible after it: " + "\n  still possible after it: ".join(losing.still),
        )
    session.notice("\n".join([f"{told}; still possible after it:", *(f"  - {one}" for one in losing.still)]))
    click.confirm("do it?", abort=True, err=True)


def _warn_without_good(session: sessions.Session, service: str) -> None:
    if session.board().last_good(service) is None:
        what = f"nothing of {service} is known good now"
        session.notice(f"{click.style('mind:', fg='yellow', bold=True)} {what}; `ddr release record --known-good`")


@command.command(name="list")
@click.argument("service", required=False)
@sessions.also_as_option
@sessions.json_option
@sessions.pass_session
def list_(session: sessions.Session, service: str | None) -> int:
    """List recorded releases, newest last. What is blocked of one is said; `ddr release show` has the rest.

    Exit codes: 0 listed, 2 listed, and the journal cannot be read to its end.
    """
    from ddr.release import ledger

    name = session.service(service).name
    board = ledger.board(session.looking().platform)
    found = board.releases.get(name, [])
    session.show(
        {"releases": found},
        lambda: "\n".join(release_text.release(entry, board) for entry in found) or "none recorded",
    )
    return session.code()


for _reading in (release_look.show, release_look.diff, release_look.verify):
    command.add_command(_reading)
