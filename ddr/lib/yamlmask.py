"""Takes secret values out of a YAML text and leaves every other letter as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ddr.lib import redact

_SECRET = re.compile(
    r"(?i)(password|passwd|\bpwd|passphrase|secret|token|api_?key|access_?key|private_?key|account_?key|credential"
    r"|sasl|connection_?string|auth_?header)"
)
_NOT_A_VALUE = re.compile(
    r"(?i)(_(path|file|name|type|id|url|uri|scope|ttl|env|manager|arn|provider|store|backend|strategy)s?$)"
)
_REFERENCE = re.compile(r"\$\{?\w+\}?|\$\{\w+:[^}]*\}|\{\{.*\}\}")


@dataclass(frozen=True)
class Masked:
    """`keys` are where something was taken out, as dotted paths."""

    text: str
    keys: tuple[str, ...]


class Unreadable(Exception):
    """The text is no YAML, so nobody can say what in it is a secret."""


def masked(text: str) -> Masked:
    """Raises Unreadable."""
    return replaced(text, lambda key, value: _cleaned(key, value))


def replaced(text: str, change: Any) -> Masked:
    """`change(key, value)` gives another value for a scalar, or None. Raises Unreadable."""
    import yaml

    try:
        roots = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        raise Unreadable(f"line {mark.line + 1 if mark else 1}: no YAML") from None  # its text quotes the line
    edits: dict[tuple[int, int], tuple[str, str]] = {}
    for root in roots:
        for key, node in _scalars(root, "", set()):
            new = change(key, node.value)
            if new is not None and new != node.value:
                edits[node.start_mark.index, node.end_mark.index] = (key, new)
    for (start, end), (_, new) in sorted(edits.items(), reverse=True):
        tail = "\n" if text[start:end].endswith("\n") else ""  # a block of lines ends with its last line break
        text = f"{text[:start]}{_quoted(new)}{tail}{text[end:]}"
    return Masked(text, tuple(dict.fromkeys(key for key, _ in edits.values())))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _scalars(node: Any, key: str, seen: set[int], is_secret: bool = False) -> Iterator[tuple[str, Any]]:
    import yaml

    if id(node) in seen or node is None:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for name, child in node.value:
            yield from _scalars(child, f"{key}.{name.value}" if key else str(name.value), seen)
    elif isinstance(node, yaml.SequenceNode):
        for at, child in enumerate(node.value):
            yield from _scalars(child, f"{key}[{at}]", seen)
    else:
        yield key, node


def is_secret_key(key: str) -> bool:
    """By the last name of a dotted path; a name like `secret_path` says where a secret is, not what it is."""
    last = re.sub(r"\[\d+\]", "", key).rpartition(".")[2]
    return bool(_SECRET.search(last)) and not _NOT_A_VALUE.search(last)


def _cleaned(key: str, value: str) -> str | None:
    if not value or _REFERENCE.fullmatch(value.strip()) or value.lower() in ("true", "false", "null", "~"):
        return None
    if is_secret_key(key):
        return redact.MASK
    clean = redact.Redactor()(value)
    return clean if clean != value else None


def masked_keys(values: Mapping[str, str]) -> dict[str, str]:
    """The same rule for names and values that come from elsewhere."""
    return {key: _cleaned(key, value) or value for key, value in values.items()}
