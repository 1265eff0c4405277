"""postcode 1.3.0: answers which digit is on the parcel, with the model's own probability as score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

VERSION = "1.3.0"


def answer(
    pixels: Sequence[float],
    model: Any,
    lookalikes: Callable[[Sequence[float], int], list[str]],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """`pixels` are the 64 feature columns in order."""
    shares = model.predict_proba(np.asarray(pixels, dtype=np.float64).reshape(1, -1))[0]
    best = int(np.argmax(shares))
    return {
        "answer": str(model.classes_[best]),
        "score": round(float(shares[best]), 4),
        "similar": lookalikes(pixels, int(settings["similar"])),
    }
