"""A tree written back: every policy against every kind of thing in the way, cut off anywhere, and hostile listings."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors import folder_restore, folder_tree
from ddr.errors import Conflict, Damaged, Unavailable
from ddr.lib import globs
from ddr.ports import restorable
from tests import captures
from tests.unit.connectors.test_folder_tree import LONG, RAW, lay

POLICIES: tuple[restorable.Policy, ...] = ("fail", "skip", "update", "recreate")


def captured(root: Path) -> captures.Stored:
    sink = captures.Capture("configs", "files")
    sink.tree("files", folder_tree.LocalTree(root))
    return sink.source()


def made(root: Path) -> Path:
    """A folder with one of everything."""
    lay(root, "a/one.yaml", "a/b/two.yaml", "script.sh", "shut/x", RAW, LONG)
    (root / "nothing").mkdir()
    (root / "empty").write_bytes(b"")
    (root / "link").symlink_to("a/one.yaml")
    (root / "dangling").symlink_to("../../outside")
    (root / "script.sh").chmod(0o751)
    for at, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        os.utime(path, ns=(10**18 + at, 10**18 + at * 1_000_007), follow_symlinks=False)
    (root / "shut").chmod(0o555)
    return root


def state(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything of it that is to come back."""
    tree = folder_tree.LocalTree(root)
    return {
        seen.path: (seen.kind, seen.size_bytes, seen.mtime_ns, seen.mode, seen.target)
        + ((b"".join(tree.read(seen)),) if seen.kind == "file" else ())
        for seen in tree.entries()
    }


def restore(
    source: Any, target: Path, policy: restorable.Policy = "fail", only: tuple[str, ...] = ()
) -> folder_restore.FolderRestore:
    return folder_restore.FolderRestore(source, "files", target, policy, only=globs.Globs(only))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("place", ["absent", "deep", "empty"])
def test_a_tree_comes_back_as_it_was(policy: restorable.Policy, place: str, tmp_path: Path) -> None:
    source = captured(made(tmp_path / "from"))
    target = tmp_path / ("x/y/to" if place == "deep" else "to")
    if place == "empty":
        target.mkdir()
    lines, refusals = restore(source, target, policy).plan()
    assert refusals == []
    assert [(line.does, line.what) for line in lines] == [("create", "files: 9 entries")]
    assert not (target / "a").exists(), "a plan touches nothing"
    told: list[int] = []
    restore(source, target, policy).apply(lambda what, done, of: told.append(done))
    assert told
    assert state(target) == state(tmp_path / "from")
    assert [one for one in restore(source, target, policy).compare() if not one.is_equal] == []
    again = restore(source, target, policy)
    assert {line.does for line in again.plan()[0]} == {"skip"}
    again.apply()
    assert state(target) == state(tmp_path / "from")
    assert not list(target.parent.glob(f"**/{folder_tree.HOLD}*"))


def test_only_what_was_asked_for_comes_back(tmp_path: Path) -> None:
    source = captured(made(tmp_path / "from"))
    one = restore(source, tmp_path / "to", only=("a/**/two.yaml",))
    assert [line.what for line in one.plan()[0]] == ["files: 1 entry"]
    one.apply()
    assert set(state(tmp_path / "to")) == {"a", "a/b", "a/b/two.yaml"}
    assert [found for found in one.compare() if not found.is_equal] == []


def _file(path: Path) -> None:
    path.write_text("in the way")


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "kept").write_text("in the way")


def _link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "outside")


WAYS: dict[str, Callable[[Path], None]] = {"file": _file, "folder": _folder, "link": _link}


