"""The table of `benchmarks.index` for real rows: all 117,659 glosses of WordNet, embedded by MiniLM.

They are embedded by `ddr index build` at the first run, which takes a quarter of an hour on two cores, and kept beside
autofaiss's environment. A thousand of them are the queries.

    python -m benchmarks index-sentences
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import index
from benchmarks import index_peers as peers
from benchmarks.corpus import wordnet

_SPEC = """home: index
metric: cosine
kind: flat
embed: {corpus: texts.jsonl, model: model}
"""


def run() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    try:
        vectors = _embedded(peers.kept() / "sentences")
    except wordnet.Unavailable as problem:
        print(f"sentences are left out: {problem}")
        return
    drawn = np.random.default_rng(0).permutation(len(vectors))
    rows = vectors[np.sort(drawn[index.QUERIES :])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index.keep(folder, rows, vectors[drawn[: index.QUERIES]])
        print(f"\nindex builds, {len(rows):,} glosses of {rows.shape[1]}")
        index.builds(folder, len(rows), rows.shape[1], (("ivf-flat", "Flat"),))


def _embedded(place: Path) -> index.Vectors:
    """Unit vectors, in the order of WordNet."""
    done = place / "vectors.npy"
    if not done.exists():
        place.mkdir(parents=True, exist_ok=True)
        wordnet.model(wordnet.fetched(wordnet.MINILM, place), place / "model")
        wordnet.write(place / "texts.jsonl", wordnet.glosses(wordnet.fetched(wordnet.WORDNET, place)))
        (place / "sentences.yaml").write_text(_SPEC)
        command = [sys.executable, "-m", "ddr", "index", "build", str(place / "sentences.yaml"), "--publish"]
        subprocess.run(command, check=True)
        _save(place / "index" / "current" / "index.faiss", done)
    found: index.Vectors = np.load(done)
    return found


def _save(flat: Path, done: Path) -> None:
    import faiss

    told: Any = faiss.read_index(str(flat))
    partly = done.with_suffix(".partly.npy")
    np.save(partly, told.index.reconstruct_n(0, told.ntotal)[np.argsort(faiss.vector_to_array(told.id_map))])
    partly.replace(done)
