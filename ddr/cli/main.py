"""The `ddr` command: what there is, without importing it; and the one place that renders errors."""

from __future__ import annotations

import gc
import importlib
import json
import sys
import traceback
from collections.abc import Sequence

import click

from ddr import errors, version
from ddr.cli import session as sessions
from ddr.cli import streams
from ddr.lib import legible

# Name, module, one line of help. The module is imported only when its command is used.
COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("init", "ddr.cli.init", "Write a commented ddr.yaml and try its repository."),
    ("doctor", "ddr.cli.doctor", "Try every connector and say what it can and may do."),
    ("status", "ddr.cli.status", "Show planes, live revisions, signals, open incidents, backups."),
    ("changes", "ddr.cli.changes", "Show what changed, over all planes, newest last."),
    ("affected", "ddr.cli.affected", "Walk lineage: what hangs on a model, a view, a run, and what it was made from."),
    ("diagnose", "ddr.cli.diagnose", "Say which plane is to blame, with the evidence."),
    (
        "rollback",
        "ddr.cli.rollback",
        "Take back only the plane that is wrong: a plan by default, --apply to do it.",
    ),
    ("contain", "ddr.cli.contain", "Stop the harm while the cause is still there: freeze, fall back, pin, isolate."),
    ("runbook", "ddr.cli.runbook", "Check, plan, run, approve, resume and undo runbooks."),
    ("incident", "ddr.cli.incident", "Declare, note, resolve and list incidents."),
    ("release", "ddr.cli.release", "Record what is live together, and what is known to be good."),
    ("journal", "ddr.cli.journal", "Show, verify, sync and mend the append-only record."),
    ("backup", "ddr.cli.backup", "Back up the control plane, look into backups, prove them."),
    ("features", "ddr.cli.features", "Keep states of feature views, so that they can be taken back."),
    ("index", "ddr.cli.index", "Build, prove, publish and take back vector indexes."),
    ("restore", "ddr.cli.restore", "Restore from a backup: plan by default, --apply to do it."),
    ("gameday", "ddr.cli.gameday", "Break a platform on purpose, recover it, score it."),
    ("sandbox", "ddr.cli.sandbox", "Build a small real ML platform to try all this on."),
    ("completion", "ddr.cli.completion", "Print the completion script for your shell."),
)

EXIT_CODES = """\b
Exit codes:
  0   done
  1   failed
  2   done, with findings (a check is not met, bytes are damaged)
  3   conflict: the world is not as the plan expected, nothing was changed
  4   waits for an approval
  5   an earlier run was interrupted and needs `resume` or `undo`
  64  bad usage, a name that does not exist, or a bad file, nothing was started
  69  a system does not answer
  70  a defect in ddr
"""


_NEW_OBJECTS = 50_000
"""Between two searches for cyclic garbage. With Python's 700 they are a tenth of a start, and find nothing."""


class LazyGroup(click.Group):
    """Lists the commands from the table above and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, _, _ in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for name, module, _ in COMMANDS:
            if name == cmd_name:
                command: click.Command = getattr(importlib.import_module(module), "command")  # noqa: B009
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, _, line in COMMANDS])


@click.group(cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "-c", metavar="PATH", help="ddr.yaml to use; else $DDR_CONFIG, else here or above.")
@click.option("--as", "actor", metavar="NAME", help="Who you are in the record; else $DDR_ACTOR, else your login.")
@click.version_option(version.VERSION, message="ddr %(version)s")
@click.pass_context
def command(ctx: click.Context, config: str | None, actor: str | None) -> None:
    """Find the wrong layer of an ML service, take back only that layer, prove it.

    \b
    At 2 a.m.:
      ddr status                      what is wrong
      ddr diagnose SERVICE            which layer, and what changed
      ddr runbook run NAME -s SERVICE take it back, step by step
    """
    ctx.obj.config, ctx.obj.actor = config, actor


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, render what went wrong, exit with the error's own code. What stdout lost is told at the end."""
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
    out, beside = streams.Stream(sys.stdout, is_result=True), streams.Stream(sys.stderr, is_result=False)
    sys.stdout, sys.stderr = out, beside
    code = run(arguments)
    sys.exit(_lost(out.lost, code) if out.lost else code)


def _lost(why: str, code: int) -> int:
    """Tell that stdout took not all of it. The command's own code stays, where it has more to say."""
    hint = "make room where stdout goes, or send it elsewhere"
    problem = errors.Unavailable(f"stdout cannot be written: {why}; what the command did is done", hint=hint)
    own_code = _render(problem, sessions.Session())
    return own_code if code == errors.EXIT_OK else code


def run(arguments: Sequence[str] | None = None) -> int:
    """As `main`, returning the exit code."""
    session = sessions.Session()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with command.make_context("ddr", [*words], obj=session) as ctx:
            code = command.invoke(ctx)
            return code if isinstance(code, int) else errors.EXIT_OK
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.Abort:
        click.echo("ddr: interrupted", err=True)
        return errors.EXIT_SIGINT
    except click.ClickException as problem:
        return _render_usage(problem, session, words)
    except errors.DdrError as problem:
        return _render(problem, session)
    except KeyboardInterrupt:
        click.echo("ddr: interrupted", err=True)
        return errors.EXIT_SIGINT
    except BrokenPipeError:
        return errors.EXIT_OK
    except Exception as problem:  # noqa: BLE001 - the last place: a defect must not look like anything else
        return _render_defect(problem, session)


def _render_usage(problem: click.ClickException, session: sessions.Session, words: Sequence[str]) -> int:
    """Bad usage. It may come before `--json` was read, so the words themselves say whether it was asked for."""
    if not session.json and "--json" not in words[: words.index("--") if "--" in words else None]:
        problem.show()
        return errors.EXIT_USAGE
    where = problem.ctx.command_path if isinstance(problem, click.UsageError) and problem.ctx else "ddr"
    is_bare = isinstance(problem, click.exceptions.NoArgsIsHelpError)
    message = "a command is missing" if is_bare else problem.format_message()
    _print_error(type(problem).__name__, session.mask(message), f"`{where} --help`", errors.EXIT_USAGE)
    return errors.EXIT_USAGE


def _print_error(kind: str, message: str, hint: str, exit_code: int, problems: Sequence[str] = ()) -> None:
    body: dict[str, object] = {"kind": kind, "message": message, "hint": hint, "exit_code": exit_code}
    if problems:
        body["problems"] = list(problems)
    click.echo(json.dumps({"error": body}, indent=2))


def _render(problem: errors.DdrError, session: sessions.Session) -> int:
    message, hint = session.mask(problem.message), session.mask(problem.hint)
    if session.json:
        listed = problem.problems if isinstance(problem, errors.BadDocument) else ()
        told = [session.mask(str(entry)) for entry in listed]
        _print_error(type(problem).__name__, message, hint, problem.exit_code, told)
    else:
        click.echo(legible.screen(f"{click.style('ddr:', fg='red', bold=True)} {message}"), err=True)
        if hint:
            click.echo(legible.screen(f"  {click.style('next:', bold=True)} {hint}"), err=True)
    return problem.exit_code


def _render_defect(problem: Exception, session: sessions.Session) -> int:
    trace = "".join(traceback.format_exception(problem))
    click.echo(session.mask(trace), err=True)
    click.echo(
        f"ddr: a defect in ddr itself ({type(problem).__name__}); please report the lines above\n"
        "  next: `ddr status` says whether a run was interrupted",
        err=True,
    )
    return errors.EXIT_DEFECT
