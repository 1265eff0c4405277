"""Brings into memory what the planes point at, and says exactly what it brought."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddr.domain import planes, revisions
from ddr.errors import Damaged, DdrError, Missing
from ddr.lib import decode, digest, located, redact
from ddr.sandbox import features, layout, lookalikes, registry, releases

KEPT_MODELS = 8


@dataclass(frozen=True)
class Model:
    revision: revisions.Revision
    estimator: Any


@dataclass(frozen=True)
class Code:
    revision: revisions.Revision
    module: types.ModuleType


@dataclass(frozen=True)
class LoadedIndex:
    revision: revisions.Revision
    index: lookalikes.Index


@dataclass(frozen=True)
class Config:
    """`settings` are the keys of `serving.yaml`."""

    revision: revisions.Revision
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Loaded:
    """Everything a request is answered with."""

    model: Model
    code: Code
    index: LoadedIndex
    config: Config

    def revisions(self, root: Path) -> dict[str, object]:
        """By plane; the features are not in memory, so theirs is what the pointer says now."""
        found = [self.model.revision, self.code.revision, self.index.revision, self.config.revision]
        found.append(features_revision(root))
        return {str(one.plane): decode.encode(one) for one in found}


@dataclass
class Loader:
    """Loads revisions of the sandbox in `root`. Models are kept by digest: coming back to one costs nothing."""

    root: Path
    _models: dict[str, Model] = field(default_factory=dict)
    _codes: dict[str, Code] = field(default_factory=dict)

    def everything(self) -> Loaded:
        """What the planes point at now. Raises DdrError, and nothing was replaced."""
        return Loaded(
            self.model(registry.champion(self.root)),
            self.code(code_channel(self.root).live()),
            self.index(lookalikes.channel(self.root).live()),
            self._config(),
        )

    def model(self, version: registry.Version) -> Model:
        """A copy is taken and digested, and that copy is loaded: what is in memory is what the digest says."""
        known = self._models.get(version.digest)
        if known is not None and known.revision.name == version.number:
            return known
        with tempfile.TemporaryDirectory(prefix=".load-", dir=layout.Layout(self.root).serving) as folder:
            copy = Path(folder) / "model"
            shutil.copytree(version.folder, copy)
            model = _load_model(version, copy)
        while len(self._models) >= KEPT_MODELS:
            del self._models[next(iter(self._models))]
        self._models[model.revision.digest] = model
        return model

    def model_with(self, weights: str) -> Model | None:
        """The model with that digest, if this process ever loaded it."""
        return self._models.get(weights)

    def code(self, name: str) -> Code:
        channel = code_channel(self.root)
        found = channel.pointer.digest(name)
        if found not in self._codes:
            facts = {key: str(channel.card(name)[key]) for key in ("commit", "built_at") if key in channel.card(name)}
            revision = revisions.Revision(planes.Plane.CODE, channel.root.name, name, found, facts)
            self._codes[found] = Code(revision, _import_app(channel.path(name) / "app.py"))
        return self._codes[found]

    def index(self, name: str) -> LoadedIndex:
        channel = lookalikes.channel(self.root)
        found = channel.pointer.digest(name)
        index = lookalikes.load(self.root, name)
        facts = {revisions.EMBEDDER: index.embedder.fingerprint}
        return LoadedIndex(revisions.Revision(planes.Plane.INDEX, channel.root.name, name, found, facts), index)

    def _config(self) -> Config:
        path = layout.Layout(self.root).config
        try:
            content = path.read_bytes()
            settings = located.parse_yaml(content.decode()).plain()
        except FileNotFoundError:
            raise Missing(f"{path} is not there") from None
        except (located.Malformed, ValueError) as problem:
            raise Damaged(f"{path} cannot be read: {problem}") from problem
        if not isinstance(settings, dict) or not isinstance(settings.get("similar"), int):
            raise Damaged(f"{path}: similar must be a whole number")
        found = digest.of_bytes(content)
        return Config(revisions.Revision(planes.Plane.CONFIG, path.name, digest.short(found), found), settings)


def code_channel(root: Path) -> releases.Channel:
    return releases.Channel(layout.Layout(root).code)


def features_revision(root: Path) -> revisions.Revision:
    channel = features.channel(root)
    name = channel.live()
    card = channel.card(name)
    facts = {revisions.INPUTS_SCHEMA: str(card[revisions.INPUTS_SCHEMA])} if revisions.INPUTS_SCHEMA in card else {}
    return revisions.Revision(planes.Plane.FEATURES, layout.TABLE, name, channel.pointer.digest(name), facts)


def _load_model(version: registry.Version, copy: Path) -> Model:
    import mlflow.sklearn
    from mlflow.exceptions import MlflowException

    found = registry.digest_of(copy)
    try:
        schema = _inputs_schema(copy / "MLmodel")
        estimator = mlflow.sklearn.load_model(str(copy))
    except DdrError:
        raise
    except MlflowException as problem:
        raise Damaged(f"{layout.MODEL} {version.number}: {redact.foreign(problem)}") from problem
    except Exception as problem:  # a broken model file fails in whatever way its reader likes
        what = f"{type(problem).__name__}: {redact.foreign(problem)}"
        raise Damaged(f"{layout.MODEL} {version.number} does not load: {what}") from problem
    if schema != layout.INPUTS_SCHEMA:
        raise Damaged(f"{layout.MODEL} {version.number} does not take the columns of {layout.TABLE}")
    facts = {revisions.INPUTS_SCHEMA: schema, revisions.RUN: version.run, revisions.FLAVOR: "sklearn"}
    return Model(revisions.Revision(planes.Plane.MODEL, layout.MODEL, version.number, found, facts), estimator)


def _inputs_schema(path: Path) -> str:
    try:
        told = located.parse_yaml(path.read_text()).fields["signature"].fields["inputs"].plain()
        return revisions.schema_digest((column["name"], column["type"]) for column in json.loads(str(told)))
    except (OSError, located.Malformed, KeyError, ValueError, TypeError) as problem:
        raise Damaged(f"{path.name} has no readable signature: {redact.foreign(problem)}") from problem


def _import_app(path: Path) -> types.ModuleType:
    """The served code as a module of its own, without leaving bytecode in its folder."""
    module = types.ModuleType(f"app_{path.parent.name.replace('.', '_')}")
    module.__file__ = str(path)
    try:
        exec(compile(path.read_text(), str(path), "exec"), module.__dict__)  # noqa: S102 - serving code is its job
    except Exception as problem:  # code that does not import fails in whatever way it likes
        raise Damaged(f"{path} does not load: {type(problem).__name__}: {redact.foreign(problem)}") from problem
    if not callable(getattr(module, "answer", None)):
        raise Damaged(f"{path} has no function `answer`")
    sys.modules[module.__name__] = module
    return module
