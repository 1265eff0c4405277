"""From a checked configuration to the Platform: the only place where concrete things are made."""

from __future__ import annotations

import dataclasses
import getpass
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddr.connectors import message_file
from ddr.domain import planes
from ddr.errors import DdrError, Unsupported
from ddr.journal import log, salvage, views
from ddr.lib import clock as clocks
from ddr.lib import process
from ddr.ports import connector, keeping, platform, replayable, signal, store, verb
from ddr.wiring import config as configs
from ddr.wiring import connector_types, repository, shelf

Warn = Callable[[str], None]


@dataclass(frozen=True)
class Wired:
    """Everything one call of `ddr` works with. `connectors` are by their names in `ddr.yaml`."""

    config: configs.Config
    platform: platform.Platform
    log: log.Log
    connectors: Mapping[str, Any]

    @property
    def sandbox(self) -> Path | None:
        """The sandbox this configuration belongs to, if it is one."""
        entry = self.config.sandbox
        return None if entry is None else (self.config.base / entry.root).resolve()

    def catalog(self) -> verb.Catalog:
        """The verbs of runbooks."""
        from ddr.actions import catalog

        return catalog.build(self.platform)

    def require_sandbox(self) -> Path:
        """The sandbox. Elsewhere there is none: ddr breaks nothing it did not build. Raises Unsupported."""
        if self.sandbox is None:
            raise Unsupported(
                f"{self.config.path} is no sandbox; ddr breaks only platforms it built itself",
                hint="`ddr sandbox up demo` builds one",
            )
        return self.sandbox

    def faults(self) -> verb.Catalog:
        """The faults of the sandbox, with the verbs a game day adds to them."""
        from ddr.gameday import verbs
        from ddr.sandbox import faults

        return {**faults.catalog(self.require_sandbox()), **verbs.build(self.platform)}

    def catalog_of(self, run: str) -> verb.Catalog:
        """The verbs a run was started with: faults where it injected some, else those of runbooks."""
        started = self.board().runs[run].started if run and run in self.board().runs else None
        if started is None or started.purpose != "faults":
            return self.catalog()
        from ddr.gameday import verbs

        return {**self.faults(), **verbs.build(self.platform)}

    def state_digest(self) -> str:
        """The sandbox's state as a digest: equal before and after means nothing was left behind."""
        from ddr.sandbox import state

        return state.digest(self.require_sandbox())

    def board(self) -> views.Board:
        """The journal, folded now."""
        return views.fold(self.platform.journal.events())

    def looking(self, warn: Warn) -> Wired:
        """The same for those who only look: a damaged journal is read as far as it goes, and told of by `warn`."""
        journal = salvage.Salvaged(self.log, warn)
        return dataclasses.replace(self, platform=dataclasses.replace(self.platform, journal=journal))

    @property
    def trouble(self) -> DdrError | None:
        """What cut the journal short for those who only look."""
        journal = self.platform.journal
        return journal.trouble if isinstance(journal, salvage.Salvaged) else None

    def interrupted(self, known: views.Board | None = None) -> Sequence[views.Run]:
        """Runs that were cut off and have no end yet; and the faults of a game day that was cut off.

        `known` was folded from at least `views.ENDS`. Where some run has no end, all is read of it and of those since.
        """
        ends = known or views.fold(self.platform.journal.events(0, views.ENDS))
        first = ends.unsettled
        if first is None:
            return []
        board = views.fold(self.platform.journal.events(max(first - 1, 0), views.RUNS))
        cut_off = board.interrupted_runs(self.platform.clock.now(), _is_owner_alive)
        played = [board.runs[name] for day in ends.interrupted_gamedays() for name in day.runs]
        return [*cut_off, *(run for run in played if _is_left_behind(run))]


def _is_owner_alive(pid: int, process_started: str, boot: str) -> bool | None:
    """None when it ran on another machine, or before this one was started anew: then the lease decides."""
    if boot != process.boot_id():
        return None
    return process.started_at(pid) == process_started


