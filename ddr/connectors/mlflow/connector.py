"""The model registry: which version an alias names, with the digest of its files; moving the alias; marks.

Setting an alias re-deploys nothing: what a server has loaded is the server's own revision. MLflow keeps no history
of aliases, so `changes` knows when versions were made and not when they went live.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ddr.connectors.mlflow import backup, bucket, mlmodel, rehearsal, rest, restore, sessions, sql, transport, work
from ddr.connectors.mlflow.over_rest import fidelity as over_rest
from ddr.connectors.tables import places
from ddr.connectors.tables import work as tables
from ddr.domain import changes, health, planes, revisions, signals
from ddr.errors import Damaged, DdrError, InputError, Missing, Refused, Unsupported
from ddr.lib import clock as clocks
from ddr.lib import digest, endpoint, redact
from ddr.ports import restorable

if TYPE_CHECKING:
    from ddr.connectors.mlflow.over_rest import capture as captures

FROZEN_TAG = "ddr.frozen"
BLOCKED_TAG = "ddr.blocked"
# MLflow writes this file into a local version's folder whenever someone loads it, with other bytes for each URI form.
WRITTEN_BY_LOADING = ("registered_model_meta",)
_LONGEST_TAG = 5000
_HTTP = ("http://", "https://")
_ALIAS = re.compile(r"[A-Za-z0-9_-]+")
_RESERVED = re.compile(r"(?i:latest|v\d+)")
_NO_HISTORY = "tell when the alias was moved: MLflow keeps no history of aliases"
_NO_SWAP = (
    "move the alias in one step: over REST another client can slip in between ddr's look and its write "
    "(some milliseconds); ddr reads back and says so when it comes later"
)


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
    """The registered model and the alias that is served."""

    model: str
    alias: str


@dataclass(frozen=True)
class Registry:
    """Implements Restorable. `speaks` is None where ddr can back the database up and not serve planes from it."""

    speaks: transport.Transport | None
    database: backup.Database

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
            sink.fact("fidelity", over_rest.CLASS_A)
            backup.capture(self.database, sink)

    def plan_restore(self, source: restorable.Source, options: restorable.RestoreOptions) -> restorable.RestorePlan:
        if _is_over_rest(source):
            from ddr.connectors.mlflow.over_rest import restore as live

            return live.plan(self._over_rest_for(options), source, options)
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

            live.restore(self._over_rest_for(plan.options), source, plan.options, progress, self.database.base)
            return
        restore.restore(self._work(source, plan.options), self._users(source, plan.options), progress)

    def compare(self, plan: restorable.RestorePlan, source: restorable.Source) -> Sequence[restorable.Comparison]:
        if _is_over_rest(source):
            from ddr.connectors.mlflow.over_rest import restore as live

            return live.compare(self._over_rest_for(plan.options), source, plan.options)
        return restore.compare(self._work(source, plan.options), self._users(source, plan.options), plan.lines)

    def rehearse(
        self, source: restorable.Source, folder: Path, progress: restorable.Progress | None = None
    ) -> restorable.Rehearsal:
        if _is_over_rest(source):
            from ddr.connectors.mlflow.over_rest import drill

            return drill.rehearse(source, folder, progress)
        return rehearsal.rehearse(self, source, folder, progress)

    @property
    def _remote(self) -> endpoint.Endpoint | None:
        return self.speaks.server if isinstance(self.speaks, rest.RestTransport) else None

    def _over_rest_for(self, options: restorable.RestoreOptions) -> captures.Server:
        said = options.target or self.database.tracking
        if not said.startswith(_HTTP):
            raise InputError(
                "the snapshot was taken over REST and is restored into a running MLflow server, "
                f"not into {redact.foreign(said)}",
                hint="--to http://HOST:PORT; for rows that restore into a database, back the database up (class A)",
            )
        return self._over_rest(options.target, credentials=options.more.get("credentials", ""))

    def _over_rest(self, target: str, *, credentials: str = "") -> captures.Server:
        """The server of ddr.yaml, or another one, which is told its user and password only where that is asked for."""
        from ddr.connectors.mlflow.over_rest import capture as captures  # what no command pays that asks no server

        own = self._remote
        is_own = own is not None and (not target or target.rstrip("/") == own.url.rstrip("/"))
        headers = own.headers if own is not None and (is_own or credentials == "same") else {}
        url = own.url if own is not None and is_own else target
        at = endpoint.Endpoint(url, max(captures.TIMEOUT_S, own.timeout_s if own else 0.0), headers)
        return captures.Server(at, self.database.where, lambda: bucket.connect(self.database.s3_endpoint))

    def _work(self, source: restorable.Source, options: restorable.RestoreOptions) -> work.Work:
        if options.target.startswith(_HTTP):
            raise InputError(
                "the snapshot has the rows of a database (class A), which a server does not take over REST",
                hint="restore it into a new database (--to sqlite:///new.db, postgresql://...), start a server on it",
            )
        place = places.place(options.target or self.database.tracking, self.database.base)
        return work.Work(source, options, place, where=self.database.where, s3_endpoint=self.database.s3_endpoint)

    def _users(self, source: restorable.Source, options: restorable.RestoreOptions) -> tables.Work | None:
        """The database of users goes with a whole MLflow: back to where it was, to `more.auth`, or, when MLflow goes
        elsewhere, beside a new file or into the new server's database."""
        if options.only or all(table.name != f"{backup.USERS}users" for table in source.component.tables):
            return None
        said = options.more.get("auth", "")
        if not said and options.target:
            place = places.place(options.target, self.database.base)
            said = f"sqlite:///{place.path.with_name('basic_auth.db')}" if place.path else options.target
        elif not said:
            said = self.database.auth
        if not said:
            raise InputError(
                "the snapshot has a database of users, and ddr does not know where to put it",
                hint="--with auth=sqlite:///basic_auth.db, or `auth` of the connector in ddr.yaml",
            )
        versions = backup.USERS_REVISIONS if f"{backup.USERS}alembic" in source.component.facts else ""
        return tables.Work(source, options, places.place(said, self.database.base), backup.USERS, versions)

    def plane(self, binding: Binding, plane: planes.Plane) -> ModelPlane:
        if self.speaks is None:
            raise Unsupported(
                "a plane cannot be served from this database, it can only be backed up",
                hint="give the plane a second connector: tracking: the address of the MLflow server",
            )
        if not _ALIAS.fullmatch(binding.alias) or _RESERVED.fullmatch(binding.alias):
            raise InputError(
                f"alias {binding.alias!r}: MLflow takes letters, digits, _ and -, but not `latest` or `v1`",
                hint="name the alias that the server loads, like champion",
            )
        return ModelPlane(self.speaks, binding.model, binding.alias, plane)


