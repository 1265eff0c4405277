"""Where the runbooks and scenarios that come with ddr lie: in the wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

import ddr


def folder(kind: str) -> Path:
    """`runbooks` or `scenarios`."""
    package = Path(ddr.__file__).parent
    packaged = package / "shipped" / kind
    return packaged if packaged.is_dir() else package.parent / kind
