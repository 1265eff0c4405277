"""The slices of an ML service that have a state and a way back of their own."""

from __future__ import annotations

from enum import StrEnum


class Plane(StrEnum):
    """`code`, `model`, `features` and `index` are rolled back; `config` and `infra` are observed and contained.

    `data` is what models are trained on. It is recorded with a release and can be brought back beside the live files;
    nothing that serves reads it, so going back there takes no wrong answer away, and no diagnosis offers it.
    """

    CODE = "code"
    MODEL = "model"
    FEATURES = "features"
    INDEX = "index"
    CONFIG = "config"
    INFRA = "infra"
    DATA = "data"


ROLLED_BACK = (Plane.CODE, Plane.MODEL, Plane.FEATURES, Plane.INDEX)
