"""One id in a hundred names another row: how often level 3 sees it by the vectors alone (G12), counted.

Digests cannot help here: the file was written so. Neither can the set of ids: none is missing, none is too many.
"""

from __future__ import annotations

import numpy as np
import pytest

from ddr.domain import indexes
from ddr.index import syncing
from ddr.index.engines import engine, faiss_engine, files
from tests.unit.index import clustered

Kind = indexes.Kind
ROWS, DIMENSION, SAMPLE = 20_000, 32, 1_000


@pytest.mark.parametrize("draws", [30, pytest.param(400, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", [Kind.FLAT, Kind.IVF_FLAT, Kind.IVF_SQ8, Kind.IVF_PQ])
def test_one_wrong_id_in_a_hundred_is_seen(kind: indexes.Kind, draws: int) -> None:
    draw = np.random.default_rng(11)
    vectors = clustered.rows(ROWS, DIMENSION, seed=5)
    rebuilt = _rebuilt(kind, vectors)
    is_exact = kind in (Kind.FLAT, Kind.IVF_FLAT)
    seen = alarms = 0
    for _ in range(draws):
        wrong = draw.choice(ROWS, ROWS // 100, replace=False)
        named = np.arange(ROWS)
        named[wrong] = np.roll(wrong, 1)  # each of them has the vector of the next
        asked = draw.choice(ROWS, SAMPLE, replace=False)
        seen += len(syncing.misplaced(vectors[asked], rebuilt[named[asked]], is_exact=is_exact)) > 0
        alarms += len(syncing.misplaced(vectors[asked], rebuilt[asked], is_exact=is_exact)) > 0
    print(f"{kind.value}: {seen} of {draws} seen, {alarms} false alarms in {draws}")
    assert seen >= int(0.99 * draws)
    assert alarms == 0


def _rebuilt(kind: indexes.Kind, vectors: engine.Vectors) -> engine.Vectors:
    """What the index gives back for each row, in the rows' order."""
    shape = indexes.Shape(
        kind, DIMENSION, indexes.Metric.L2, lists=32, code_bytes=16, code_points=8_192, iterations=3, code_iterations=3
    )
    made_by = faiss_engine.FaissEngine()
    trained = made_by.train(vectors, shape, 1)
    labels = np.arange(len(vectors))
    made = files.loads(files.serialize(made_by.part(trained, shape, [clustered.Batch(labels, vectors)], 1)), "it")
    inner = getattr(made, "index", made)  # of a flat one with ids of its own
    assert inner is not None
    if hasattr(inner, "make_direct_map"):
        inner.make_direct_map()
    found: engine.Vectors = inner.reconstruct_n(0, len(vectors))
    return found
