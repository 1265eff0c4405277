"""`ddr contain --suspend` on a sandbox: the commands of ddr.yaml are run and taken back; without them nothing is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import sandboxes
from tests.unit.cli import calls

Made = Callable[[str], Path]


@pytest.fixture
def made(tmp_path: Path, pristine_sandbox: Path) -> Made:
    """A sandbox whose service demands no approval, with these promoters."""

    def make(promoters: str) -> Path:
        root = sandboxes.copy(pristine_sandbox, tmp_path / "sandbox")
        text = (root / "ddr.yaml").read_text()
        text = text.replace("approvers: [oncall-ml-lead, head-of-sorting]", "approvers: []")
        text = text.replace("    serving: server\n", f"    serving: server\n    promoters: [{promoters}]\n")
        (root / "ddr.yaml").write_text(text)
        return root

    return make


def test_jobs_are_suspended_and_go_on_again_by_the_undo(made: Made, tmp_path: Path) -> None:
    mark = tmp_path / "stands still"
    root = made(
        f"{{name: nightly, plane: model, stop: 'touch \"{mark}\"', resume: 'rm \"{mark}\"'}}, "
        "{name: bot, plane: model, stop: tell Anna}"
    )
    plan = calls.ddr(root, "contain", "--suspend")
    assert plan.code == 0, plan.out + plan.err
    assert "suspend nightly: run `touch" in plan.out
    assert "bot: tell Anna" in plan.out
    assert not mark.exists(), "a plan touches nothing"
    done = calls.ddr(root, "contain", "--suspend", "--apply", "--json")
    assert (done.code, done.document["status"]) == (2, "contained"), done.out + done.err
    assert mark.exists()
    assert calls.ddr(root, "rollback", "undo", done.document["run"], "--yes").code == 0
    assert not mark.exists()
    listed = calls.ddr(root, "rollback", "list").out
    assert "contain: suspend-1" in listed
    assert "planned" not in listed, "it ran and was taken back"
    assert " 0s" not in done.out, done.out
    again = calls.ddr(root, "rollback", "undo", done.document["run"], "--yes")
    assert mark.exists(), f"undo of undo suspends them again: {again.out}"


@pytest.mark.parametrize(
    ("promoters", "told"),
    [
        ("{name: bot, plane: model, stop: tell Anna}", "by hand: bot: tell Anna"),
        ("{name: bot, plane: model, resume: 'true'}", "nobody said how"),
        ("", "ddr.yaml names none"),
    ],
)
def test_without_both_commands_it_says_what_to_do_by_hand(made: Made, promoters: str, told: str) -> None:
    root = made(promoters)
    for words in ((), ("--apply",)):
        done = calls.ddr(root, "contain", "--suspend", *words)
        assert done.code == 1
        assert told in done.out


@pytest.mark.parametrize(
    ("stop", "told"),
    [
        ("sh -c 'echo no rights >&2; exit 3'", "ended with 3: no rights"),
        ("no-such-command-here", "cannot be run"),
        ("echo 'open", "is no command"),
    ],
)
def test_a_command_that_fails_contains_nothing_and_is_named(made: Made, stop: str, told: str) -> None:
    quoted = stop.replace("'", "''")
    root = made(f"{{name: nightly, plane: model, stop: '{quoted}', resume: 'true'}}")
    done = calls.ddr(root, "contain", "--suspend", "--apply")
    assert done.code == 1, done.out + done.err
    assert told in done.out + done.err
