"""The wheel is whole, installs into an empty environment, and the Dockerfile holds to the rules."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [BIN / "uv", "build", "--quiet", "--wheel", "--out-dir", out, ROOT], check=True, capture_output=True, text=True
    )
    (built,) = out.glob("ddr-*.whl")
    return built


def test_the_wheel_carries_runbooks_scenarios_and_templates(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for kind in ("runbooks", "scenarios"):
        shipped = {path.name for path in (ROOT / kind).glob("*.yaml")}
        assert shipped
        assert {Path(name).name for name in names if name.startswith(f"ddr/shipped/{kind}/")} == shipped
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "ddr").rglob("*") if path.is_file()}
    assert {name for name in sources if "__pycache__" not in name} <= set(names)
    assert not [name for name in names if name.startswith("tests")]


def test_the_wheel_runs_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """The base install alone: help, the shipped runbooks, a first ddr.yaml."""
    home = tmp_path / "venv"
    python = home / "bin" / "python"
    subprocess.run([BIN / "uv", "venv", "--quiet", "--python", sys.executable, home], check=True)
    constraint = ROOT / "requirements.lock"
    subprocess.run(
        [BIN / "uv", "pip", "install", "--quiet", "--python", python, "--constraint", constraint, wheel], check=True
    )
    ddr = home / "bin" / "ddr"

    def run(*arguments: str) -> str:
        done = subprocess.run([ddr, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Usage: ddr" in run("--help")
    assert "bad-model-promotion" in run("runbook", "list")
    assert "wrote" in run("init")
    assert '"services"' in run("status", "--json")


def test_the_dockerfile_passes_its_linter_and_the_house_rules() -> None:
    done = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    stages = {line.split()[-1] for line in lines if line.startswith("FROM")}
    assert {"cpu", "gpu"} <= stages
    assert "USER 10001:10001" in lines
    assert 'ENTRYPOINT ["ddr"]' in lines
    copied = {
        name for line in lines if line.startswith("COPY ") and "--from" not in line for name in line.split()[1:-1]
    }
    assert all((ROOT / name).exists() for name in copied)


def test_what_the_dockerfile_installs_are_extras_that_exist() -> None:
    import re
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = re.findall(r"ddr\[([\w,-]+)\]", (ROOT / "Dockerfile").read_text())
    assert asked
    assert {name for names in asked for name in names.split(",")} <= set(extras)
