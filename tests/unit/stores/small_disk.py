"""Run in a mount namespace of its own: a LocalStore on a disk that fills up, and then becomes read-only."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.errors import Unavailable
from ddr.ports import store
from ddr.stores import local


def trouble(use: Callable[[], object], kind: type[Unavailable]) -> Unavailable:
    with pytest.raises(kind) as caught:
        use()
    return caught.value


def fill(tried: store.Store) -> int:
    for number in itertools.count():
        try:
            tried.create(f"filler/{number:03d}", b"x" * 20_000)
        except Unavailable:
            return number
    raise AssertionError


def main(folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)], check=True)
    tried = local.LocalStore(folder / "store")
    entry = tried.create("kept", b"kept" * 1000)
    entry = tried.swap("kept", b"KEPT" * 1000, entry.version)
    count = fill(tried)
    with contextlib.suppress(OSError), (folder / "rest").open("wb", buffering=0) as rest:  # to the last byte
        while rest.write(b"x" * 512):
            pass
    uses: list[Callable[[], object]] = [
        lambda: tried.create("filler/more", b"x" * 20_000),
        lambda: tried.swap("kept", b"x" * 20_000, entry.version),
        lambda: tried.create("new/folder/key", b"x" * 20_000),
    ]
    for use in uses:
        full = trouble(use, Unavailable)
        assert not isinstance(full, store.Unusable)
        assert "No space left" in full.message, full.message
        assert "df -h" in full.hint, full.hint
    assert tried.get("kept") == b"KEPT" * 1000
    assert tried.head("kept") == entry
    assert [each.key for each in tried.list("filler/")] == [f"filler/{number:03d}" for number in range(count)]
    assert not list((folder / "store").rglob("*.tmp"))
    for number in range(count):
        tried.delete(f"filler/{number:03d}")  # must work on a full disk: it makes room
    entry = tried.swap("kept", b"room" * 5000, entry.version)
    print(f"full after {count} keys, nothing lost, room made")

    subprocess.run(["mount", "-o", "remount,ro", "none", str(folder)], check=True)
    uses = [
        lambda: tried.create("new", b""),
        lambda: tried.create("new/below", b""),
        lambda: tried.swap("kept", b"", entry.version),
        lambda: tried.delete("kept"),
    ]
    for use in uses:
        read_only = trouble(use, store.Unusable)
        assert os.strerror(errno.EROFS) in read_only.message, read_only.message
        assert "mount" in read_only.hint
    assert tried.get("kept") == b"room" * 5000
    assert [each.key for each in tried.list("")] == ["kept"]
    print("read-only: everything can be read, nothing was changed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
