"""`airflow connections export`: which connections there are and what each needs. The file has the passwords in plain.

Its three formats: JSON, YAML (fields or a URI for each connection), and env (`name=uri` on a line).
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ddr.connectors.secret_references import found

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.\-]{0,251}[A-Za-z0-9_])?|\[[0-9a-fA-F:.]+\]")
_WORD = re.compile(r"[A-Za-z0-9_.\-]{1,63}")


def read(text: str, origin: str, into: found.Found) -> None:
    for name, said in _connections(text, origin, into).items():
        if isinstance(said, str):
            _of_uri(name, said, origin, into)
        elif isinstance(said, dict):
            _of_fields(name, said, origin, into)
        else:
            into.complaints.append(f"{origin}: a connection has neither fields nor a URI")


def _connections(text: str, origin: str, into: found.Found) -> dict[str, Any]:
    import yaml

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if value is None and not re.match(r"\s*[\w.\-]+=", text):
        try:
            value = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        except (yaml.YAMLError, ValueError, RecursionError):
            value = None
    if value is None:
        pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
        value = {name.strip(): uri.strip() for name, equals, uri in pairs if equals}
    if not isinstance(value, dict):
        into.complaints.append(f"{origin}: no export of Airflow connections, nothing in it is told")
        return {}
    return {str(name): said for name, said in value.items()}


def _of_fields(name: str, said: dict[str, Any], origin: str, into: found.Found) -> None:
    if "conn_type" not in said and isinstance(said.get("uri"), str):
        _of_uri(name, said["uri"], origin, into)
        return
    needs = [key for key in ("login", "password") if said.get(key)]
    extra = said.get("extra") or said.get("extra_dejson") or {}
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except (ValueError, RecursionError):
            extra = None
    if isinstance(extra, dict):
        needs += [f"extra.{key}" for key in extra]
    else:
        needs.append("extra")
    host, port, schema = said.get("host"), said.get("port"), said.get("schema")
    _add(name, str(said.get("conn_type") or ""), host, port, schema, needs, origin, into)


def _of_uri(name: str, uri: str, origin: str, into: found.Found) -> None:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        into.complaints.append(f"{origin}: the URI of a connection cannot be read")
        return
    if not parts.scheme:
        into.complaints.append(f"{origin}: the URI of a connection has no type")
        return
    needs = [key for key, value in (("login", parts.username), ("password", parts.password)) if value]
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key == "__extra__":
            try:
                inner = json.loads(value)
            except (ValueError, RecursionError):
                inner = None
            needs += [f"extra.{inside}" for inside in inner] if isinstance(inner, dict) else ["extra"]
        else:
            needs.append(f"extra.{key}")
    schema = unquote(parts.path.removeprefix("/"))
    _add(name, parts.scheme, unquote(host or ""), port, schema, needs, origin, into)


def _add(
    name: str, kind: str, host: object, port: object, schema: object, needs: list[str], origin: str, into: found.Found
) -> None:
    """Hosts and schemas are told only where they are plain words: people put tokens and whole URLs there."""
    where = [origin]
    for label, value, shape in (("host", host, _HOST), ("port", port, _WORD), ("schema", schema, _WORD)):
        text = _plain_host(str(value)) if label == "host" and value else str(value or "")
        if text and shape.fullmatch(text) and found.is_name(text):
            where.append(f"{label} {text}")
        elif value:
            into.complaints.append(f"{origin}: the {label} of a connection is no plain name and is not told")
    shown = kind if _WORD.fullmatch(kind) and found.is_name(kind) else "unknown"
    into.add(name, f"airflow connection ({shown})", needs, ", ".join(where))


def _plain_host(host: str) -> str:
    """Of a host that is a URL, the host in it."""
    if "://" not in host:
        return host
    try:
        return urlsplit(host).hostname or ""
    except ValueError:
        return ""
