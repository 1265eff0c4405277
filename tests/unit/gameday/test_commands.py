"""What a command printed, in the few lines that go into the journal; and what is no document is said, not guessed."""

from __future__ import annotations

import json

import pytest

from ddr.gameday import commands
from tests.unit.gameday import twin as twins


def result(out: str, code: int = 0, err: str = "") -> commands.CommandResult:
    return commands.CommandResult(code, out, err, 0.1)


def test_the_first_line_says_how_each_command_of_a_response_ended() -> None:
    twin = twins.Twin()
    account = twin.play().played[0].account
    assert account is not None
    first = [command.output.splitlines()[0] for command in account.commands]
    run = account.runs[-1].id
    assert first[0].startswith("inc-20261102-01 declared")
    assert first[1] == "CONFIRMED: model, digit 2 → 3"
    assert first[2] == f"{run} waiting"
    assert first[3].startswith("approved: plan ")
    assert first[4] == f"{run} recovered"
    assert first[5].startswith("inc-20261102-01 resolved")


def test_an_error_says_its_next_move() -> None:
    out = json.dumps({"error": {"kind": "Missing", "message": "no such thing", "hint": "look elsewhere"}})
    assert commands.spoken(result(out, 1)) == "Missing: no such thing\nlook elsewhere"


@pytest.mark.parametrize("out", ["", "Traceback", "[1]", "3"])
def test_what_is_no_document_is_refused(out: str) -> None:
    with pytest.raises(commands.CommandFailed, match="printed no JSON"):
        commands.document(["diagnose"], result(out, 70, "a defect"))


def test_a_long_output_keeps_its_ends() -> None:
    text = commands.shortened("first\n" + "x" * 10_000 + "\nlast")
    assert text.startswith("first")
    assert text.endswith("last")
    assert len(text) <= commands.LONGEST_OUTPUT + 10


def test_secrets_in_an_output_do_not_reach_the_journal() -> None:
    assert "hunter22" not in commands.spoken(result("", 1, "postgres://ddr:hunter22@db/mlflow is away"))
