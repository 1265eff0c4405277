"""`ddr sandbox`: a small real ML platform to try everything on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from ddr.cli import options, output
from ddr.cli import session as sessions

_FOLDER = click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))


@click.group()
def command() -> None:
    """Build a small real ML platform to try all this on.

    A real MLflow registry with trained models, an online feature table, a FAISS index, code releases and a server
    that answers requests, on a virtual clock: an hour passes in about a second.
    """


@command.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--seed", type=int, default=20261121, show_default=True, help="The same seed gives the same platform.")
@click.option(
    "--warm-up", type=options.Duration(), default="3h", show_default=True, help="Traffic before it is handed over."
)
@sessions.json_option
@sessions.pass_session
def up(session: sessions.Session, folder: Path, seed: int, warm_up: timedelta) -> None:
    """Build a platform in FOLDER, start its server, let traffic pass, and vouch for what is live.

    Exit codes: 0 up, 1 FOLDER is taken, 64 the extras are missing (pip install 'ddr[sandbox]').
    """
    from ddr.wiring import playground

    made = playground.raise_up(folder, seed, warm_up, session.notice)
    session.show(made, lambda: f"{folder} is up\n  next: cd {folder} && ddr status")


@command.command()
@_FOLDER
@sessions.json_option
@sessions.pass_session
def down(session: sessions.Session, folder: Path | None) -> None:
    """Stop the platform's server. The folder stays.

    Exit codes: 0 stopped, 64 no sandbox there.
    """
    from ddr.wiring import playground

    root = playground.root(session.config, folder)
    playground.stop(root)
    session.show({"stopped": str(root)}, lambda: f"stopped the server of {root}")


@command.command()
@click.option("--for", "span", type=options.Duration(), default="1h", show_default=True, help="Platform time to pass.")
@sessions.json_option
@sessions.pass_session
def traffic(session: sessions.Session, span: timedelta) -> None:
    """Let platform time pass, with real requests to the server.

    Exit codes: 0 passed, 64 this is no sandbox, 69 the server does not start.
    """
    from ddr.lib import timetext

    wired = session.wired()
    wired.require_sandbox()
    wired.platform.clock.sleep(span.total_seconds())
    now = wired.platform.clock.now()
    session.show({"now": now}, lambda: f"{timetext.format_duration(span)} passed; it is {timetext.format_clock(now)}")


@command.command()
@sessions.json_option
@sessions.pass_session
def faults(session: sessions.Session) -> None:
    """List what can be broken here: what each does, and its inputs.

    Exit codes: 0 listed, 64 this is no sandbox.
    """
    from ddr.ports import verb

    found = {name: fault for name, fault in sorted(session.wired().faults().items()) if isinstance(fault, verb.Told)}
    lines = []
    for name, fault in found.items():
        lines.append(f"{output.heading(name)}  {fault.about}")
        lines += [f"  --with {key}=...  {allowed}" for key, allowed in fault.takes.items()]
    document = [{"name": name, "about": fault.about, "inputs": fault.takes} for name, fault in found.items()]
    session.show({"faults": document}, lambda: "\n".join(lines))


@command.command(name="break")
@click.argument("fault")
@click.option("--with", "inputs", metavar="KEY=VALUE", multiple=True, help="Inputs of the fault.")
@click.option("--service", "-s", metavar="SERVICE")
@sessions.json_option
@sessions.pass_session
def break_(session: sessions.Session, fault: str, inputs: tuple[str, ...], service: str | None) -> None:
    """Inject FAULT. It is journaled with its undo first; `ddr runbook undo RUN` takes it back.

    \b
    ddr sandbox break model.promote-bad --with kind=labels-flipped
    ddr sandbox break features.freeze

    Exit codes: 0 injected, 64 no such fault or no sandbox.
    """
    from ddr.domain import runbooks
    from ddr.errors import InputError
    from ddr.runbook import engine

    wired = session.wired()
    known, on, given = wired.faults(), session.service(service), options.pairs(inputs)
    if fault not in known:
        raise InputError(f"{fault} is no fault; nothing was injected", hint="`ddr sandbox faults` lists them")
    wrong = known[fault].problems(given, on)
    if wrong:
        raise InputError(f"{fault}: {'; '.join(wrong)}; nothing was injected", hint="give inputs as --with KEY=VALUE")
    step = runbooks.Step("break", action=fault, inputs=given)
    ended = engine.Engine(wired.platform, known).start_steps(f"break {fault}", [step], on.name)
    session.show(ended, lambda: f"injected {fault}\n  take it back: ddr runbook undo {ended.run}")


@command.command()
@sessions.json_option
@sessions.pass_session
def digest(session: sessions.Session) -> None:
    """Print the digest of the platform's state: equal before and after means nothing was left behind.

    Exit codes: 0 printed, 64 this is no sandbox.
    """
    found = session.wired().state_digest()
    session.show({"digest": found}, lambda: output.heading(found))
