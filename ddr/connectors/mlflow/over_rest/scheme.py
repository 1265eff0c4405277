"""What a restore into a live server would do with each experiment and model, decided by looking alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from ddr.connectors.mlflow.over_rest import mapping, spool
from ddr.ports import restorable

Does = Literal["create", "fill", "leave", "update", "recreate", "conflict"]
"""fill: it is there and is the same one; what is missing in it is added."""

_DEFAULT = "Default"


@dataclass(frozen=True)
class Decision:
    kind: str
    name: str
    does: Does
    why: str = ""


@dataclass(frozen=True)
class Scheme:
    """By name."""

    experiments: dict[str, Decision] = field(default_factory=dict)
    models: dict[str, Decision] = field(default_factory=dict)

    @property
    def conflicts(self) -> list[Decision]:
        return [one for one in [*self.experiments.values(), *self.models.values()] if one.does == "conflict"]


def decide(source: spool.Spool, target: spool.Spool, policy: restorable.Policy) -> Scheme:
    made = Scheme()
    query = "SELECT name, experiment_id, creation_time FROM experiments ORDER BY name"
    there = {str(row[0]): row for row in target.ask(query)}
    tags = dict(target.ask("SELECT experiment_id, value FROM experiment_tags WHERE key = ?", [mapping.SOURCE_ID]))
    for name, identity, created in source.ask(query):
        found = there.get(str(name))
        is_same = found is not None and (tags.get(found[1]) == identity or found[1:] == (identity, created))
        is_same = is_same or (found is not None and name == _DEFAULT)
        made.experiments[str(name)] = _one("experiment", str(name), policy, is_there=found is not None, is_same=is_same)
    query = "SELECT name, creation_timestamp FROM registered_models ORDER BY name"
    models = {str(row[0]): row for row in target.ask(query)}
    tags = dict(target.ask("SELECT name, value FROM registered_model_tags WHERE key = ?", [mapping.SOURCE_ID]))
    for row in source.ask(query):
        name = str(row[0])
        is_same = models.get(name) == row or tags.get(name) == name
        made.models[name] = _one("model", name, policy, is_there=name in models, is_same=is_same)
    return made


def _one(kind: str, name: str, policy: restorable.Policy, *, is_there: bool, is_same: bool) -> Decision:
    if not is_there:
        return Decision(kind, name, "create")
    if is_same:
        return Decision(kind, name, "update" if policy == "update" else "fill", "it is the same one")
    if policy == "fail":
        return Decision(kind, name, "conflict", "another one has that name")
    if policy == "skip":
        return Decision(kind, name, "leave", "another one has that name: it stays as it is")
    if policy == "update":
        return Decision(kind, name, "update", "another one has that name: it is changed to what the snapshot has")
    return Decision(kind, name, "recreate", "another one has that name: it is renamed and kept beside")


def lines(made: Scheme, source: spool.Spool, target: spool.Spool, known: mapping.Map) -> Iterator[restorable.PlanLine]:
    """One line for each experiment and model, with what would be added to it."""
    words: dict[Does, str] = {"fill": "skip", "leave": "leave"}
    for one in made.experiments.values():
        counts = _counts(source, one, known)
        does = words.get(one.does, one.does)
        if one.does == "fill" and counts.startswith("+"):
            does = "update"
        yield restorable.PlanLine(does, f"experiment {one.name}", "; ".join(filter(None, (one.why, counts))))  # type: ignore[arg-type]
    for one in made.models.values():
        query = "SELECT COUNT(*), MAX(version) FROM model_versions WHERE name = ?"
        count, most = source.ask(query, [one.name])[0]
        gaps = int(str(most or 0)) - int(str(count))
        text = f"{count} versions" + (f", {gaps} numbers left free in between" if gaps else "")
        does = words.get(one.does, one.does)
        if one.does == "fill":
            query = "SELECT version FROM model_versions WHERE name = ?"
            lacking = set(source.ask(query, [one.name])) - set(target.ask(query, [one.name]))
            does, text = ("update", f"+{len(lacking)} of {text}") if lacking else (does, text)
        yield restorable.PlanLine(does, f"model {one.name}", "; ".join(filter(None, (one.why, text))))  # type: ignore[arg-type]


def _counts(source: spool.Spool, one: Decision, known: mapping.Map) -> str:
    said = []
    for table, key, words, there in (
        ("runs", "run_id", "runs", known.runs),
        ("logged_models", "model_id", "logged models", known.models),
        ("traces", "trace_id", "traces", {}),
    ):
        query = f"SELECT {key} FROM {table} JOIN experiments e USING (experiment_id) WHERE e.name = ?"  # noqa: S608
        ids = [str(row[0]) for row in source.ask(query, [one.name])]
        new = [identity for identity in ids if identity not in there or one.does == "recreate"]
        if new:
            said.append(
                f"+{len(new)} {words}"
                if one.does in ("fill", "update") and table != "traces"
                else f"{len(new)} {words}"
            )
        elif ids:
            said.append(f"{len(ids)} {words} are there")
    return ", ".join(sorted(said))
