"""The index plane: the 900 training parcels as 16 numbers each, in a FAISS file beside its card."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddr.errors import Damaged, Missing
from ddr.lib import digest, durable
from ddr.sandbox import layout, releases
from ddr.sandbox import rows as rows_

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIM = 16


@dataclass(frozen=True)
class Embedder:
    """The first 16 principal components: (x - mean) @ axes, with `mean` (64,) and `axes` (64, 16), float32."""

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]

    @property
    def fingerprint(self) -> str:
        return digest.of_bytes(self.mean.tobytes() + self.axes.tobytes())

    def embed(self, pixels: Sequence[float] | NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, 16) for (n, 64) or one row of 64."""
        import numpy as np

        table = np.asarray(pixels, dtype=np.float32).reshape(-1, len(layout.COLUMNS))
        return np.ascontiguousarray((table - self.mean) @ self.axes)


def fit_embedder(root: Path, rows: rows_.Rows) -> Embedder:
    """From the training rows; writes `embedder.npz`. The largest weight of each axis is positive."""
    import numpy as np

    table = rows.pixels[rows.train].astype(np.float64)
    mean = table.mean(axis=0)
    _, _, axes = np.linalg.svd(table - mean, full_matrices=False)
    axes = axes[:DIM]
    signs = np.sign(axes[np.arange(DIM), np.abs(axes).argmax(axis=1)])
    embedder = Embedder(mean.astype(np.float32), np.ascontiguousarray((axes * signs[:, None]).T.astype(np.float32)))
    content = io.BytesIO()
    np.savez(content, mean=embedder.mean, axes=embedder.axes, fingerprint=embedder.fingerprint)
    durable.replace(layout.Layout(root).embedder, content.getvalue())
    return embedder


def read_embedder(root: Path) -> Embedder:
    import zipfile

    import numpy as np

    path = layout.Layout(root).embedder
    try:
        with np.load(path) as stored:
            embedder = Embedder(stored["mean"], stored["axes"])
            told = str(stored["fingerprint"])
    except FileNotFoundError:
        raise Missing(f"{path} is not there", hint="build the sandbox anew") from None
    except (ValueError, KeyError, zipfile.BadZipFile) as problem:
        raise Damaged(f"{path} cannot be read: {problem}", hint="build the sandbox anew") from problem
    if told != embedder.fingerprint:
        raise Damaged(f"{path}: its numbers do not have its fingerprint", hint="build the sandbox anew")
    return embedder


def channel(root: Path) -> releases.Channel:
    return releases.Channel(layout.Layout(root).index, folder="versions")


def publish(root: Path, name: str, rows: rows_.Rows, embedder: Embedder) -> None:
    """Build the exact index over the training rows as version `name`. `ids.json` names digit and row of each."""
    import faiss

    index = faiss.IndexFlatL2(DIM)
    index.add(embedder.embed(rows.pixels[rows.train]))
    ids = _names(rows)
    folder = channel(root).path(name)
    durable.make_folder(folder)
    durable.replace(folder / "index.faiss", faiss.serialize_index(index).tobytes())
    durable.replace(folder / "ids.json", json.dumps(ids).encode() + b"\n")
    card = {"embedder": embedder.fingerprint, "dim": DIM, "count": len(ids)}
    durable.replace(folder / "card.json", json.dumps(card, indent=2).encode() + b"\n")


def write_corpus(root: Path, rows: rows_.Rows, embedder: Embedder) -> None:
    """What `ddr index build` makes versions of: vectors, the name of each, the fingerprint of who made them."""
    import numpy as np

    folder = channel(root).root / "corpus"
    durable.make_folder(folder)
    content = io.BytesIO()
    np.save(content, embedder.embed(rows.pixels[rows.train]))
    durable.replace(folder / "vectors.npy", content.getvalue())
    durable.replace(folder / "ids.json", json.dumps(_names(rows)).encode() + b"\n")
    durable.replace(folder / "embedder.txt", embedder.fingerprint.encode() + b"\n")


def _names(rows: rows_.Rows) -> list[str]:
    return [f"digit-{rows.truth[row]}-row-{row:04d}" for row in rows.train.tolist()]


@dataclass(frozen=True)
class Index:
    """An index in memory with the names of its vectors."""

    faiss: Any
    ids: tuple[str, ...]
    embedder: Embedder

    def nearest(self, pixels: Sequence[float], count: int) -> list[str]:
        """The `count` most similar training parcels, nearest first."""
        _, found = self.faiss.search(self.embedder.embed(pixels), count)
        return [self.ids[number] for number in found[0].tolist() if number >= 0]


def load(root: Path, name: str) -> Index:
    """Version `name`. Missing; Damaged where file, names and card do not fit one another or the embedder."""
    import faiss
    import numpy as np

    folder = channel(root).path(name)
    try:
        index = faiss.deserialize_index(np.frombuffer((folder / "index.faiss").read_bytes(), dtype=np.uint8))
        ids = tuple(json.loads((folder / "ids.json").read_text()))
        told = _told(folder)
    except FileNotFoundError as problem:
        raise Missing(f"index version {name}: {problem.filename} is not there") from problem
    except (ValueError, KeyError, TypeError, RuntimeError) as problem:
        raise Damaged(f"index version {name} cannot be read: {problem}") from problem
    embedder = read_embedder(root)
    if told != (embedder.fingerprint, index.d, index.ntotal) or len(ids) != index.ntotal:
        raise Damaged(f"index version {name}: file, ids.json, card.json and embedder.npz do not fit one another")
    return Index(index, ids, embedder)


def _told(folder: Path) -> tuple[str, int, int]:
    """Embedder, dimension and count, from the sandbox's own card or from the manifest of `ddr index`."""
    if (folder / "manifest.json").is_file():
        manifest = json.loads((folder / "manifest.json").read_text())
        return (
            manifest["embedder"]["fingerprint"],
            manifest["plan"]["shape"]["dimension"],
            manifest["scan"]["kept"],
        )
    card = json.loads((folder / "card.json").read_text())
    return card["embedder"], card["dim"], card["count"]


def vote(similar: Sequence[str]) -> tuple[str, float]:
    """The digit most of the look-alikes show (the nearest decides a tie), and its share."""
    digits = [name.split("-")[1] for name in similar]
    best = max(digits, key=lambda digit: (digits.count(digit), -digits.index(digit)))
    return best, digits.count(best) / len(digits)
