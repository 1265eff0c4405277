"""Everything that can be broken in a sandbox, in one list."""

from __future__ import annotations

from pathlib import Path

from ddr.ports import verb
from ddr.sandbox.harm import bad_code, bad_features, bad_index, bad_model, decoys


def catalog(root: Path) -> verb.Catalog:
    """The faults and decoys of the sandbox in `root`, by name. A name that stands twice is a defect."""
    root = root.resolve()
    listed: list[verb.Verb] = [
        bad_model.PromoteBad(root),
        bad_features.freeze(root),
        bad_features.null(root),
        bad_index.Corrupt(root),
        bad_code.deploy(root),
        decoys.code_release(root),
        decoys.ConfigChange(root),
    ]
    found = {fault.name: fault for fault in listed}
    assert len(found) == len(listed), "two faults have one name"
    return found
