"""Everything that was built from one `ddr.yaml`, by port. Made in `wiring`, handed down by argument."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ddr.domain import planes as planes_
from ddr.domain import services as services_
from ddr.errors import UnknownName, Unsupported
from ddr.lib import clock
from ddr.ports import connector, journal, notifier, replayable, signal, store


@dataclass(frozen=True)
class Platform:
    """`planes[service][plane]` implements Observable and whatever else its connector can do.

    `sources[service][name]` are the signal sources that the service's SignalSpecs name, `histories[service]` what
    remembers changes beside the planes themselves.
    """

    services: Mapping[str, services_.Service]
    planes: Mapping[str, Mapping[planes_.Plane, connector.Observable]]
    sources: Mapping[str, Mapping[str, signal.Signal]]
    store: store.Store
    journal: journal.Journal
    clock: clock.Clock
    notifier: notifier.Notifier
    actor: str
    servers: Mapping[str, connector.Servable] = field(default_factory=dict)
    replays: Mapping[str, replayable.Replayable] = field(default_factory=dict)
    request_logs: Mapping[str, replayable.RequestLog] = field(default_factory=dict)
    histories: Mapping[str, Sequence[connector.History]] = field(default_factory=dict)

    def service(self, name: str) -> services_.Service:
        if name not in self.services:
            known = ", ".join(sorted(self.services)) or "none"
            raise UnknownName(f"there is no service {name!r}", hint=f"ddr.yaml has: {known}")
        return self.services[name]

    def plane(self, service: str, which: planes_.Plane) -> connector.Observable:
        found = self.planes.get(self.service(service).name, {}).get(which)
        if found is None:
            raise Unsupported(
                f"service {service!r} has no {which} plane", hint=f"add services.{service}.planes.{which}"
            )
        return found

    def server(self, service: str) -> connector.Servable:
        if service not in self.servers:
            raise Unsupported(f"service {service!r} names no server", hint=f"add services.{service}.serving")
        return self.servers[service]
