"""A version in a folder of its own, for a server that loads it from there: all of one version at any moment.

It is written whole beside the folder, its manifest with it, and then both change places in one step. What was there
goes: no file of another version stays behind, and a kill leaves the old version or the new one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from ddr.domain import indexes
from ddr.errors import InputError, Unavailable
from ddr.index import codec
from ddr.index.homes import home, naming, writing
from ddr.lib import durable, redact

_OURS = frozenset({*naming.FILES, naming.MANIFEST})
_VERSION = re.compile(rb'"version": ?"([a-z0-9-]+)"')
_AT_FDCWD, _EXCHANGE = -100, 2
_OWN = "name a new folder, or one that only `ddr index fetch` writes to"


def fetch(shelf: home.Shelf, version: str, folder: Path, homes: Sequence[Path] = ()) -> indexes.Manifest:
    """The version in `folder`, each byte compared with its digest, `manifest.json` beside. Damaged, Missing, and then
    the folder is as it was. InputError for a folder that has files of somebody else, also an index without the
    manifest of a version, that lies in one of `homes` (whose versions nobody changes), or that cannot be written."""
    target = folder.resolve()
    _check(target, homes)
    writing.make_folder(target.parent, _OWN)
    for left in target.parent.glob(f".{target.name}.*.tmp"):
        if writing.is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    staged = writing.name_beside(target)
    try:
        writing.make_folder(staged, _OWN)
    except InputError as problem:
        raise InputError(f"nothing can be written beside {target}: {problem.message}", hint=_OWN) from problem
    try:
        manifest = home.fetch(shelf, version, staged)
        writing.write_bytes(staged / naming.MANIFEST, codec.encode(manifest))
        durable.sync_folder(staged)
        _put(staged, target)
        durable.sync_folder(target.parent)
    finally:
        shutil.rmtree(staged, ignore_errors=True)  # what was there before, or what did not become whole
    return manifest


def _check(target: Path, homes: Sequence[Path]) -> None:
    if _is_above_here(target):
        raise InputError(
            f"you stand in {target}, which is exchanged for another folder", hint="`cd ..`, then by its name"
        )
    for root in homes:
        if target.is_relative_to(root.resolve()):
            raise InputError(f"{target} lies in {root}, where an index has its versions", hint=_OWN)
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise InputError(f"{target} is no folder", hint=_OWN)
    if target.is_mount():
        raise InputError(f"{target} is a file system of its own: it cannot be replaced", hint="name a folder in it")
    names = sorted(path.name for path in target.iterdir())
    if others := [name for name in names if name not in _OURS]:
        raise InputError(f"{target} has files that are no index: {', '.join(others[:3])}", hint=_OWN)
    if names and not _names_version(target / naming.MANIFEST):
        raise InputError(
            f"{target} has {', '.join(names)}, and no {naming.MANIFEST} of a version that ddr published", hint=_OWN
        )


def _is_above_here(target: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return Path.cwd().is_relative_to(target)
    return False  # the folder that one stands in is gone


def _names_version(manifest: Path) -> bool:
    """Also one that is damaged elsewhere: what a fetch wrote may be fetched again."""
    try:
        content = manifest.read_bytes() if manifest.is_file() else b""
    except OSError:
        return False
    return any(naming.is_ours(name.decode()) for name in _VERSION.findall(content))


def _put(staged: Path, target: Path) -> None:
    """Whoever looks sees the old folder or the new one; where the system has no such step, for a moment none."""
    try:
        if not target.exists():
            staged.rename(target)
        elif not _exchanged(staged, target):
            old = writing.name_beside(target)
            target.rename(old)
            try:
                staged.rename(target)
            except OSError:
                with contextlib.suppress(OSError):
                    old.rename(target)
                raise
            shutil.rmtree(old, ignore_errors=True)
    except OSError as problem:
        raise Unavailable(
            f"{target} cannot be replaced: {redact.foreign(problem)}", hint="what was there is there still"
        ) from problem


def _exchanged(one: Path, other: Path) -> bool:
    """Both names change places in one step. False where this system or file system cannot."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return rename is not None and not rename(_AT_FDCWD, bytes(one), _AT_FDCWD, bytes(other), _EXCHANGE)
