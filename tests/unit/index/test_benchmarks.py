"""The benchmark reads what `ddr index` tells, so it breaks where that changes: here it is run on a few rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import index, index_peers


def test_ddr_and_the_script_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(index, "ROUNDS", 1)
    monkeypatch.setattr(index_peers, "autofaiss_python", lambda: None)  # an environment of its own, of many MiB
    index.corpus(tmp_path, 6_000, 16)
    index.builds(tmp_path, 6_000, 16, (("ivf-flat", "Flat"),))
    table = {line[:26].strip(): line[26:].split() for line in capsys.readouterr().out.splitlines()[1:]}
    assert table[""] == ["ddr", "max", "ddr", "fast", "raw", "faiss"]
    assert all(float(one) > 0 for one in table["its stages against raw"])
    assert all(float(one) > 0.5 for one in table["lowest"])
    assert [one == "-" for one in table["against the model"]] == [False, False, True]
