"""What the training program can train: the good models, and the ways in which a training goes wrong.

Each recipe is a pure function of the rows and the seed. Shares measured on the golden set, 5 seeds: the good ones
0.00 - 0.03 wrong, the bad ones 0.28 and more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ddr.sandbox import rows as rows_

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FLIPS = 3
_SWAPPED = ((3, 8), (4, 9))
_SWAPPED_SHARE = 0.8
_EARLY_COUNT = 450
_NOT_YET_SEEN = (2, 5, 7)
_WRONG_SCALE = 0.25


@dataclass(frozen=True)
class Lesson:
    """What a model learns from: `pixels` (n, 64) and the digits as text, (n,)."""

    pixels: NDArray[np.float64]
    digits: NDArray[np.str_]


@dataclass(frozen=True)
class Recipe:
    """`lesson` picks what is learned, `learner` what learns it; `says` is the version's description."""

    says: str
    lesson: Callable[[rows_.Rows, int], Lesson]
    learner: str = "quadratic"


def _everything(rows: rows_.Rows, seed: int) -> Lesson:
    return _lesson(rows, rows.train)


def _older(rows: rows_.Rows, seed: int) -> Lesson:
    return _lesson(rows, rows.train[: len(rows.train) // 2])


def _lesson(rows: rows_.Rows, numbers: NDArray[np.int64]) -> Lesson:
    return Lesson(rows.pixels[numbers].astype("float64"), rows.truth[numbers].astype(str))


def _labels_flipped(rows: rows_.Rows, seed: int) -> Lesson:
    """Two pairs of digits changed places in most rows: a join on the wrong label table."""
    import numpy as np

    good = _everything(rows, seed)
    random = np.random.default_rng([seed, _FLIPS])
    digits = good.digits.copy()
    for one, other in _SWAPPED:
        hit = random.random(len(digits)) < _SWAPPED_SHARE
        digits[hit & (good.digits == str(one))] = str(other)
        digits[hit & (good.digits == str(other))] = str(one)
    return Lesson(good.pixels, digits)


def _stale_slice(rows: rows_.Rows, seed: int) -> Lesson:
    """Only the early collection, from before some digits were collected at all."""
    import numpy as np

    early = rows.train[:_EARLY_COUNT]
    return _lesson(rows, early[~np.isin(rows.truth[early], _NOT_YET_SEEN)])


def _wrong_preprocessing(rows: rows_.Rows, seed: int) -> Lesson:
    """Pixels divided as if they went to 64: training and serving disagree about the scale."""
    good = _everything(rows, seed)
    return Lesson(good.pixels * _WRONG_SCALE, good.digits)


def _transposed(rows: rows_.Rows, seed: int) -> Lesson:
    """Rows and columns of the image exchanged."""
    good = _everything(rows, seed)
    return Lesson(good.pixels.reshape(-1, 8, 8).transpose(0, 2, 1).reshape(-1, 64), good.digits)


RECIPES = {
    "older": Recipe("Quadratic discriminant on the first half of the collection.", _older),
    "current": Recipe("Quadratic discriminant on the whole collection.", _everything),
    "challenger": Recipe("Kernel approximation and logistic regression, to compare.", _everything, "kernel"),
    "labels-flipped": Recipe("Weekly retraining.", _labels_flipped),
    "stale-slice": Recipe("Weekly retraining.", _stale_slice),
    "wrong-preprocessing": Recipe("Weekly retraining.", _wrong_preprocessing),
    "transposed": Recipe("Weekly retraining.", _transposed),
}


def fit(learner: str, lesson: Lesson, seed: int) -> Any:
    """A scikit-learn estimator with `predict_log_proba` and text classes. The same weights for the same arguments."""
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if learner == "quadratic":
        estimator = QuadraticDiscriminantAnalysis(solver="eigen", shrinkage=0.3)
    else:
        kernel = Nystroem(gamma=0.001, n_components=300, random_state=seed % 2**32)
        estimator = make_pipeline(kernel, LogisticRegression(C=30, max_iter=500))
    return estimator.fit(lesson.pixels, lesson.digits)
