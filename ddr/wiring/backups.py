"""Everything `ddr backup` and `ddr restore` work with, made from one ddr.yaml."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ddr import version
from ddr.backup import capture, journal_origin, keeping, keys, layout, missing, undeleting
from ddr.backup import repository as repositories
from ddr.backup import scanner as scanning
from ddr.domain import backup_records, snapshots
from ddr.errors import Damaged, InputError, Missing, Refused
from ddr.journal import views
from ddr.lib import clock as clocks
from ddr.lib import redact
from ddr.ports import confidential, restorable
from ddr.ports import store as stores
from ddr.stores import memory, retrying
from ddr.wiring import backup_settings, build, index_backups, repository, repository_settings

JOURNAL = "journal"
"""The component that is always there: releases, deployments, incidents, runs."""

_SEAL = re.compile(r"passphrase:\s*[\"']?(\$\{(?:env|file):[^}]*\})")
_PATIENCE_S, _REACH_S = 120.0, 8.0


def _silent(_text: str) -> None:
    """Warns nobody."""


@dataclass(frozen=True)
class Backups:
    """What one ddr.yaml says of backups. `passphrase_file` is what $DDR_PASSPHRASE_FILE names: so a scheduler hands the
    passphrase over (a systemd credential, a mounted secret) where ddr.yaml names none. `key_file` is what
    $DDR_KEY_FILE names: there the scheduler has put the file that ddr.yaml names elsewhere."""

    wired: build.Wired
    store: stores.Store
    settings: backup_settings.BackupEntry
    passphrase_file: Path | None = None
    warn: Callable[[str], None] = _silent
    key_file: Path | None = None

    @property
    def opening(self) -> keys.Opening:
        settings = self.settings
        if self.passphrase_file is not None and not settings.passphrase and not settings.key_file:
            return keys.Opening(_first_line(self.passphrase_file))
        named = self.wired.config.base / settings.key_file if settings.key_file else None
        return keys.Opening(settings.passphrase, (self.key_file or named) if named else None)

    def open(self, recovery: str = "", copy: str = "") -> repositories.Repository:
        """The repository, or the copy of that name. Raises Missing where there is none yet, or the one that was there
        is gone."""
        at = self.place(copy) if copy else self.store
        opening = keys.Opening(recovery=recovery) if recovery else self.opening
        try:
            return repositories.open_(at, opening)
        except keys.WrongKey as problem:
            raise keys.WrongKey(f"{problem.message}; it came from {self._source}", hint=problem.hint) from problem
        except Missing as problem:
            if copy:
                raise Missing(problem.message, hint=f"`ddr backup copy {copy}` makes it") from None
            raise self._gone() or problem from None

    @property
    def _source(self) -> str:
        """Where what opens the repository comes from: the reference, never the value."""
        if self.settings.passphrase:
            said = _SEAL.search(self.wired.config.path.read_text())
            return f"{said[1]} (`backup.passphrase`)" if said else "`backup.passphrase`"
        if self.settings.key_file:
            return (
                f"{self.key_file} ($DDR_KEY_FILE)" if self.key_file else f"{self.settings.key_file} (`backup.keyFile`)"
            )
        return f"{self.passphrase_file} ($DDR_PASSPHRASE_FILE)"

    def recorded(self) -> tuple[backup_records.BackupMade, ...]:
        """The snapshots that the journal tells of, oldest first. Raises Damaged where it cannot be read."""
        known = views.fold(self.wired.log.events()).backups
        return tuple(sorted(known.made.values(), key=lambda one: one.taken_at))

    def missing(self) -> tuple[missing.Gone, ...]:
        """Snapshots that the journal tells of and that are gone though nobody forgot them. Where the journal cannot be
        read to its end it may lack the word that they were."""
        journal = self.wired.platform.journal
        try:
            known = views.fold(journal.events()).backups
        except Damaged:
            return ()
        if self.wired.trouble is not None:
            known = dataclasses.replace(known, doubtful=frozenset(known.made))
        return missing.look(self.store, known)

    def damaged(self) -> frozenset[str]:
        """Packs that the last verification found to be damaged: nothing new may build on them."""
        try:
            return views.fold(self.wired.platform.journal.events()).backups.damaged.get(self.store.name, frozenset())
        except Damaged:
            return frozenset()

    def _gone(self) -> Missing | None:
        """What to say where there is no repository and there was one; None where nobody knows of any."""
        ways = [
            "bring it back (is its disk mounted?)",
            *(["`ddr backup undelete`"] if isinstance(self.store, stores.Lockable) and self.store.rule else []),
            *(f"copy `{layout.ROOT}` back from {name} ({one.name})" for name, one in self.copies().items()),
            "`ddr backup run --new-repository` begins anew",
        ]
        try:
            known = self.recorded()
        except Damaged as problem:
            return Missing(
                f"{self.store.name} has no backup repository, and whether there was one nobody can say: "
                f"{problem.message}",
                hint=f"the journal first: {problem.hint}; or: {'; '.join(ways)}",
            )
        if not known:
            return None
        newest = known[-1]
        counted = "1 snapshot" if len(known) == 1 else f"{len(known)} snapshots"
        return Missing(
            f"the backup repository of {self.store.name} is gone: the journal tells of {counted} in it, the newest "
            f"{newest.snapshot[:8]} of {newest.taken_at:%Y-%m-%d %H:%M} UTC",
            hint="; or: ".join(ways),
        )

    def open_for_repair(self, recovery: str = "") -> tuple[repositories.Repository, bool]:
        """As `open`; a configuration that is damaged or gone is written anew, and that is told."""
        try:
            return self.open(recovery), False
        except Damaged:
            opening = keys.Opening(recovery=recovery) if recovery else self.opening
            return repositories.rewrite_config(self.store, opening, now()), True

    def open_or_create(self, *, is_meant: bool = False) -> tuple[repositories.Repository, bool]:
        """The repository, and whether it was made now. Raises InputError where nothing says how it is to be sealed,
        Refused where one was and is hidden, Missing where one was and is gone, unless it `is_meant` to begin anew.
        """
        if repositories.exists(self.store) or repositories.is_headless(self.store):
            return self.open(), False
        self._refuse_hidden()
        if not is_meant and (gone := self._gone()) is not None:
            raise gone
        opening = self.opening
        if not opening.passphrase and opening.key_file is None and self.settings.encryption == "on":
            raise InputError(
                "ddr.yaml does not say how the backup is to be sealed",
                hint="under `backup:` write `keyFile: PATH` (`ddr backup key new-file PATH` makes one), or "
                "`passphrase: ${env:NAME}`, or `encryption: none` where everyone who reads the store may read it all",
            )
        keys.check_new(opening.passphrase)
        return repositories.create(self.store, opening, now()), True

    def _refuse_hidden(self) -> None:
        """A backup that finds nothing where everything was deleted must not begin anew on top of it."""
        at = undeleting.begun_before(self.store) if isinstance(self.store, stores.Versioned) else None
        if at is not None:
            raise Refused(
                f"{self.store.name} had a backup repository, and somebody deleted it at {at:%Y-%m-%d %H:%M} UTC",
                hint="`ddr backup undelete` shows what is still there beneath; to begin anew name another prefix",
            )

    def origins(self) -> dict[str, capture.Origin]:
        """What is backed up. Raises InputError where a connector is named that cannot be."""
        able = {name: made for name, made in self.wired.connectors.items() if isinstance(made, restorable.Capturable)}
        for name in self.settings.connectors:
            if name not in able:
                there = ", ".join(able) or "none"
                raise InputError(f"backup.connectors: {name!r} cannot be backed up", hint=f"those that can: {there}")
        chosen = self.settings.connectors or tuple(able)
        kinds = {name: entry.type for name, entry in self.wired.config.connectors.items()}
        found = {name: capture.Origin(name, kinds[name], where_of(able[name]), able[name]) for name in chosen}
        for name, index in index_backups.chosen(self.wired).items():
            if name in found:
                raise InputError(
                    f"{name!r} is a connector that is backed up and an index too", hint="give one of them another name"
                )
            found[name] = capture.Origin(name, index_backups.KIND, index.where, index)
        source = self.wired.platform.store
        found[JOURNAL] = capture.Origin(JOURNAL, JOURNAL, source.name, journal_origin.JournalOrigin(source))
        return found

    def restorer(self, component: str) -> restorable.Restorable:
        """The connector that restores a component. Raises Missing."""
        if component == JOURNAL:
            return journal_origin.JournalOrigin(self.wired.platform.store)
        made = self.wired.connectors.get(component)
        if not isinstance(made, restorable.Restorable) and component in index_backups.names(self.wired.config):
            return index_backups.of(self.wired, component)
        if not isinstance(made, restorable.Restorable):
            able = [name for name, one in self.wired.connectors.items() if isinstance(one, restorable.Restorable)]
            able += index_backups.names(self.wired.config)
            raise Missing(
                f"no connector {component!r} in {self.wired.config.path} can restore",
                hint=f"those that can: {', '.join([*able, JOURNAL])}; name the connector as the snapshot calls it",
            )
        return made

    def restorables(self, snapshot: snapshots.Snapshot) -> dict[str, restorable.Restorable]:
        """For a drill: the connectors of its components, the journal's over an empty store."""
        found: dict[str, restorable.Restorable] = {}
        for component in snapshot.components:
            if component.name == JOURNAL:
                found[JOURNAL] = journal_origin.JournalOrigin(memory.MemoryStore())
            else:
                with contextlib.suppress(Missing):
                    found[component.name] = self.restorer(component.name)
        return found

    def maker(self) -> capture.Maker:
        return capture.Maker(socket.gethostname(), self.wired.platform.actor, version.VERSION, now)

    def scanner(self, repository: repositories.Repository) -> scanning.Scanner:
        """Looks for secrets in what is captured: shapes of them, every value that ddr.yaml refers to, and those that
        connectors came by."""
        known = {f"value {number} that ddr.yaml refers to": value for number, value in self._secrets}
        for made in self.wired.connectors.values():
            if isinstance(made, confidential.KnowsSecrets):
                known |= scanning.worth_knowing(made.secret_values())
        return scanning.Scanner(known, repository.ring.derive("fingerprints"), self.settings.allow)

    @property
    def _secrets(self) -> Iterator[tuple[int, str]]:
        return enumerate(sorted(self.wired.config.secrets), 1)

    def shelf(self) -> keeping.BackupShelf:
        """Where states of planes are kept. Nothing is asked of the store yet."""
        return keeping.BackupShelf(self.open, lambda: self.open_or_create()[0], self.maker, self.scanner)

    def program(self) -> str:
        """The `ddr` that is running, for units that start it."""
        return shutil.which("ddr") or str(Path(sys.argv[0]).absolute())

    def local_folder(self) -> str:
        """Where the repository lies on this machine, '' for one in a bucket."""
        settings = self.wired.config.repository
        if isinstance(settings, repository_settings.LocalRepository):
            return str((self.wired.config.base / settings.path).absolute())
        return ""

    def now(self) -> datetime:
        return now()

    def check_lock(self, at: stores.Store | None = None) -> None:
        """Raises Refused where ddr.yaml asks for locks and the bucket has none: before the work, not behind it."""
        place = at or self.store
        if isinstance(place, stores.Lockable) and place.rule is not None:
            place.check_lock()

    def place(self, name: str) -> stores.Store:
        """A second repository. Raises InputError."""
        places = self.copies()
        if name not in places:
            raise InputError(
                f"{name!r} is no copy in {self.wired.config.path}",
                hint=f"under `backup.copies` there is: {', '.join(places) or 'none'}",
            )
        return places[name]

    def copies(self) -> Mapping[str, stores.Store]:
        """Second repositories by name, retrying."""
        config = self.wired.config
        return {name: _patient(repository.store_of(one, config.base), self.warn) for name, one in config.copies.items()}


