"""What this machine has seen of a journal, so that it notices when the store shows less, or something else.

One small file beside the store. It is no second truth: nothing is read from it but a number and two digests.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from ddr.journal import layout
from ddr.lib import durable

_SIZE = 256  # always written whole, with one call


@dataclass(frozen=True)
class Anchor:
    """The newest event that was seen, and the digest of event 1, which tells one journal from another."""

    first: str
    head: layout.Head


class Seen:
    """Not durable on purpose, it would cost as much as the event itself: after a power cut it may know less."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal-seen.json"

    def read(self) -> Anchor | None:
        """None when nothing was seen yet, or the file cannot be read."""
        try:
            return _parse(self.path.read_bytes())
        except OSError:
            return None

    def note(self, anchor: Anchor) -> None:
        """Remember it, if it is newer than what is remembered. OSError."""
        durable.make_folder(self.path.parent)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            with contextlib.suppress(BlockingIOError):  # another process notes something just as new
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                known = _parse(os.pread(fd, _SIZE, 0))
                if known is None or known.first != anchor.first or known.head.seq < anchor.head.seq:
                    os.pwrite(fd, _format(anchor), 0)
        finally:
            os.close(fd)  # and the lock with it

    def set_aside(self) -> Path:
        """Keep what was seen under another name: from here on a journal that begins anew is watched. OSError."""
        known = self.read()
        name = f"journal-seen-{known.head.digest[-12:]}.json" if known else "journal-seen-unreadable.json"
        aside = self.path.with_name(name)
        self.path.replace(aside)
        return aside


def _format(anchor: Anchor) -> bytes:
    value = {"first": anchor.first, "seq": anchor.head.seq, "digest": anchor.head.digest}
    return json.dumps(value).encode().ljust(_SIZE - 1) + b"\n"


def _parse(content: bytes) -> Anchor | None:
    try:
        value = json.loads(content)
        anchor = Anchor(str(value["first"]), layout.Head(int(value["seq"]), str(value["digest"])))
    except (ValueError, KeyError, TypeError):
        return None
    return anchor if anchor.head.seq > 0 else None
