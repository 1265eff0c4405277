"""Which object of the snapshot is which object of the target: by the tag that a restore leaves, by name, by the id
itself where the target is the server that the snapshot came from."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ddr.connectors.mlflow.over_rest import spool
from ddr.lib import rowbatch

SOURCE_ID, CREATED, GAP = "ddr.source_id", "ddr.source_created_ms", "ddr.gap"
OURS = (SOURCE_ID, CREATED, GAP)
PARENT, SOURCE_RUN = "mlflow.parentRunId", "mlflow.sourceRun"
_LOGGED = "models:/m-"


@dataclass
class Map:
    """Old id to new one."""

    experiments: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    datasets: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    """Location of a run's or logged model's files, old to new."""

    def source(self, said: str) -> str:
        """Where a version of the snapshot comes from, as the target says it; as it stands where nothing of it moved."""
        if said.startswith(_LOGGED):
            old = said.removeprefix("models:/")
            return f"models:/{self.models.get(old, old)}"
        if said.startswith("runs:/"):
            run, _, rest = said.removeprefix("runs:/").partition("/")
            return f"runs:/{self.runs.get(run, run)}/{rest}"
        parts = said.rstrip("/").split("/")
        for end in range(len(parts), 0, -1):
            place = "/".join(parts[:end])
            if place in self.places:
                return "/".join([self.places[place], *parts[end:]])
        return said

    def table(self) -> str:
        """As CSV: kind, old id, new id."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("kind", "old", "new"))
        for kind, pairs in self._kinds().items():
            writer.writerows((kind, old, new) for old, new in sorted(pairs.items()))
        return out.getvalue()

    def _kinds(self) -> Mapping[str, Mapping[str, str]]:
        return {
            "experiment": self.experiments,
            "run": self.runs,
            "logged model": self.models,
            "evaluation dataset": self.datasets,
        }


def of(source: spool.Spool, target: spool.Spool) -> Map:
    """What is there already. An experiment is known by its name, what is inside by its tag or its own id."""
    made = Map()
    names = {str(name): str(identity) for name, identity in target.ask("SELECT name, experiment_id FROM experiments")}
    for name, identity in source.ask("SELECT name, experiment_id FROM experiments"):
        if str(name) in names:
            made.experiments[str(identity)] = names[str(name)]
    back = {new: old for old, new in made.experiments.items()}
    for kind, table, key, tags in (
        (made.runs, "runs", "run_id", "run_tags"),
        (made.models, "logged_models", "model_id", "logged_model_tags"),
    ):
        tagged = dict(target.ask(f"SELECT {key}, value FROM {tags} WHERE key = ?", [SOURCE_ID]))  # noqa: S608
        there = target.ask(f"SELECT {key}, experiment_id FROM {table} ORDER BY {key}")  # noqa: S608
        known = {identity: at for identity, at in source.ask(f"SELECT {key}, experiment_id FROM {table}")}  # noqa: S608, C416
        for identity, at in there:
            old: rowbatch.Cell = tagged.get(identity) or identity
            if old in known and known[old] == back.get(str(at)):
                kind.setdefault(str(old), str(identity))
    tagged = {}
    for identity, tags_said in target.ask("SELECT dataset_id, tags FROM evaluation_datasets"):
        found = re.search(rf'"{re.escape(SOURCE_ID)}":"([^"]+)"', str(tags_said))
        tagged[str(found.group(1) if found else identity)] = identity
    for (identity,) in source.ask("SELECT dataset_id FROM evaluation_datasets"):
        if str(identity) in tagged:
            made.datasets[str(identity)] = str(tagged[str(identity)])
    places(made, source, target)
    return made


def places(made: Map, source: spool.Spool, target: spool.Spool) -> None:
    """Learn where the files of what is mapped are."""
    for pairs, table, key in ((made.runs, "runs", "run_id"), (made.models, "logged_models", "model_id")):
        olds = dict(source.ask(f"SELECT {key}, artifact_uri FROM {table}"))  # noqa: S608
        news = dict(target.ask(f"SELECT {key}, artifact_uri FROM {table}"))  # noqa: S608
        for old, new in pairs.items():
            if olds.get(old) and news.get(new):
                made.places[str(olds[old]).rstrip("/")] = str(news[new]).rstrip("/")


def rootless(rows: spool.Spool) -> dict[tuple[str, int], str]:
    """Versions that no server takes, as what they came from is gone: name and number to the source. MLflow takes a
    source among its own artifacts only when the run or logged model that has it is there."""
    found = {}
    runs, models = rows.keys("runs"), rows.keys("logged_models")
    owned = {str(row[0]).rstrip("/") for row in rows.ask("SELECT artifact_uri FROM runs WHERE artifact_uri <> ''")}
    query = "SELECT v.name, v.version, v.source FROM model_versions v JOIN registered_models USING (name) "
    for name, version, source in rows.ask(query + "WHERE NOT is_prompt"):
        said = str(source or "")
        parts = said.rstrip("/").split("/")
        if said.startswith(_LOGGED):
            is_there = said.removeprefix("models:/") in models
        elif said.startswith("runs:/"):
            is_there = said.removeprefix("runs:/").partition("/")[0] in runs
        elif said.startswith(("mlflow-artifacts:", "file:", "/")):
            is_there = any("/".join(parts[:end]) in owned for end in range(1, len(parts) + 1))
        else:
            is_there = True
        if not is_there:
            found[(str(name), int(version))] = said
    return found
