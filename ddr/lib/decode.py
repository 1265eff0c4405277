"""Nodes to frozen dataclasses, with every problem and its line; and dataclasses to JSON values.

Field names are camelCase in YAML documents and snake_case in Python and in JSON;
`field(metadata={"key": "steady-state"})` names another spelling and `metadata={"note": "..."}` says in a problem
what a value is for. A `datetime` is an ISO time, a `timedelta` is `15m`, a `Mapping[str, T]` keeps its order.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from ddr.lib import located, timetext

T = TypeVar("T")

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclasses.dataclass(frozen=True)
class Complaint:
    """A problem before it knows the file it stands in."""

    line: int
    key: str
    what: str


_BAD: Any = object()


def document_key(name: str) -> str:
    """`on_failure` as documents write it: `onFailure`."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


@functools.cache
def _fields(cls: type) -> tuple[tuple[dataclasses.Field[Any], str, Any], ...]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return tuple(
        (field, field.metadata.get("key", document_key(field.name)), hints[field.name])
        for field in dataclasses.fields(cls)
        if field.init
    )


def decode(cls: type[T], node: located.Node, complaints: list[Complaint], key: str = "") -> T | None:
    """`node` as a `cls`; None when it does not fit, and then `complaints` has grown."""
    value = _decode(cls, node, complaints, key)
    return None if value is _BAD else typing.cast(T, value)


def _decode(kind: Any, node: located.Node, complaints: list[Complaint], key: str) -> Any:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _decode(typing.get_args(kind)[0], node, complaints, key)
    if origin in (types.UnionType, typing.Union):
        return _decode_union(typing.get_args(kind), node, complaints, key)
    if origin is typing.Literal:
        return _decode_choice(typing.get_args(kind), node, complaints, key)
    if origin in (tuple, list, Sequence):
        return _decode_sequence(typing.get_args(kind)[0], node, complaints, key)
    if origin in (dict, Mapping):
        return _decode_mapping(typing.get_args(kind)[1], node, complaints, key)
    if dataclasses.is_dataclass(kind) and kind is not located.Node:
        return _decode_dataclass(typing.cast(type, kind), node, complaints, key)
    return _decode_scalar(kind, node, complaints, key)


def _complain(complaints: list[Complaint], node: located.Node, key: str, what: str) -> Any:
    complaints.append(Complaint(node.line, key, what))
    return _BAD


def _describe(node: located.Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, tuple):
        return "a list"
    if node.value is None:
        return "nothing"
    return repr(node.value)


def _decode_union(kinds: tuple[Any, ...], node: located.Node, complaints: list[Complaint], key: str) -> Any:
    if node.value is None and type(None) in kinds:
        return None
    attempts: list[list[Complaint]] = []
    for kind in kinds:
        if kind is type(None):
            continue
        attempt: list[Complaint] = []
        value = _decode(kind, node, attempt, key)
        if value is not _BAD:
            return value
        attempts.append(attempt)
    complaints.extend(sorted(attempts, key=len)[0])
    return _BAD


def _decode_choice(choices: tuple[Any, ...], node: located.Node, complaints: list[Complaint], key: str) -> Any:
    if node.value in choices:
        return node.value
    return _complain(complaints, node, key, f"is {_describe(node)}, must be one of {_listed(choices)}")


def _decode_sequence(kind: Any, node: located.Node, complaints: list[Complaint], key: str) -> Any:
    if not isinstance(node.value, tuple):
        would_do = isinstance(node.value, str) and _decode(kind, node, [], key) is not _BAD
        shown = f": {json.dumps([node.value], ensure_ascii=False)}" if would_do else ""
        return _complain(complaints, node, key, f"is {_describe(node)}, must be a list{shown}")
    values = [_decode(kind, child, complaints, f"{key}[{at}]") for at, child in enumerate(node.value)]
    return _BAD if any(value is _BAD for value in values) else tuple(values)


def _decode_mapping(kind: Any, node: located.Node, complaints: list[Complaint], key: str) -> Any:
    if not isinstance(node.value, dict):
        return _complain(complaints, node, key, f"is {_describe(node)}, must be a mapping")
    values = {name: _decode(kind, child, complaints, _join(key, name)) for name, child in node.value.items()}
    return _BAD if any(value is _BAD for value in values.values()) else values


def _decode_dataclass(cls: type, node: located.Node, complaints: list[Complaint], key: str) -> Any:
    if not isinstance(node.value, dict):
        return _complain(complaints, node, key, f"is {_describe(node)}, must be a mapping")
    fields = _fields(cls)
    allowed = [name for _, name, _ in fields]
    before = len(complaints)
    for name in node.value:
        if name not in allowed:
            line = node.key_lines.get(name, node.line)
            complaints.append(Complaint(line, _join(key, name), _unknown(name, allowed)))
    values = {}
    for field, name, kind in fields:
        if name in node.value:
            values[field.name] = _decode(kind, node.value[name], complaints, _join(key, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            note = field.metadata.get("note", "")
            what = "is missing" + (f": {note}" if note else f"; it must be {_expected(kind)}")
            complaints.append(Complaint(node.line, _join(key, name), what))
    if len(complaints) > before:
        return _BAD
    try:
        return cls(**values)
    except ValueError as problem:
        return _complain(complaints, node, key, str(problem))


def _decode_scalar(kind: Any, node: located.Node, complaints: list[Complaint], key: str) -> Any:
    value = node.value
    if kind is Any or kind is object:
        return node.plain()
    if kind is located.Node:
        return node
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (str, int, float, bool):
        if type(value) is kind:
            return value
        return _complain(complaints, node, key, f"is {_describe(node)}, must be {_NAMES[kind]}")
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _decode_enum(kind, node, complaints, key)
    readers = {datetime: timetext.parse_time, timedelta: timetext.parse_duration}
    if kind in readers:
        try:
            return readers[kind](str(value))
        except ValueError as problem:
            return _complain(complaints, node, key, str(problem))
    raise TypeError(f"no decoder for {kind!r}")


def _decode_enum(kind: type[enum.Enum], node: located.Node, complaints: list[Complaint], key: str) -> Any:
    try:
        return kind(node.value)
    except ValueError:
        choices = tuple(member.value for member in kind)
        return _complain(complaints, node, key, f"is {_describe(node)}, must be one of {_listed(choices)}")


def _expected(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return f"one of {_listed(typing.get_args(kind))}"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return f"one of {_listed(tuple(member.value for member in kind))}"
    if dataclasses.is_dataclass(kind):
        return f"a mapping with {_listed(tuple(name for _, name, _ in _fields(typing.cast(type, kind))))}"
    return {timedelta: "a duration like 15m", datetime: "a time"}.get(kind, _NAMES.get(kind, "given"))


def _listed(choices: Sequence[object]) -> str:
    return ", ".join(str(choice) for choice in choices)


def _unknown(name: str, allowed: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, allowed, n=1)
    if close:
        return f"is not known here; did you mean {close[0]}?"
    return f"is not known here; allowed: {_listed(sorted(allowed))}"


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def encode(value: Any) -> Any:
    """Nouns as JSON values with their Python names, for every printer and for digests."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): encode(child) for name, child in value.items()}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, list | tuple | set | frozenset):
        return [encode(child) for child in value]
    if isinstance(value, datetime):
        return timetext.format_time(value)
    if isinstance(value, timedelta):
        return timetext.format_duration(value)
    return value
