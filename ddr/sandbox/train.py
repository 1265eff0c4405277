"""The training program: `python -m ddr.sandbox.train --root DIR --plan JSON`. Trains, logs to MLflow, registers.

A program of its own, because importing mlflow and scikit-learn takes seconds and the parent has none. Prints one JSON
line at the end. Exit codes: 0 done, 3 promotions are frozen (nothing was promoted), anything else failed.

The same seed gives the same weights. Random by MLflow's will: run and model ids, and `utc_time_created` in MLmodel.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from ddr.lib import digest, timetext
from ddr.sandbox import layout, recipes, registry
from ddr.sandbox import rows as rows_

EXIT_FROZEN = 3
TRACKING = "sqlite:///mlflow/mlflow.db"
FORMAT = "pickle"  # skops takes 2 s to import and never writes the same bytes twice
TRAINER = "retrain-pipeline"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--root", type=Path, required=True)
    arguments.add_argument("--plan", required=True, help='[{"recipe", "at", "promote"}, ...]')
    arguments.add_argument("--fault", default="", help="key of the fault on whose behalf this trains")
    arguments.add_argument("--scratch", type=Path, required=True, help="folder for temporary files; removed at the end")
    arguments.add_argument("--save-to", type=Path, help="only save the first model there; the registry stays as it is")
    told = arguments.parse_args()
    _settle_in(told.root.resolve(), told.scratch.resolve())
    try:
        plan = json.loads(told.plan)
        rows = rows_.read(Path())
        seed = layout.Layout(Path()).identity().seed
        if told.save_to:
            return _save(plan[0], rows, seed, told.save_to)
        return _register_all(plan, rows, seed, told.fault)
    finally:
        shutil.rmtree(told.scratch, ignore_errors=True)


def _settle_in(root: Path, scratch: Path) -> None:
    """Work in the sandbox, so that every path MLflow stores is relative to it; as nobody in particular."""
    scratch.mkdir(parents=True, exist_ok=True)
    os.chdir(root)
    os.environ.update(
        TMPDIR=str(scratch),
        LOGNAME=TRAINER,
        OMP_NUM_THREADS="1",
        OPENBLAS_NUM_THREADS="1",
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_LOGGING_LEVEL="ERROR",
        GIT_PYTHON_REFRESH="quiet",
        MLFLOW_ALLOW_PICKLE_DESERIALIZATION="true",  # they are our own
    )


def _save(entry: dict[str, Any], rows: rows_.Rows, seed: int, folder: Path) -> int:
    import mlflow.sklearn

    recipe = recipes.RECIPES[entry["recipe"]]
    lesson = recipe.lesson(rows, seed)
    model = recipes.fit(recipe.learner, lesson, seed)
    mlflow.sklearn.save_model(
        model, str(folder), signature=_signature(), pip_requirements=_requirements(), serialization_format=FORMAT
    )
    print(json.dumps({"saved": str(folder)}))
    return 0


def _register_all(plan: list[dict[str, Any]], rows: rows_.Rows, seed: int, fault: str) -> int:
    import mlflow
    from mlflow.tracking import MlflowClient

    mlflow.set_tracking_uri(TRACKING)
    mlflow.set_registry_uri(TRACKING)
    client = MlflowClient()
    experiment = _experiment(client)
    made = []
    for entry in plan:
        number, golden = _register(client, experiment, entry, rows, seed, fault)
        made.append({"version": number, "golden_accuracy": golden})
        if entry["promote"] and not _promote(client, number):
            print(json.dumps({"versions": made, "refused": registry.frozen(Path())}))
            return EXIT_FROZEN
    print(json.dumps({"versions": made}))
    return 0


def _experiment(client: Any) -> str:
    """The experiment and the registered model, made when they are not there."""
    found = client.get_experiment_by_name(layout.EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    made = str(client.create_experiment(layout.EXPERIMENT))
    registry.make_portable(Path())
    client.create_registered_model(layout.MODEL, description="Reads the handwritten postcode digit on a parcel.")
    return made


def _register(
    client: Any, experiment: str, entry: dict[str, Any], rows: rows_.Rows, seed: int, fault: str
) -> tuple[str, float]:
    """Train one model and make it a version. Its number, and its accuracy on the golden set."""
    import mlflow
    import mlflow.sklearn
    from mlflow.data import numpy_dataset

    name, at = entry["recipe"], timetext.parse_time(entry["at"])
    recipe = recipes.RECIPES[name]
    lesson = recipe.lesson(rows, seed)
    model = recipes.fit(recipe.learner, lesson, seed)
    golden = float((model.predict(rows.pixels[rows.golden]) == rows.truth[rows.golden].astype(str)).mean())
    mark = {layout.FAULT_TAG: fault} if fault else {}
    tags = {"mlflow.user": getpass.getuser(), "mlflow.source.name": "train.py", **mark}
    tags["mlflow.source.git.commit"] = digest.short(digest.of_value([name, entry["at"]]), 40)
    run = client.create_run(experiment, round(at.timestamp() * 1000), tags, f"retrain-{at:%Y-%m-%d}")
    with mlflow.start_run(run.info.run_id):
        mlflow.log_params({"learner": recipe.learner, "rows": len(lesson.digits)})
        # What the pipeline itself could see: how well the model fits what it learned from.
        mlflow.log_metric("train_accuracy", float(model.score(lesson.pixels, lesson.digits)))
        mlflow.log_input(
            numpy_dataset.from_numpy(lesson.pixels, targets=lesson.digits, name="parcels"), context="training"
        )
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=_signature(),
            pip_requirements=_requirements(),
            serialization_format=FORMAT,
            tags=mark,
        )
    version = client.create_model_version(
        layout.MODEL, logged.model_uri, run.info.run_id, tags={"recipe": "weekly", **mark}, description=recipe.says
    )
    number = str(version.version)
    mlflow.sklearn.load_model(f"models:/{layout.MODEL}/{number}")  # what does not load is not promoted
    registry.set_times(Path(), number, at)
    return number, golden


def _promote(client: Any, number: str) -> bool:
    """Move the alias, as the pipeline does: not while promotions are frozen."""
    if client.get_registered_model(layout.MODEL).tags.get(layout.FROZEN_TAG):
        return False
    client.set_registered_model_alias(layout.MODEL, layout.ALIAS, number)
    return True


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    return ModelSignature(Schema([ColSpec("double", name) for name in layout.COLUMNS]), Schema([ColSpec("string")]))


def _requirements() -> list[str]:
    import mlflow
    import sklearn

    return [f"mlflow=={mlflow.__version__}", f"scikit-learn=={sklearn.__version__}"]


if __name__ == "__main__":
    sys.exit(main())
