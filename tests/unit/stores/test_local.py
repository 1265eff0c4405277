"""The folder store where the others have nothing to say: versions, links, locks, disks that are full or gone."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ddr.errors import Conflict, InputError, Missing, Refused, Unavailable
from ddr.ports import store
from ddr.stores import local
from tests.unit.stores import crashing

ROOT = Path(__file__).parents[3]


@pytest.fixture
def tried(tmp_path: Path) -> local.LocalStore:
    return local.LocalStore(tmp_path / "store")


def in_a_child(work: Callable[[], None]) -> None:
    """Run in a process of its own, whose user and limits may be changed; its assertions are ours."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException as problem:  # noqa: BLE001 - reported, and this process ends
            os.write(2, f"{type(problem).__name__}: {problem}\n".encode())
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_bytes_can_be_read_without_ddr(tried: local.LocalStore, tmp_path: Path) -> None:
    tried.create("journal/000001", b"plain")
    assert (tmp_path / "store" / "journal" / "000001").read_bytes() == b"plain"
    assert tried.name == f"local:{tmp_path / 'store'}"


def test_bytes_that_return_have_a_new_version(tried: local.LocalStore) -> None:
    """A, B, A within one tick of the kernel's clock, with an inode that is used again."""
    entry = tried.create("pointer", b"A")
    seen = {entry.version}
    for number in range(300):
        old = entry
        entry = tried.swap("pointer", b"AB"[number % 2 :][:1], entry.version)
        assert entry.version not in seen
        seen.add(entry.version)
        with pytest.raises(Conflict):
            tried.swap("pointer", b"C", old.version)
    for _ in range(100):
        tried.delete("pointer")
        entry = tried.create("pointer", b"A")
        assert entry.version not in seen
        seen.add(entry.version)
    print(f"{len(seen)} versions of two contents")


def test_an_edit_by_hand_is_a_new_version(tried: local.LocalStore, tmp_path: Path) -> None:
    entry = tried.create("pointer", b"AAAA")
    (tmp_path / "store" / "pointer").write_bytes(b"BBBB")
    with pytest.raises(Conflict):
        tried.swap("pointer", b"CCCC", entry.version)
    assert tried.get("pointer") == b"BBBB"


def test_what_a_crash_left_is_harmless(tried: local.LocalStore, tmp_path: Path) -> None:
    tried.create("a/key", b"kept")
    for name in (".key.1-00000000.tmp", ".new.999999-deadbeef.tmp", ".lock", ".DS_Store"):
        (tmp_path / "store" / "a" / name).write_bytes(b"half")
    for name in ("READ ME.txt", "lost+found", "a b"):
        (tmp_path / "store" / name).mkdir()
    assert [entry.key for entry in tried.list("")] == ["a/key"]
    tried.create("a/new", b"new")
    assert tried.get("a/new") == b"new"
    with pytest.raises(InputError):
        tried.get("a/.lock")


def test_no_write_leaves_a_file_behind(tried: local.LocalStore, tmp_path: Path) -> None:
    entry = tried.create("k", b"1")
    with pytest.raises(store.Exists):
        tried.create("k", b"2")
    tried.swap("k", b"3", entry.version)
    with pytest.raises(Conflict):
        tried.swap("k", b"4", entry.version)
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == [".lock", "k"]


def every_use(tried: store.Store, key: str) -> list[Callable[[], object]]:
    return [
        lambda: tried.get(key),
        lambda: tried.head(key),
        lambda: list(tried.list(key.rpartition("/")[0])),
        lambda: tried.create(key, b"x"),
        lambda: tried.swap(key, b"x", "v"),
        lambda: tried.delete(key),
    ]


def test_links_are_not_followed(tried: local.LocalStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    tried.create("first", b"")
    root = tmp_path / "store"
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "dangling").symlink_to(outside / "absent")
    (root / "inside").symlink_to("first")
    refused = 0
    for key in ("folder/secret", "folder/new", "folder/new/er", "file", "dangling", "inside"):
        for use in every_use(tried, key):
            with pytest.raises(Refused, match="symbolic link"):
                use()
            refused += 1
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"
    print(f"{refused} ways refused")


