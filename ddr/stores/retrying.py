"""A store that tries again while the one beneath it is away for a moment."""

from __future__ import annotations

import itertools
import random as randoms
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TypeVar

from ddr.errors import Unavailable, Unsupported
from ddr.lib import clock as clocks
from ddr.ports import store

T = TypeVar("T")


def _to_nobody(_text: str) -> None:
    """Tells nobody."""


class Retrying:
    """Repeats what raised Unavailable, and nothing else, after longer and longer pauses drawn at random.

    The pause after try n is uniform in 0 .. min(longest_s, first_s * 2^(n-1)) ("full jitter": Brooker, AWS
    Architecture Blog, 2015), so that many clients do not come back in step. No try begins later than `deadline_s`
    after the first one did. Unusable and Full are not repeated: waiting does not help there.

    Where nobody ever took a connection (store.Unreached) reading is given up after `reach_s`: a wrong address or a
    server that is down is told soon, and nothing was begun that a long wait could save. `told` gets a line when the
    first pause is made.

    A write that was cut off may have had its effect. S3Store recognises its own write when it is repeated; on
    another store the repeated create may raise Exists, and the repeated swap Conflict, about our own bytes.
    """

    def __init__(
        self,
        inner: store.Store,
        clock: clocks.Clock,
        random: randoms.Random,
        *,
        first_s: float = 0.1,
        longest_s: float = 5.0,
        deadline_s: float = 30.0,
        reach_s: float | None = None,
        told: Callable[[str], None] = _to_nobody,
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._random = random
        self._first_s = first_s
        self._longest_s = longest_s
        self._deadline_s = deadline_s
        self._reach_s = deadline_s if reach_s is None else min(reach_s, deadline_s)
        self._told = told
        self._is_told = False
        self._is_reached = False
        self.name = inner.name
        self.is_shared = inner.is_shared
        self.rule = inner.rule if isinstance(inner, store.Lockable) else None

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        return self._repeated(lambda: self._inner.get(key, start, size))

    def head(self, key: str) -> store.Entry | None:
        return self._repeated(lambda: self._inner.head(key))

    def list(self, prefix: str, after: str = "") -> Iterator[store.Entry]:
        return self._listed(self._inner.list(prefix, after), prefix, after)

    def create(self, key: str, content: bytes) -> store.Entry:
        return self._repeated(lambda: self._inner.create(key, content))

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        return self._repeated(lambda: self._inner.swap(key, content, expect))

    def delete(self, key: str) -> None:
        self._repeated(lambda: self._inner.delete(key))

    def is_there(self) -> bool:
        return not isinstance(self._inner, store.Placed) or self._inner.is_there()

    def written_at(self, key: str) -> datetime | None:
        inner = self._inner
        return self._repeated(lambda: inner.written_at(key)) if isinstance(inner, store.Dated) else None

    def check_lock(self) -> None:
        self._repeated(self._lockable.check_lock)

    def locked(self, key: str) -> store.Lock | None:
        return self._repeated(lambda: self._lockable.locked(key))

    def lock(self, key: str, until: datetime) -> store.Lock:
        return self._repeated(lambda: self._lockable.lock(key, until))

    def versions(self, prefix: str) -> Iterator[store.Version]:
        """Not repeated: a listing that breaks off is asked for anew by who needs it."""
        return self._versioned.versions(prefix)

    def get_version(self, version: store.Version) -> bytes:
        return self._repeated(lambda: self._versioned.get_version(version))

    def bring_back(self, version: store.Version) -> None:
        self._repeated(lambda: self._versioned.bring_back(version))

    def copies_from(self, other: store.Store) -> bool:
        source = other._inner if isinstance(other, Retrying) else other
        return isinstance(self._inner, store.Copying) and self._inner.copies_from(source)

    def copy_from(self, other: store.Store, entry: store.Entry) -> bool:
        source, inner = other._inner if isinstance(other, Retrying) else other, self._inner
        if not isinstance(inner, store.Copying):
            raise Unsupported(f"{self.name} cannot copy by itself", hint="copy through this machine")
        return self._repeated(lambda: inner.copy_from(source, entry))

    @property
    def _lockable(self) -> store.Lockable:
        if not isinstance(self._inner, store.Lockable):
            raise Unsupported(f"{self.name} cannot lock what it keeps", hint="S3 with Object Lock can")
        return self._inner

    @property
    def _versioned(self) -> store.Versioned:
        if not isinstance(self._inner, store.Versioned):
            raise Unsupported(f"{self.name} keeps no versions", hint="what was deleted there is gone; is there a copy?")
        return self._inner

    def _listed(self, listing: Iterator[store.Entry], prefix: str, after: str) -> Iterator[store.Entry]:
        """A listing that breaks off goes on behind the last key it gave."""
        fresh: Iterator[store.Entry] | None = listing

        def step() -> store.Entry | None:
            nonlocal fresh
            fresh = fresh or self._inner.list(prefix, after)
            try:
                return next(fresh, None)
            except Unavailable:
                fresh = None  # a generator that has raised is over
                raise

        while entry := self._repeated(step):
            after = entry.key
            yield entry

    def _repeated(self, call: Callable[[], T]) -> T:
        began = self._clock.now()
        waited_s = 0.0
        for tries in itertools.count(1):
            try:
                found = call()
            except (store.Unusable, store.Full):
                raise
            except Unavailable as problem:
                self._is_reached = self._is_reached or not isinstance(problem, store.Unreached)
                deadline_s = self._deadline_s if self._is_reached else self._reach_s
                pause_s = self._random.uniform(0, min(self._longest_s, self._first_s * 2.0 ** min(tries - 1, 60)))
                # A clock that was set back must not prolong this for ever: what was slept counts in any case.
                passed_s = max(waited_s, (self._clock.now() - began).total_seconds())
                if passed_s + pause_s > deadline_s:
                    message = f"{problem.message} (tried {tries} times in {passed_s:.1f} s)"
                    raise Unavailable(message, hint=problem.hint) from problem
                self._tell(problem, deadline_s)
                self._clock.sleep(pause_s)
                waited_s += pause_s
            except Exception:
                self._is_reached = True  # it said something
                raise
            else:
                self._is_reached = True
                return found
        raise AssertionError("unreachable: the loop has no end")

    def _tell(self, problem: Unavailable, deadline_s: float) -> None:
        if not self._is_told:
            self._is_told = True
            self._told(f"{problem.message}; trying again for {deadline_s:g} s")
