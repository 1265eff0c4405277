"""SHA-256 of bytes, files, folders and values, always written as `sha256:<64 hex digits>`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

PREFIX = "sha256:"


def of_bytes(content: bytes) -> str:
    return PREFIX + hashlib.sha256(content).hexdigest()


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no spaces, UTF-8: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def line(value: object) -> bytes:
    """`canonical` with a line end: what a file of one value holds."""
    return canonical(value) + b"\n"


def of_value(value: object) -> str:
    """Digest of a JSON value."""
    return of_bytes(canonical(value))


def of_file(path: Path) -> str:
    with path.open("rb") as file:
        return PREFIX + hashlib.file_digest(file, "sha256").hexdigest()


def of_tree(root: Path, without: Sequence[str] = ()) -> str:
    """Digest of a folder: relative names and contents of all regular files, links by where they point.

    `__pycache__` is left out, as bytecode appears by itself in a folder that is only read, and so is every file or
    folder that has a name of `without`.
    """
    return of_entries(tree(root), without)


def tree(root: Path) -> dict[str, str]:
    """Each file of a folder by its relative name, with the digest of its content."""
    entries = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            entries[name] = f"link:{path.readlink()}"
        elif path.is_file():
            entries[name] = of_file(path)
    return entries


def of_entries(entries: Mapping[str, str], without: Sequence[str] = ()) -> str:
    """What `of_tree` says of a folder with these entries, wherever they were digested."""
    skipped = {"__pycache__", *without}
    kept = (name for name in entries if skipped.isdisjoint(name.split("/")))
    lines = [f"{name}\0{entries[name]}" for name in sorted(kept, key=lambda name: name.split("/"))]
    return of_bytes("\n".join(lines).encode())


def short(text: str, length: int = 12) -> str:
    """The first digits, for people."""
    return text.removeprefix(PREFIX)[:length]
