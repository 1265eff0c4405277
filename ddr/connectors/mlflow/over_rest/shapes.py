"""The tables of a snapshot that was taken over REST: what the objects of the API look like as rows.

They are named after the API and not after the database: `runs.start_time` is what `runs/get` says. `other` holds, as
JSON, what a server says beyond the columns, so that a newer one loses nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddr.domain import snapshots
from ddr.lib import rowbatch

OTHER = "other"


@dataclass(frozen=True)
class Shape:
    """`key` are the first columns: what tells the rows apart, and their order."""

    name: str
    columns: tuple[snapshots.Column, ...]
    key: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def _shape(name: str, key: str, rest: str = "") -> Shape:
    """Columns as words: `steps:int`; without a family they are text."""
    families = {"int": "int", "float": "float", "bool": "bool"}
    made = []
    for word in f"{key} {rest}".split():
        column, _, family = word.partition(":")
        made.append(snapshots.Column(column, families.get(family, "text")))  # type: ignore[arg-type]
    return Shape(name, tuple(made), tuple(word.partition(":")[0] for word in key.split()))


_ALL = (
    _shape(
        "experiments",
        "experiment_id",
        "name artifact_location lifecycle_stage creation_time:int last_update_time:int other",
    ),
    _shape("experiment_tags", "experiment_id key", "value"),
    _shape(
        "runs",
        "run_id",
        "experiment_id run_name user_id status start_time:int end_time:int lifecycle_stage artifact_uri other",
    ),
    _shape("run_params", "run_id key", "value"),
    _shape("run_tags", "run_id key", "value"),
    _shape("run_metrics", "run_id key", "value:float timestamp:int step:int"),
    _shape("run_inputs", "run_id name digest", "source_type source schema profile tags"),
    _shape("run_models", "run_id direction model_id", "step:int"),
    _shape("metric_history", "run_id key step:int timestamp:int value:float"),
    _shape(
        "logged_models",
        "model_id",
        "experiment_id name status model_type source_run_id artifact_uri creation_timestamp_ms:int "
        "last_updated_timestamp_ms:int status_message other",
    ),
    _shape("logged_model_params", "model_id key", "value"),
    _shape("logged_model_tags", "model_id key", "value"),
    _shape(
        "logged_model_metrics",
        "model_id key run_id step:int timestamp:int",
        "value:float dataset_name dataset_digest",
    ),
    _shape(
        "registered_models",
        "name",
        "description is_prompt:bool creation_timestamp:int last_updated_timestamp:int user_id other",
    ),
    _shape("registered_model_tags", "name key", "value"),
    _shape("registered_model_aliases", "name alias", "version:int"),
    _shape(
        "model_versions",
        "name version:int",
        "description source run_id run_link current_stage status status_message user_id model_id location "
        "creation_timestamp:int last_updated_timestamp:int other",
    ),
    _shape("model_version_tags", "name version:int key", "value"),
    _shape(
        "traces",
        "trace_id",
        "experiment_id request_time state execution_duration client_request_id request_preview response_preview other",
    ),
    _shape("trace_tags", "trace_id key", "value"),
    _shape("trace_metadata", "trace_id key", "value"),
    _shape("trace_assessments", "trace_id assessment_id", "body"),
    _shape("trace_spans", "trace_id span_id", "body"),
    _shape("scorers", "experiment_id name version:int", "serialized creation_time:int other"),
    _shape(
        "evaluation_datasets",
        "dataset_id",
        "name tags experiment_ids schema profile digest created_time:int last_update_time:int created_by "
        "last_updated_by other",
    ),
    _shape("evaluation_dataset_records", "dataset_id record_id", "body"),
    _shape(
        "webhooks",
        "webhook_id",
        "name description host events status creation_timestamp:int last_updated_timestamp:int other",
    ),
    _shape("other_objects", "kind id", "body"),
)
ALL: Mapping[str, Shape] = {shape.name: shape for shape in _ALL}

Row = tuple[Any, ...]
"""Cells; which of them is what, the shape says."""


def row(shape: str, said: Mapping[str, Any], ignored: Sequence[str] = (), **known: rowbatch.Cell) -> Row:
    """One row out of an object of the API; `known` win, `ignored` are kept elsewhere."""
    cells: list[rowbatch.Cell] = []
    columns = ALL[shape].columns
    for column in columns:
        if column.name in known:
            cells.append(known[column.name])
        elif column.name == OTHER:
            taken = {*(one.name for one in columns), *ignored}
            cells.append(text({key: value for key, value in said.items() if key not in taken}))
        else:
            cells.append(cell(column.family, said.get(column.name)))
    return tuple(cells)


def cell(family: str, value: Any) -> rowbatch.Cell:
    """A value of the API in a column: numbers may come as texts, NaN as the text `NaN`."""
    if value is None:
        return None
    if family == "int":
        return int(value)
    if family == "float":
        return float(value)
    if family == "bool":
        return bool(value)
    return value if isinstance(value, str) else text(value)


def text(value: object) -> str:
    """JSON, the same for the same; nothing for nothing."""
    if value in ({}, [], None):
        return ""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def pairs(said: object) -> dict[str, str]:
    """Tags and params: a list of keys and values, or an object of them."""
    if isinstance(said, Mapping):
        return {str(key): str(value) for key, value in said.items()}
    found = {}
    for one in said if isinstance(said, list) else []:
        found[str(one.get("key", ""))] = str(one.get("value", ""))
    return found


def is_nan(value: rowbatch.Cell) -> bool:
    return isinstance(value, float) and math.isnan(value)
