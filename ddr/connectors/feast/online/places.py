"""Which online store a feature_store.yaml names, and where it is."""

from __future__ import annotations

import json
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from ddr.connectors.feast.online import redis, sqlite
from ddr.errors import Damaged, InputError, Unsupported
from ddr.lib import located, redact, resp

_SQLITE = ("sqlite", "feast.infra.online_stores.sqlite.SqliteOnlineStore")
_VERSIONED = "enable_online_feature_view_versioning"


@dataclass(frozen=True)
class Said:
    """What feature_store.yaml says of the project and its online store."""

    project: str
    kind: str
    place: str
    redis_type: str = "redis"


def read(text: str, where: str, *, project: str = "", online: str = "") -> Said:
    """`project` and `online` (an address or a path) go before what is in the file. Damaged, InputError, Unsupported."""
    try:
        root = located.parse_yaml(text)
    except located.Malformed as problem:
        raise Damaged(f"{where}:{problem.line}: no YAML that ddr reads", hint="mend that line") from None
    named = root.fields.get("registry")
    if named is not None and _VERSIONED in named.fields and named.fields[_VERSIONED].value:
        raise Unsupported(
            f"{where}: {_VERSIONED} is on: values of each version lie apart", hint="serve the older version by its name"
        )
    store = root.fields.get("online_store")
    fields = store.fields if store is not None else {}
    kind = _text(fields.get("type")) or (_text(store) if store is not None and not fields else "") or "sqlite"
    found = project or _text(root.fields.get("project"))
    place = online or _text(fields.get("connection_string")) or _text(fields.get("path"))
    if online:
        kind = "redis" if online.startswith(("redis://", "rediss://", "unix://")) else "sqlite"
    for what, value, key in (("project", found, "project"), ("online store", place, "online")):
        if "$" in value or (key == "project" and not value):
            raise InputError(
                f"{where} gives the {what} as {redact.foreign(value)!r}; ddr does not know its value",
                hint=f"say `{key}:` in ddr.yaml, there with ${{env:NAME}}",
            )
    return Said(found, kind, place, _text(fields.get("redis_type")) or "redis")


def _text(node: located.Node | None) -> str:
    return str(node.value) if node is not None and isinstance(node.value, str | int) else ""


def store(said: Said, root: Path, view: str, join_keys: tuple[str, ...], timeout_s: float) -> Store:
    """Connects to nothing. Unsupported for a store that ddr does not know."""
    if said.kind in _SQLITE:
        return sqlite.SqliteOnline(root / (said.place or "data/online.db"), f"{said.project}_{view}")
    if said.kind == "redis" and said.redis_type == "redis":
        return redis.RedisOnline(address(said.place or "localhost:6379", timeout_s), said.project, view, join_keys)
    kind = said.redis_type if said.kind == "redis" else said.kind
    raise Unsupported(
        f"ddr does not know the online store {kind!r}", hint="it knows sqlite and a single redis; materialize instead"
    )


Store = sqlite.SqliteOnline | redis.RedisOnline


def address(said: str, timeout_s: float) -> resp.Address:
    """`redis://user:password@host:port/0`, or as Feast writes it: `host:port,db=0,ssl=true`. InputError."""
    try:
        if "://" in said:
            url = urllib.parse.urlsplit(said)
            is_socket = url.scheme == "unix"
            return resp.Address(
                url.hostname or "localhost", url.port or 6379, int((not is_socket and url.path.strip("/")) or 0),
                urllib.parse.unquote(url.username or ""), urllib.parse.unquote(url.password or ""),
                url.scheme == "rediss", url.path if is_socket else "", timeout_s,
            )  # fmt: skip
        places = [part for part in said.split(",") if "=" not in part]
        more = dict(part.split("=", 1) for part in said.split(",") if "=" in part)
        host, _, port = (places[0] if places else "localhost").rpartition(":")
        return resp.Address(
            host or port, int(port) if host else 6379, int(more.get("db", "0")), more.get("username", ""),
            _plain(more.get("password", "")), more.get("ssl", "").lower() == "true", "", timeout_s,
        )  # fmt: skip
    except ValueError:
        raise InputError(
            f"{redact.foreign(said.partition(',')[0])} is no address of a Redis",
            hint="host:6379,db=0 or redis://host:6379/0",
        ) from None


def _plain(word: str) -> str:
    """Feast reads each value as JSON where it is some."""
    try:
        return str(json.loads(word))
    except ValueError:
        return word