def of(wired: build.Wired, environ: Mapping[str, str], warn: Callable[[str], None] = _silent) -> Backups:
    """The backup side of a configuration; without a `backup` section with its defaults."""
    settings = wired.config.backup or backup_settings.BackupEntry()
    named, key = environ.get("DDR_PASSPHRASE_FILE", ""), environ.get("DDR_KEY_FILE", "")
    store = _patient(repository.make_store(wired.config), warn)
    return Backups(wired, store, settings, Path(named) if named else None, warn, Path(key) if key else None)


def _first_line(path: Path) -> str:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(
            f"the passphrase file cannot be read: {redact.foreign(problem)}", hint="$DDR_PASSPHRASE_FILE names it"
        ) from problem
    if not lines or not lines[0]:
        raise InputError(f"{path} has no passphrase in its first line", hint="$DDR_PASSPHRASE_FILE names it")
    return lines[0]


def _patient(made: stores.Store, warn: Callable[[str], None]) -> stores.Store:
    """A backup has time: it asks again for two minutes before it gives up. Where nobody listens at its start that is
    told soon."""
    jitter = random.Random()  # noqa: S311 - spreads retries, keeps no secret
    return retrying.Retrying(made, clocks.SystemClock(), jitter, deadline_s=_PATIENCE_S, reach_s=_REACH_S, told=warn)


def where_of(made: object) -> str:
    """Where a connector reads, for people: what it says of itself, else its type."""
    said = getattr(made, "where", "")
    return said if isinstance(said, str) and said else "what ddr.yaml names"


def now() -> datetime:
    """The real time: objects of a repository are dated by it, also in a sandbox, whose clock runs as it likes."""
    return datetime.now(UTC)
