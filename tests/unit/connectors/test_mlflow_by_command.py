"""`ddr rollback model` on a real MLflow by command, through its server and on its database; code stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddr.lib import digest
from tests.unit.cli import calls
from tests.unit.connectors import rigs
from tests.unit.connectors.official import Official

_SETTINGS = """apiVersion: ddr/v1
repository: {{type: local, path: repository, spool: spool}}
connectors:
  registry: {{type: mlflow, tracking: "{tracking}"}}
  code: {{type: release-folder, root: code}}
services:
  digits:
    planes:
      model: {{connector: registry, model: {model}, alias: champion}}
      code: {{connector: code}}
    objectives: {{rpo: 1h, rto: 15m}}
    owners: {{team: digits, oncall: anna, decisionMaker: anna}}
"""


@pytest.mark.parametrize("transport", ["sql", "rest"])
def test_a_promotion_is_taken_back_undone_and_taken_back_again(
    official: Official, tmp_path: Path, transport: str
) -> None:
    rigs.release_rig(tmp_path)
    model = rigs.registered(official, [rigs.logged(official, number) for number in (1, 2, 3)])
    tracking = official.url if transport == "rest" else official.tracking
    (tmp_path / "ddr.yaml").write_text(_SETTINGS.format(tracking=tracking, model=model))

    def live() -> str:
        return str(official.rest("get_model_version_by_alias", name=model, alias="champion")["version"])

    def ddr(*words: str, code: int = 0) -> calls.Done:
        done = calls.ddr(tmp_path, *words, actor="anna")
        assert done.code == code, (words, done.out, done.err)
        return done

    ddr("release", "record", "digits", "--known-good")
    code = digest.of_tree(tmp_path / "code")
    official.rest("set_registered_model_alias", name=model, alias="champion", version="3")

    planned = ddr("rollback", "model", "digits", "--json").document
    assert live() == "3", "a plan touches nothing"
    taken = planned["digest"] if "digest" in planned else planned["plan"]
    official.rest("set_registered_model_alias", name=model, alias="champion", version="2")
    ddr("rollback", "model", "digits", "--apply", "--no-wait", "--plan", str(taken), code=3)
    assert live() == "2", "somebody moved it between plan and apply: nothing was changed"

    done = ddr("rollback", "model", "digits", "--apply", "--no-wait", "--json").document
    assert live() == "1"
    assert done["status"] in ("switched", "recovered")
    marked = official.rest("get_model_version", name=model, version="2")
    assert "ddr.blocked" in str(marked["tags"]), marked

    ddr("rollback", "undo", "--yes")
    assert live() == "2"
    assert "ddr.blocked" not in str(official.rest("get_model_version", name=model, version="2")["tags"])
    ddr("rollback", "undo", "--yes")
    assert live() == "1"
    assert digest.of_tree(tmp_path / "code") == code, "code was not named and is byte for byte what it was"
