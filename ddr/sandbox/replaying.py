"""Answers logged requests again with chosen revisions: the swap test. Changes nothing and logs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddr.domain import planes
from ddr.errors import InputError, Missing
from ddr.lib import timetext
from ddr.sandbox import features, layout, loading, registry, requestlog, serving

RECOMPUTED = "recomputed"
AS_LOGGED = "as-logged"
_SWAPPABLE = (planes.Plane.MODEL, planes.Plane.CODE, planes.Plane.INDEX, planes.Plane.FEATURES)


class Replay:
    """One replay: `swaps` holds for every request, everything else is as that request was answered."""

    def __init__(self, root: Path, serving_: serving.Serving, swaps: Mapping[str, str]) -> None:
        unknown = set(swaps) - {str(plane) for plane in _SWAPPABLE}
        if unknown:
            allowed = ", ".join(_SWAPPABLE)
            raise InputError(f"{', '.join(sorted(unknown))} cannot be swapped here; allowed: {allowed}")
        if swaps.get("features", AS_LOGGED) not in (RECOMPUTED, AS_LOGGED):
            raise InputError(f"features can be {AS_LOGGED} or {RECOMPUTED}, not {swaps['features']!r}")
        self._root = root
        self._serving = serving_
        self._swaps = {plane: name for plane, name in swaps.items() if name != AS_LOGGED}
        self._models: dict[str, loading.Model | None] = {}
        self._codes: dict[str, loading.Code] = {}
        self._indexes: dict[str, loading.LoadedIndex] = {}

    def answers(self, ids: Sequence[str]) -> dict[str, str]:
        """By id. An id that was never answered, or whose revisions are no more, is left out.

        Missing when a swap names a revision that is not there.
        """
        self._load_swaps()
        self._serving.log.flush()
        logged = requestlog.find(layout.Layout(self._root).predictions, ids)
        found = {}
        for id_ in ids:
            answer = self._answer(logged[id_]) if id_ in logged else None
            if answer is not None:
                found[id_] = answer
        return found

    def _load_swaps(self) -> None:
        if "model" in self._swaps:
            self._models["swap"] = self._serving.loader.model(registry.find(self._root, self._swaps["model"]))
        if "code" in self._swaps:
            self._codes[self._swaps["code"]] = self._serving.loader.code(self._swaps["code"])
        if "index" in self._swaps:
            self._indexes[self._swaps["index"]] = self._serving.loader.index(self._swaps["index"])

    def _answer(self, entry: Mapping[str, Any]) -> str | None:
        if entry.get("status") != 200 or entry.get("fallback"):
            return None
        pixels = self._pixels(entry)
        model = self._model(entry)
        if pixels is None or model is None:
            return None
        try:
            code = self._code(self._swaps.get("code", str(entry["code"])))
            index = self._index(self._swaps.get("index", str(entry["index"])))
            return str(serving.run_app(code, pixels, model, index, self._serving.loaded.config)["answer"])
        except (Missing, serving.AppFailed):
            return None

    def _pixels(self, entry: Mapping[str, Any]) -> Sequence[float] | None:
        if "features" not in self._swaps:
            row = entry.get("row")
            return row if isinstance(row, list) else None
        at_s = timetext.parse_time(str(entry["at"])).timestamp()
        scan = features.newest_scan(self._root, str(entry["entity"]), at_s)
        return None if scan is None else scan[1]

    def _model(self, entry: Mapping[str, Any]) -> loading.Model | None:
        """The swapped model, else the one with the very weights that answered."""
        if "swap" in self._models:
            return self._models["swap"]
        weights = str(entry["weights"])
        if weights not in self._models:
            self._models[weights] = self._with_weights(str(entry["model"]), weights)
        return self._models[weights]

    def _with_weights(self, number: str, weights: str) -> loading.Model | None:
        known = self._serving.loader.model_with(weights)
        if known is not None:
            return known
        try:
            version = registry.find(self._root, number)
            if version.digest == weights:
                return self._serving.loader.model(version)
        except Missing:
            pass
        return None

    def _code(self, name: str) -> loading.Code:
        if name not in self._codes:
            self._codes[name] = self._serving.loader.code(name)
        return self._codes[name]

    def _index(self, name: str) -> loading.LoadedIndex:
        if name not in self._indexes:
            self._indexes[name] = self._serving.loader.index(name)
        return self._indexes[name]
