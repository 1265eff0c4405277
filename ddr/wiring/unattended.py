"""What the printed schedules need of one ddr.yaml: how it is opened, what it refers to, what is written, how often."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ddr.backup import pace as paces
from ddr.backup import schedule
from ddr.errors import DdrError
from ddr.lib import sqlitefile
from ddr.wiring import backups, repository_settings

_REFERENCE = re.compile(r"\$\{(env|file):([^}]*)\}")
_TEMPORARY = ("/tmp/", "/var/tmp/")  # noqa: S108 - where nothing of ours should lie
_COMMENT = re.compile(r"(^|\s)#.*")


@dataclass(frozen=True)
class Wanted:
    """What a person asked for on the command line."""

    image: str
    namespace: str
    user: str
    mail_to: str
    is_pod: bool
    is_systemd: bool = False


@dataclass(frozen=True)
class Unattended:
    """`warnings` say what will not hold, or not start, as things are now."""

    wish: schedule.Wish
    pace: paces.Pace
    warnings: tuple[str, ...]


def of(made: backups.Backups, wanted: Wanted) -> Unattended:
    """Looks at ddr.yaml, at the journal where it can be read, and at nothing else."""
    pace = _pace(made)
    references = _references(made.wired.config.path)
    names = sorted({name for kind, name in references if kind == "env"})
    opening, warnings = _opening(made)
    key_file = _under(made, made.settings.key_file) if made.settings.key_file else ""
    wish = schedule.Wish(
        program=made.program(),
        config=str(made.wired.config.path.absolute()),
        local_repository=made.local_folder(),
        opening=opening,
        passphrase_file=str(made.passphrase_file.absolute()) if made.passphrase_file else "/etc/ddr/passphrase",
        key_file=key_file,
        environment=tuple(names),
        writable=_writable(made),
        databases=_databases(made),
        image=wanted.image,
        namespace=wanted.namespace,
        user=wanted.user,
        mail_to=wanted.mail_to,
        jobs=pace.jobs,
    )
    warnings += pace.warnings
    files = sorted({name for kind, name in references if kind == "file"})
    warnings += _of_pod(made, files) if wanted.is_pod else _of_machine(wish, files, is_systemd=wanted.is_systemd)
    return Unattended(wish, pace, tuple(warnings))


def _pace(made: backups.Backups) -> paces.Pace:
    """What was stored and how long it took is in the journal; where that cannot be read it is taken for little."""
    rpo = {name: one.objectives.rpo for name, one in made.wired.platform.services.items()}
    try:
        known = list(made.wired.board().backups.made.values())
    except DdrError:
        known = []
    newest = max(known, key=lambda one: one.taken_at, default=None)
    return paces.decide(rpo, sum(one.added_bytes for one in known), newest.took_s if newest else 0.0)


def _opening(made: backups.Backups) -> tuple[schedule.Opening, list[str]]:
    settings = made.settings
    if settings.key_file:
        return "key-file", []
    if settings.passphrase:
        return "written", []
    if settings.encryption == "none":
        return "none", []
    if made.passphrase_file is not None:
        return "passphrase-file", []
    text = (
        "ddr.yaml does not say how backups are sealed, so a passphrase is expected in /etc/ddr/passphrase; "
        "`keyFile: PATH` under `backup:` needs none"
    )
    return "passphrase-file", [text]


def _under(made: backups.Backups, path: str) -> str:
    return os.path.abspath(made.wired.config.base / path)  # noqa: PTH100 - `..` taken out, links left as they are


def _writable(made: backups.Backups) -> tuple[str, ...]:
    """Beside the repository: where the journal waits, and the folder of the metrics, which are renamed into it."""
    config = made.wired.config
    found = [_under(made, config.repository.spool)] if config.repository.spool else []
    if made.settings.metrics:
        found.append(str(Path(_under(made, made.settings.metrics)).parent))
    return tuple(dict.fromkeys(found))


def _databases(made: backups.Backups) -> tuple[str, ...]:
    """The folders of SQLite files that ddr.yaml names for what is backed up: reading one in WAL mode makes files there,
    and one that was cut off is rolled back."""
    config, found = made.wired.config, []
    chosen = made.settings.connectors or tuple(config.connectors)
    for name in chosen:
        entry = config.connectors.get(name)
        for value in _texts(entry.settings) if entry else ():
            if value.startswith("sqlite") and ":///" in value:
                with contextlib.suppress(DdrError):
                    path = os.path.abspath(sqlitefile.path_of(value, config.base))  # noqa: PTH100 - as in `_under`
                    found.append(str(Path(path).parent))
    return tuple(dict.fromkeys(found))


def _texts(settings: object) -> list[str]:
    """Every text among the settings of a connector."""
    if not dataclasses.is_dataclass(settings):
        return []
    values = (getattr(settings, field.name) for field in dataclasses.fields(settings))
    return [value for value in values if isinstance(value, str)]


def _references(path: Path) -> set[tuple[str, str]]:
    """(kind, name) of every `${env:NAME}` and `${file:PATH}` that is no comment."""
    text = "\n".join(_COMMENT.sub("", line) for line in path.read_text().splitlines())
    return set(_REFERENCE.findall(text))


def _of_machine(wish: schedule.Wish, files: list[str], *, is_systemd: bool) -> list[str]:
    """What is not there now: systemd would refuse the unit without a word of ddr."""
    needed = [
        *wish.writable,
        *(wish.databases if is_systemd else ()),
        *([wish.local_repository] if wish.local_repository else []),
    ]
    told = [
        f"{path} is not there, and the units begin only when it is: `install -d -m 0700 -o {wish.user} {path}`"
        for path in needed
        if not Path(path).is_dir()
    ]
    secret = {"key-file": wish.key_file, "passphrase-file": wish.passphrase_file}.get(wish.opening, "")
    if secret and not Path(secret).is_file():
        told.append(f"{secret} is not there, and nothing opens the repository without it")
    if files:
        told.append(f"{wish.user} must be able to read what ddr.yaml refers to: {', '.join(files)}")
    hidden = [path for path in dict.fromkeys((wish.config, *needed)) if path.startswith(_TEMPORARY)]
    if hidden and is_systemd:
        told.append(
            f"the units have a /tmp of their own (PrivateTmp) and do not see {', '.join(hidden)}: move it elsewhere, "
            "say to /etc/ddr and /var/lib/ddr"
        )
    return told


def _of_pod(made: backups.Backups, files: list[str]) -> list[str]:
    """A pod has its own folders; what is written elsewhere than on its volume fails."""
    config = made.wired.config
    named = [config.repository.path] if isinstance(config.repository, repository_settings.LocalRepository) else []
    named += [path for path in (config.repository.spool, made.settings.metrics) if path]
    told = [
        f"{path} is written: in the pod it has to be below {schedule.POD_STATE} (its volume), in ddr.yaml as well"
        for path in named
        if not path.startswith(f"{schedule.POD_STATE}/")
    ]
    if files:
        told.append(f"mount into the pod what ddr.yaml refers to: {', '.join(files)}")
    return told
