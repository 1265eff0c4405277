"""What tables a database has, found by looking and never from a list: schemas change with every release."""

from __future__ import annotations

import graphlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ddr.domain import snapshots
from ddr.errors import Damaged, Unsupported

if TYPE_CHECKING:
    import sqlalchemy

PLACEHOLDER = "redacted by ddr"

# Columns whose values never leave the database, and what a person does after a restore.
SECRETS: Mapping[tuple[str, str], str] = {
    ("webhooks", "secret"): "set the secret of each webhook again",
    ("secrets", "encrypted_value"): "enter the API keys of the gateway again",
    ("secrets", "wrapped_dek"): "enter the API keys of the gateway again",
    ("users", "password_hash"): "set the passwords of the users again, of an admin first: nobody can log in until then",
    ("jobs", "token_hash"): "nothing to do: it ends with its job",
}


@dataclass(frozen=True)
class Link:
    """A foreign key."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]


@dataclass(frozen=True)
class Index:
    """`name` is '' where the dialect gives it none."""

    name: str
    columns: tuple[str, ...]
    is_unique: bool = False


@dataclass(frozen=True)
class Shape:
    """A table as far as its rows are concerned; generated columns are not among them.

    `cast` are columns that a driver would give as something else than their stored text (JSON, dates); `sizes` say how
    many characters a text column takes, which every dialect but SQLite enforces.
    """

    name: str
    columns: tuple[snapshots.Column, ...]
    key: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    not_null: frozenset[str] = frozenset()
    cast: frozenset[str] = frozenset()
    sizes: Mapping[str, int] = field(default_factory=dict)
    indexes: tuple[Index, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def secrets(self) -> Sequence[str]:
        return tuple(name for name in self.names if (self.name, name) in SECRETS)


def shapes(engine: sqlalchemy.Engine | sqlalchemy.Connection) -> tuple[Shape, ...]:
    """Every table of the default schema, parents before children, else by name."""
    sqlalchemy = module()
    look = sqlalchemy.inspect(engine)
    columns, keys, links = look.get_multi_columns(), look.get_multi_pk_constraint(), look.get_multi_foreign_keys()
    indexes, uniques = look.get_multi_indexes(), look.get_multi_unique_constraints()
    found = {}
    for (_, table), described in columns.items():
        place = next(key for key in columns if key[1] == table)
        kept = [column for column in described if not column.get("computed")]
        found[table] = Shape(
            table,
            tuple(snapshots.Column(column["name"], family(column["type"])) for column in kept),
            tuple((keys.get(place) or {}).get("constrained_columns") or ()),
            tuple(
                Link(tuple(link["constrained_columns"]), link["referred_table"], tuple(link["referred_columns"]))
                for link in links.get(place, ())
            ),
            frozenset(column["name"] for column in kept if not column["nullable"]),
            frozenset(column["name"] for column in kept if _is_cast(column["type"])),
            {
                column["name"]: int(column["type"].length)
                for column in kept
                if family(column["type"]) == "text" and getattr(column["type"], "length", None)
            },
            _indexes(indexes.get(place, ()), uniques.get(place, ())),
        )
    return tuple(found[name] for name in in_order({name: shape.links for name, shape in found.items()}))


def in_order(links: Mapping[str, Sequence[Link]]) -> Sequence[str]:
    """Parents first, by name among those of one level."""
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for name, those in sorted(links.items()):
        sorter.add(name, *sorted({link.parent for link in those} & (links.keys() - {name})))
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def family(kind: Any) -> snapshots.Family:
    """By SQLAlchemy's type, so that one column has one family in every dialect."""
    types = module().types
    if isinstance(kind, types.Boolean) or getattr(kind, "display_width", 0) == 1:  # MySQL's is TINYINT(1)
        return "bool"
    if isinstance(kind, types.Integer):
        return "int"
    if isinstance(kind, types.Float):
        return "float"
    return "bytes" if isinstance(kind, types.LargeBinary) else "text"


def module() -> Any:
    """SQLAlchemy, or Unsupported with the way to get it."""
    try:
        import sqlalchemy
    except ImportError as problem:
        raise Unsupported(
            "reading a database needs SQLAlchemy, which is not installed", hint="pip install 'ddr[sql]'"
        ) from problem
    return sqlalchemy


def to_json(found: Sequence[Shape]) -> bytes:
    """The shapes as a stream of the snapshot: what a restore must know before there is a database."""
    tables = [
        {
            "name": shape.name,
            "columns": [[column.name, column.family] for column in shape.columns],
            "key": list(shape.key),
            "links": [[list(link.columns), link.parent, list(link.parent_columns)] for link in shape.links],
            "not_null": sorted(shape.not_null),
            "cast": sorted(shape.cast),
            "sizes": dict(shape.sizes),
            "indexes": [[index.name, list(index.columns), index.is_unique] for index in shape.indexes],
        }
        for shape in found
    ]
    return json.dumps(tables, indent=1, ensure_ascii=False).encode()


def of_json(content: bytes) -> tuple[Shape, ...]:
    """Damaged when it is not what `to_json` wrote."""
    try:
        return tuple(
            Shape(
                table["name"],
                tuple(snapshots.Column(name, kind) for name, kind in table["columns"]),
                tuple(table["key"]),
                tuple(Link(tuple(own), parent, tuple(theirs)) for own, parent, theirs in table["links"]),
                frozenset(table["not_null"]),
                frozenset(table["cast"]),
                {str(name): int(size) for name, size in table["sizes"].items()},
                tuple(Index(str(name), tuple(those), bool(only)) for name, those, only in table.get("indexes", ())),
            )
            for table in json.loads(content)
        )
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise Damaged("the tables in the snapshot cannot be read", hint="`ddr backup verify`") from problem


def _indexes(made: Sequence[Any], uniques: Sequence[Any]) -> tuple[Index, ...]:
    """By name; what enforces a unique constraint counts once, an index over an expression not at all."""
    kept = [
        Index(str(one["name"] or ""), tuple(one["column_names"]), bool(one.get("unique")))
        for one in made
        if None not in one["column_names"] and not one.get("duplicates_constraint")
    ]
    known = {index.columns for index in kept if index.is_unique}
    kept += [
        Index(str(one["name"] or ""), tuple(one["column_names"]), is_unique=True)
        for one in uniques
        if tuple(one["column_names"]) not in known
    ]
    return tuple(sorted(kept, key=lambda index: (index.name, index.columns)))


def _is_cast(kind: Any) -> bool:
    return family(kind) == "text" and not isinstance(kind, module().types.String)
