"""The registry file of Feast: one protocol buffer. What is in it, and one view of it put into another one.

Field numbers are those of feast 0.67 (`feast/protos/feast/core/*.proto`); a test holds them against feast itself.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ddr.errors import Damaged
from ddr.lib import protowire, timetext

_VERSION_ID, _LAST_UPDATED = 4, 5
_ENTITY, _SOURCE, _PROJECT_METADATA, _PROJECT = 1, 12, 15, 17
_SPEC, _META = 1, 2


@dataclass(frozen=True)
class _Kind:
    """Where an object of one kind keeps what. Paths of field numbers; () is not there."""

    name: str
    named: tuple[int, ...] = (_SPEC, 1)
    project: tuple[int, ...] = (_SPEC, 2)
    created: tuple[int, ...] = (_META, 1)
    updated: tuple[int, ...] = (_META, 2)
    ttl: tuple[int, ...] = ()
    features: tuple[int, ...] = ()  # repeated messages with a name in field 1
    entities: tuple[int, ...] = ()  # repeated texts
    sources: tuple[tuple[int, ...], ...] = ()  # data sources, their name in field 20
    version: int = 0  # of the meta message


_KINDS = {
    _ENTITY: _Kind("entity", project=(_SPEC, 9)),
    6: _Kind("feature view", ttl=(_SPEC, 6), features=(_SPEC, 4), entities=(_SPEC, 3),
             sources=((_SPEC, 7), (_SPEC, 9)), version=4),
    7: _Kind("feature service", features=(_SPEC, 3)),
    8: _Kind("on demand feature view", features=(_SPEC, 3), entities=(_SPEC, 13), version=3),
    11: _Kind("saved dataset"),
    _SOURCE: _Kind("data source", named=(20,), project=(21,), created=(50, 3), updated=(50, 4)),
    13: _Kind("validation reference", named=(1,), project=(3,), created=(), updated=()),
    14: _Kind("stream feature view", ttl=(_SPEC, 9), features=(_SPEC, 4), entities=(_SPEC, 3),
              sources=((_SPEC, 10), (_SPEC, 11)), version=4),
    16: _Kind("permission"),
    _PROJECT: _Kind("project", project=(_SPEC, 1)),
    19: _Kind("label view", ttl=(_SPEC, 6), features=(_SPEC, 4), entities=(_SPEC, 3), sources=((_SPEC, 7),)),
}  # fmt: skip
_VIEWS = (6, 8, 14, 19)


@dataclass(frozen=True)
class Object:
    """One definition. `version` is Feast's number of the current version, None where a kind has none."""

    number: int
    kind: str
    name: str
    project: str
    content: bytes
    version: int | None = None
    ttl_s: float | None = None
    created: datetime | None = None
    updated: datetime | None = None
    features: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def is_view(self) -> bool:
        return self.number in _VIEWS

    @property
    def key(self) -> tuple[int, str, str]:
        return self.number, self.project, self.name


@dataclass(frozen=True)
class Registry:
    content: bytes
    objects: tuple[Object, ...]
    version_id: str
    last_updated: datetime | None

    def views(self, name: str) -> tuple[Object, ...]:
        return tuple(one for one in self.objects if one.is_view and one.name == name)


def parse(content: bytes, where: str) -> Registry:
    """Raises Damaged; `where` is the file it came from. Empty bytes are an empty registry."""
    try:
        objects = tuple(_object(field) for field in protowire.fields(content) if field.number in _KINDS)
        return Registry(content, objects, protowire.text(content, _VERSION_ID), protowire.time(content, _LAST_UPDATED))
    except (ValueError, OverflowError, OSError) as problem:
        raise Damaged(
            f"{where} is no Feast registry, or is not whole: {problem}", hint="`feast registry-dump` must read it, too"
        ) from problem


def parsed(number: int, content: bytes, where: str) -> Object:
    """One object that stands alone, as in a row of a table; `number` is its field in a registry. Raises Damaged."""
    try:
        return _object(protowire.Field(number, b"", 0, content, is_content=True))
    except (ValueError, OverflowError, OSError) as problem:
        raise Damaged(f"{where} is no definition of Feast: {problem}", hint="`feast apply` writes it again") from (
            problem
        )


