"""The command itself: quick help, one place for errors, nothing imported that is not needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from ddr import errors
from ddr.cli import main
from ddr.runbook import shelf


def test_help_imports_click_and_nothing_else_from_outside() -> None:
    """The list is exact: a new import at the start is a decision, not an accident."""
    program = (
        "import sys; before = set(sys.modules); from ddr.cli import main; main.run(['--help']); "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}"
        " - set(sys.stdlib_module_names) - {'__mp_main__'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["click", "ddr"]


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append(((*path, name), command))
        if isinstance(command, click.Group):
            found += _commands(command, (*path, name))
    return found


def test_the_table_of_commands_says_what_the_commands_say() -> None:
    for name, _, line in main.COMMANDS:
        command = main.command.get_command(click.Context(main.command), name)
        assert command is not None
        assert (command.help or "").strip().splitlines()[0] == line


def test_every_command_has_help_that_ends_with_its_exit_codes_and_knows_json() -> None:
    leaves = [(path, entry) for path, entry in _commands(main.command) if not isinstance(entry, click.Group)]
    for path, command in leaves:
        assert "Exit codes:" in (command.help or ""), path
        if path != ("completion",):
            assert any("--json" in option.opts for option in command.params), path
    assert len(leaves) > 25


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["completion", shell]) == 0
    assert "_DDR_COMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["statsu"], 64, "No such command 'statsu'"),
        (["status", "--nope"], 64, "No such option"),
        (["runbook"], 64, "Usage"),
        (["--config", "/nowhere/ddr.yaml", "status"], 64, "there is no such file"),
        (["runbook", "show", "bad-model-promotio"], 64, "did you mean bad-model-promotion?"),
        (["changes", "--since", "soon"], 64, "is no time"),
    ],
)
def test_bad_usage_has_its_exit_code(
    arguments: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    assert main.run(arguments) == code
    captured = capsys.readouterr()
    assert text in captured.out + captured.err


def test_an_error_is_one_json_document_with_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ddr.yaml").write_text("apiVersion: v3\n")
    assert main.run(["--config", str(tmp_path), "status", "--json"]) == errors.EXIT_USAGE
    found = json.loads(capsys.readouterr().out)["error"]
    assert found["kind"] == "BadDocument"
    assert found["exit_code"] == 64
    assert len(found["problems"]) == 3


@pytest.mark.parametrize(
    "words",
    [
        ["statsu", "--json"],
        ["--json"],
        ["status", "--nope", "--json"],
        ["status", "--json", "--nope"],
        ["runbook", "--json"],
        ["backup", "schedule", "--json"],
        ["backup", "schedule", "--json", "--image"],
        ["backup", "verify", "--level", "deep", "--json"],
        ["backup", "verify", "--share", "3/2", "--json"],
        ["journal", "nope", "--json"],
    ],
)
def test_bad_usage_is_one_json_document_with_json(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever `--json` stands, also behind the word that is wrong."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert main.run(["init", str(tmp_path)]) == 0
    (tmp_path / "ddr.yaml").write_text((tmp_path / "ddr.yaml").read_text() + "\nbackup: {encryption: none}\n")
    monkeypatch.chdir(tmp_path)
    if "--share" in words:
        assert main.run(["backup", "run"]) == 0
    capsys.readouterr()
    assert main.run(words) == 64
    captured = capsys.readouterr()
    found = json.loads(captured.out)["error"]
    assert found["exit_code"] == 64
    assert found["message"]
    assert found["hint"].endswith("--help`")
    assert captured.err == ""


def test_behind_two_dashes_json_is_a_word_like_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["statsu", "--", "--json"]) == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No such command" in captured.err


def test_a_broken_pipe_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m ddr --help | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: ")
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_gone_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DDR_CONFIG", raising=False)
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for words in (["release", "list"], ["init"]):
        assert main.run(words) in (64, 69)
        assert "next:" in capsys.readouterr().err


def test_init_speaks_of_a_folder_where_there_is_no_bucket(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["init", "/proc/ddr"]) == 69
    said = capsys.readouterr().err
    assert "choose another" in said
    assert "--bucket" not in said


def test_init_below_another_configuration_says_which_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert main.run(["init", str(tmp_path)]) == 0
    assert "stands above" not in capsys.readouterr().err
    assert main.run(["init", str(tmp_path / "inner")]) == 0
    assert f"{tmp_path / 'ddr.yaml'} stands above" in capsys.readouterr().err


def test_a_runbook_page_has_no_braces(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("bad-model-promotion", "stale-online-features"):
        assert main.run(["runbook", "show", name]) == 0
        assert "{{" not in capsys.readouterr().out


def test_a_runbook_is_checked_where_there_is_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything but what the service can do: verbs, their inputs, jumps, templates."""
    monkeypatch.delenv("DDR_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main.run(["runbook", "check"]) in (0, 2), capsys.readouterr().err
    assert "no ddr.yaml here" in capsys.readouterr().err
    text = shelf.find("bad-model-promotion").read_text()
    for old, new, told in (
        ("gate: target.needed", "gate: target.neded", "did you mean target.needed?"),
        ('with: {plane: model, to: "{{ parameters.to }}"}', "with: {plane: modl}", "plane"),
        ("onFailure: step:contain-only", "onFailure: step:contain-onli", "did you mean contain-only?"),
        ("{{ owners.team }}", "{{ owners.teem }}", "owners.teem"),
    ):
        assert old in text
        Path("mine.yaml").write_text(text.replace(old, new))
        assert main.run(["runbook", "check", "mine.yaml"]) == 64
        assert told in capsys.readouterr().err
