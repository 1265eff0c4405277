"""Index files: written without loss, read within limits, merged, searched and described. Knows no engine.

Nothing here is safe for a file of unknown origin: compare its digest first, or read it in a child.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, InputError, Missing
from ddr.index.engines import blank, engine, flats, library, lists
from ddr.lib import redact

Write = Callable[[memoryview], None]
Tell = Callable[[int], None]
"""Called with the rows that are merged so far."""

_BUFFER_BYTES = 1 << 20
_LEAST_LIMIT_BYTES = 1 << 16
_limits = threading.Lock()  # of faiss they are global


@dataclass(frozen=True)
class Facts:
    """What a file says of itself. `search`: the `nprobe` or `ef_search` that it has."""

    rows: int
    dimension: int
    is_l2: bool
    structure: str
    lists: int = 0
    search: int = 0
    is_trained: bool = True


def serialize_to(index: engine.Index, write: Write) -> None:
    """All bytes of the index's file, in pieces of about 1 MiB. What `write` raises comes out of here as it is."""
    faiss = library.faiss()

    buffer = bytearray()

    def take(content: bytes) -> int:
        buffer.extend(content)
        if len(buffer) >= _BUFFER_BYTES:
            write(memoryview(bytes(buffer)))
            buffer.clear()
        return len(content)

    faiss.write_index(index, faiss.PyCallbackIOWriter(take, _BUFFER_BYTES))
    if buffer:
        write(memoryview(bytes(buffer)))


