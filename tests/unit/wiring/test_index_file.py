"""An index that a file of its own describes: how it is named from anywhere, its plan is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddr.errors import InputError
from ddr.wiring import indexes


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a file of an index, one that is a link to that file, and folders that are links."""
    folder = tmp_path / "own"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.yaml").write_text("home: home\nvectors: [v/*.npy]\n")
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "far" / "a.yaml").symlink_to(folder / "a.yaml")
    (tmp_path / "link").symlink_to(folder)
    (folder / "deep").symlink_to(tmp_path / "far" / "deep")
    (tmp_path / "loop").symlink_to("loop")
    return folder


@pytest.mark.parametrize(
    ("here", "typed", "base"),
    [
        ("own", "a.yaml", "own"),
        ("own", "./a.yaml", "own"),
        ("own/sub", "../a.yaml", "own"),
        ("far", "../own/a.yaml", "own"),
        ("far", "../link/a.yaml", "own"),
        ("link", "a.yaml", "own"),
        (".", "own/sub/../a.yaml", "own"),
        (".", "{root}/own/sub/../a.yaml", "own"),
        (".", "{root}/own/a.yaml", "own"),
        (".", "{root}/link/a.yaml", "link"),
        (".", "far/a.yaml", "far"),
        ("own", "deep/../a.yaml", "far"),
    ],
)
def test_its_plan_is_that_of_whoever_stands_beside_it(
    here: str, typed: str, base: str, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path from the root is taken as it is; a file that is a link counts where the link is."""
    monkeypatch.chdir(tmp_path / here)
    index = indexes.of_file(Path(typed.format(root=tmp_path)), "tester", {})
    assert index.wanted.home == str(tmp_path / base / "home")
    assert index.wanted.source.vectors == (str(tmp_path / base / "v/*.npy"),)
    assert index.work_folder == tmp_path / base / "home" / ".work"
    assert (own / "a.yaml").read_text() == Path(typed.format(root=tmp_path)).read_text()


def test_links_in_a_circle_are_told(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    with pytest.raises(InputError, match="cannot be read"):
        indexes.of_file(Path("../loop/a.yaml"), "tester", {})
