"""How long `ddr --help` and `ddr status` take, against the least any click program costs."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import measure


def run(sandbox: Path) -> None:
    ddr = [sys.executable, "-m", "ddr"]
    installed = str(Path(sys.executable).parent / "ddr")
    config = ["--config", str(sandbox / "ddr.yaml")]
    timings = measure.interleave(
        {
            "python -c 'import click'": measure.command([sys.executable, "-c", "import click"]),
            "ddr --help": measure.command([installed, "--help"]),
            "ddr status (sandbox, all signals judged)": measure.command([*ddr, *config, "status"]),
            "ddr journal verify (sandbox)": measure.command([*ddr, *config, "journal", "verify"]),
            "python -c 'import mlflow'": measure.command([sys.executable, "-c", "import mlflow"]),
        },
        rounds=9,
    )
    measure.show("start", timings, against="python -c 'import click'")
    print("  goal: ddr --help within 2.5 x")
