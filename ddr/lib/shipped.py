"""Where the YAML that comes with ddr lies: inside the package when installed, beside it in a checkout."""

from __future__ import annotations

from pathlib import Path


def folder(kind: str) -> Path:
    """`runbooks` or `scenarios`."""
    package = Path(__file__).parent.parent
    packaged = package / "shipped" / kind
    return packaged if packaged.is_dir() else package.parent / kind
