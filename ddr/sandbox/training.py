"""Runs the training program as a child that dies with its parent."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ddr.errors import DdrError, Refused, Unavailable
from ddr.lib import process, redact, timetext
from ddr.sandbox import layout, train

TIMEOUT_S = 240.0


@dataclass(frozen=True)
class Entry:
    """Train by `recipe`, date the result `at`, and promote it or not."""

    recipe: str
    at: datetime
    promote: bool = False


@dataclass(frozen=True)
class Trained:
    version: str
    golden_accuracy: float


def register(root: Path, plan: Sequence[Entry], *, fault: str = "", scratch_name: str = "up") -> tuple[Trained, ...]:
    """Train, register and promote in order. Refused while promotions are frozen: then nothing was promoted.

    With `fault`, the key, everything that is made carries it as a tag.
    """
    told = [{"recipe": entry.recipe, "at": timetext.format_time(entry.at), "promote": entry.promote} for entry in plan]
    ended = _run(root, ["--plan", json.dumps(told), "--fault", fault], scratch_name)
    said = _last_line(ended)
    if ended.returncode == train.EXIT_FROZEN:
        raise Refused(
            f"promotions of {layout.MODEL} are frozen: {said.get('refused')}", hint="thaw them first: promotions.thaw"
        )
    if ended.returncode != 0:
        raise _failed(ended)
    made = said.get("versions")
    assert isinstance(made, list)
    return tuple(Trained(str(one["version"]), float(one["golden_accuracy"])) for one in made)


def save(root: Path, recipe: str, folder: Path, scratch_name: str) -> None:
    """Train by `recipe` and only save the model in `folder`, anew. The registry stays as it is."""
    shutil.rmtree(folder, ignore_errors=True)
    plan = json.dumps([{"recipe": recipe}])
    ended = _run(root, ["--plan", plan, "--save-to", str(folder.resolve())], scratch_name)
    if ended.returncode != 0:
        raise _failed(ended)


def scratch(root: Path, name: str) -> Path:
    """Where a training keeps its temporary files; a killed one leaves them there."""
    return layout.Layout(root).faults / f".scratch-{name}"


def _run(root: Path, arguments: Sequence[str], scratch_name: str) -> subprocess.CompletedProcess[str]:
    place = scratch(root, scratch_name)
    shutil.rmtree(place, ignore_errors=True)
    command = [sys.executable, "-m", "ddr.sandbox.train", "--root", str(root), "--scratch", str(place), *arguments]
    try:
        return process.run_bound(command, timeout_s=TIMEOUT_S)
    except subprocess.TimeoutExpired as problem:
        raise Unavailable(
            f"the training did not end within {TIMEOUT_S:.0f} s", hint="look at the load of this machine"
        ) from problem


def _last_line(ended: subprocess.CompletedProcess[str]) -> dict[str, object]:
    try:
        told = json.loads(ended.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _failed(ended: subprocess.CompletedProcess[str]) -> DdrError:
    tail = redact.foreign(" | ".join(ended.stderr.strip().splitlines()[-3:]) or "it said nothing")
    if "No module named" in tail:
        return DdrError(f"the training cannot import what it needs: {tail}", hint="pip install 'ddr[sandbox]'")
    return Unavailable(f"the training ended with {ended.returncode}: {tail}", hint="look at the disk, then try again")
