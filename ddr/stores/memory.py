"""Keys and bytes in this process: for tests, and to try something without leaving a trace."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator

from ddr.errors import Conflict, InputError, Missing
from ddr.ports import store
from ddr.stores import keys


class MemoryStore:
    """Safe between threads, gone with the process. Every write gets a version no other write of it had."""

    name = "memory:"
    is_shared = False

    def __init__(self) -> None:
        self._kept: dict[str, tuple[bytes, str]] = {}
        self._folders: Counter[str] = Counter()
        self._versions = itertools.count(1)
        self._lock = threading.Lock()

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        keys.check(key)
        keys.check_range(start, size)
        with self._lock:
            if key not in self._kept:
                raise Missing(f"{self.name} has no {key!r}")
            content, _ = self._kept[key]
        return content[start:] if size is None else content[start : start + size]

    def head(self, key: str) -> store.Entry | None:
        keys.check(key)
        with self._lock:
            return self._entry(key) if key in self._kept else None

    def list(self, prefix: str, after: str = "") -> Iterator[store.Entry]:
        keys.check_beginning(prefix)
        keys.check_beginning(after)
        with self._lock:
            # Keys are ASCII, where Python's order of text is the order of its UTF-8 bytes.
            found = sorted(key for key in self._kept if key.startswith(prefix) and key > after)
            return iter([self._entry(key) for key in found])

    def create(self, key: str, content: bytes) -> store.Entry:
        keys.check(key)
        with self._lock:
            if key in self._kept:
                raise store.Exists(f"{self.name} has {key!r} already", found=self._kept[key][1])
            self._check_folders(key)
            self._folders.update(keys.folders(key))
            return self._keep(key, content)

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        keys.check(key)
        with self._lock:
            found = self._kept[key][1] if key in self._kept else ""
            if not found or found != expect:
                raise Conflict(
                    f"{self.name}: {key!r} is at version {found or 'none'}, not {expect}", expected=expect, found=found
                )
            return self._keep(key, content)

    def delete(self, key: str) -> None:
        keys.check(key)
        with self._lock:
            if self._kept.pop(key, None) is not None:
                self._folders.subtract(keys.folders(key))
                self._folders += Counter()  # forgets those at zero

    def _keep(self, key: str, content: bytes) -> store.Entry:
        self._kept[key] = (bytes(content), str(next(self._versions)))
        return self._entry(key)

    def _entry(self, key: str) -> store.Entry:
        content, version = self._kept[key]
        return store.Entry(key, len(content), version)

    def _check_folders(self, key: str) -> None:
        if key in self._folders:
            raise InputError(f"{self.name}: {key!r} is the folder of other keys", hint="choose another key")
        taken = [folder for folder in keys.folders(key) if folder in self._kept]
        if taken:
            raise InputError(f"{self.name}: {taken[0]!r} is a key, {key!r} cannot be below it", hint="choose another")
