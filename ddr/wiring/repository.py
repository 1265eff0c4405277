"""Opens the repository's store, and refuses a shared one that does not keep its word.

The journal needs conditional writes. Some S3 servers accept the header and ignore it: two writers would then
overwrite each other without an error. The probe's verdict is kept in the state folder, so it is asked once.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Mapping
from pathlib import Path

from ddr.errors import DdrError, Refused, Unavailable
from ddr.journal import mirror, seen, witness
from ddr.lib import clock as clocks
from ddr.lib import digest, durable, redact
from ddr.ports import store
from ddr.stores import local, probe, retrying
from ddr.wiring import config as configs
from ddr.wiring import repository_settings

_VERDICT = "store-verdict.json"

PATIENCE_S = 8.0
"""So long a store that does not answer is asked again; behind that the journal goes on from its spool."""


def make_store(config: configs.Config) -> store.Store:
    """The store as configured; nothing is asked of it yet."""
    return store_of(config.repository, config.base)


def store_of(settings: repository_settings.Repository, base: Path) -> store.Store:
    """The store that these settings name; relative paths count from `base`."""
    if isinstance(settings, repository_settings.LocalRepository):
        return local.LocalStore(base / settings.path)
    from ddr.backup import locks  # what no command pays whose repository is a folder
    from ddr.stores import s3

    return s3.S3Store(
        bucket=settings.bucket,
        prefix=settings.prefix,
        endpoint=settings.endpoint or None,
        region=settings.region or None,
        access_key=settings.access_key or None,
        secret_key=settings.secret_key or None,
        lock=locks.rule(settings.lock.mode, settings.lock.days) if settings.lock else None,
    )


def open_store(config: configs.Config, environ: Mapping[str, str]) -> store.Store:
    """The store, retrying. Raises Refused where a shared store ignores conditional writes."""
    made = make_store(config)
    if made.is_shared:
        refuse_untrusted(made, state(config, environ))
    jitter = random.Random()  # noqa: S311 - spreads retries, keeps no secret
    return retrying.Retrying(made, clocks.SystemClock(), jitter, deadline_s=PATIENCE_S)


def refuse_untrusted(made: store.Store, folder: Path) -> None:
    """Probe once; raise Refused if the store accepts conditional writes and ignores them.

    A store that does not answer is not judged: the journal then goes on from its spool.
    """
    known = folder / _VERDICT
    try:
        verdict = json.loads(known.read_text())
    except (OSError, ValueError):
        found = probe.probe(made)
        if found.unanswered:
            return
        verdict = {"honest": found.honest, "findings": list(found.findings)}
        durable.make_folder(folder)
        durable.replace(known, json.dumps(verdict).encode())
    if not verdict["honest"]:
        raise Refused(
            f"{made.name} is not fit to be shared: {'; '.join(verdict['findings'])}",
            hint="use a store with conditional writes (AWS S3, SeaweedFS, MinIO), or a local folder; "
            "`ddr doctor` probes again",
        )


def forget_verdict(config: configs.Config, environ: Mapping[str, str]) -> None:
    """Let the next opening probe anew."""
    (state(config, environ) / _VERDICT).unlink(missing_ok=True)


def forget(config: configs.Config, environ: Mapping[str, str]) -> None:
    """Keep aside what this machine knows of a repository that was in the same place: a sandbox there was made anew.

    Also what waits in its spool: those are the events of another platform.
    """
    folder, waiting = state(config, environ), spool(config, environ)
    stamp = secrets.token_hex(4)
    try:
        for path in folder.glob("journal-*"):
            if path.name in ("journal-seen.json", "journal-copy.jsonl", "journal-away.json"):
                path.replace(path.with_name(f"{path.stem}-before-{stamp}{path.suffix}"))
        if waiting.is_dir():
            waiting.replace(waiting.with_name(f"{waiting.name}-before-{stamp}"))
    except OSError as problem:
        raise Unavailable(
            f"{folder}: what was known of the repository before cannot be kept aside: {redact.foreign(problem)}",
            hint="look at the folder and its rights",
        ) from problem


def remembered(config: configs.Config, environ: Mapping[str, str]) -> DdrError | None:
    """What is wrong where this machine has seen a journal in the store that `config` names, and it is not there."""
    made, folder = make_store(config), state(config, environ)
    watch = witness.Witness(made, seen.Seen(folder), mirror.Mirror(folder), lambda _text: None)
    try:
        watch.hold_place(watch.anchor())
    except DdrError as problem:
        return problem
    return None


def state(config: configs.Config, environ: Mapping[str, str]) -> Path:
    """What this machine knows of this repository: the journal's local copy, the probe's verdict."""
    home = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME") or "/tmp") / ".local" / "state")  # noqa: S108
    return Path(home) / "ddr" / digest.short(digest.of_bytes(make_store(config).name.encode()), 16)


def spool(config: configs.Config, environ: Mapping[str, str]) -> Path:
    """Where events wait while the store is away."""
    named = config.repository.spool
    return config.base / named if named else state(config, environ) / "spool"
