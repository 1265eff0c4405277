"""Work done beside the caller, on a few threads, with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import TypeVar

_Key = TypeVar("_Key")
_Result = TypeVar("_Result")

_WAITING = 16
"""Pieces of work that wait for each thread."""


def each(work: Iterable[tuple[_Key, Callable[[], _Result]]], threads: int) -> Iterator[tuple[_Key, _Result]]:
    """What each piece of work came to, in their order. `work` is asked for the next one on the caller's thread.

    Raises what a piece of work raised; those behind it that have not begun are dropped.
    """
    waiting: deque[tuple[_Key, futures.Future[_Result]]] = deque()
    with futures.ThreadPoolExecutor(threads, "ddr-beside") as pool:
        try:
            for key, do in work:
                waiting.append((key, pool.submit(do)))
                if len(waiting) > _WAITING * threads:
                    first, done = waiting.popleft()
                    yield first, done.result()
            while waiting:
                first, done = waiting.popleft()
                yield first, done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
