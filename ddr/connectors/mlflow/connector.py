"""The model registry: which version an alias or a stage names, moving it, marks; its backup and its restore.

Setting an alias re-deploys nothing: what a server has loaded is the server's own revision. MLflow keeps no history
of aliases, so `changes` knows when versions were made and not when they went live.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ddr.connectors.mlflow import plane as models
from ddr.connectors.mlflow import rest, seats, transport
from ddr.connectors.mlflow.over_rest import fidelity as over_rest
from ddr.domain import changes, planes
from ddr.errors import InputError, Refused, Unsupported
from ddr.lib import clock as clocks
from ddr.lib import endpoint, redact

if TYPE_CHECKING:  # what only backups need is loaded by them: a rollback does not wait for it
    from datetime import datetime

    from ddr.connectors.mlflow import backup, work
    from ddr.connectors.mlflow.over_rest import capture as captures
    from ddr.connectors.tables import work as tables
    from ddr.ports import restorable

_HTTP = ("http://", "https://")


@dataclass(frozen=True)
class Settings:
    """`tracking` is `sqlite:///file` (relative to ddr.yaml), `postgresql://...` or the address of a server.

    For backups: `artifacts` is the server's --artifacts-destination, where locations begin with mlflow-artifacts:;
    `s3_endpoint` is for an S3 that is not Amazon's; `auth` is the database_uri of the server's basic_auth.ini.
    """

    tracking: str
    artifacts: str = ""
    s3_endpoint: str = ""
    auth: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    timeout_s: float = 5.0


@dataclass(frozen=True)
class Binding:
    """The registered model, and what the server loads it by: an alias, or a stage (`Production`, `Staging`)."""

    model: str
    alias: str = ""
    stage: str = ""

    def __post_init__(self) -> None:
        try:
            seats.seat(alias=self.alias, stage=self.stage)
        except InputError as problem:
            raise ValueError(f"{problem.message}; {problem.hint}") from problem


@dataclass(frozen=True)
class Registry:
    """Implements Restorable. `speaks` is None where ddr can back the database up and not serve planes from it."""

    speaks: transport.Transport | None
    settings: Settings
    base: Path

    @cached_property
    def database(self) -> backup.Database:
        from ddr.connectors.mlflow import backup

        said = self.settings
        wait_s = max(said.timeout_s, 1.0)
        return backup.Database(said.tracking, self.base, said.artifacts, said.s3_endpoint, wait_s, said.auth)

    @property
    def where(self) -> str:
        """For people: the file or the address, without secrets."""
        return self.speaks.where if self.speaks else self.database.place.label

    @property
    def fidelity(self) -> str:
        """What a backup of it keeps, and what it does not."""
        return over_rest.CLASS_B if self._remote is not None else over_rest.CLASS_A

    def capture(self, sink: restorable.Sink) -> None:
        if self._remote is not None:
            from ddr.connectors.mlflow.over_rest import capture as captures

            captures.capture(self._over_rest(""), sink)
        else:
            from ddr.connectors.mlflow import backup

            sink.fact("fidelity", over_rest.CLASS_A)
            backup.capture(self.database, sink)

    def plan_restore(self, source: restorable.Source, options: restorable.RestoreOptions) -> restorable.RestorePlan:
        from ddr.ports import restorable

        if _is_over_rest(source):
            from ddr.connectors.mlflow.over_rest import restore as live

            restorable.check_wishes(options, live.WISHES)
            return live.plan(self._over_rest_for(options), source, options)
        from ddr.connectors.mlflow import restore, work

        restorable.check_wishes(options, work.WISHES, rewrites=True)
        return restore.plan(self._work(source, options), self._users(source, options))

    def restore(
        self, plan: restorable.RestorePlan, source: restorable.Source, progress: restorable.Progress | None = None
    ) -> None:
        if plan.refusals:
            raise Refused(
                f"the plan cannot be done: {plan.refusals[0]}", hint="plan again with another target or policy"
            )
        if _is_over_rest(source):
            from ddr.connectors.mlflow.over_rest import restore as live

            live.restore(self._over_rest_for(plan.options), source, plan.options, progress, self.base)
            return
        from ddr.connectors.mlflow import restore

        restore.restore(self._work(source, plan.options), self._users(source, plan.options), progress)

    def upgrade(self, plan: restorable.RestorePlan) -> str:
        from ddr.connectors.mlflow import upgrade
        from ddr.connectors.tables import places

        said = plan.options.target or self.settings.tracking
        if said.startswith(("http://", "https://")):
            raise Unsupported("a server upgrades its own database", hint="leave --upgrade out")
        return upgrade.upgrade(places.place(said, self.base))

    def compare(self, plan: restorable.RestorePlan, source: restorable.Source) -> Sequence[restorable.Comparison]:
        if _is_over_rest(source):
            from ddr.connectors.mlflow.over_rest import restore as live

            return live.compare(self._over_rest_for(plan.options), source, plan.options)
        from ddr.connectors.mlflow import restore

        return restore.compare(self._work(source, plan.options), self._users(source, plan.options), plan.lines)

    def rehearse(
        self, source: restorable.Source, folder: Path, progress: restorable.Progress | None = None
    ) -> restorable.Rehearsal:
        if _is_over_rest(source):
            from ddr.connectors.mlflow.over_rest import drill

            return drill.rehearse(source, folder, progress)
        from ddr.connectors.mlflow import rehearsal

        return rehearsal.rehearse(self, source, folder, progress)

    @property
    def _remote(self) -> endpoint.Endpoint | None:
        return self.speaks.server if isinstance(self.speaks, rest.RestTransport) else None

    def _over_rest_for(self, options: restorable.RestoreOptions) -> captures.Server:
        said = options.target or self.settings.tracking
        if not said.startswith(_HTTP):
            raise InputError(
                "the snapshot was taken over REST and is restored into a running MLflow server, "
                f"not into {redact.foreign(said)}",
                hint="--to http://HOST:PORT; for rows that restore into a database, back the database up (class A)",
            )
        return self._over_rest(options.target, credentials=options.more.get("credentials", ""))

    def _over_rest(self, target: str, *, credentials: str = "") -> captures.Server:
        """The server of ddr.yaml, or another one, which is told its user and password only where that is asked for."""
        from ddr.connectors.mlflow import bucket
        from ddr.connectors.mlflow.over_rest import capture as captures  # what no command pays that asks no server

        own = self._remote
        is_own = own is not None and (not target or target.rstrip("/") == own.url.rstrip("/"))
        headers = own.headers if own is not None and (is_own or credentials == "same") else {}
        url = own.url if own is not None and is_own else target
        at = endpoint.Endpoint(url, max(captures.TIMEOUT_S, own.timeout_s if own else 0.0), headers)
        return captures.Server(at, self.database.where, lambda: bucket.connect(self.settings.s3_endpoint))

    def _work(self, source: restorable.Source, options: restorable.RestoreOptions) -> work.Work:
        from ddr.connectors.mlflow import work
        from ddr.connectors.tables import places

        if options.target.startswith(_HTTP):
            raise InputError(
                "the snapshot has the rows of a database (class A), which a server does not take over REST",
                hint="restore it into a new database (--to sqlite:///new.db, postgresql://...), start a server on it",
            )
        place = places.place(options.target or self.settings.tracking, self.base)
        return work.Work(source, options, place, where=self.database.where, s3_endpoint=self.settings.s3_endpoint)

    def _users(self, source: restorable.Source, options: restorable.RestoreOptions) -> tables.Work | None:
        """The database of users goes with a whole MLflow: back to where it was, to `more.auth`, or, when MLflow goes
        elsewhere, beside a new file or into the new server's database."""
        from ddr.connectors.mlflow import backup
        from ddr.connectors.tables import places
        from ddr.connectors.tables import work as tables

        if options.only or all(table.name != f"{backup.USERS}users" for table in source.component.tables):
            return None
        said = options.more.get("auth", "")
        if not said and options.target:
            place = places.place(options.target, self.base)
            said = f"sqlite:///{place.path.with_name('basic_auth.db')}" if place.path else options.target
        elif not said:
            said = self.settings.auth
        if not said:
            raise InputError(
                "the snapshot has a database of users, and ddr does not know where to put it",
                hint="--with auth=sqlite:///basic_auth.db, or `auth` of the connector in ddr.yaml",
            )
        versions = backup.USERS_REVISIONS if f"{backup.USERS}alembic" in source.component.facts else ""
        return tables.Work(source, options, places.place(said, self.base), backup.USERS, versions)

    def plane(self, binding: Binding, plane: planes.Plane) -> models.ModelPlane:
        if self.speaks is None:
            raise Unsupported(
                "a plane cannot be served from this database, it can only be backed up",
                hint="give the plane a second connector: tracking: the address of the MLflow server",
            )
        seat = seats.seat(alias=binding.alias, stage=binding.stage)
        return TellingPlane(self.speaks, binding.model, seat, plane)


class TellingPlane(models.ModelPlane):
    """A registry knows when versions were registered, and never when an alias was moved to one."""

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        return tuple(dataclasses.replace(one, arrived=True) for one in super().changes(since))


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> Registry:
    del clock
    if settings.tracking.startswith(_HTTP):
        said = rest.headers(username=settings.username, password=settings.password, token=settings.token)
        return Registry(
            rest.RestTransport(endpoint.Endpoint(settings.tracking, settings.timeout_s, said)), settings, base
        )
    from ddr.connectors.mlflow import sessions, sql

    only = Registry(None, settings, base)
    place = only.database.place  # what cannot be spoken to is said now and not at 2 a.m.
    if place.path is not None:
        opener: sessions.Opener = sessions.SqliteOpener(place.path, settings.timeout_s)
    elif place.dialect == "postgresql":
        opener = sessions.PostgresOpener(place.url, settings.timeout_s)
    else:
        return only
    return Registry(sql.SqlTransport(opener, only.database.where), settings, base)


def _is_over_rest(source: restorable.Source) -> bool:
    return source.component.facts.get("fidelity", "") == over_rest.CLASS_B
