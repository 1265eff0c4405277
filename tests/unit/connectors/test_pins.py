"""What DVC's files pin: where each path lies, and what is not obeyed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.connectors.files import pins
from ddr.errors import Damaged, DdrError, Refused, Unsupported
from tests.unit.connectors.rigs_code_data import data_plane, data_repository, kept


def out(text: str) -> Callable[[str], bytes]:
    return lambda path: text.encode()


H = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"outs:\n- md5: {H}\n  path: ../../etc/passwd\n", Refused),
        (f"outs:\n- md5: {H}\n  path: /etc/passwd\n", Refused),
        (f"wdir: ../..\nouts:\n- md5: {H}\n  path: x\n", Refused),
        (f"outs:\n- md5: {H}\n  path: .git/hooks/post-checkout\n", Refused),
        (f"outs:\n- md5: {H}\n  path: .\n", Refused),
        ("outs:\n- md5: ../../../x\n  path: x\n", Damaged),
        (f"outs:\n- md5: {H}0\n  path: x\n", Damaged),
        ("outs: [", Damaged),
        ("a: 1\na: 2", Damaged),
        (f"outs:\n- md5: {H}\n  path: x\n  cloud: {{s3: {{etag: x}}}}\n", Unsupported),
        (f"wdir: ${{item}}\nouts:\n- md5: {H}\n  path: x\n", Unsupported),
    ],
)
def test_pins_that_are_not_to_be_obeyed(text: str, problem: type[DdrError]) -> None:
    with pytest.raises(problem) as raised:
        pins.read(["data.dvc"], out(text))
    assert raised.value.hint


def test_pins_are_placed_by_their_file_and_its_working_folder() -> None:
    texts = {
        "a/b.dvc": f"wdir: ../c\nouts:\n- md5: {H}\n  hash: md5\n  path: x/y\n",
        "p/dvc.yaml": "stages:\n  s:\n    wdir: ../q\n  t:\n    do: {wdir: deep}\n  u: {}\n",
        "p/dvc.lock": f"stages:\n  s:\n    outs: [{{path: o, md5: {H}}}]\n  t@1:\n    outs: "
        f"[{{path: o, md5: {H}.dir, hash: md5}}]\n"
        f"  u:\n    outs: [{{path: kept, md5: {H}, cache: false}}, {{path: o, md5: {H}}}]\n",
        ".dvc/x.dvc": "[",
        "node_modules/x.dvc": "[",
        "README.md": "[",
    }
    found = pins.read(list(texts), lambda path: texts[path].encode())
    assert [pin.path for pin in found] == ["c/x/y", "p/deep/o", "p/o", "q/o"]
    assert [pin.is_folder for pin in found] == [False, True, False, False]
    assert [pin.is_legacy for pin in found] == [False, False, True, True]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    data_repository(tmp_path, ("v1",))
    return tmp_path


def test_a_list_that_names_what_lies_outside_is_refused(root: Path) -> None:
    for path in ("../evil", "/evil", "a/../../evil"):
        hashed = kept(root / "remote", json.dumps([{"md5": H, "relpath": path}]).encode(), ".dir")
        with pytest.raises(Damaged, match="its list names"):
            data_plane(root)._objects().proved([pins.Pin("images", hashed, "images.dvc")])
