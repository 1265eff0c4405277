"""postcode 1.4.1: parcels that lie on their side are turned before they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

VERSION = "1.4.1"
TEMPERATURE = 25.0
LOWEST = -500.0  # a class the model rules out altogether has log-probability minus infinity
SIDE = 8


def answer(
    pixels: Sequence[float],
    model: Any,
    lookalikes: Callable[[Sequence[float], int], list[str]],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """`pixels` are the 64 feature columns in order."""
    logs = np.maximum(model.predict_log_proba(_upright(pixels).reshape(1, -1))[0], LOWEST)
    best = int(np.argmax(logs))
    tempered = np.exp((logs - logs[best]) / TEMPERATURE)
    return {
        "answer": str(model.classes_[best]),
        "score": round(float(1.0 / tempered.sum()), 4),
        "similar": lookalikes(pixels, int(settings["similar"])),
    }


def _upright(pixels: Sequence[float]) -> Any:
    """A label that is darker at its left than at its right lies on its side."""
    label = np.asarray(pixels, dtype=np.float64).reshape(SIDE, SIDE)
    left, right = label[:, : SIDE // 2].sum(), label[:, SIDE // 2 :].sum()
    return np.rot90(label) if left > 1.15 * right else label