def connect(settings: Settings, base: Path, clock: clocks.Clock) -> Registry:
    del clock
    database = backup.Database(
        settings.tracking, base, settings.artifacts, settings.s3_endpoint, max(settings.timeout_s, 1.0), settings.auth
    )
    if settings.tracking.startswith(("http://", "https://")):
        said = rest.headers(username=settings.username, password=settings.password, token=settings.token)
        return Registry(rest.RestTransport(endpoint.Endpoint(settings.tracking, settings.timeout_s, said)), database)
    place = database.place  # what cannot be spoken to is said now and not at 2 a.m.
    if place.path is not None:
        opener: sessions.Opener = sessions.SqliteOpener(place.path, settings.timeout_s)
    elif place.dialect == "postgresql":
        opener = sessions.PostgresOpener(place.url, settings.timeout_s)
    else:
        return Registry(None, database)
    return Registry(sql.SqlTransport(opener, database.where), database)


def _is_over_rest(source: restorable.Source) -> bool:
    return source.component.facts.get("fidelity", "") == over_rest.CLASS_B


@dataclass(frozen=True)
class ModelPlane:
    """Implements Observable, Switchable, Freezable and Markable for one alias of one registered model."""

    speaks: transport.Transport
    model: str
    alias: str
    which: planes.Plane

    def revision(self) -> revisions.Revision:
        """As the port says; Refused when the alias exists only in another case."""
        return self.find(self._live())

    def find(self, name: str) -> revisions.Revision:
        """Damaged when the files are not there or not whole, or MLflow has not finished the version."""
        if not name.isascii() or not name.isdigit():
            raise Missing(f"{self.model} has no version {name!r}: versions are numbers", hint="write it like 3")
        return self._revision(self.speaks.versions(self.model, only=name)[0])

    def changes(self, since: datetime) -> Sequence[changes.Change]:
        return tuple(
            changes.Change(
                self.which,
                self.model,
                version.created_at,
                before="",
                after=version.number,
                actor=version.user or "unknown",
                summary=f"version {version.number} registered" + (f" from run {version.run}" if version.run else ""),
                source=f"MLflow {self.speaks.where}",
            )
            for version in sorted(self.speaks.versions(self.model), key=lambda version: version.created_at)
            if version.created_at >= since
        )

    def switch(self, to: revisions.Revision, expect: revisions.Revision) -> revisions.Revision:
        live = self.revision()
        if not revisions.must_move(live=live, to=to, expect=expect):
            return live
        revisions.must_be(self.find(to.name), to)
        self.speaks.move(self.model, self.alias, expect=expect.name, to=to.name)
        return self.revision()

    def freeze(self, why: str) -> None:
        if not self.frozen():
            self.speaks.tag(self.model, "", FROZEN_TAG, (why or "frozen")[:_LONGEST_TAG])

    def thaw(self) -> None:
        if self.frozen():
            self.speaks.tag(self.model, "", FROZEN_TAG, None)

    def frozen(self) -> str:
        return self.speaks.model(self.model).tags.get(FROZEN_TAG, "")

    def block(self, name: str, why: str) -> None:
        if not self._blocked(name):
            self.speaks.tag(self.model, name, BLOCKED_TAG, (why or "blocked")[:_LONGEST_TAG])

    def unblock(self, name: str) -> None:
        if self._blocked(name):
            self.speaks.tag(self.model, name, BLOCKED_TAG, None)

    def health(self) -> health.Health:
        cannot = (_NO_HISTORY,) if self.speaks.is_atomic else (_NO_HISTORY, _NO_SWAP)
        try:
            schema = self.speaks.schema()
            number = self._live()
            version = self.speaks.versions(self.model, only=number)[0]
            live = self._revision(version)
            unread = "" if live.digest else self.speaks.files(version).unread
            remarks = self._remarks(number)
        except DdrError as problem:
            return health.Health.of(problem, cannot)
        why = f"{self.speaks.where} ({schema}): {self.model}@{self.alias} is version {number}"
        if unread:
            cannot = (*cannot, f"compare bytes: {unread}")
        return health.Health(signals.State.OK, "; ".join([why, *remarks]), (), cannot)

    def _blocked(self, name: str) -> str:
        return self.speaks.versions(self.model, only=name)[0].tags.get(BLOCKED_TAG, "")

    def _live(self) -> str:
        aliases = self.speaks.model(self.model).aliases
        if self.alias in aliases:
            return aliases[self.alias]
        for alias in aliases:
            if alias.lower() == self.alias.lower():
                raise Refused(
                    f"{self.model} has no alias {self.alias!r}, but {alias!r}: MLflow tells upper from lower case",
                    hint=f"write alias: {alias}",
                )
        known = ", ".join(sorted(aliases)) or "none"
        raise Missing(f"{self.model} has no alias {self.alias!r}", hint=f"its aliases: {known}")

    def _remarks(self, number: str) -> Sequence[str]:
        """Two ways MLflow lets a server load something else than the alias names."""
        said = []
        others = [
            alias
            for alias in self.speaks.model(self.model).aliases
            if alias != self.alias and alias.lower() == self.alias.lower()
        ]
        if others:
            said.append(f"there is also the alias {others[0]}: a server that loads that one is another matter")
        staged = [version.number for version in self.speaks.versions(self.model) if version.stage == "Production"]
        if staged and staged[-1] != number:
            said.append(f"stage Production is version {staged[-1]}: a server that loads by stage has that one")
        return said

    def _revision(self, version: transport.Version) -> revisions.Revision:
        where = f"{self.model} version {version.number}"
        if version.status != transport.READY:
            raise Damaged(f"{where} is {version.status} in MLflow", hint="register it again, or take another version")
        files = self.speaks.files(version)
        facts = {revisions.RUN: version.run, revisions.BLOCKED: version.tags.get(BLOCKED_TAG, "")}
        facts = {name: value for name, value in facts.items() if value}
        if files.unread:
            return revisions.Revision(self.which, self.model, version.number, "", facts)
        place = f"{where} ({version.location})" if version.location else where
        facts |= mlmodel.facts(files, place)
        return revisions.Revision(
            self.which, self.model, version.number, digest.of_entries(files.entries, WRITTEN_BY_LOADING), facts
        )
