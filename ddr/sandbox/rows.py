"""The parcels: scikit-learn's handwritten digits (1,797 real images of 8x8 pixels, 0..16), split by seed.

900 rows train models, 300 are the golden set, the rest is traffic that no model has seen.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ddr.errors import Damaged, InputError, Missing
from ddr.lib import durable
from ddr.sandbox import layout

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRAIN, GOLDEN, TRAFFIC = "train", "golden", "traffic"
TRAIN_COUNT = 900
GOLDEN_COUNT = 300


@dataclass(frozen=True)
class Rows:
    """`pixels` is (1797, 64) float32, `truth` (1797,) int, `train`, `golden`, `traffic` are row numbers."""

    pixels: NDArray[np.float32]
    truth: NDArray[np.int64]
    train: NDArray[np.int64]
    golden: NDArray[np.int64]
    traffic: NDArray[np.int64]


def _read_digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The file that `sklearn.datasets.load_digits` reads, without the seconds its import takes."""
    import numpy as np

    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise InputError("the sandbox needs scikit-learn", hint="pip install 'ddr[sandbox]'")
    path = Path(found.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    table = np.loadtxt(io.StringIO(gzip.decompress(path.read_bytes()).decode()), delimiter=",")
    return table[:, :64].astype(np.float32), table[:, 64].astype(np.int64)


def create(root: Path, seed: int) -> Rows:
    """Split the digits by `seed`; writes `rows.npz` and `golden.jsonl`."""
    import numpy as np

    pixels, truth = _read_digits()
    order = np.random.default_rng([seed, 0]).permutation(len(truth))
    split = np.full(len(truth), TRAFFIC, dtype="<U7")
    split[order[:TRAIN_COUNT]] = TRAIN
    split[order[TRAIN_COUNT : TRAIN_COUNT + GOLDEN_COUNT]] = GOLDEN
    content = io.BytesIO()
    np.savez(content, pixels=pixels, truth=truth, split=split)
    where = layout.Layout(root)
    durable.replace(where.rows, content.getvalue())
    rows = read(root)
    lines = [
        json.dumps(
            {"id": f"golden-{row:04d}", "features": pixels[row].tolist(), "truth": str(truth[row])},
        )
        for row in rows.golden.tolist()
    ]
    durable.replace(where.golden, ("\n".join(lines) + "\n").encode())
    return rows


def read(root: Path) -> Rows:
    import zipfile

    import numpy as np

    path = layout.Layout(root).rows
    try:
        with np.load(path) as stored:
            pixels, truth, split = stored["pixels"], stored["truth"], stored["split"]
    except FileNotFoundError:
        raise Missing(f"{path} is not there", hint=f"build a sandbox: ddr sandbox up {root}") from None
    except (ValueError, KeyError, zipfile.BadZipFile) as problem:
        raise Damaged(f"{path} cannot be read: {problem}", hint="build the sandbox anew") from problem
    train, golden, traffic = (np.flatnonzero(split == name) for name in (TRAIN, GOLDEN, TRAFFIC))
    return Rows(pixels, truth, train, golden, traffic)
