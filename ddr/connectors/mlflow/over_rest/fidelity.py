"""How faithful a backup of MLflow is: class A out of the database, class B over REST, and what B loses when restored.

Every line was measured with MLflow 3.17 against a real server: captured, restored into another server, captured there
and compared. The test of the restore holds this table against what it measures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

CLASS_A = "A: the database, every row exact"
CLASS_B = "B: over REST, what the API says; a restore over REST makes new ids"

Kept = Literal["exact", "as a tag", "rewritten", "not kept", "by hand"]


@dataclass(frozen=True)
class Line:
    what: str
    kept: Kept
    how: str


LINES: Sequence[Line] = (
    Line("experiments", "exact", "name, tags, lifecycle stage"),
    Line("runs", "exact", "name, user, status, start and end time, params, tags, lifecycle stage, data sets"),
    Line("metrics", "exact", "every point with its step and time, NaN too; MLflow itself keeps infinity as ±1.8e308"),
    Line("logged models", "exact", "name, type, params, tags, metrics, status, source run"),
    Line("registered models", "exact", "name, description, tags, aliases; prompts too"),
    Line("model versions", "exact", "number with its gaps, description, tags, stage, run"),
    Line("traces", "exact", "id, time, duration, state, tags, metadata, assessments, spans"),
    Line("files", "exact", "every byte of runs, logged models and traces"),
    Line("scorers and evaluation data sets", "exact", "each version in order; the records of data sets"),
    Line("ids of runs, experiments, logged models", "as a tag", "ddr.source_id; links between objects follow"),
    Line("times of creation of experiments, models, versions", "as a tag", "ddr.source_created_ms"),
    Line("locations of files", "rewritten", "where the new server keeps them"),
    Line("what is deleted: versions, logged models, traces, metrics of `mlflow gc`", "not kept", "the API hides it"),
    Line("users, permissions, workspaces", "not kept", "the API gives no passwords and no rights"),
    Line("ids inside of files and of texts (MLmodel, notes)", "not kept", "bytes are kept as they are: the old ids"),
    Line("webhooks, gateway keys", "by hand", "the API gives no secrets; names and events are in the snapshot"),
)
