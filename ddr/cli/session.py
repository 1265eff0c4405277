"""One call of `ddr`: its configuration, the Platform built from it, and the two printers (text and JSON)."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ddr.domain import services
    from ddr.journal import views
    from ddr.wiring import backups, build

_NAMELESS = re.compile(
    r"`ddr index (?:build|check|fetch|gc|list|pin|plan|prepare|publish|repair|rollback|unpin)(?=`| --)"
)


def mask(text: str) -> str:
    """Secret shapes taken out; for text that comes before any configuration was read."""
    from ddr.lib import redact

    return redact.Redactor()(text)


@dataclass
class Session:
    """What the global options say, and what was built from it so far."""

    config: str | None = None
    actor: str | None = None
    json: bool = False
    _wired: list[build.Wired] = field(default_factory=list)
    _secrets: set[str] = field(default_factory=set)
    _board: list[views.Board] = field(default_factory=list)
    _index: str = ""

    def config_path(self) -> Path:
        from ddr.wiring import config

        return config.find(self.config, os.environ, _here())

    def has_config(self) -> bool:
        """Whether one was named, or stands here or above."""
        return bool(self.config or os.environ.get("DDR_CONFIG") or _above(_here()))

    def wired(self) -> build.Wired:
        """Everything behind `ddr.yaml`, built once. Says what an earlier run left unfinished."""
        if not self._wired:
            from ddr.wiring import build

            self._wired.append(build.build(self.config_path(), os.environ, actor=self.actor or "", warn=self.notice))
        return self._wired[0]

    def wired_around(self, folder: Path, why: str) -> list[build.Wired]:
        """As `wired`, of every ddr.yaml that may speak of `folder`: that of this call, and the one there or above.
        `why` each is read is told before, so that one which cannot be read makes sense."""
        from ddr.wiring import build

        if self.has_config():
            self.notice(f"{why}: {self.config_path()}")
        found = [self.wired()] if self.has_config() else []
        above = _above(folder.resolve())
        if above is not None and all(above.resolve() != one.config.path.resolve() for one in found):
            self.notice(f"{why}: {above}")
            other = build.build(above, os.environ, actor=self.actor or "", warn=self.notice)
            self.hide(other.config.secrets)
            found.append(other)
        return found

    def looking(self) -> build.Wired:
        """As `wired`, for a command that only looks: with the journal damaged or gone it goes on, and says so."""
        self._wired[:] = [self.wired().looking(self.notice)]
        return self._wired[0]

    def code(self, code: int = 0) -> int:
        """The exit code of a command that only looks: 2 where the journal could not be read to its end."""
        return code or (2 if self.wired().trouble else 0)

    def backups(self) -> backups.Backups:
        """The backup side of the configuration."""
        from ddr.lib import memory
        from ddr.wiring import backups

        memory.keep_freed_buffers()
        return backups.of(self.wired(), os.environ, self.notice)

    def board(self) -> views.Board:
        """The journal, folded now."""
        return self.wired().board()

    def service(self, name: str | None) -> services.Service:
        """The named service, or the only one."""
        from ddr.errors import InputError

        platform = self.wired().platform
        if name is None:
            if len(platform.services) == 1:
                return next(iter(platform.services.values()))
            if not platform.services:
                raise InputError("no services yet", hint="name one in ddr.yaml, then `ddr doctor`")
            raise InputError("which service?", hint=f"one of {', '.join(sorted(platform.services))}")
        return platform.service(name)

    def hide(self, values: Collection[str]) -> None:
        """What else is masked: resolved by another file than ddr.yaml."""
        self._secrets.update(values)

    def about_index(self, called: str) -> None:
        """Which index this call is about, as it is typed: rooms that name a command do not know what it is called."""
        self._index = called

    def mask(self, text: str) -> str:
        """As it may be shown: without secrets, and with commands that can be typed as they stand."""
        return _of_index(self._masked(text), self._index)

    def _masked(self, text: str) -> str:
        from ddr.lib import legible

        text = legible.text(text)
        if self._secrets:
            from ddr.lib import redact

            text = redact.Redactor(frozenset(self._secrets))(text)
        return self._wired[0].config.redact(text) if self._wired else mask(text)

    def notice(self, text: str) -> None:
        """A line for the person, beside the result."""
        click.echo(self.screen(text), err=True)

    def screen(self, text: str) -> str:
        """As a terminal may have it: nothing secret, and nothing that it would obey but colours."""
        from ddr.lib import legible

        return legible.screen(self.mask(text))

    def show(self, value: Any, text: Callable[[], str]) -> None:
        """The result: one JSON document, or text."""
        from ddr.cli import output

        if self.json:
            click.echo(_of_index(self._masked(self._document(value)), json.dumps(self._index)[1:-1]))
        else:
            click.echo(output.fitted(self.screen(text()), output.width()))

    def _document(self, value: Any) -> str:
        from ddr.lib import decode

        return json.dumps(decode.encode(value), indent=2, ensure_ascii=False)

    def warn_interrupted(self, known: views.Board | None = None) -> None:
        """Tell of runs that were cut off, with the two ways to end them. `known`: as `Wired.interrupted`."""
        for run in self.wired().interrupted(known):
            last = next(reversed(run.steps.values()), None)
            where = f" at step {last.name!r}" if last else ""
            resume = "" if run.end or run.is_undoing else f"ddr runbook resume {run.id}   or   "
            undo = f"ddr runbook undo {run.id}" if run.half_undone else run.undo_command
            only = "".join(f" --only {name}" for name in run.half_undone)
            self.notice(
                f"{click.style('interrupted:', fg='yellow', bold=True)} run {run.id} ({run.started.title}){where}\n"
                f"  next: {resume}{undo}{only}"
            )


def _here() -> Path:
    from ddr.errors import InputError

    try:
        return Path.cwd()
    except FileNotFoundError:
        raise InputError(
            "the folder you are in is not there any more", hint="`cd` to one that is; or --config PATH"
        ) from None


def _above(here: Path) -> Path | None:
    """The ddr.yaml in a folder, or in the nearest one above that has it."""
    return next((path for folder in (here, *here.parents) if (path := folder / "ddr.yaml").is_file()), None)


def _of_index(text: str, called: str) -> str:
    """With the name of the index in every command in backticks that has none."""
    return _NAMELESS.sub(lambda found: f"{found[0]} {called}", text) if called else text


def _set_json(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().obj.json = True


json_option = click.option(
    "--json", is_flag=True, expose_value=False, callback=_set_json, help="Print one JSON document."
)
service_option = click.option(
    "--service", "-s", metavar="SERVICE", help="Which service; not needed where there is one."
)


def _also(ctx: click.Context, _option: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    given = ctx.params.get("service")
    if given is not None and given != value:
        raise click.UsageError(f"SERVICE is {given!r} and --service is {value!r}")
    ctx.params["service"] = value


also_as_option = click.option(
    "--service",
    "-s",
    "service_option",
    metavar="SERVICE",
    expose_value=False,
    callback=_also,
    help="The same as SERVICE.",
)
"""Beside a SERVICE argument, so that `-s` works everywhere."""
pass_session = click.make_pass_decorator(Session)


def is_terminal() -> bool:
    """Whether a person watches."""
    return sys.stdout.isatty()