def serialize(index: engine.Index) -> bytes:
    """The index's file in memory: for trained and small ones."""
    pieces: list[bytes] = []
    serialize_to(index, lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


def load(path: Path, *, is_mapped: bool = False) -> engine.Index:
    """The index of a file. `is_mapped`: lists and vectors stay on the disk and are read as they are needed.

    Missing, or Damaged when faiss refuses it. A limit of the file's size stands in the way of sizes that are not true.
    """
    faiss = library.faiss()

    if not path.is_file():
        raise Missing(f"there is no index file {path}")
    with _limited(path.stat().st_size):
        if not is_mapped:
            return _read(str(path), faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE, str(path))
        plain = faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE
        # Lists are mapped by one flag, vectors and graphs by another, and faiss refuses both at once.
        is_lists = _starts_with_lists(path)
        return _read(str(path), plain | (faiss.IO_FLAG_MMAP if is_lists else faiss.IO_FLAG_MMAP_IFC), str(path))


def loads(content: bytes | memoryview, where: str = "an index in memory") -> engine.Index:
    """The index of bytes: a trained one that every worker begins with."""
    faiss = library.faiss()

    with _limited(len(content)):
        reader = faiss.VectorIOReader()
        faiss.copy_array_to_vector(np.frombuffer(content, np.uint8), reader.data)
        return _read(reader, faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE, where)


def _starts_with_lists(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"Iw"


def _read(source: Any, flags: int, where: str) -> engine.Index:
    faiss = library.faiss()

    try:
        return faiss.read_index(source, flags)
    except (RuntimeError, MemoryError) as problem:
        raise Damaged(f"{where} is no index that faiss reads: {redact.foreign(problem)}") from problem


@contextlib.contextmanager
def _limited(size: int) -> Iterator[None]:
    faiss = library.faiss()

    with _limits:
        before = faiss.get_deserialization_vector_byte_limit(), faiss.get_deserialization_loop_limit()
        faiss.set_deserialization_vector_byte_limit(max(size, _LEAST_LIMIT_BYTES))
        faiss.set_deserialization_loop_limit(max(size, _LEAST_LIMIT_BYTES))
        try:
            yield
        finally:
            faiss.set_deserialization_vector_byte_limit(before[0])
            faiss.set_deserialization_loop_limit(before[1])


def merge_to(
    trained: bytes,
    parts: Sequence[Path],
    shape: indexes.Shape,
    write: Write,
    *,
    threads: int = 0,
    search: int = 0,
    tell: Tell = engine.untold,
) -> None:
    """The file of all parts' rows in their order. `search`: the `nprobe` or `ef_search` that it gets; 0: faiss's.

    Lists and flat vectors are copied from the parts' files block by block; a graph is built in memory.
    """
    if shape.kind is indexes.Kind.FLAT:
        _flat_to(trained, parts, shape, write, tell)
        return
    if shape.kind in engine.GRAPHS:
        whole = merge(trained, parts, shape, threads=threads, tell=tell)
        set_search(whole, search)
        serialize_to(whole, write)
        return
    head = lists.header_bytes(trained)
    layouts = [lists.layout(path, head) for path in parts]
    begin = loads(trained, "the trained index")
    _same_training(begin, trained[:head], parts, layouts)
    begin.ntotal = int(sum(int(found.sizes.sum()) for found in layouts))
    set_search(begin, search)
    write(memoryview(serialize(begin)[:head]))
    if parts:
        lists.merged(parts, layouts, write, tell)
    else:
        write(memoryview(trained[head:]))


def _flat_to(trained: bytes, parts: Sequence[Path], shape: indexes.Shape, write: Write, tell: Tell) -> None:
    """An empty index ends with two counts of 0: put the vectors behind the first, the ids behind the second."""
    head = _flat_head(shape)
    rows = sum(flats.rows(path, head, shape.dimension) for path in parts)
    whole = loads(trained, "the trained index")
    whole.ntotal = whole.index.ntotal = rows
    write(memoryview(serialize(whole)[: -flats.COUNTS] + (rows * shape.dimension).to_bytes(8, "little")))
    kept, done = [], 0
    for ids, vectors in flats.pieces(parts, _flat_head(shape), shape.dimension):
        write(vectors.data.cast("B"))
        kept.append(ids)
        done += len(ids)
        tell(done)
    write(memoryview(rows.to_bytes(8, "little")))
    for ids in kept:
        write(ids.data.cast("B"))


def _same_training(begin: engine.Index, head: bytes, parts: Sequence[Path], layouts: Sequence[lists.Layout]) -> None:
    """Conflict when a part was not made from this trained index: its codes would be read by other centres."""
    for path, found in zip(parts, layouts, strict=True):
        begin.ntotal = int(found.sizes.sum())
        with path.open("rb") as file:
            is_same = file.read(len(head)) == serialize(begin)[: len(head)]
        if not is_same or found.lists != begin.nlist or found.code_bytes != begin.code_size:
            raise Conflict(f"{path} was made from another trained index", hint="build this part again")


def merge(
    trained: bytes, parts: Sequence[Path], shape: indexes.Shape, *, threads: int = 0, tell: Tell = engine.untold
) -> engine.Index:
    """The index of all parts' rows in their order, in memory. Its file has the bytes that `merge_to` writes.
    `tell` hears of each piece of a graph."""
    faiss = library.faiss()

    whole = loads(trained, "the trained index")
    if shape.kind is indexes.Kind.CAGRA:
        from ddr.index.engines import cagra

        return cagra.build(shape, flats.pieces(parts, _flat_head(shape), shape.dimension), threads)
    with engine.threads_of_faiss(threads):
        if shape.kind in engine.IVF:
            for path in parts:
                part = load(path, is_mapped=True)
                if part.d != whole.d or part.nlist != whole.nlist or part.code_size != whole.code_size:
                    raise Conflict(f"{path} was made from another trained index", hint="build this part again")
                part.copy_subset_to(whole, faiss.InvertedLists.SUBSET_TYPE_INVLIST, 0, whole.nlist)
            return whole
        if shape.kind is indexes.Kind.HNSW:
            inner(whole).hnsw.rng = faiss.RandomGenerator(shape.seed)
        for labels, vectors in flats.pieces(parts, _flat_head(shape), shape.dimension):
            whole.add_with_ids(vectors, labels)
            tell(int(whole.ntotal))
    return whole


def _flat_head(shape: indexes.Shape) -> int:
    return len(serialize(blank.part(shape))) - flats.COUNTS


def inner(index: engine.Index) -> engine.Index:
    """The index itself, out of the one that maps ids, as its own class."""
    faiss = library.faiss()

    found = faiss.downcast_index(index)
    return faiss.downcast_index(found.index) if isinstance(found, faiss.IndexIDMap) else found


def set_search(index: engine.Index, value: int) -> None:
    """What the file will have when it is written, and a reader who sets nothing searches with. 0: leave it."""
    faiss = library.faiss()

    found = inner(index)
    if not value:
        return
    if isinstance(found, faiss.IndexIVF):
        found.nprobe = min(value, found.nlist)
    elif isinstance(found, faiss.IndexHNSW):
        found.hnsw.efSearch = value


def search(
    index: engine.Index, queries: engine.Vectors, k: int, parameter: int = 0, *, threads: int = 0
) -> tuple[engine.Labels, engine.Vectors]:
    """Labels and distances, queries x k; -1 where fewer were found. `parameter` instead of the file's own; 0: its own.

    The index is not changed. Distances are squared for L2, and larger is nearer for inner product.
    """
    faiss = library.faiss()

    found = inner(index)
    if queries.ndim != 2 or queries.shape[1] != index.d:
        raise InputError(f"queries of shape {queries.shape} for an index of dimension {index.d}")
    params = None
    if parameter and isinstance(found, faiss.IndexIVF):
        params = faiss.SearchParametersIVF(nprobe=min(parameter, found.nlist))
    elif parameter and isinstance(found, faiss.IndexHNSW):
        params = faiss.SearchParametersHNSW(efSearch=max(parameter, k))
    with engine.threads_of_faiss(threads):
        distances, ids = index.search(np.ascontiguousarray(queries, np.float32), k, params=params)
    return ids, distances


def search_parts(
    parts: Sequence[engine.Index], queries: engine.Vectors, k: int, parameter: int = 0, *, threads: int = 0
) -> tuple[engine.Labels, engine.Vectors]:
    """What the merged index of these would find: `nprobe` can be settled before anything is merged."""
    answers = [search(part, queries, k, parameter, threads=threads) for part in parts]
    ids = np.concatenate([found for found, _ in answers], axis=1)
    distances = np.concatenate([far for _, far in answers], axis=1)
    is_l2 = describe(parts[0]).is_l2
    keys = np.where(ids < 0, np.inf, distances if is_l2 else -distances)
    best = np.argsort(keys, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(ids, best, axis=1), np.take_along_axis(distances, best, axis=1)


def describe(index: engine.Index) -> Facts:
    """What it says of itself, before anything is searched."""
    faiss = library.faiss()

    found = inner(index)
    names = [type(found).__name__]
    if index.this != found.this and isinstance(faiss.downcast_index(index), faiss.IndexIDMap):
        names.insert(0, type(faiss.downcast_index(index)).__name__)
    is_lists, is_graph = isinstance(found, faiss.IndexIVF), isinstance(found, faiss.IndexHNSW)
    return Facts(
        rows=int(index.ntotal),
        dimension=int(index.d),
        is_l2=index.metric_type == faiss.METRIC_L2,
        structure=",".join(names),
        lists=int(found.nlist) if is_lists else 0,
        search=int(found.nprobe) if is_lists else int(found.hnsw.efSearch) if is_graph else 0,
        is_trained=bool(index.is_trained),
    )


def list_sizes(index: engine.Index) -> npt.NDArray[np.int64]:
    """Rows of each list; none for an index without lists."""
    faiss = library.faiss()

    found = inner(index)
    if not isinstance(found, faiss.IndexIVF):
        return np.zeros(0, np.int64)
    return np.fromiter((found.invlists.list_size(number) for number in range(found.nlist)), np.int64, found.nlist)


def labels(index: engine.Index) -> engine.Labels:
    """All labels as they lie: rows of a flat index in order, of lists one after the other."""
    faiss = library.faiss()

    outer = faiss.downcast_index(index)
    if isinstance(outer, faiss.IndexIDMap):
        found: engine.Labels = faiss.vector_to_array(outer.id_map)
        return found
    if isinstance(outer, faiss.IndexIVF):
        pieces = [ids for _, ids in _each_list(outer)]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
    return np.arange(index.ntotal, dtype=np.int64)


def _each_list(index: engine.Index) -> Iterator[tuple[int, engine.Labels]]:
    faiss = library.faiss()

    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        if size:
            pointer = index.invlists.get_ids(number)
            yield number, faiss.rev_swig_ptr(pointer, size).copy()
            index.invlists.release_ids(number, pointer)


def reconstruct(index: engine.Index, wanted: engine.Labels) -> engine.Vectors:
    """The vectors of these labels as the index has them, rounded by its codes; a row of NaN for a label it has not."""
    faiss = library.faiss()

    rows = np.full((len(wanted), index.d), np.nan, np.float32)
    outer = faiss.downcast_index(index)
    if isinstance(outer, faiss.IndexIVF):
        order = np.argsort(wanted, kind="stable")
        ordered = wanted[order]
        for number, ids in _each_list(outer):
            for offset in np.flatnonzero(np.isin(ids, ordered)):
                first = np.searchsorted(ordered, ids[offset], side="left")
                last = np.searchsorted(ordered, ids[offset], side="right")
                outer.reconstruct_from_offset(
                    number, int(offset), faiss.swig_ptr(_row := np.empty(index.d, np.float32))
                )
                rows[order[first:last]] = _row
        return rows
    where = {int(label): position for position, label in enumerate(labels(index))} if len(wanted) else {}
    for row, label in enumerate(wanted.tolist()):
        if label in where:
            rows[row] = inner(index).reconstruct(where[label])
    return rows
