"""Writes the first `ddr.yaml`, after its repository was tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ddr.errors import Damaged, Refused, Unavailable
from ddr.lib import durable, redact
from ddr.stores import probe
from ddr.wiring import config, connector_types, repository, sample

_KEYS = {"access_key": "DDR_S3_ACCESS_KEY", "secret_key": "DDR_S3_SECRET_KEY"}  # names, not values

_TRY = {
    "local": "this folder cannot be written: choose another, or look at its rights",
    "s3": "check --endpoint, --bucket and the credentials",
}


@dataclass(frozen=True)
class Written:
    """Where the file is and which store it names. `missing` tells of a journal that was seen there and is gone: then
    nothing was written to the store."""

    path: str
    store: str
    missing: str = ""
    hint: str = ""


def write(folder: Path, settings: Mapping[str, str], environ: Mapping[str, str]) -> Written:
    """Raises Refused where a file is there, Damaged where the store ignores conditional writes, Unavailable."""
    path = folder / config.NAME
    if path.exists():
        raise Refused(f"{path} is there already; nothing was written", hint="edit it, then `ddr doctor`")
    filled = dict(settings)
    if settings["type"] == "s3" and all(name in environ for name in _KEYS.values()):
        filled |= {"accessKey": "${env:DDR_S3_ACCESS_KEY}", "secretKey": "${env:DDR_S3_SECRET_KEY}"}
    text = sample.text(filled, ", ".join(connector_types.TYPES))
    try:
        durable.make_folder(folder)
        checked = config.read(path, text, environ)
        made = repository.make_store(checked)
        gone = repository.remembered(checked, environ)
        if gone is not None:
            durable.create(path, text.encode())
            return Written(str(path), made.name, gone.message, gone.hint)
        _try(probe.probe(made), made.name, settings["type"])
        durable.create(path, text.encode())
    except OSError as problem:
        raise Unavailable(
            f"{path}: cannot be written: {redact.foreign(problem)}", hint=f"{_TRY['local']}; nothing was written"
        ) from problem
    return Written(str(path), made.name)


def _try(verdict: probe.Verdict, name: str, kind: str) -> None:
    if verdict.unanswered:
        raise Unavailable(
            "; ".join(verdict.findings),
            hint=f"{_TRY[kind]}; nothing was written",
        )
    if not verdict.honest:
        raise Damaged(
            f"{name} is not fit for a shared record: {'; '.join(verdict.findings)}",
            hint="use a store with conditional writes (AWS S3, SeaweedFS, MinIO) or a folder; nothing was written",
        )


def above(folder: Path) -> Path | None:
    """The configuration that was used in `folder` before it got its own."""
    return next((up / config.NAME for up in folder.resolve().parents if (up / config.NAME).is_file()), None)
