"""The runbooks at hand: by name, and by the plane they take back."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

from ddr.domain import planes, runbooks
from ddr.errors import BadDocument, UnknownName
from ddr.lib import shipped
from ddr.runbook import parse


def folder() -> Path:
    """Where the shipped runbooks lie."""
    return shipped.folder("runbooks")


def names(shelf: Path | None = None) -> tuple[str, ...]:
    """Every runbook there, sorted."""
    return tuple(sorted(path.stem for path in (shelf or folder()).glob("*.yaml")))


def find(name: str, shelf: Path | None = None) -> Path:
    """A path as given, or the shipped runbook of that name. Raises UnknownName with the names there are."""
    given = Path(name)
    if given.suffix in (".yaml", ".yml") or given.parent != Path():
        if given.is_file():
            return given
        raise UnknownName(f"{given}: there is no such file", hint="`ddr runbook list` shows the shipped ones")
    known = names(shelf)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known) or 'none'}"
        raise UnknownName(f"there is no runbook {name!r}", hint=hint)
    return (shelf or folder()) / f"{name}.yaml"


def by_plane(shelf: Path | None = None) -> Mapping[planes.Plane, str]:
    """For each plane the first runbook, by name, that takes it back. Files that do not parse are left out."""
    found: dict[planes.Plane, str] = {}
    for name, book in _books(shelf):
        if not _is_rolling(book):
            found.setdefault(book.target.plane, name)
    return found


def rolling(shelf: Path | None = None) -> str:
    """The first runbook, by name, that lets the server load what its planes point at; '' without one."""
    return next((name for name, book in _books(shelf) if _is_rolling(book)), "")


def _is_rolling(book: runbooks.Runbook) -> bool:
    """It begins where the server is behind its planes, and takes none of them back."""
    return any(step.verb == "serving.behind" for step in book.steps)


def _books(shelf: Path | None) -> Iterator[tuple[str, runbooks.Runbook]]:
    for name in names(shelf):
        try:
            yield name, parse.read(find(name, shelf)).book
        except BadDocument:
            continue