def _is_left_behind(run: views.Run) -> bool:
    """Faults that are in, and whoever wanted to take them back is gone."""
    if run.started.purpose != "faults" or run.status != "injected" or run.claim is None:
        return False
    owner = run.claim.record
    return not _is_owner_alive(owner.pid, owner.process_started, owner.boot)


def build(path: Path, environ: Mapping[str, str], *, actor: str, warn: Warn) -> Wired:
    """Read `path` and make everything it names. Connects to nothing but the repository."""
    return assemble(configs.load(path, environ), environ, actor=actor, warn=warn)


def assemble(config: configs.Config, environ: Mapping[str, str], *, actor: str, warn: Warn) -> Wired:
    """As `build`, from a configuration that was read already."""
    clock = _clock(config)
    opened = repository.open_store(config, environ)
    who = actor or environ.get("DDR_ACTOR") or _login()
    journal = log.Log(
        opened,
        spool=repository.spool(config, environ),
        state=repository.state(config, environ),
        actor=who,
        host=socket.gethostname(),
        clock=clock,
        warn=warn,
    )
    connectors = {
        name: connector_types.module(entry.type).connect(entry.settings, config.base, clock)
        for name, entry in config.connectors.items()
    }
    wired = Wired(config, _platform(config, opened, journal, clock, connectors, who), journal, connectors)
    for made in connectors.values():
        if isinstance(made, keeping.Keepable):
            made.shelved(shelf.LazyShelf(wired, environ))
    return wired


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _clock(config: configs.Config) -> clocks.Clock:
    if config.sandbox is None:
        return clocks.SystemClock()
    from ddr.sandbox import clock

    return clock.SandboxClock((config.base / config.sandbox.root).resolve())


def _platform(
    config: configs.Config,
    opened: store.Store,
    journal: log.Log,
    clock: clocks.Clock,
    connectors: Mapping[str, Any],
    actor: str,
) -> platform.Platform:
    sources = {name: made for name, made in connectors.items() if isinstance(made, signal.Signal)}
    used = {service: _connectors_of(config, service) for service in config.services}
    return platform.Platform(
        services=config.services,
        planes={service: _planes(config, service, connectors) for service in config.services},
        sources=dict.fromkeys(config.services, sources),
        store=opened,
        journal=journal,
        clock=clock,
        notifier=message_file.MessageFile(config.base / config.notify.path),
        actor=actor,
        servers={
            name: _port(config, connectors[entry.serving], connector.Servable, entry.serving, "answers no requests")
            for name, entry in config.services.items()
            if entry.serving
        },
        replays=_first(used, connectors, replayable.Replayable),
        request_logs=_first(used, connectors, replayable.RequestLog),
        histories={
            service: tuple(connectors[name] for name in names if isinstance(connectors[name], connector.History))
            for service, names in used.items()
        },
    )


def _planes(
    config: configs.Config, service: str, connectors: Mapping[str, Any]
) -> dict[planes.Plane, connector.Observable]:
    return {
        plane: connectors[entry.connector].plane(entry.binding, plane)
        for plane, entry in config.planes[service].items()
    }


def _connectors_of(config: configs.Config, service: str) -> tuple[str, ...]:
    """The connectors a service names: as a plane, as its server, as the source of a signal."""
    entry = config.services[service]
    named = [*entry.planes.values(), entry.serving, *(spec.source for spec in entry.signals)]
    return tuple(dict.fromkeys(name for name in named if name))


def _first(used: Mapping[str, Sequence[str]], connectors: Mapping[str, Any], port: Any) -> dict[str, Any]:
    """For each service the first of its connectors that implements the port."""
    found = {}
    for service, names in used.items():
        for name in names:
            if isinstance(connectors[name], port):
                found[service] = connectors[name]
                break
    return found


def _port(config: configs.Config, made: Any, port: Any, name: str, lacks: str) -> Any:
    if not isinstance(made, port):
        raise Unsupported(f"{config.path}: the connector {name!r} {lacks}", hint="name a model-server connector")
    return made
