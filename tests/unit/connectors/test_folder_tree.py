"""A folder as a tree: what is told, in which order, and what files do that misbehave."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ddr.connectors import folder_tree
from ddr.errors import Missing, Unavailable
from ddr.lib import globs
from ddr.ports import restorable
from tests import captures

RAW = os.fsdecode(b"caf\xe9 \xff.yaml")  # no UTF-8
LONG = "n" * 251 + ".txt"


def lay(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (root / path).mkdir(exist_ok=True)
        else:
            (root / path).write_text(path, errors="surrogateescape")
    return root


def paths(root: Path, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
    return [seen.path for seen in folder_tree.LocalTree(root, globs.Globs(include, exclude)).entries()]


def test_entries_come_by_the_parts_of_their_path_folders_first(tmp_path: Path) -> None:
    lay(tmp_path, "a-b", "a/z", "a/b/c", "a.txt", "B", "empty/", "é/x")
    found = paths(tmp_path)
    assert found == ["B", "a", "a/b", "a/b/c", "a/z", "a-b", "a.txt", "empty", "é", "é/x"]


SELECTIONS: list[tuple[tuple[str, ...], tuple[str, ...], list[str]]] = [
    (("*.yaml",), (), ["a", "a/b", "a/b/deep.yaml", "a/one.yaml", "two.yaml"]),
    (("a/*.yaml",), (), ["a", "a/one.yaml"]),
    (("/two.yaml",), (), ["two.yaml"]),
    (("a/**/*.yaml",), (), ["a", "a/b", "a/b/deep.yaml", "a/one.yaml"]),
    (("**/b/**",), (), ["a", "a/b", "a/b/deep.yaml", "a/b/x.bin"]),
    (("a/b",), (), ["a", "a/b", "a/b/deep.yaml", "a/b/x.bin"]),
    (("a/b/",), ("*.bin",), ["a", "a/b", "a/b/deep.yaml"]),
    (("b",), (), ["a", "a/b", "a/b/deep.yaml", "a/b/x.bin"]),
    ((), ("a",), ["c", "c/keep", "two.yaml"]),
    ((), ("a/b",), ["a", "a/one.yaml", "c", "c/keep", "two.yaml"]),
    ((), ("**/*.yaml", "c/**"), ["a", "a/b", "a/b/x.bin"]),
    (("[!t]*.yaml", "?wo.yaml"), (), ["a", "a/b", "a/b/deep.yaml", "a/one.yaml", "two.yaml"]),
    (("nothing/*",), (), []),
]


@pytest.mark.parametrize(("include", "exclude", "expected"), SELECTIONS)
def test_globs_choose(include: tuple[str, ...], exclude: tuple[str, ...], expected: list[str], tmp_path: Path) -> None:
    lay(tmp_path, "a/one.yaml", "a/b/deep.yaml", "a/b/x.bin", "two.yaml", "c/keep")
    assert paths(tmp_path, include, exclude) == expected
    chosen = globs.Globs(include, exclude)
    files = [path for path in expected if (tmp_path / path).is_file()]
    assert [path for path in paths(tmp_path) if (tmp_path / path).is_file() and chosen.takes(path)] == files


@pytest.mark.parametrize("pattern", ["", "/", "./"])
def test_a_pattern_that_names_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        globs.Globs((pattern,))


def test_an_anchored_pattern_does_not_look_into_other_folders(tmp_path: Path) -> None:
    lay(tmp_path, "configs/a.yaml", "data/part/x")
    chosen = globs.Globs(("configs/**/*.yaml", "data/one/two/*"))
    looks = {path: chosen.may_hold(path) for path in ("configs", "configs/deep", "data", "data/part", "other")}
    assert looks == {"configs": True, "configs/deep": True, "data": True, "data/part": False, "other": False}


def test_modes_links_and_special_files(tmp_path: Path) -> None:
    lay(tmp_path, "plain", "script.sh", "folder/in")
    (tmp_path / "script.sh").chmod(0o755)
    (tmp_path / "to-folder").symlink_to("folder")
    (tmp_path / "to-nowhere").symlink_to("/nowhere/at/all")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(tmp_path)  # the path of a socket may have 108 bytes only
        bound.bind("sock")
        os.chdir(here)
        warned: list[str] = []
        seen = {entry.path: entry for entry in folder_tree.LocalTree(tmp_path, warn=warned.append).entries()}
    assert set(seen) == {"plain", "script.sh", "folder", "folder/in", "to-folder", "to-nowhere"}
    assert seen["script.sh"].mode == 0o755
    assert (seen["to-folder"].kind, seen["to-folder"].target) == ("link", "folder")
    assert seen["to-nowhere"].target == "/nowhere/at/all"
    assert len(warned) == 2
    assert "pipe, it is left out" in "".join(warned)
    assert "socket, it is left out" in "".join(warned)


def test_the_mark_changes_when_size_and_time_do_not(tmp_path: Path) -> None:
    path = lay(tmp_path, "config") / "config"
    tree = folder_tree.LocalTree(tmp_path)
    (before,) = tree.entries()
    path.write_text("CONFIG")
    os.utime(path, ns=(before.mtime_ns, before.mtime_ns))
    (after,) = tree.entries()
    assert (after.size_bytes, after.mtime_ns) == (before.size_bytes, before.mtime_ns)
    assert after.mark != before.mark


def read(tree: folder_tree.LocalTree, path: str) -> bytes:
    (seen,) = [seen for seen in tree.entries() if seen.path == path]
    return b"".join(tree.read(seen))


def test_odd_names_and_odd_files_are_read_whole(tmp_path: Path) -> None:
    lay(tmp_path, RAW, LONG, "empty")
    (tmp_path / "empty").write_bytes(b"")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(5 << 20)
        file.seek((5 << 20) - 1)
        file.write(b"!")
    deep = "/".join(["d" * 200] * 12)
    lay(tmp_path, f"{deep}/end")
    tree = folder_tree.LocalTree(tmp_path)
    assert read(tree, RAW) == b"caf\xe9 \xff.yaml"
    assert read(tree, LONG).decode() == LONG
    assert read(tree, "empty") == b""
    assert read(tree, "sparse") == b"\0" * ((5 << 20) - 1) + b"!"
    assert read(tree, f"{deep}/end").decode() == f"{deep}/end"


def _becomes_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def _becomes_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _becomes_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("happens", "raised"),
    [(Path.unlink, Missing), (_becomes_a_link, Unavailable), (_becomes_a_pipe, Missing), (_becomes_a_folder, Missing)],
)
def test_what_took_a_files_place_is_not_read(
    happens: Callable[[Path], None], raised: type[Exception], tmp_path: Path
) -> None:
    tree = folder_tree.LocalTree(lay(tmp_path, "config"))
    (seen,) = tree.entries()
    happens(tmp_path / "config")
    with pytest.raises(raised):
        list(tree.read(seen))


def test_a_tree_that_shrinks_while_it_is_listed_and_one_that_is_not_there(tmp_path: Path) -> None:
    tree = folder_tree.LocalTree(lay(tmp_path, "a/x", "b/y", "c"))
    entries = tree.entries()
    assert next(entries).path == "a"
    (tmp_path / "b" / "y").unlink()
    (tmp_path / "b").rmdir()
    assert [seen.path for seen in entries] == ["a/x", "c"]
    with pytest.raises(Missing):
        list(folder_tree.LocalTree(tmp_path / "nowhere").entries())
    with pytest.raises(Missing):
        list(folder_tree.LocalTree(tmp_path / "c").entries())


def test_a_file_that_grows_and_one_that_vanishes_reach_the_snapshot_or_a_warning(tmp_path: Path) -> None:
    lay(tmp_path, "a", "gone", "grows")

    class Moving(folder_tree.LocalTree):
        def local(self, seen: restorable.FileSeen) -> None:
            if seen.path == "gone":
                (tmp_path / "gone").unlink()
            (tmp_path / "grows").write_text("grown longer")

    sink = captures.Capture()
    sink.tree("t", Moving(tmp_path))
    assert sink.warnings == ["gone is gone"]
    assert sink.files["t"]["grows"][1] == b"grown longer"


def test_a_folder_that_may_not_be_read_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path, "open/x", "shut/y")
    if os.geteuid() == 0:  # root reads everything; a path that is too long is refused to root as well
        deep = tmp_path / "shut"
        fd = os.open(deep, os.O_RDONLY)
        for _ in range(18):
            os.mkdir("d" * 250, dir_fd=fd)
            inner = os.open("d" * 250, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = inner
        os.close(fd)
    else:
        (tmp_path / "shut").chmod(0)
    warned: list[str] = []
    found = [seen.path for seen in folder_tree.LocalTree(tmp_path, warn=warned.append).entries()]
    if os.geteuid() != 0:
        (tmp_path / "shut").chmod(0o700)
    assert {"open", "open/x", "shut"} <= set(found)
    assert len(warned) == 1
    assert "left out" in warned[0]


def test_masked_files_have_other_bytes_and_are_always_read(tmp_path: Path) -> None:
    tree = folder_tree.LocalTree(lay(tmp_path, "a.yaml", "b.yaml"))
    masked = folder_tree.Masked(tree, {"a.yaml": b"***"})
    first, second = masked.entries()
    assert (first.size_bytes, first.mark, masked.local(first)) == (3, "", None)
    assert b"".join(masked.read(first)) == b"***"
    assert replace(second, mark="") != second
    assert masked.local(second) == tmp_path / "b.yaml"


def test_nothing_of_a_restore_that_is_at_work_is_captured(tmp_path: Path) -> None:
    lay(tmp_path, f"{folder_tree.HOLD}abc/new/x", "y")
    assert paths(tmp_path) == ["y"]