@pytest.mark.parametrize(
    ("policy", "way", "what"), list(itertools.product(POLICIES, WAYS, ["a/one.yaml", "a", "link"])), ids=str
)
def test_each_policy_with_each_thing_in_the_way(policy: restorable.Policy, way: str, what: str, tmp_path: Path) -> None:
    """Whatever is there, nothing outside of the target changes, and what the policy keeps is kept."""
    source = captured(made(tmp_path / "from"))
    outside = tmp_path / "outside"
    _folder(outside)
    target = tmp_path / "to"
    lay(target, "other")
    (target / what).parent.mkdir(exist_ok=True)
    WAYS[way](target / what)
    before, wanted = state(target), state(tmp_path / "from")
    one = restore(source, target, policy)
    lines, refusals = one.plan()
    is_folder_kept = (way, what) == ("folder", "a")  # both are folders: they are merged
    stops = (policy == "fail" and not is_folder_kept) or (policy == "update" and way == "folder" and what != "a")
    assert bool(refusals) == stops, (lines, refusals)
    if stops:
        with pytest.raises(Conflict, match="nothing was changed"):
            restore(source, target, policy).apply()
        assert state(target) == before
        return
    restore(source, target, policy).apply()
    after = state(target)
    assert sorted(path.name for path in outside.iterdir()) == ["kept"]
    if policy == "skip" and not is_folder_kept:
        assert after[what] == before[what]
        assert any(not found.is_equal for found in restore(source, target, policy).compare())
    elif policy == "recreate":
        assert set(after) == set(wanted)
    else:
        assert set(after) == set(wanted) | {"other"} | ({"a/kept"} if is_folder_kept else set())
    if policy in ("update", "recreate"):
        assert {path: after[path] for path in wanted if path != "a"} == {
            path: said for path, said in wanted.items() if path != "a"
        }
    restore(source, target, policy).apply()
    assert state(target) == after


def test_recreate_deletes_only_what_the_connector_captures(tmp_path: Path) -> None:
    source: Any = captured(lay(tmp_path / "from", "keep.yaml"))
    target = lay(tmp_path / "to", "old.yaml", "code.py", "deep/old.yaml", "deep/code.py", "gone/old.yaml")
    one = folder_restore.FolderRestore(source, "files", target, "recreate", globs.Globs(("*.yaml",)))
    assert one.plan()[0][-1].does == "delete"
    assert "deep" in one.plan()[0][-1].detail
    one.apply()
    assert set(state(target)) == {"keep.yaml", "code.py", "deep", "deep/code.py"}


HOSTILE: list[list[tuple[str, restorable.Kind, str]]] = [
    [("../evil", "file", "")],
    [("/etc/evil", "file", "")],
    [("a", "folder", ""), ("a/../../evil", "file", "")],
    [("a", "folder", ""), ("a/./evil", "file", "")],
    [("a//evil", "file", "")],
    [("", "file", "")],
    [("..", "folder", "")],
    [("a\0b", "file", "")],
    [("a", "link", "/tmp"), ("a/evil", "file", "")],
    [("a", "link", ".."), ("a/b/evil", "file", "")],
    [("a", "file", ""), ("a/evil", "file", "")],
    [("a", "link", "/tmp"), ("a", "folder", ""), ("a/evil", "file", "")],
    [("b", "file", ""), ("a", "file", "")],
    [(f"{folder_tree.HOLD}x", "folder", ""), (f"{folder_tree.HOLD}x/built", "file", "")],
]


@pytest.mark.parametrize("listing", HOSTILE, ids=lambda listing: repr(listing[-1][0]))
@pytest.mark.parametrize("policy", POLICIES)
def test_a_listing_that_leads_outside_is_refused(
    policy: restorable.Policy, listing: list[tuple[str, restorable.Kind, str]], tmp_path: Path
) -> None:
    sink = captures.Capture("configs", "files")
    sink.tree("files", folder_tree.LocalTree(lay(tmp_path / "from", "x")))
    entries = [restorable.FileStored(path, kind, 4, target=target) for path, kind, target in listing]

    class Hostile(captures.Stored):
        def files(self, tree: str) -> Iterator[restorable.FileStored]:
            return iter(entries)

        def read(self, tree: str, path: str) -> Iterator[bytes]:
            return iter([b"evil"])

        def write(self, tree: str, to: Any, progress: Any = None) -> int:
            for stored in entries:
                if (path := to(stored)) is not None:
                    path.write_bytes(b"evil")
            return len(entries)

    source = Hostile(sink.source().component, sink)
    one = restore(source, tmp_path / "deep" / "to", policy)
    with pytest.raises(Damaged):
        one.plan()
    with pytest.raises(Damaged):
        one.apply()
    assert not [path for path in tmp_path.rglob("*") if path.name in ("evil", "built")]


QUICK = [("fail", False), ("recreate", True)]


class Cut(BaseException):
    """As if the process were killed there."""


