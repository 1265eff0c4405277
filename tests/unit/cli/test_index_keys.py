"""Whoever writes an index finds every key where keys are told."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from ddr.cli import index
from ddr.lib import decode
from ddr.wiring import index_settings

_README = Path(__file__).parents[3] / "README.md"


def _told_in_readme() -> str:
    """The example of `indexes:`, to the end of its block."""
    found = re.search(r"^    indexes:\n.*?(?=^\S)", _README.read_text(), re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


@pytest.mark.parametrize("told", [_told_in_readme(), index.command.help or ""], ids=["README", "help"])
def test_every_key_of_an_index_is_told(told: str) -> None:
    keys = [decode.document_key(field.name) for field in dataclasses.fields(index_settings.IndexEntry)]
    assert [key for key in keys if not re.search(rf"\b{key}\b", told)] == []
