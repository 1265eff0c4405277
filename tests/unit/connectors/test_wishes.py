"""What a person asks for and no connector hears is told, and not left out in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddr.connectors.feast import connector as feast
from ddr.connectors.files import connector as files
from ddr.connectors.mlflow import connector as mlflow
from ddr.connectors.mlflow.over_rest import chosen, fidelity
from ddr.connectors.secret_references import connector as references
from ddr.errors import InputError
from ddr.lib import clock
from ddr.ports import restorable
from tests import captures

CLOCK = clock.SystemClock()


def _connectors(base: Path) -> dict[str, restorable.Restorable]:
    return {
        "mlflow": mlflow.connect(mlflow.Settings("sqlite:///mlflow.db"), base, CLOCK),
        "files": files.connect(files.Settings("."), base, CLOCK),
        "feast": feast.connect(feast.Settings("."), base, CLOCK),
        "references": references.connect(references.Settings(), base, CLOCK),
    }


@pytest.mark.parametrize("name", ["mlflow", "over rest", "files", "feast", "references"])
@pytest.mark.parametrize("wish", ["artefacts", "foo", "Auth"])
def test_an_unknown_wish_is_a_usage_error(name: str, wish: str, tmp_path: Path) -> None:
    facts = {"fidelity": fidelity.CLASS_B} if name == "over rest" else {}
    source = captures.Capture(facts=facts).source()
    made = _connectors(tmp_path)["mlflow" if name == "over rest" else name]
    with pytest.raises(InputError) as said:
        made.plan_restore(source, restorable.RestoreOptions(more={wish: "x"}))
    assert said.value.exit_code == 64
    assert f"--with {wish}" in said.value.message
    assert "there is: " in said.value.hint
    if wish == "artefacts" and name in ("mlflow", "over rest"):
        assert "did you mean artifacts?" in said.value.hint


def test_one_word_leaves_the_files_out(tmp_path: Path) -> None:
    for word in ("none", "skip"):
        assert chosen.without_files(restorable.RestoreOptions(more={"artifacts": word}))
    assert not chosen.without_files(restorable.RestoreOptions())
    with pytest.raises(InputError, match="running server"):
        chosen.without_files(restorable.RestoreOptions(more={"artifacts": "/tmp/x"}))
    made = _connectors(tmp_path)["mlflow"]
    assert isinstance(made, mlflow.Registry)
    work = made._work(captures.Capture().source(), restorable.RestoreOptions(more={"artifacts": "skip"}))
    with pytest.raises(InputError) as said:
        _ = work.moves
    assert "artifacts=none" in said.value.hint


@pytest.mark.parametrize("name", ["over rest", "files", "references"])
def test_what_has_no_locations_rewrites_none(name: str, tmp_path: Path) -> None:
    facts = {"fidelity": fidelity.CLASS_B} if name == "over rest" else {}
    made = _connectors(tmp_path)["mlflow" if name == "over rest" else name]
    with pytest.raises(InputError, match="no locations"):
        made.plan_restore(captures.Capture(facts=facts).source(), restorable.RestoreOptions(rewrites={"/a": "/b"}))
