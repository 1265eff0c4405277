"""A sandbox from nothing to a known-good release: built, warmed up, vouched for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from ddr.domain import releases
from ddr.errors import InputError
from ddr.release import ledger
from ddr.wiring import build, config, repository


def raise_up(folder: Path, seed: int, warm_up: timedelta, report: Callable[[str], None]) -> releases.Release:
    """Build the platform, start its server, drive traffic, record what is live as known good."""
    from ddr.sandbox import build as sandbox_build

    sandbox_build.up(folder, seed, report)
    repository.forget(config.load(folder / config.NAME, os.environ), os.environ)
    wired = build.build(folder / config.NAME, os.environ, actor="", warn=report)
    report(f"warming up: {warm_up} of traffic")
    wired.platform.clock.sleep(warm_up.total_seconds())
    (service,) = wired.platform.services
    return ledger.record(wired.platform, service, known_good=True, note="as built")


def raise_anew(folder: Path, seed: int, warm_up: timedelta, report: Callable[[str], None]) -> None:
    """As `raise_up`, but a sandbox on which a game day was cut off stays: there may be faults to take back.

    Any other sandbox there is what a killed build or an ended game day left, and is replaced.
    """
    if (folder / config.NAME).is_file():
        if _was_cut_off(folder):
            ensure(folder)
            return
        remove(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    raise_up(folder, seed, warm_up, report)


def _was_cut_off(folder: Path) -> bool:
    wired = build.build(folder / config.NAME, os.environ, actor="", warn=lambda _text: None)
    return bool(wired.board().interrupted_gamedays())


def remove(folder: Path) -> None:
    """Stop the server and delete the sandbox."""
    stop(folder)
    shutil.rmtree(folder)


def root(named: str | None, folder: Path | None) -> Path:
    """The sandbox meant: FOLDER, else the one whose ddr.yaml is found."""
    path = folder / config.NAME if folder else config.find(named, os.environ, Path.cwd())
    if not path.is_file():
        raise InputError(f"{path.parent} is no sandbox", hint="`ddr sandbox up FOLDER` builds one")
    entry = config.load(path, os.environ).sandbox
    if entry is None:
        raise InputError(f"{path} belongs to no sandbox", hint="`ddr sandbox up FOLDER` builds one")
    return (path.parent / entry.root).resolve()


def stop(folder: Path) -> None:
    """Stop the server of the sandbox in `folder`; the folder stays."""
    from ddr.sandbox import process

    process.stop(folder)


def ensure(folder: Path) -> None:
    """Start the sandbox's server where it does not run."""
    from ddr.sandbox import process

    process.ensure(folder)
