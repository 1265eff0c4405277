"""What the registry says of one view, as far as its values in the online store depend on it.

Field numbers are those of feast 0.67 (FeatureView.proto, Feature.proto, Entity.proto, Value.proto).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ddr.connectors.feast import registry
from ddr.domain import revisions
from ddr.errors import Damaged, InputError, Missing, Unsupported
from ddr.lib import digest, protowire

_SPEC, _FEATURES, _ENTITY_COLUMNS, _ENTITY_JOIN_KEY = 1, 4, 12, 4
_FEATURE_VIEW, _STREAM_VIEW = 6, 14
_TYPES = {
    1: "binary", 2: "string", 3: "int", 4: "int", 5: "double", 6: "float", 7: "boolean", 8: "datetime",
}  # fmt: skip
_STREAM_COLUMNS = {"features": 4, "entity_columns": 5}
_VALUE_OF = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 7, 8: 8}  # ValueType.Enum -> field of the oneof in Value

Fallback = int | float | str | bool | None
"""A value that is served instead; None is no value."""


@dataclass(frozen=True)
class Definition:
    """`content` is the whole entry of the registry; `digest` is of what a person wrote there, not of what runs note.

    `features` are (name, number of the type), `ttl_s` 0 for none.
    """

    project: str
    name: str
    content: bytes
    digest: str
    features: tuple[tuple[str, int], ...]
    join_keys: tuple[str, ...]
    ttl_s: float

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.features)

    @property
    def schema(self) -> str:
        """For `revisions.INPUTS_SCHEMA`."""
        return revisions.schema_digest((name, _TYPES.get(kind, "array")) for name, kind in self.features)


def of(found: registry.Registry, view: str, where: str) -> Definition:
    """Raises Missing, Unsupported for a view that has no values of its own."""
    there = [one for one in found.views(view) if one.number in (_FEATURE_VIEW, _STREAM_VIEW)]
    if not there:
        known = sorted({one.name for one in found.objects if one.number in (_FEATURE_VIEW, _STREAM_VIEW)})
        raise Missing(f"{where} has no feature view {view!r}", hint=f"there is: {', '.join(known[:10]) or 'none'}")
    if len(there) > 1:
        raise Unsupported(f"{where} has {len(there)} views {view!r}", hint="one project in a registry, or another name")
    return read(there[0], found)


def read(view: registry.Object, found: registry.Registry) -> Definition:
    """Raises Damaged."""
    try:
        spec = protowire.content(view.content, _SPEC)
        features = tuple(
            (protowire.text(one, 1), protowire.integer(one, 2)) for one in protowire.contents(spec, _FEATURES)
        )
        return Definition(
            view.project, view.name, view.content, digest.of_bytes(spec), tuple(sorted(features)),
            _join_keys(view, found), view.ttl_s or 0.0,
        )  # fmt: skip
    except ValueError as problem:
        raise Damaged(f"the entry of {view.name} in the registry is broken: {problem}", hint="`feast apply`") from None


def _join_keys(view: registry.Object, found: registry.Registry) -> tuple[str, ...]:
    """In the order of their names, as they stand in a key."""
    keys = {
        one.name: protowire.text(one.content, _SPEC, _ENTITY_JOIN_KEY) or one.name
        for one in found.objects
        if one.kind == "entity" and one.project in (view.project, "")
    }
    return tuple(sorted({"__dummy": "__dummy_id", **keys}.get(name, name) for name in view.entities))


def encoded(value: Fallback, kind: int, feature: str) -> tuple[bytes, str | None]:
    """A Value of feast, and as SQLite has it in plain text. InputError where it does not fit the type."""
    field = _VALUE_OF.get(kind)
    if value is None:
        return b"", None
    if field is None:
        raise InputError(f"fallback of {feature}: its type has no plain value", hint="write `null`: no value is served")
    try:
        if field in (3, 4, 8):
            if isinstance(value, bool) or int(value) != value:
                raise ValueError
            number = int(value)
            return protowire.encoded(field, number % 2**64), str(number)
        if field == 7:
            if not isinstance(value, bool):
                raise ValueError
            return protowire.encoded(field, int(value)), str(value)
        if field in (5, 6):
            return _real(field, value)
        if not isinstance(value, str):
            raise ValueError
        return protowire.encoded(field, value), value if field == 2 else None
    except (ValueError, TypeError, OverflowError):
        raise InputError(
            f"fallback of {feature}: {value!r} is no {_TYPES[kind]}", hint="write a value of the feature's type"
        ) from None


def _real(field: int, value: Fallback) -> tuple[bytes, str]:
    import struct

    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    if field == 5:
        return bytes([field << 3 | 1]) + struct.pack("<d", value), str(float(value))
    content = struct.pack("<f", value)
    return bytes([field << 3 | 5]) + content, str(struct.unpack("<f", content)[0])


def fallbacks(view: Definition, said: Mapping[str, Fallback]) -> Mapping[str, tuple[bytes, str | None]]:
    """For every feature. InputError where one is not declared."""
    kinds: Sequence[tuple[str, int]] = view.features
    missing = [name for name, _ in kinds if name not in said]
    unknown = [name for name in said if name not in view.names]
    if missing or unknown:
        what = f"has no {', '.join(missing)}" if missing else f"names {', '.join(unknown)}, which {view.name} has not"
        raise InputError(
            f"`fallback` of {view.name} in ddr.yaml {what}", hint="name a value for each feature, null for none"
        )
    return {name: encoded(said[name], kind, name) for name, kind in kinds}
