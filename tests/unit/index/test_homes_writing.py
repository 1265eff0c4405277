"""The durable writer: what it says of a file, and that nothing has the final name that is not whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddr.domain import indexes
from ddr.errors import Damaged, DdrError, Unavailable
from ddr.index.homes import hashing, writing
from ddr.ports import store
from tests.unit.index import dying

CONTENT = os.urandom(3 * 4096 + 1234)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def test_digests_of_every_size_around_the_borders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 64 and blocks of 48 bytes stand for 64 and 4 MiB."""
    monkeypatch.setattr(hashing, "CHUNK_BYTES", 64)
    monkeypatch.setattr(writing, "BLOCK_BYTES", 48)
    for size in range(300):
        content = CONTENT[:size]
        pieces = [content[start : start + 37] for start in range(0, size, 37)]
        written = writing.write_pieces(tmp_path / "file", pieces)
        chunks = tuple(digest(content[start : start + 64]) for start in range(0, max(size, 1), 64))
        assert written == indexes.File("file", size, digest(content), chunks)
        assert writing.of_file(tmp_path / "file") == written
        assert names(tmp_path) == ["file"]
    print("300 sizes: whole and chunk digests")


def test_a_view_may_die_when_the_sink_returns(tmp_path: Path) -> None:
    def produce(sink: writing.Sink) -> None:
        buffer = bytearray(1000)
        for number in range(10_000):
            buffer[:] = bytes([number % 256]) * 1000
            sink(memoryview(buffer))

    written = writing.write(tmp_path / "file", produce)
    assert written.sha256 == digest(b"".join(bytes([number % 256]) * 1000 for number in range(10_000)))


@contextlib.contextmanager
def at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("is_there", [False, True])
def test_a_limit_that_cuts_the_last_bytes(is_there: bool, tmp_path: Path) -> None:
    """faiss.write_index says yes to about half of these. Each of the last 4,000 bytes is a cut."""
    path = tmp_path / "file"
    refused = 0
    for missing in (*range(1, 4001, 13), *range(4001, len(CONTENT) + 1, 1000), len(CONTENT)):
        if is_there:
            path.write_bytes(b"old")
        with at_most(len(CONTENT) - missing), pytest.raises(store.Full) as caught:
            writing.write_bytes(path, CONTENT)
        assert "nothing was put there" in caught.value.message
        assert names(tmp_path) == (["file"] if is_there else [])
        assert not is_there or path.read_bytes() == b"old"
        refused += 1
    with at_most(len(CONTENT)):
        writing.write_bytes(path, CONTENT)
    assert path.read_bytes() == CONTENT
    print(f"{refused} cuts by RLIMIT_FSIZE: all refused, nothing left")


# The file and its folder are opened, fsynced and closed. Reading back ends with an empty block.
PLACES = {"open": 2, "write": 1, "fsync": 2, "replace": 1, "close": 2, "read": 2}


