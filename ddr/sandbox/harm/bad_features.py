"""Two bad releases of the materialization. Both jobs go on exiting 0.

`features.freeze`: the window is compared as text, `20261102T061500Z` against `2026-11-02T06:15:00.000Z`. No time lies
between two of those, so the program writes nothing, says `rows: 0`, and the online rows grow old.

`features.null`: columns are read by names that the upstream has not introduced yet, with 0 where a name is missing.
The most informative columns become 0 for every lane, on time, in full number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ddr.domain import revisions
from ddr.errors import Unavailable
from ddr.sandbox import clock, features, layout, programs_text, releases, rows
from ddr.sandbox.harm import release

DEFAULT_COLUMNS = 8
_FILE = "materialize.py"


def freeze(root: Path) -> release.DeployRelease:
    return release.DeployRelease(
        root,
        "features.freeze",
        _deploying(
            "windows compared in the database",
            _files_compact_times,
            about="the materialization exits 0 and writes nothing, so online rows grow old",
        ),
    )


def null(root: Path) -> release.DeployRelease:
    deploying = _deploying(
        "column names of the new camera software",
        _files_renamed,
        _settle_columns,
        _column_problems,
        about="the materialization writes 0 into the columns that tell most",
        takes={"columns": f"how many, 1 to {len(layout.COLUMNS)}; {DEFAULT_COLUMNS} if not given"},
    )
    return release.DeployRelease(root, "features.null", deploying)


def _deploying(
    summary: str,
    files: Any,
    settle: Any = None,
    problems: Any = None,
    *,
    about: str,
    takes: Mapping[str, str] | None = None,
) -> release.Deploying:
    more = {**({"settle": settle} if settle else {}), **({"problems": problems} if problems else {})}
    return release.Deploying(
        channel=features.channel,
        successor=release.next_version,
        summary=summary,
        files=files,
        take_effect=lambda root: None,  # the next scheduled run has it
        restore=_rematerialize,
        is_effective=lambda root, live: True,
        facts={revisions.INPUTS_SCHEMA: layout.INPUTS_SCHEMA},
        about=about,
        takes=takes or {},
        **more,
    )


def _files_compact_times(settled: Mapping[str, str]) -> Mapping[str, bytes]:
    return {_FILE: programs_text.read("materialize_compact_times.py")}


def _files_renamed(settled: Mapping[str, str]) -> Mapping[str, bytes]:
    renamed = {name: f"cam2_{name}" for name in settled["columns"].split(",")}
    text = programs_text.read("materialize_renamed.py").decode()
    empty = "RENAMED: dict[str, str] = {}"
    assert empty in text
    return {_FILE: text.replace(empty, f"RENAMED: dict[str, str] = {json.dumps(renamed)}").encode()}


def _column_problems(inputs: Mapping[str, Any]) -> Sequence[str]:
    found = [f"{name} is not known here; allowed: columns" for name in inputs if name != "columns"]
    count = inputs.get("columns", DEFAULT_COLUMNS)
    if not str(count).isdigit() or isinstance(count, bool) or not 1 <= int(count) <= len(layout.COLUMNS):
        found.append(f"columns is {count!r}, must be a whole number from 1 to {len(layout.COLUMNS)}")
    return found


def _settle_columns(root: Path, inputs: Mapping[str, Any]) -> Mapping[str, str]:
    """The columns whose mean differs most between the digits."""
    import numpy as np

    parcels = rows.read(root)
    pixels, truth = parcels.pixels[parcels.train], parcels.truth[parcels.train]
    spread = np.array([pixels[truth == digit].mean(axis=0) for digit in range(10)]).var(axis=0)
    count = int(inputs.get("columns", DEFAULT_COLUMNS))
    return {"columns": ",".join(sorted(layout.COLUMNS[column] for column in np.argsort(-spread)[:count].tolist()))}


def _rematerialize(root: Path) -> None:
    """Make the online table what the release that is live now would have written.

    Where that release is another fault's, it may write nothing: then that one's undo puts the rows right.
    """
    run = features.rematerialize(root, clock.read(root))
    if run.exit_code != 0:
        raise Unavailable(
            f"materialization {run.revision} ended with {run.exit_code}",
            hint="its release is in features/releases; undo again when it runs",
        )
    releases.sweep(layout.Layout(root).features)