def test_the_store_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    tried = local.LocalStore(tmp_path / "store")
    tried.create("a/b", b"x")
    assert (tmp_path / "disk" / "a" / "b").read_bytes() == b"x"
    assert [entry.key for entry in tried.list("")] == ["a/b"]


def test_a_pipe_in_the_place_of_a_key_does_not_hang(tried: local.LocalStore, tmp_path: Path) -> None:
    tried.create("first", b"")
    os.mkfifo(tmp_path / "store" / "pipe")
    for use in every_use(tried, "pipe"):
        with pytest.raises(Refused, match="neither file nor folder"):
            use()


def test_a_disk_that_is_not_mounted_is_not_an_empty_store(tmp_path: Path) -> None:
    tried = local.LocalStore(tmp_path / "mnt" / "store")
    for use in every_use(tried, "a/b"):
        with pytest.raises(store.Unusable, match="is not there") as caught:
            use()
        assert "mounted" in caught.value.hint
    assert not (tmp_path / "mnt").exists()
    (tmp_path / "mnt").mkdir()
    assert list(tried.list("")) == []
    tried.create("a/b", b"x")


def test_a_link_to_a_disk_that_is_not_mounted_is_not_an_empty_store(tmp_path: Path) -> None:
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    tried = local.LocalStore(tmp_path / "store")
    for key in ("a", "a/b"):
        for use in every_use(tried, key):
            with pytest.raises(store.Unusable, match=f"{tmp_path / 'disk'}, where .* points, is not there") as caught:
                use()
            assert "mounted" in caught.value.hint
    assert not (tmp_path / "disk").exists()


def test_a_file_in_the_place_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    for path in (tmp_path / "store", tmp_path / "store" / "below"):
        for use in every_use(local.LocalStore(path), "a/b"):
            with pytest.raises(store.Unusable):
                use()


