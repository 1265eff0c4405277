"""The rules of the house that no other tool enforces."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "ddr").rglob("*.py"))
FILES = sorted([*SOURCES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
LONGEST_FILE = 400


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.stat().st_size], ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_file_is_short_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    assert ast.get_docstring(ast.parse(text)), "begins with a docstring"


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.name == "__init__.py"], ids=lambda path: path.parent.name
)
def test_a_room_opens_with_a_docstring_and_no_code(path: Path) -> None:
    assert len(ast.parse(path.read_text()).body) == 1


def test_an_sdk_is_imported_by_one_file() -> None:
    """boto3, mlflow and the like: one file each in a room, and in each connector, as they do not see each other. The
    sandbox is aside, which builds with them."""
    sdks = {"boto3", "botocore", "mlflow", "kubernetes", "feast", "redis", "faiss", "ray", "torch"}
    rooms = {"connectors", "stores", "index", "sandbox"}
    users: dict[str, set[str]] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for sdk in {name.partition(".")[0] for name in names} & sdks:
                room, part = path.relative_to(ROOT / "ddr").parts[:2]
                assert room in rooms, f"{path} imports {sdk}"
                if room != "sandbox":
                    place = f"{room}/{part}" if room == "connectors" else room
                    user = f"{'boto3' if sdk == 'botocore' else sdk} in {place}"
                    users.setdefault(user, set()).add(str(path.relative_to(ROOT)))
    assert {sdk: len(files) for sdk, files in users.items() if len(files) > 1} == {}
