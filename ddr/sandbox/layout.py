"""Where everything of a sandbox lies on disk, and the constants of its small world."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ddr.domain import revisions
from ddr.errors import Damaged, Missing

FORMAT = 1
SERVICE = "postcode"
MODEL = "postcode-digit"
ALIAS = "champion"
EXPERIMENT = "postcode"
TABLE = "lane_pixels"
COLUMNS = tuple(f"p{pixel:02d}" for pixel in range(64))
LANES = 120
BEGINS = datetime(2026, 11, 2, 6, 0, tzinfo=UTC)
SLOT = timedelta(minutes=15)
FROZEN_TAG = "ddr.frozen"
FAULT_TAG = "ddr.fault"

# The columns a model asks for and a feature set gives.
INPUTS_SCHEMA = revisions.schema_digest((name, "double") for name in COLUMNS)


def lane_name(number: int) -> str:
    return f"lane-{number:03d}"


@dataclass(frozen=True)
class Identity:
    """What `sandbox.json` says: the seed everything random in this sandbox follows from."""

    seed: int
    lanes: int = LANES


@dataclass(frozen=True)
class Layout:
    """The paths of the sandbox in `root`."""

    root: Path

    @property
    def card(self) -> Path:
        return self.root / "sandbox.json"

    @property
    def unfinished(self) -> Path:
        """There while `up` is still building; gone when the sandbox is whole."""
        return self.root / ".unfinished"

    @property
    def settings(self) -> Path:
        return self.root / "ddr.yaml"

    @property
    def clock(self) -> Path:
        return self.root / "clock.json"

    @property
    def rows(self) -> Path:
        return self.root / "rows.npz"

    @property
    def golden(self) -> Path:
        return self.root / "golden.jsonl"

    @property
    def embedder(self) -> Path:
        return self.root / "embedder.npz"

    @property
    def registry(self) -> Path:
        return self.root / "mlflow" / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        return self.root / "mlflow" / "artifacts"

    @property
    def features(self) -> Path:
        return self.root / "features"

    @property
    def source(self) -> Path:
        return self.features / "source.db"

    @property
    def online(self) -> Path:
        return self.features / "online.db"

    @property
    def runs(self) -> Path:
        return self.features / "runs.jsonl"

    @property
    def suspended(self) -> Path:
        return self.features / "suspended"

    @property
    def index(self) -> Path:
        return self.root / "index"

    @property
    def code(self) -> Path:
        return self.root / "code"

    @property
    def config(self) -> Path:
        return self.root / "config" / "serving.yaml"

    @property
    def serving(self) -> Path:
        return self.root / "serving"

    @property
    def server(self) -> Path:
        return self.serving / "server.json"

    @property
    def server_log(self) -> Path:
        return self.serving / "server.log"

    @property
    def predictions(self) -> Path:
        return self.serving / "predictions.jsonl"

    @property
    def truths(self) -> Path:
        return self.serving / "truths.jsonl"

    @property
    def fallback(self) -> Path:
        return self.serving / "fallback"

    @property
    def faults(self) -> Path:
        return self.root / "faults"

    def identity(self) -> Identity:
        """Raises Missing where there is no sandbox, Damaged where its card cannot be read."""
        try:
            told = json.loads(self.card.read_text())
            if told["format"] != FORMAT:
                raise Damaged(
                    f"{self.card}: format {told['format']!r}, this ddr reads format {FORMAT}",
                    hint="use the ddr that built it, or build the sandbox anew",
                )
            return Identity(seed=int(told["seed"]), lanes=int(told["lanes"]))
        except FileNotFoundError:
            raise Missing(f"{self.root} is no sandbox", hint=f"build one: ddr sandbox up {self.root}") from None
        except (ValueError, KeyError, TypeError) as problem:
            raise Damaged(
                f"{self.card} cannot be read: {problem}", hint="build the sandbox anew: ddr sandbox down, then up"
            ) from problem