def test_a_store_that_vanishes_and_comes_back(tried: local.LocalStore, tmp_path: Path) -> None:
    tried.create("a", b"1")
    shutil.rmtree(tmp_path / "store")
    assert list(tried.list("")) == []
    tried.create("a", b"2")
    assert tried.get("a") == b"2"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach; pytest's own are closed to them."""
    path = Path(tempfile.mkdtemp(prefix="ddr-store-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_no_permission(open_folder: Path) -> None:
    root = open_folder / "store"
    tried = local.LocalStore(root)
    entry = tried.create("kept", b"kept")
    tried.create("closed", b"closed")
    (root / "closed").chmod(0o000)
    (root / ".lock").touch(mode=0o600)
    root.chmod(0o555)

    def as_another_user() -> None:
        if os.geteuid() == 0:
            os.setuid(65534)
        assert tried.get("kept") == b"kept"
        assert [each.key for each in tried.list("")] == ["closed", "kept"]
        uses: list[Callable[[], object]] = [
            lambda: tried.get("closed"),
            lambda: tried.create("new", b""),
            lambda: tried.create("new/below", b""),
            lambda: tried.delete("kept"),
        ]
        if os.geteuid() == 65534:
            uses.append(lambda: tried.swap("kept", b"", entry.version))
        for use in uses:
            with pytest.raises(store.Unusable, match="Permission denied") as caught:
                use()
            assert f"ls -ld {root}" in caught.value.hint
            assert tried.name in caught.value.message

    in_a_child(as_another_user)
    root.chmod(0o755)
    assert tried.get("kept") == b"kept"


def test_a_file_that_must_not_grow(tried: local.LocalStore, tmp_path: Path) -> None:
    entry = tried.create("kept", b"kept")

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        uses: list[Callable[[], object]] = [
            lambda: tried.create("big", b"x" * 5000),
            lambda: tried.swap("kept", b"x" * 5000, entry.version),
        ]
        for use in uses:
            with pytest.raises(Unavailable, match="too large") as caught:
                use()
            assert "ulimit" in caught.value.hint
        assert (tried.head("big"), tried.head("kept")) == (None, entry)
        tried.create("small", b"x" * 900)

    in_a_child(limited)
    assert tried.get("kept") == b"kept"
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == [".lock", "kept", "small"]


def test_a_full_disk_and_a_read_only_one(tmp_path: Path) -> None:
    """On a tmpfs of 256 KiB in a mount namespace of its own, where this machine allows one."""
    command = ["unshare", "--user", "--map-root-user", "--mount"]
    with contextlib.suppress(FileNotFoundError):
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            run = subprocess.run(
                [*command, sys.executable, "-m", "tests.unit.stores.small_disk", str(tmp_path)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert run.returncode == 0, run.stdout + run.stderr
            print(run.stdout)
            return
    pytest.skip("no user namespaces here")


@contextlib.contextmanager
def held_by_another(lock: Path) -> Iterator[int]:
    """A process that holds the lock of a store and does nothing."""
    program = (
        "import sys, time; from pathlib import Path; from ddr.stores import locking\n"
        "with locking.Lock(Path(sys.argv[1]), 5).held(): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(lock)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert holder.stdout
    try:
        assert holder.stdout.readline() == "held\n"
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_a_lock_that_is_held_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    tried = local.LocalStore(tmp_path, lock_timeout_s=0.2)
    entry = tried.create("k", b"1")
    with held_by_another(tmp_path / ".lock") as pid:
        for use in (lambda: tried.swap("k", b"2", entry.version), lambda: tried.delete("k")):
            with pytest.raises(Unavailable, match=rf"held by another ddr \(process {pid}\) for 0.2 s") as caught:
                use()
            assert f"ps {pid}" in caught.value.hint
        assert tried.get("k") == b"1"
        tried.create("free", b"a create needs no lock")
    tried.swap("k", b"2", entry.version)
    assert tried.get("k") == b"2"


def race(path: str, number: int, answers: object) -> None:
    """One of many processes: create what can be created, and increase the counter twenty times."""
    tried = local.LocalStore(Path(path))
    won = []
    for key in range(40):
        with contextlib.suppress(store.Exists):
            tried.create(f"race/{key:02d}", b"%d" % number)
            won.append(key)
    for _ in range(20):
        while True:
            entry = tried.head("counter")
            assert entry
            with contextlib.suppress(Conflict):
                tried.swap("counter", b"%d" % (int(tried.get("counter")) + 1), entry.version)
                break
    answers.put((number, won))  # type: ignore[attr-defined]


def test_many_processes(tmp_path: Path) -> None:
    count = 6
    local.LocalStore(tmp_path).create("counter", b"0")
    answers = crashing.CONTEXT.SimpleQueue()
    processes = [
        crashing.CONTEXT.Process(target=race, args=(str(tmp_path), number, answers)) for number in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
        process.close()
    won = dict(answers.get() for _ in range(count))
    answers.close()
    tried = local.LocalStore(tmp_path)
    assert sorted(key for keys in won.values() for key in keys) == list(range(40))
    for number, keys in won.items():
        assert all(tried.get(f"race/{key:02d}") == b"%d" % number for key in keys)
    assert tried.get("counter") == b"%d" % (20 * count)
    print(f"{count} processes won {[len(won[number]) for number in range(count)]} of 40")


def test_a_listing_while_others_write_has_what_was_there_before(tried: local.LocalStore) -> None:
    for number in range(200):
        tried.create(f"journal/{number:06d}", b"")
    done = threading.Event()

    def write() -> None:
        number = 200
        while not done.is_set():
            tried.create(f"journal/{number:06d}", b"")
            tried.delete(f"journal/{number - 1:06d}") if number % 2 else None
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(30):
            listed = [entry.key for entry in tried.list("journal/")]
            assert listed[:200] == [f"journal/{number:06d}" for number in range(200)]
            assert listed == sorted(listed)
    finally:
        done.set()
        writer.join()


def test_missing_says_where(tried: local.LocalStore, tmp_path: Path) -> None:
    with pytest.raises(Missing, match=str(tmp_path)):
        tried.get("a/b")
