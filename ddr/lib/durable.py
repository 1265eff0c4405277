"""Files that survive a crash: written beside, fsynced, renamed or linked into place, folder fsynced."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """`mkdir -p` whose every new name is durable."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def _write_beside(path: Path, content: bytes) -> Path:
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    except BaseException:
        os.close(fd)
        beside.unlink(missing_ok=True)
        raise
    os.close(fd)
    return beside


def replace(path: Path, content: bytes) -> None:
    """Readers see the old bytes or the new ones, never a part, also after a power cut."""
    beside = _write_beside(path, content)
    try:
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def create(path: Path, content: bytes) -> None:
    """As `replace`, but raises FileExistsError where `path` is there already; of two at once, one wins."""
    beside = _write_beside(path, content)
    try:
        os.link(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to `target`, in one step for every reader."""
    beside = link.with_name(f".{link.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    beside.symlink_to(target)
    try:
        beside.replace(link)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(link.parent)
