"""When this machine last looked for changes that nobody recorded. A hint in the state folder: anyone may delete it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from ddr.lib import durable, timetext
from ddr.release import discovery
from ddr.wiring import config as configs
from ddr.wiring import repository

_NAME = "last-looks.json"


def read(config: configs.Config, environ: Mapping[str, str], service: str) -> discovery.LastLook | None:
    """None where it is not known."""
    said = _all(repository.state(config, environ) / _NAME).get(service)
    try:
        return discovery.LastLook(timetext.parse_time(str(said["at"])), str(said["content"])) if said else None
    except (KeyError, TypeError, ValueError):
        return None


def write(config: configs.Config, environ: Mapping[str, str], service: str, look: discovery.LastLook) -> None:
    """Not kept where it cannot be written: the journal's own sightings are enough."""
    folder = repository.state(config, environ)
    said = {**_all(folder / _NAME), service: {"at": look.at.isoformat(), "content": look.content}}
    with contextlib.suppress(OSError):
        durable.make_folder(folder)
        durable.replace(folder / _NAME, json.dumps(said).encode())


def _all(path: Path) -> dict[str, dict[str, str]]:
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
