"""The slices of an ML service that have a state and a way back of their own."""

from __future__ import annotations

from enum import StrEnum


class Plane(StrEnum):
    """`code`, `model`, `features` and `index` are rolled back; `config` and `infra` are observed and contained."""

    CODE = "code"
    MODEL = "model"
    FEATURES = "features"
    INDEX = "index"
    CONFIG = "config"
    INFRA = "infra"


ROLLED_BACK = (Plane.CODE, Plane.MODEL, Plane.FEATURES, Plane.INDEX)
