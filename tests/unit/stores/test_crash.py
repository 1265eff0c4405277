"""kill -9 at every call into the operating system: afterwards there are the old bytes or the new ones, and it works."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from ddr.ports import store
from ddr.stores import local
from tests.unit.stores import crashing

NEIGHBOUR = "folder/of/neighbour"


def prepared(path: Path, start: str) -> None:
    """`empty`: not even the folder. `beside`: another key is there. `taken`: the key itself is there."""
    if start == "empty":
        return
    tried = local.LocalStore(path)
    tried.create(NEIGHBOUR, b"neighbour")
    if start == "taken":
        tried.create(crashing.KEY, crashing.OLD)


def works_on(tried: store.Store) -> None:
    """Every operation, on the key that was hit, from whatever is there now."""
    entry = tried.head(crashing.KEY)
    if entry is None:
        entry = tried.create(crashing.KEY, b"made later")
    with pytest.raises(store.Exists):
        tried.create(crashing.KEY, b"taken")
    tried.swap(crashing.KEY, b"swapped later", entry.version)
    assert tried.get(crashing.KEY) == b"swapped later"
    tried.delete(crashing.KEY)
    assert tried.head(crashing.KEY) is None
    tried.create(crashing.KEY, b"again")
    assert tried.get(crashing.KEY) == b"again"


# How many calls there must be, so that a call that is renamed cannot shrink the enumeration without a word.
# A file is open, write, utime, fsync, close; its folder open, fsync, close; the lock open, flock, pwrite, close.
@pytest.mark.parametrize(
    ("work", "start", "calls"),
    [
        (crashing.create, "empty", 3 * 4 + 5 + 2 + 3),
        (crashing.create, "beside", 5 + 2 + 3),
        (crashing.swap, "taken", 4 + 5 + 1 + 3),
        (crashing.delete, "taken", 4 + 1 + 3),
    ],
    ids=["create-in-a-new-store", "create", "swap", "delete"],
)
def test_old_or_new_after_kill_9(tmp_path: Path, work: crashing.Work, start: str, calls: int) -> None:
    old = crashing.OLD if start == "taken" else None
    new = None if work is crashing.delete else crashing.NEW
    outcomes = {"old": 0, "new": 0}
    points = 0
    for mode in crashing.MODES:
        for die_at in itertools.count(1):
            path = tmp_path / f"{mode}-{die_at}"
            prepared(path, start)
            if not crashing.crash(path, work, die_at, mode):
                break
            points += 1
            tried = local.LocalStore(path, lock_timeout_s=1)
            content = tried.get(crashing.KEY) if tried.head(crashing.KEY) else None
            assert content in (old, new), (mode, die_at)
            outcomes["new" if content == new else "old"] += 1
            expected = ([crashing.KEY] if content is not None else []) + ([NEIGHBOUR] if start != "empty" else [])
            assert [entry.key for entry in tried.list("")] == expected
            works_on(tried)
            if start != "empty":
                assert tried.get(NEIGHBOUR) == b"neighbour"
        assert mode == "torn" or die_at > calls, "fewer calls were wrapped than are made"
        tried = local.LocalStore(path)
        assert (tried.get(crashing.KEY) if tried.head(crashing.KEY) else None) == new, "without a crash"
    assert outcomes["old"]
    assert outcomes["new"]
    print(f"{work.__name__} from {start}: {points} kill points, {outcomes['old']} old, {outcomes['new']} new")
