"""One experiment or one registered model with all that belongs to it, chosen row by row from a whole dump.

`experiment:NAME` takes the experiment, its runs, logged models, traces, data sets and what hangs on them, and the model
versions that came out of them with their aliases. `model:NAME` takes the registered model with every version, alias and
tag, the runs and logged models that its versions name with what hangs on those, and of their experiments the row alone.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from ddr.connectors.mlflow import locations, schema
from ddr.connectors.tables import reflect
from ddr.errors import InputError, UnknownName
from ddr.lib import rowbatch

Rows = Callable[[str], Iterator[rowbatch.Batch]]
Key = tuple[rowbatch.Cell, ...]

# They hang on an experiment or a scorer, and on the secrets of the gateway as well: restored with everything or never.
_NOT_BELOW = frozenset({"endpoints", "endpoint_bindings", "endpoint_tags", "endpoint_model_mappings", "guardrails",
                        "guardrail_configs", "online_scoring_configs"})  # fmt: skip
_LOGGED = "models:/"


@dataclass
class Selection:
    """`rows(table)` are those of one table that are chosen; () of names means all."""

    shapes: Mapping[str, reflect.Shape]
    every: Rows
    whole: dict[str, set[Key]] = field(default_factory=dict)
    """Of each parent table, the keys whose children are chosen too."""
    alone: dict[str, set[Key]] = field(default_factory=dict)
    """Keys that are chosen without their children."""
    entities: set[rowbatch.Cell] = field(default_factory=set)
    inputs: set[rowbatch.Cell] = field(default_factory=set)
    datasets: set[rowbatch.Cell] = field(default_factory=set)

    def rows(self, table: str) -> Iterator[rowbatch.Batch]:
        import numpy as np

        for batch in self.every(table):
            keep = np.fromiter(self._chosen(table, batch), dtype=np.bool_, count=batch.size)
            if keep.any():
                yield batch.where(keep)

    def own(self) -> Selection:
        """Without what was taken along from other experiments."""
        return dataclasses.replace(self, alone={}, datasets=set())

    def locations(self) -> Sequence[str]:
        """Where the chosen rows say that files are."""
        found: set[str] = set()
        for table, columns in locations.COLUMNS.items():
            for column in columns if table in self.shapes and table not in ("workspaces", "experiments") else ():
                for batch in self.rows(table):
                    found |= {cell for cell in batch.column(column).cells() if isinstance(cell, str)}
        for some in self._of("experiments", "experiment_id", "artifact_location"):
            found |= {str(place) for key, place in some if (key,) in self.whole["experiments"] and place}
        for table, keys in locations.TAGS.items():
            for batch in self.rows(table) if table in self.shapes else ():
                named = zip(batch.column("key").cells(), batch.column("value").cells(), strict=True)
                found |= {str(value) for key, value in named if key in keys}
        return sorted(found)

    def _of(self, table: str, *columns: str) -> Iterator[list[Key]]:
        """Some columns of all rows; nothing of a table that is not there."""
        if table in self.shapes:
            for batch in self.every(table):
                yield list(batch.select(columns).rows())

    def _chosen(self, table: str, batch: rowbatch.Batch) -> Iterator[bool]:
        if table in self.whole and table in _FIXED:
            chosen = self.whole[table] | self.alone.get(table, set())
            return (key in chosen for key in batch.select(self.shapes[table].key).rows())
        if table == "inputs":
            return (key in self.inputs for key in batch.column("input_uuid").cells())
        if table == "input_tags":
            return (key in self.inputs for key in batch.column("input_uuid").cells())
        if table == "entity_associations":
            ends = zip(batch.column("source_id").cells(), batch.column("destination_id").cells(), strict=True)
            return (source in self.entities or target in self.entities for source, target in ends)
        if table == "workspaces":
            return ((key,) in self.whole["workspaces"] for key in batch.column("name").cells())
        if table == schema.REVISIONS:
            return iter([True] * batch.size)
        if table in _NOT_BELOW:
            return iter([False] * batch.size)
        return self._below(table, batch)

    def _below(self, table: str, batch: rowbatch.Batch) -> Iterator[bool]:
        """Chosen with a parent; the rows remember their own keys for the tables below them."""
        shape = self.shapes[table]
        links = [link for link in shape.links if link.parent in self.whole and link.parent != table]
        uppers = [batch.select(link.columns).rows() for link in links]
        parents = [self._keys_of(link) for link in links]
        keys = batch.select(shape.key).rows()
        is_parent = any(link.parent == table for one in self.shapes.values() for link in one.links)
        mine = self.whole.setdefault(table, set()) if is_parent else set()
        extra = batch.column("dataset_uuid").cells() if table == "datasets" else [None] * batch.size
        if table == "registered_model_aliases":
            versions = self.whole.get("model_versions", set())
            named = batch.select(
                ("workspace", "name", "version") if "workspace" in batch.names else ("name", "version")
            )
            order = [self.shapes["model_versions"].key.index(name) for name in named.names]
            chosen = {tuple(version[at] for at in order) for version in versions}
            yield from (alias in chosen for alias in named.rows())
            return
        for at, key in enumerate(keys):
            ups = [next(upper) for upper in uppers]
            is_below = any(up in those for up, those in zip(ups, parents, strict=True))
            is_chosen = is_below or (extra[at] is not None and extra[at] in self.datasets)
            if is_chosen and is_parent:
                mine.add(key)
            yield is_chosen

    def _keys_of(self, link: reflect.Link) -> set[Key]:
        """The chosen keys of the parent in the order that the link names its columns."""
        key = self.shapes[link.parent].key
        if set(link.parent_columns) != set(key):
            return set()
        order = [key.index(column) for column in link.parent_columns]
        return {tuple(one[at] for at in order) for one in self.whole[link.parent]}


_FIXED = frozenset({"experiments", "runs", "logged_models", "registered_models", "model_versions"})


def owned(shapes: Sequence[reflect.Shape], word: str) -> Set[str]:
    """The tables whose rows belong to the chosen part alone: that of its own row, and those below by links."""
    found = {"experiments" if word.startswith("experiment:") else "registered_models"}
    for shape in shapes:  # parents first
        if any(link.parent in found for link in shape.links):
            found.add(shape.name)
    return found


def chosen(shapes: Sequence[reflect.Shape], every: Rows, only: Sequence[str], *, is_strict: bool = True) -> Selection:
    """Raises InputError for a word that is no `model:NAME` or `experiment:NAME`, and if strict UnknownName when it is
    not there."""
    by_name = {shape.name: shape for shape in shapes}
    found = Selection(by_name, every)
    experiments = _names(only, "experiment")
    models = _names(only, "model")
    wrong = [word for word in only if not word.startswith(("experiment:", "model:")) or word.endswith(":")]
    if wrong:
        raise InputError(f"{wrong[0]!r} is no part of MLflow", hint="experiment:NAME or model:NAME")
    ids = {key: name for batch in found._of("experiments", "experiment_id", "name") for key, name in batch}
    whole = {key for key, name in ids.items() if name in experiments}
    registered = {name for batch in found._of("registered_models", "name") for (name,) in batch}
    lacking = sorted(map(str, (experiments - set(ids.values())) | (models - registered)))
    if lacking and is_strict:
        is_model = lacking[0] in {str(name) for name in models - registered}
        kind, there = ("model", registered) if is_model else ("experiment", set(ids.values()))
        raise UnknownName(f"the snapshot has no {kind} {lacking[0]!r}", hint=_close(lacking[0], there))
    _models_and_runs(found, whole, models)
    _inputs(found, whole)
    for shape in shapes:  # once in the order of the links, so that each table knows its chosen parents
        if shape.name not in _FIXED and any(shape.name == link.parent for one in shapes for link in one.links):
            for _ in found.rows(shape.name):
                pass
    return found


def _close(name: str, *known: Iterable[rowbatch.Cell]) -> str:
    there = sorted({str(one) for those in known for one in those})
    close = difflib.get_close_matches(name, there, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there is: {', '.join(there[:10]) or 'none'}"


def _names(only: Sequence[str], kind: str) -> set[rowbatch.Cell]:
    return {word.partition(":")[2] for word in only if word.startswith(f"{kind}:")}


def _models_and_runs(found: Selection, whole: set[rowbatch.Cell], models: set[rowbatch.Cell]) -> None:
    runs = {run: experiment for batch in found._of("runs", "run_uuid", "experiment_id") for run, experiment in batch}
    logged = {
        model: (experiment, run)
        for batch in found._of("logged_models", "model_id", "experiment_id", "source_run_id")
        for model, experiment, run in batch
    }
    taken_runs = {run for run, experiment in runs.items() if experiment in whole}
    taken_models = {model for model, (experiment, _) in logged.items() if experiment in whole}
    of_experiments = (set(taken_runs), set(taken_models))
    key = found.shapes["model_versions"].key if "model_versions" in found.shapes else ()
    versions, names = set(), set()
    for batch in found._of("model_versions", "name", "run_id", "source", *key):
        for name, run, source, *identity in batch:
            model = str(source or "").removeprefix(_LOGGED)
            if name in models or run in of_experiments[0] or model in of_experiments[1]:
                versions.add(tuple(identity))
                names.add(tuple(identity[at] for at, part in enumerate(key) if part != "version"))
            if name in models:
                taken_models |= {model} & logged.keys()
                taken_runs |= {run} & runs.keys()
                taken_runs |= {logged[model][1]} & runs.keys() if model in logged else set()
    order = [part for part in key if part != "version"]
    wanted = found.shapes["registered_models"].key if "registered_models" in found.shapes else ()
    taken_names = {tuple(name[order.index(part)] for part in wanted) for name in names}
    at = wanted.index("name") if wanted else 0
    for batch in found._of("registered_models", *wanted):
        taken_names |= {row for row in batch if row[at] in models}
    found.whole |= {
        "experiments": {(experiment,) for experiment in whole},
        "runs": {(run,) for run in taken_runs},
        "logged_models": {(model,) for model in taken_models},
        "model_versions": versions,
        "registered_models": taken_names,
    }
    needed = {runs[run] for run in taken_runs} | {logged[str(model)][0] for model in taken_models}
    found.alone["experiments"] = {(experiment,) for experiment in needed - whole}
    found.whole["workspaces"] = _workspaces(found)
    found.entities = taken_runs | taken_models | {str(experiment) for experiment in whole}


def _workspaces(found: Selection) -> set[Key]:
    chosen: set[Key] = set()
    for table in ("experiments", "registered_models"):
        if table in found.shapes and "workspace" in found.shapes[table].names:
            for batch in found.rows(table):
                chosen |= {(name,) for name in batch.column("workspace").cells()}
    return chosen


def _inputs(found: Selection, whole: set[rowbatch.Cell]) -> None:
    sets = {key: at for batch in found._of("datasets", "dataset_uuid", "experiment_id") for key, at in batch}
    found.datasets = {key for key, experiment in sets.items() if experiment in whole}
    ends = found.entities | found.datasets
    for batch in found._of("inputs", "input_uuid", "source_id", "destination_id"):
        for identity, source, target in batch:
            if source in ends or target in ends:
                found.inputs.add(identity)
                found.datasets |= {source} & sets.keys()
    traces = found._of("trace_info", "request_id", "experiment_id")
    found.entities |= {trace for batch in traces for trace, experiment in batch if experiment in whole}
    for batch in found._of("datasets", "dataset_uuid", "experiment_id"):
        for key, experiment in batch:
            if key in found.datasets and (experiment,) not in found.whole["experiments"]:
                found.alone["experiments"].add((experiment,))