@pytest.mark.parametrize(
    ("policy", "is_there"),
    [
        pytest.param(policy, is_there, marks=[] if (policy, is_there) in QUICK else [pytest.mark.long])
        for policy in POLICIES
        for is_there in (False, True)
    ],
)
def test_cut_off_at_any_call_and_called_again_it_comes_to_the_same_end(
    policy: restorable.Policy, is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that changes the disk is cut off once, before it and after it: enumerated."""
    source = captured(made(tmp_path / "from"))
    names = ("mkdir", "rename", "replace", "chmod", "symlink_to", "utime", "rmdir", "unlink", "rmtree", "write", "link")
    calls, cut_at = [0], [0]  # even: before call number cut_at / 2, odd: after it

    def cutting(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            number = 2 * calls[0]
            if number == cut_at[0]:
                raise Cut
            answer = real(*args, **kwargs)
            if number + 1 == cut_at[0]:
                raise Cut
            return answer

        return call

    monkeypatch.setattr(os, "sync", lambda: None)
    for name in names:
        for owner in (Path, os, shutil):
            if name in vars(owner):
                monkeypatch.setattr(owner, name, cutting(vars(owner)[name]))

    def fresh(at: int) -> Path:
        target = tmp_path / f"to-{at}"
        if is_there:
            lay(target, "other", "a/kept")
            if policy != "fail":
                (target / "link").write_text("in the way")
                os.utime(target / "link", (1, 1))
        return target

    whole = fresh(0)
    restore(source, whole, policy).apply()
    wanted = {path: said for path, said in state(whole).items() if said[0] != "folder" or path not in ("a",)}
    cuts = 0
    for at in itertools.count(2):
        target = fresh(at)
        calls[0], cut_at[0] = 0, at
        try:
            restore(source, target, policy).apply()
        except Cut:
            cuts += 1
            cut_at[0] = 0
            restore(source, target, policy).apply()
        else:
            if at > 2 * calls[0] + 1:
                break
        finally:
            cut_at[0] = 0
        found = {path: said for path, said in state(target).items() if path in wanted or said[0] != "folder"}
        for path, said in wanted.items():
            if path != "other" and "kept" not in path:
                assert found[path] == said, (at, path)
        assert set(found) == set(wanted), at
        assert not list(tmp_path.glob(f"to-{at}/{folder_tree.HOLD}*")), at
    print(f"{policy}, target {'there' if is_there else 'absent'}: {cuts} cuts")
    assert cuts > 30


def test_a_source_that_writes_too_little_is_found_before_anything_is_in_place(tmp_path: Path) -> None:
    source = captured(made(tmp_path / "from"))

    class Short(captures.Stored):
        def write(self, tree: str, to: Any, progress: Any = None) -> int:
            count = super().write(tree, to, progress)
            path = to(next(stored for stored in self.files(tree) if stored.path == "a/one.yaml"))
            path.write_bytes(b"x")
            return count

    with pytest.raises(Damaged, match=r"a/one\.yaml"):
        restore(Short(source.component, source.capture), tmp_path / "to").apply()
    assert not (tmp_path / "to").exists()


def test_comparing_names_what_is_different(tmp_path: Path) -> None:
    source = captured(made(tmp_path / "from"))
    target = tmp_path / "to"
    restore(source, target).apply()
    (target / "a" / "one.yaml").write_text("A/one.yaml")
    (target / "script.sh").unlink()
    (target / "link").unlink()
    (target / "link").symlink_to("a/b/two.yaml")
    whole, *single = restore(source, target).compare()
    assert not whole.is_equal
    assert [one.what for one in single] == ["files/a/one.yaml", "files/link", "files/script.sh"]
    assert single[2].found == "nothing"


def test_a_target_that_is_a_file_and_one_that_cannot_be_made(tmp_path: Path) -> None:
    source = captured(lay(tmp_path / "from", "x"))
    lay(tmp_path, "file")
    assert restore(source, tmp_path / "file").plan()[1] == [f"{tmp_path / 'file'} is there and is no folder"]
    with pytest.raises(Unavailable):
        restore(source, tmp_path / "file" / "below").apply()


def test_a_program_does_not_get_the_rights_of_its_owner_back(tmp_path: Path) -> None:
    lay(tmp_path / "from", "tool")
    (tmp_path / "from" / "tool").chmod(0o4755)
    restore(captured(tmp_path / "from"), tmp_path / "to").apply()
    assert (tmp_path / "to" / "tool").stat().st_mode & 0o7777 == 0o755
