"""Builds a sandbox from nothing, and stops it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ddr.domain import revisions
from ddr.errors import InputError, Refused, Unavailable
from ddr.lib import digest, durable, redact
from ddr.sandbox import (
    clock,
    features,
    layout,
    loading,
    lookalikes,
    process,
    programs_text,
    releases,
    rows,
    schedule,
    traffic,
    training,
)

_EXTRAS = {"mlflow": "mlflow", "faiss": "faiss-cpu", "sklearn": "scikit-learn"}


def _at(month: int, day: int, hour: int = 9) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


# What the platform's history was before the first minute.
_MODELS = (
    training.Entry("older", _at(10, 5), promote=True),
    training.Entry("current", _at(10, 26), promote=True),
    training.Entry("challenger", _at(10, 30)),
)
_CODE = (("1.3.0", _at(9, 21), "score of each answer"), ("1.4.0", _at(10, 19), "tempered scores"))
_FEATURES = (("v1", _at(8, 31), "first version"), ("v2", _at(10, 12), "the database picks the newest scan"))


def up(root: Path, seed: int, report: Callable[[str], None]) -> None:
    """Build the sandbox in `root` and start its server; `report` gets a line for each part.

    Refused where `root` is taken, InputError where the `sandbox` extra is missing, Unavailable where the disk or a
    child fails: then calling again starts anew.
    """
    _require_extras()
    root = root.resolve()
    where = layout.Layout(root)
    began = time.monotonic()
    _claim(where)
    try:
        _make(where, seed, report)
    except OSError as problem:
        raise Unavailable(
            f"{root}: {redact.foreign(problem)}", hint="look at the disk and the rights, then try again"
        ) from problem
    report(f"up in {time.monotonic() - began:.0f} s: {root}")


def down(root: Path) -> bool:
    """Stop the server; the folder stays. False where none was running. Missing where there is no sandbox."""
    layout.Layout(root).identity()
    return process.stop(root)


def _require_extras() -> None:
    missing = [package for module, package in _EXTRAS.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise InputError(f"the sandbox needs {', '.join(missing)}", hint="pip install 'ddr[sandbox]'")


def _claim(where: layout.Layout) -> None:
    """An empty folder, marked as ours while it is unfinished. What a killed `up` left is removed."""
    root = where.root
    if where.card.exists() and not where.unfinished.exists():
        raise Refused(f"{root} is a sandbox already", hint=f"go on with it, or remove it: rm -r {root}")
    try:
        if where.unfinished.exists():
            process.stop(root)
            for path in root.iterdir():
                if path != where.unfinished:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            return
        durable.make_folder(root)
        if any(root.iterdir()):
            raise Refused(f"{root} exists and is not empty", hint="name a new or an empty folder")
        durable.replace(where.unfinished, b"ddr sandbox up is at work here, or was cut off: call it again\n")
    except OSError as problem:
        raise Unavailable(f"{root}: {redact.foreign(problem)}", hint="look at the path and its rights") from problem


def _make(where: layout.Layout, seed: int, report: Callable[[str], None]) -> None:
    root = where.root
    for folder in (where.artifacts, where.features, where.serving, where.faults, where.config.parent):
        durable.make_folder(folder)
    parcels = rows.create(root, seed)
    report(f"parcels: {len(parcels.train)} to learn from, {len(parcels.golden)} golden, {len(parcels.traffic)} traffic")
    clock.write(root, layout.BEGINS)
    identity = {"format": layout.FORMAT, "seed": seed, "lanes": layout.LANES}
    durable.replace(where.card, json.dumps(identity).encode() + b"\n")
    with process.gated(root) as open_gate:
        _deploy_index(root, parcels)
        report("index: v1 with look-alikes")
        _deploy_code(root)
        _deploy_config(root)
        report("code: 1.3.0, 1.4.0 live; config")
        _deploy_features(root)
        traffic.Driver(root).begin_slot(schedule.to_ms(layout.BEGINS))
        report(f"features: v1, v2 live; {layout.LANES} lanes online")
        report("models: training three, with a real MLflow registry (the slow part)")
        trained = training.register(root, _MODELS)
        told = ", ".join(f"{one.version} ({one.golden_accuracy:.3f})" for one in trained)
        report(f"models: versions {told} right on the golden set; 2 is {layout.ALIAS}")
        durable.replace(where.settings, programs_text.read("ddr.yaml"))
        address = open_gate()
        report(f"server: http://{process.HOST}:{address.port}, pid {address.pid}")
    where.unfinished.unlink()
    durable.sync_folder(root)


def _deploy(
    channel: releases.Channel, name: str, file: str, content: bytes, at: datetime, summary: str, **facts: str
) -> None:
    channel.publish(name, {file: content}, releases.card(name, at, summary, facts=facts))
    _go_live(channel, name, at, summary)


def _go_live(channel: releases.Channel, name: str, at: datetime, summary: str) -> None:
    before = channel.live() if channel.pointer.link.is_symlink() else ""
    channel.begin(name)
    channel.announce(releases.Deployment(at, before, name, summary))


def _deploy_code(root: Path) -> None:
    for name, at, summary in _CODE:
        content = programs_text.read(f"app_{name.replace('.', '_')}.py")
        _deploy(loading.code_channel(root), name, "app.py", content, at, summary)


def _deploy_features(root: Path) -> None:
    features.create(root)
    for name, at, summary in _FEATURES:
        facts = {revisions.INPUTS_SCHEMA: layout.INPUTS_SCHEMA}
        content = programs_text.read(f"materialize_{name}.py")
        _deploy(features.channel(root), name, "materialize.py", content, at, summary, **facts)


def _deploy_index(root: Path, parcels: rows.Rows) -> None:
    embedder = lookalikes.fit_embedder(root, parcels)
    lookalikes.publish(root, "v1", parcels, embedder)
    lookalikes.write_corpus(root, parcels, embedder)
    _go_live(lookalikes.channel(root), "v1", _at(10, 26, 11), "900 parcels")


def _deploy_config(root: Path) -> None:
    path = layout.Layout(root).config
    content = programs_text.read("serving.yaml")
    durable.replace(path, content)
    name = digest.short(digest.of_bytes(content))
    releases.Channel(path.parent).announce(releases.Deployment(_at(9, 7), "", name, "first settings"))
