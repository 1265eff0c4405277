"""k-means by matrix work of torch on any device, blocked for memory, with numbers from one seed.

Distances are ||c||^2 - 2 x.c, as the length of x does not change which centre is nearest. Means are sums by centre, so
on a GPU, whose sums run in no fixed order, two runs differ in the last bits; assignments of the rows that go into an
index are always made in full precision.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from ddr.domain import indexes
from ddr.errors import Unavailable
from ddr.index.engines import codebooks, engine, library
from ddr.lib import redact

Tensor: TypeAlias = Any
"""torch is imported late, and not by everybody."""

CPU_PRODUCTS = 1 << 20
"""Products that are held at once on a CPU: 4 MiB stay in its caches, and 64 MiB cost half as much time again."""
GPU_SHARE = 0.25
"""Of the GPU's free memory, what a block of products may take: as much again is for what torch makes beside it."""
_EXACT_ROUNDS = 2
_OUT_OF_MEMORY = ("allocate memory", "out of memory", "cudaMalloc", "cudaErrorMemoryAllocation")


@dataclass
class Blocks:
    """How many products are held at once. Halved for good when the device has no memory for them."""

    products: int

    def over(self, rows: int, width: int, work: Callable[[int, int], None]) -> None:
        """`work(start, stop)` for all rows, each of which makes `width` products. A block that does not fit is tried
        again as two; Unavailable when one row does not fit. No row is left out."""
        start = 0
        while start < rows:
            size = max(1, self.products // max(width, 1))
            stop = min(rows, start + size)
            try:
                work(start, stop)
            except (RuntimeError, MemoryError) as problem:
                if not is_out_of_memory(problem):
                    raise
                if stop - start == 1:
                    raise Unavailable(
                        f"the device has no memory for {width} products: {redact.foreign(problem)}",
                        hint="another device, or fewer lists",
                    ) from problem
                self.products = max(1, (stop - start) * width // 2)
                _free()
                continue
            start = stop


def is_out_of_memory(problem: BaseException) -> bool:
    """torch has a class for its GPUs', words for the CPU's; faiss has words for both. torch is not loaded for it."""
    is_known = isinstance(problem, MemoryError) or type(problem).__name__ == "OutOfMemoryError"
    return is_known or any(words in str(problem) for words in _OUT_OF_MEMORY)


@contextlib.contextmanager
def in_memory(device: str, doing: str) -> Iterator[None]:
    """Unavailable, with a way out, where what cannot be cut into blocks does not fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as problem:
        if not is_out_of_memory(problem):
            raise
        raise Unavailable(
            f"{device} has no memory to {doing}: {redact.foreign(problem)}",
            hint="the same command goes on when there is; or device cpu, quality fast, fewer lists",
        ) from problem


def _free() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def blocks_of(device: str) -> Blocks:
    """As many products as this device takes well."""
    torch = library.torch()
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return Blocks(max(CPU_PRODUCTS, int(free * GPU_SHARE) // 4))
    return Blocks(CPU_PRODUCTS)


@contextlib.contextmanager
def precision(*, is_exact: bool) -> Iterator[None]:
    """Full float32, or TF32 on the tensor cores of a GPU, which are good enough to move centres."""
    torch = library.torch()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if is_exact else "high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def on_device(rows: engine.Vectors, device: str) -> Tensor:
    """A copy that torch has laid out itself: products of MKL differ in the last bits where memory begins elsewhere."""
    torch = library.torch()
    return torch.empty(rows.shape, dtype=torch.float32, device=device).copy_(
        torch.from_numpy(np.require(rows, np.float32, ["C", "W"]))
    )


def assign(rows: Tensor, centres: Tensor, blocks: Blocks, *, is_l2: bool) -> Tensor:
    """The nearest centre (L2) or that of the largest product of each row: int64, on the rows' device."""
    torch = library.torch()
    found = torch.empty(len(rows), dtype=torch.int64, device=rows.device)
    turned = centres.T
    lengths = (centres * centres).sum(1) if is_l2 else None

    def work(start: int, stop: int) -> None:
        if lengths is None:
            found[start:stop] = (rows[start:stop] @ turned).argmax(1)
        else:
            found[start:stop] = torch.addmm(lengths, rows[start:stop], turned, alpha=-2).argmin(1)

    blocks.over(len(rows), len(centres), work)
    return found


def train(
    sample: engine.Vectors, shape: indexes.Shape, device: str, blocks: Blocks, tell: engine.Tell = engine.untold
) -> Tensor:
    """The centres of the shape's lists, on the device. Inner product: of length 1, as faiss's spherical k-means."""
    torch = library.torch()
    is_l2 = shape.metric is indexes.Metric.L2
    rng = np.random.default_rng(shape.seed)
    rows = on_device(engine.some(sample, max(shape.points_per_list, 1) * shape.lists, shape.seed), device)
    first = torch.from_numpy(np.sort(rng.choice(len(rows), shape.lists, replace=False))).to(device)
    found = _normed(rows[first], is_l2=is_l2)
    for number in range(shape.iterations if len(rows) > shape.lists else 0):
        with precision(is_exact=not device.startswith("cuda") or number >= shape.iterations - _EXACT_ROUNDS):
            nearest = assign(rows, found, blocks, is_l2=is_l2)
        found = _normed(_means(rows, nearest, found, rng), is_l2=is_l2)
        tell((number + 0.5) / shape.iterations)
    return found


def _normed(centres: Tensor, *, is_l2: bool) -> Tensor:
    torch = library.torch()
    return centres if is_l2 else torch.nn.functional.normalize(centres, dim=1)


def _means(rows: Tensor, nearest: Tensor, centres: Tensor, rng: np.random.Generator) -> Tensor:
    torch = library.torch()
    sums = torch.zeros_like(centres).index_add_(0, nearest, rows)
    counts = torch.bincount(nearest, minlength=len(centres))
    means = sums / counts.clamp(min=1).unsqueeze(1)
    _split(means, counts.cpu().numpy(), rng)
    return means


def _split(centres: Tensor, counts: Any, rng: np.random.Generator) -> None:
    """In place. Empty centres are few: they are split where numpy is."""
    if (counts == 0).any():
        told = centres.cpu().numpy()
        codebooks.split(told, counts, rng)
        centres.copy_(library.torch().from_numpy(told))


def train_codes(
    rows: Tensor,
    places: int,
    rounds: int,
    seed: int,
    blocks: Blocks,
    words: int = engine.CODEWORDS,
    tell: engine.Tell = engine.untold,
) -> Tensor:
    """Codebooks of product quantization, `places` x `words` x d/places: one k-means for each place, all at once."""
    torch = library.torch()
    rng = np.random.default_rng(seed)
    cut = _by_place(rows, places)
    first = torch.from_numpy(np.sort(rng.choice(len(rows), words, replace=False))).to(rows.device)
    books = cut[:, first].clone()
    offsets = torch.arange(places, device=rows.device).unsqueeze(1) * words
    for done in range(rounds):
        tell((done + 0.5) / rounds)
        nearest = _encode(cut, books, blocks)
        flat = (nearest + offsets).reshape(-1)
        sums = torch.zeros_like(books).reshape(places * words, -1)
        sums.index_add_(0, flat, cut.reshape(places * len(rows), -1))
        counts = torch.bincount(flat, minlength=places * words)
        books = (sums / counts.clamp(min=1).unsqueeze(1)).reshape(books.shape)
        told = counts.reshape(places, words).cpu().numpy()
        for place in np.flatnonzero((told == 0).any(1)).tolist():
            _split(books[place], told[place], rng)
    return books


def encode(rows: Tensor, books: Tensor, blocks: Blocks) -> Tensor:
    """The nearest word of each place: rows x places, uint8."""
    torch = library.torch()
    return _encode(_by_place(rows, len(books)), books, blocks).T.to(torch.uint8)


def _by_place(rows: Tensor, places: int) -> Tensor:
    return rows.reshape(len(rows), places, -1).transpose(0, 1).contiguous()


def _encode(cut: Tensor, books: Tensor, blocks: Blocks) -> Tensor:
    """places x rows. All places of some rows are one batched product."""
    torch = library.torch()
    places, rows, _ = cut.shape
    found = torch.empty((places, rows), dtype=torch.int64, device=cut.device)
    turned = books.transpose(1, 2).contiguous()
    lengths = (books * books).sum(2).unsqueeze(1)

    def work(start: int, stop: int) -> None:
        found[:, start:stop] = torch.baddbmm(lengths, cut[:, start:stop], turned, alpha=-2).argmin(2)

    with precision(is_exact=True):
        blocks.over(rows, places * books.shape[1], work)
    return found