def _object(field: protowire.Field) -> Object:
    kind, content = _KINDS[field.number], field.content
    if not field.is_content:
        raise protowire.Malformed(f"field {field.number} is no message")
    meta = protowire.content(content, _META)
    sources = (protowire.text(content, *path, 20) for path in kind.sources)
    return Object(
        field.number,
        kind.name,
        protowire.text(content, *kind.named),
        protowire.text(content, *kind.project),
        content,
        protowire.integer(meta, kind.version) if kind.version else None,
        protowire.duration_s(content, *kind.ttl) if kind.ttl else None,
        protowire.time(content, *kind.created) if kind.created else None,
        protowire.time(content, *kind.updated) if kind.updated else None,
        tuple(protowire.text(one, 1) for one in _each(content, kind.features)),
        tuple(one.decode() for one in _each(content, kind.entities)),
        tuple(name for name in sources if name),
    )


def _each(content: bytes, path: Sequence[int]) -> list[bytes]:
    return protowire.contents(protowire.content(content, *path[:-1]), path[-1]) if path else []


def counts(objects: Sequence[Object]) -> dict[str, int]:
    """By kind."""
    found: dict[str, int] = {}
    for one in objects:
        found[one.kind] = found.get(one.kind, 0) + 1
    return found


def listing(objects: Sequence[Object]) -> Iterator[bytes]:
    """A line of JSON for each object, in an order of its own: two listings can be held side by side."""
    for one in sorted(objects, key=lambda one: (one.kind, one.project, one.name)):
        said = {
            "kind": one.kind, "name": one.name, "project": one.project, "version": one.version, "ttl_s": one.ttl_s,
            "created": one.created and timetext.format_time(one.created),
            "updated": one.updated and timetext.format_time(one.updated),
            "features": list(one.features), "entities": list(one.entities), "sources": list(one.sources),
        }  # fmt: skip
        yield json.dumps({key: value for key, value in said.items() if value not in (None, [])}).encode() + b"\n"


@dataclass(frozen=True)
class Merge:
    """`content` is the new registry; `added` and `kept` say what came along with the view and what was left."""

    content: bytes
    does: Literal["same", "create", "update"]
    added: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def merged(into: Registry, view: Object, of: Registry, now: datetime) -> Merge:
    """`into` with this view as `of` has it; what the view needs and `into` lacks comes along.

    `does` is `same`, `update` or `create`. Entities and sources that are there are left as they are, different or not.
    """
    there = {one.key: one for one in into.objects}
    old = there.get(view.key)
    wanted = [one for one in of.objects if one.project in (view.project, "") and _is_needed(one, view)]
    missing = [one for one in wanted if one.key not in there]
    kept = [one for one in wanted if one.key in there and there[one.key].content != one.content]
    names = tuple(f"{one.kind} {one.name}" for one in missing), tuple(f"{one.kind} {one.name}" for one in kept)
    if old is not None and old.content == view.content and not missing:
        return Merge(into.content, "same", *names)
    parts = []
    for field in protowire.fields(into.content):
        if field.number in (_VERSION_ID, _LAST_UPDATED):
            continue
        if field.number == view.number and old is not None and field.content == old.content:
            parts.append(protowire.encoded(view.number, view.content))
        else:
            parts.append(field.raw)
    parts += [protowire.encoded(one.number, one.content) for one in missing]
    parts += [] if old is not None else [protowire.encoded(view.number, view.content)]
    if not into.content:
        parts += [field.raw for field in protowire.fields(of.content) if field.number in (3, _PROJECT_METADATA)]
    body = protowire.joined(parts)
    version = str(uuid.uuid5(uuid.NAMESPACE_OID, body.hex()))
    head = protowire.encoded(_VERSION_ID, version) + protowire.encoded(_LAST_UPDATED, protowire.timestamp(now))
    return Merge(head + body, "create" if old is None else "update", *names)


def _is_needed(one: Object, view: Object) -> bool:
    return (
        (one.number == _ENTITY and one.name in view.entities)
        or (one.number == _SOURCE and one.name in view.sources)
        or (one.number == _PROJECT and one.name == view.project)
    )
