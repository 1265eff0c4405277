"""What of a snapshot is restored: all of it, or one experiment or model with what belongs to it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from ddr.connectors.mlflow.over_rest import shapes, spool
from ddr.errors import InputError, UnknownName
from ddr.ports import restorable

_NO_FILES = ("none", "skip")  # `skip` was the word before, only here
STREAMED = ("metric_history", "trace_spans")
_LOGGED = "models:/"
_RUN_TABLES = ("run_params", "run_tags", "run_metrics", "run_inputs", "run_models")
_MODEL_TABLES = ("logged_model_params", "logged_model_tags", "logged_model_metrics")
_REGISTERED = ("registered_model_tags", "registered_model_aliases", "model_versions", "model_version_tags")
_TRACE_TABLES = ("trace_tags", "trace_metadata", "trace_assessments")


def without_files(options: restorable.RestoreOptions) -> bool:
    """Whether the files are left out. InputError for what a running server cannot be told: it has its own place."""
    said = options.more.get("artifacts", "")
    if said and said not in _NO_FILES:
        raise InputError(
            f"artifacts={said}: a running server keeps files where it was told to",
            hint="--with artifacts=none leaves them out; without it they go through the server",
        )
    return bool(said)


def load(rows: spool.Spool, source: restorable.Source, only: Sequence[str]) -> None:
    """The chosen rows, without the histories and spans. InputError for what is no part of MLflow, UnknownName."""
    spool.load(rows, source, (table for table in shapes.ALL if table not in STREAMED))
    if not only:
        return
    wrong = [word for word in only if not word.startswith(("experiment:", "model:")) or word.endswith(":")]
    if wrong:
        raise InputError(f"{wrong[0]!r} is no part of MLflow", hint="experiment:NAME or model:NAME")
    experiments, models = (_named(rows, only, *kind) for kind in _KINDS)
    runs = _ids(rows, "SELECT run_id FROM runs WHERE experiment_id IN (SELECT value FROM picked)", experiments)
    logged = _ids(
        rows, "SELECT model_id FROM logged_models WHERE experiment_id IN (SELECT value FROM picked)", experiments
    )
    versions = rows.ask("SELECT name, run_id, source FROM model_versions")
    for name, run, source_uri in versions:
        if str(name) in models:
            runs.add(str(run or ""))
            logged.add(str(source_uri or "").removeprefix(_LOGGED))
    runs |= _ids(rows, "SELECT source_run_id FROM logged_models WHERE model_id IN (SELECT value FROM picked)", logged)
    needed = experiments | _ids(rows, "SELECT experiment_id FROM runs WHERE run_id IN (SELECT value FROM picked)", runs)
    needed |= _ids(rows, "SELECT experiment_id FROM logged_models WHERE model_id IN (SELECT value FROM picked)", logged)
    _keep(rows, "runs", "run_id", runs, _RUN_TABLES)
    _keep(rows, "logged_models", "model_id", logged, _MODEL_TABLES)
    _keep(rows, "registered_models", "name", models, _REGISTERED)
    _keep(rows, "traces", "experiment_id", experiments)
    traces = _ids(rows, "SELECT trace_id FROM traces", ())
    for table in _TRACE_TABLES:
        _keep(rows, table, "trace_id", traces)
    _keep(rows, "experiments", "experiment_id", needed, ("experiment_tags",))
    _keep(rows, "scorers", "experiment_id", experiments)
    for table in ("evaluation_datasets", "evaluation_dataset_records", "webhooks", "other_objects"):
        _keep(rows, table, shapes.ALL[table].key[0], ())


_KINDS = (("experiment", "experiments", "experiment_id"), ("model", "registered_models", "name"))


def _named(rows: spool.Spool, only: Sequence[str], kind: str, table: str, key: str) -> set[str]:
    wanted = {word.partition(":")[2] for word in only if word.startswith(f"{kind}:")}
    known = {str(name): str(identity) for name, identity in rows.ask(f"SELECT name, {key} FROM {table}")}  # noqa: S608
    lacking = sorted(wanted - known.keys())
    if lacking:
        close = difflib.get_close_matches(lacking[0], known, n=1)
        there = f"did you mean {close[0]!r}?" if close else f"there is: {', '.join(sorted(known)[:10]) or 'none'}"
        raise UnknownName(f"the snapshot has no {kind} {lacking[0]!r}", hint=there)
    return {known[name] for name in wanted}


def _ids(rows: spool.Spool, query: str, picked: Iterable[str]) -> set[str]:
    rows.pick(picked)
    return {str(row[0]) for row in rows.ask(query)} - {""}


def _keep(rows: spool.Spool, table: str, column: str, picked: Iterable[str], below: Sequence[str] = ()) -> None:
    rows.pick(picked)
    for one in (table, *below):
        rows.ask(f"DELETE FROM {one} WHERE {column} NOT IN (SELECT value FROM picked)")  # noqa: S608
