"""What comes from elsewhere moves nothing on a terminal."""

from __future__ import annotations

import click
import pytest

from ddr.lib import legible

_FORGED = "\x1b]0;owned\x07\x1b[1A\x1b[2Kx\n  ok level 4: all is well"


def test_a_name_stays_on_its_line() -> None:
    assert legible.name(_FORGED) == "\\x1b]0;owned\\x07\\x1b[1A\\x1b[2Kx\\n  ok level 4: all is well"
    assert legible.name("größe 日本 'x'") == "größe 日本 'x'"
    assert legible.name("a\u202eb\udcff") == "a\\u202eb\\udcff"
    assert legible.name("x" * 100) == "x" * 79 + "…"


def test_a_screen_keeps_lines_and_colours_and_no_more() -> None:
    ours = f"{click.style('ok', fg='green', bold=True)}\tone\n"
    assert legible.screen(ours) == ours
    shown = legible.screen(_FORGED)
    assert shown == "\\x1b]0;owned\\x07\\x1b[1A\\x1b[2Kx\n  ok level 4: all is well"


@pytest.mark.parametrize("code", [*range(32), *range(127, 160)])
def test_every_control_character_is_escaped(code: int) -> None:
    one = chr(code)
    assert legible.name(one).isprintable()
    assert legible.screen(one) == one if one in "\t\n" else legible.screen(one).isprintable()