@pytest.mark.parametrize("call", PLACES)
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_every_call_that_the_disk_can_refuse(
    call: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th call of that name fails, for each n that there is."""
    seen = 0
    for number in range(1, 20):
        folder = tmp_path / str(number)
        folder.mkdir()
        with monkeypatch.context() as patched:
            count = dying.failing(patched, call, number, code)
            try:
                writing.write_bytes(folder / "file", CONTENT)
            except DdrError as problem:
                assert isinstance(problem, store.Full) == (code in (errno.ENOSPC, errno.EDQUOT))  # noqa: PT017
                assert isinstance(problem, Unavailable)  # noqa: PT017
                assert names(folder) == []
                seen += 1
            else:
                assert count[0] < number, "a failure was not told"
                break
    assert (folder / "file").read_bytes() == CONTENT
    assert seen == PLACES[call]
    print(f"{call} failed with {errno.errorcode[code]} at {seen} places")


def test_a_disk_that_gives_other_bytes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = writing.blocks

    def lying(path: Path) -> Iterator[bytes]:
        for block in honest(path):
            yield block[:-1] + bytes([block[-1] ^ 1])

    monkeypatch.setattr(writing, "blocks", lying)
    with pytest.raises(Damaged):
        writing.write_bytes(tmp_path / "file", CONTENT)
    assert names(tmp_path) == []


def test_a_clone_is_a_file_of_its_own_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here no file system can; where one can, the call has filled the new file when it returns."""
    source = tmp_path / "file"
    source.write_bytes(CONTENT)
    if not writing.clone(source, tmp_path / "other"):
        assert names(tmp_path) == ["file"]
        monkeypatch.setattr(fcntl, "ioctl", lambda new, _, old: new.write(os.pread(old, len(CONTENT), 0)))
        assert writing.clone(source, tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == CONTENT
    assert not source.samefile(tmp_path / "other")
    with pytest.raises(FileExistsError):
        writing.clone(source, tmp_path / "other")


def test_a_producer_that_fails(tmp_path: Path) -> None:
    def produce(sink: writing.Sink) -> None:
        sink(memoryview(CONTENT))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writing.write(tmp_path / "file", produce)
    assert names(tmp_path) == []


def test_kill_at_every_call(tmp_path: Path) -> None:
    """Before and after each call and in the middle of each write: old or new, and a sweep leaves nothing."""
    counts = {"old": 0, "new": 0}

    def work(folder: Path) -> None:
        writing.write_bytes(folder / "file", CONTENT)

    for folder, _ in dying.each_death(tmp_path, lambda folder: (folder / "file").write_bytes(b"old"), work):
        found = (folder / "file").read_bytes()
        assert found in (b"old", CONTENT)
        counts["old" if found == b"old" else "new"] += 1
        writing.sweep(folder)
        assert names(folder) == ["file"]
        work(folder)
        assert (folder / "file").read_bytes() == CONTENT
    # Open, write, fsync, close; rename; the folder's open, fsync, close. One write can be torn.
    assert sum(counts.values()) == 2 * 8 + 1
    assert counts["old"]
    assert counts["new"]
    print(f"{sum(counts.values())} kill points of a write: {counts}")


def test_sweeping_leaves_what_is_being_written(tmp_path: Path) -> None:
    ours = writing.name_beside(tmp_path / "file")
    ours.write_bytes(b"being written")
    foreign = tmp_path / ".file.0123456789ab-1-01234567.tmp"
    foreign.write_bytes(b"of another machine")
    folder = tmp_path / ".folder.0123456789ab-1-01234567.tmp"
    (folder / "deep").mkdir(parents=True)
    other = tmp_path / ".file.tmp"
    other.write_bytes(b"of something else")
    assert writing.sweep(tmp_path) == ()
    for path in (foreign, folder, ours):
        os.utime(path, (1, 1))
    assert writing.sweep(tmp_path) == (foreign.name, folder.name)
    assert names(tmp_path) == sorted([ours.name, other.name])


SMALL_DISK = """
import os, sys
from pathlib import Path
from ddr.index.homes import writing
from ddr.ports import store
root = Path(sys.argv[1])
os.system(f"mount -t tmpfs -o size=256k none {root}")
room = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
told = 0
sizes = [room - cut for cut in (*range(-8192, 8193, 512), *range(-64, 65, 8))]
for size in sizes:
    try:
        writing.write_bytes(root / "file", bytes(size))
        assert (root / "file").stat().st_size == size <= room
    except store.Full as full:
        assert "df -h" in full.hint, full.hint
        assert os.listdir(root) == [], os.listdir(root)
        told += 1
        assert size > room, (size, room)
    for name in os.listdir(root):
        (root / name).unlink()
print(f"{len(sizes)} files around the room of a disk: {told} refused, none half")
assert told >= 10
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounting a small disk needs root")
def test_a_disk_that_is_full_in_the_last_bytes(tmp_path: Path) -> None:
    ran = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", SMALL_DISK, str(tmp_path)], capture_output=True, text=True, check=False
    )
    if "unshare failed" in ran.stderr or "permission denied" in ran.stderr:
        pytest.skip("no mount namespaces here")
    assert ran.returncode == 0, ran.stderr
    print(ran.stdout.strip())
