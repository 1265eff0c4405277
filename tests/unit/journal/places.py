"""A journal in a place: its store and its folders, opened as often as a test needs a new process or machine."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from ddr.domain import records
from ddr.errors import Unavailable
from ddr.journal import layout, log
from ddr.lib import clock
from ddr.ports import store as stores
from tests.unit.journal import samples

T = TypeVar("T")


class Killed(BaseException):
    """The process ends here; nothing catches it."""


@dataclass
class Wrapped:
    """A store that can be away, be shared, and end the process before or after its n-th write or read."""

    inner: stores.Store
    is_shared: bool = False
    is_away: bool = False
    calls: int = 0
    kill_at: int | None = None
    fail_at: int | None = None
    after_effect: bool = False
    before: Callable[[str, str], None] = lambda doing, key: None
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.inner.name

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        return self._do("get", key, lambda: self.inner.get(key, start, size))

    def head(self, key: str) -> stores.Entry | None:
        return self._do("head", key, lambda: self.inner.head(key))

    def list(self, prefix: str, after: str = "") -> Iterator[stores.Entry]:
        return self._do("list", prefix, lambda: iter(list(self.inner.list(prefix, after))))

    def create(self, key: str, content: bytes) -> stores.Entry:
        return self._do("create", key, lambda: self.inner.create(key, content))

    def swap(self, key: str, content: bytes, expect: str) -> stores.Entry:
        return self._do("swap", key, lambda: self.inner.swap(key, content, expect))

    def delete(self, key: str) -> None:
        return self._do("delete", key, lambda: self.inner.delete(key))

    def _do(self, doing: str, key: str, call: Callable[[], T]) -> T:
        self.before(doing, key)
        if self.is_away:
            raise Unavailable(f"{self.name} does not answer")
        self.calls += 1
        trouble: BaseException | None = None
        if self.calls == self.kill_at:
            trouble = Killed(f"at {doing} {key}")
        elif self.calls == self.fail_at:
            trouble = Unavailable(f"{self.name}: connection lost at {doing} {key}")
        if trouble is None:
            return call()
        if self.after_effect:
            call()
        raise trouble


@dataclass
class Place:
    """One machine with a store that others may reach too."""

    store: stores.Store
    folder: Path
    warnings: list[str] = field(default_factory=list)
    clock: clock.ManualClock = field(default_factory=lambda: clock.ManualClock(samples.AT))
    mono_s: float = 1000.0

    def open(self, actor: str = "ana", through: stores.Store | None = None) -> log.Log:
        """A new process of this machine."""
        return log.Log(
            through or self.store,
            self.folder / "spool",
            self.folder / "state",
            actor,
            "laptop",
            self.clock,
            wall=self.clock,
            mono=lambda: self.mono_s,
            warn=self.warnings.append,
        )

    def elsewhere(self, name: str = "other") -> Place:
        """Another machine with the same store."""
        return Place(self.store, self.folder / name)

    def later(self, seconds: float) -> None:
        self.mono_s += seconds
        self.clock.sleep(seconds)

    def fill(self, count: int, *, begin: int = 1) -> None:
        journal = self.open()
        for number in range(begin, begin + count):
            self.clock.sleep(1)
            journal.append(note(number))

    def raw(self, seq: int) -> bytes:
        return self.store.get(layout.event_key(seq))

    def overwrite(self, key: str, content: bytes | None) -> None:
        """As someone would who has the rights: other bytes under the key, or none."""
        self.store.delete(key)
        if content is not None:
            self.store.create(key, content)

    def spooled(self) -> list[Path]:
        return sorted((self.folder / "spool").glob("*.json"))

    def forget(self) -> None:
        """A machine that has seen nothing."""
        for path in (self.folder / "state").glob("*"):
            path.unlink()


def note(number: int) -> records.IncidentNoted:
    return records.IncidentNoted("inc-1", f"note {number}")


def numbers(journal: log.Log, after: int = 0) -> list[int]:
    """The numbers of the notes, in the order of the journal."""
    found = []
    for event in journal.events(after):
        assert isinstance(event.record, records.IncidentNoted)
        found.append(int(event.record.text.split()[1]))
    return found


@dataclass
class FileTrouble:
    """Counts what the process asks of files below a folder, and ends it (or fails) at the n-th time, or from then on.

    Through Python's audit events, so that nothing of ddr is replaced. Reading is not counted: it leaves nothing.
    """

    folder: Path
    at: int | None = None
    trouble: Callable[[str], BaseException] = Killed
    lasting: bool = False
    calls: int = 0
    seen: list[str] = field(default_factory=list)

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event not in ("open", "os.link", "os.remove", "os.rename", "os.mkdir", "os.truncate", "os.symlink"):
            return
        if event == "open" and not (isinstance(args[2], int) and args[2] & 0o103):  # O_WRONLY, O_RDWR, O_CREAT
            return
        paths = [str(arg) for arg in args[:2] if isinstance(arg, str | Path)]
        if not any(path.startswith(str(self.folder)) for path in paths):
            return
        self.calls += 1
        self.seen.append(f"{event} {Path(paths[-1]).name}")
        if self.calls == self.at or (self.lasting and self.at is not None and self.calls > self.at):
            raise self.trouble(self.seen[-1])


_LISTENING: list[FileTrouble] = []


def _hook(event: str, args: tuple[Any, ...]) -> None:
    for trouble in _LISTENING:
        trouble.hear(event, args)


sys.addaudithook(_hook)


@contextlib.contextmanager
def listening(trouble: FileTrouble) -> Iterator[FileTrouble]:
    _LISTENING.append(trouble)
    try:
        yield trouble
    finally:
        _LISTENING.remove(trouble)


HOUR = timedelta(hours=1)


Shared = tuple[Place, Wrapped]
"""A shared store that can be away, and what makes it so."""
