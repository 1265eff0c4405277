"""The libraries behind the engines, imported late: they are optional, large, and slow to load."""

from __future__ import annotations

import importlib
from typing import Any

from ddr.errors import Unavailable
from ddr.lib import redact


def faiss() -> Any:
    """The module `faiss`, whichever distribution brought it. Its own stubs miss half of it, so it is not typed."""
    return _module("faiss", "pip install faiss-cpu, or faiss-gpu-cuvs on a machine with a GPU")


def torch() -> Any:
    return _module("torch", "pip install torch, or take engine faiss")


def _module(name: str, hint: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as problem:  # OSError: its own shared library does not load
        raise Unavailable(f"{name} cannot be imported: {redact.foreign(problem)}", hint=hint) from problem
