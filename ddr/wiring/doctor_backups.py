"""Tries what backups need: what opens the repository, everything that goes in, every copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from ddr.backup import keys, layout
from ddr.backup import repository as repositories
from ddr.domain import signals
from ddr.errors import DdrError
from ddr.ports import store
from ddr.stores import probe
from ddr.wiring import backups, build, glance, repository, repository_settings, visits

_TRIAL = "probe/doctor-"


def visit(wired: build.Wired, environ: Mapping[str, str], asked: Set[str]) -> Iterator[visits.Visit]:
    """`asked` are the connectors that were tried as a plane. Where ddr.yaml says nothing of backups, nothing has to
    open them."""
    made = backups.of(wired, environ)
    if wired.config.backup is not None:
        yield _key(made)
    yield from _origins(made, asked)
    for name, settings in wired.config.copies.items():
        yield _copy(name, settings, made)


def _key(made: backups.Backups) -> visits.Visit:
    """Opens the repository, or shows that a new one could be sealed. Asked once, without a retry's patience."""
    what, at = "key of backups", repository.make_store(made.wired.config)
    settings = made.settings
    try:
        opening = made.opening
        if repositories.exists(at):
            repositories.open_(at, opening)
            return visits.Visit(what, signals.State.OK, "opens the repository", ("seal and read backups",))
        if not opening.passphrase and opening.key_file is None and settings.encryption == "on":
            why = "ddr.yaml does not say how backups are to be sealed\n      next: `keyFile: PATH` under `backup:`"
            return visits.Visit(what, signals.State.BAD, why, cannot=("make a backup",))
        keys.check_new(opening.passphrase)
        keys.wrap(keys.new_keyring(), opening, made.now())
    except DdrError as problem:
        return visits.failed(what, problem, ("make or read backups",))
    word = "encryption: none" if settings.encryption == "none" else "it is there"
    return visits.Visit(what, signals.State.OK, f"{word}; there is no backup yet", ("seal a new repository",))


def _origins(made: backups.Backups, asked: Set[str]) -> Iterator[visits.Visit]:
    try:
        origins = made.origins()
    except DdrError as problem:
        yield visits.failed("backups", problem)
        return
    for name, origin in origins.items():
        if name == backups.JOURNAL:
            continue  # has a visit of its own
        what, fidelity = f"backups of {name}", getattr(origin.made, "fidelity", "")
        told = f"fidelity {fidelity}" if fidelity else ""
        if name in asked:
            yield visits.Visit(what, signals.State.OK, told or "the plane above says how it answers")
            continue
        try:
            seen = glance.at(origin.made)
        except DdrError as problem:
            yield visits.failed(what, problem)
            continue
        if not seen:
            yield visits.Visit(what, signals.State.BAD, f"there is nothing in {origin.source} that would be backed up")
            continue
        yield visits.Visit(what, signals.State.OK, "; ".join(filter(None, (seen, told))))


def _copy(name: str, settings: repository_settings.Repository, made: backups.Backups) -> visits.Visit:
    """Whether the second place can be written, is locked as it should, and holds the repository."""
    what, base = f"copy {name}", made.wired.config.base
    place = repository.store_of(settings, base)
    lacking = f"holds no backup yet\n      next: `ddr backup copy {name}`"
    try:
        if isinstance(settings, repository_settings.LocalRepository) and not (base / settings.path).is_dir():
            return visits.Visit(what, signals.State.UNKNOWN, f"{place.name} is no folder yet, and {lacking}")
        if isinstance(place, store.Lockable) and place.rule is not None:
            place.check_lock()
        trouble = probe.try_beginning(place, _TRIAL)
        if trouble:
            return visits.Visit(what, signals.State.BAD, f"{place.name}: {trouble}", cannot=("be brought up to date",))
        if not repositories.exists(place):
            return visits.Visit(what, signals.State.UNKNOWN, f"{place.name} can be written and {lacking}")
        held = sum(1 for _ in place.list(layout.SNAPSHOTS))
    except DdrError as problem:
        return visits.failed(what, problem, ("be brought up to date",))
    counted = "1 snapshot" if held == 1 else f"{held} snapshots"
    return visits.Visit(what, signals.State.OK, f"{place.name} holds {counted}", ("be brought up to date",))
