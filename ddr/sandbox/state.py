"""One digest over everything that a fault may have changed and its undo must have put back.

Telemetry is left out (requests, truths, runs, logs, the clock, the values in the tables); of the online rows counts
how many differ from what a good materialization would have there now, of the server what it has not rolled to.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ddr.domain import planes
from ddr.lib import digest as digests
from ddr.sandbox import clock, features, layout, loading, lookalikes, process, registry, releases

_TIMES_OF_BOOKKEEPING = "last_update"  # a tag that was set and deleted again moves these


def digest(root: Path) -> str:
    """`sha256:...`; equal before a fault and after its undo."""
    return digests.of_value(describe(root))


def describe(root: Path) -> dict[str, object]:
    """What the digest is made of, by part: two that differ can be compared."""
    root = root.resolve()
    where = layout.Layout(root)
    where.identity()
    files = (where.card, where.settings, where.rows, where.golden, where.embedder, where.config)
    return {
        "files": {path.name: digests.of_file(path) if path.exists() else "" for path in files},
        "code": _channel(loading.code_channel(root)),
        "features": _channel(features.channel(root)),
        "index": _channel(lookalikes.channel(root)),
        "config": _log(releases.Channel(where.config.parent)),
        "registry": _registry(root),
        "artifacts": {
            name: found
            for name, found in digests.tree(where.artifacts).items()
            if not name.endswith(f"/{registry.LOADER_MARK}")
        },
        "wrong_online_rows": features.wrong_rows(root, clock.read(root)),
        "suspended": where.suspended.exists(),
        "fallback": where.fallback.exists(),
        "stashes": sorted(path.name for path in where.faults.iterdir()),
        "not_rolled": _not_rolled(root),
    }


def _channel(channel: releases.Channel) -> dict[str, object]:
    folder = channel.root / channel.folder
    return {
        "live": channel.live(),
        "releases": {name: channel.pointer.digest(name) for name in channel.pointer.names()},
        "leftovers": sorted(path.name for path in folder.iterdir() if path.name.startswith(".")),
        **_log(channel),
    }


def _log(channel: releases.Channel) -> dict[str, object]:
    return {
        "deployments": digests.of_file(channel.log) if channel.log.exists() else "",
        "beside": sorted(path.name for path in channel.root.iterdir() if path.suffix == ".tmp"),
    }


def _registry(root: Path) -> dict[str, object]:
    """Every row of every table, but for the times of bookkeeping."""
    with registry.opened(root) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: rows for name in sorted(names) if (rows := _rows(connection, name))}


def _rows(connection: sqlite3.Connection, table: str) -> list[str]:
    columns = [row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]
    kept = [f'"{column}"' for column in columns if not column.startswith(_TIMES_OF_BOOKKEEPING)]
    return sorted(repr(row) for row in connection.execute(f'SELECT {", ".join(kept)} FROM "{table}"'))  # noqa: S608


def _not_rolled(root: Path) -> list[str]:
    """Planes of which the running server has something else in memory than what is live."""
    address = process.find(root)
    if address is None:
        return []
    _, told = process.call(address, "GET", "/-/loaded")
    live = registry.champion(root)
    config = digests.of_file(layout.Layout(root).config)
    code, index = loading.code_channel(root), lookalikes.channel(root)
    should = {
        planes.Plane.MODEL: (live.number, live.digest),
        planes.Plane.CODE: (code.live(), code.pointer.digest(code.live())),
        planes.Plane.INDEX: (index.live(), index.pointer.digest(index.live())),
        planes.Plane.CONFIG: (digests.short(config), config),
    }
    found = {plane: told.get(str(plane)) for plane in should}
    return [
        str(plane)
        for plane, one in found.items()
        if not isinstance(one, dict) or (one.get("name"), one.get("digest")) != should[plane]
    ]
