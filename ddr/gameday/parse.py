"""A scenario file read whole: the noun, or every problem with its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddr.domain import scenarios
from ddr.errors import BadDocument, InputError, Problem, UnknownName
from ddr.lib import decode, located, redact

SUFFIX = ".yaml"


@dataclass(frozen=True)
class Source:
    """A scenario with the text it was read from, for the journal, and its nodes, which know their lines."""

    path: str
    text: str
    node: located.Node
    scenario: scenarios.Scenario

    def problem(self, keys: Sequence[str | int], what: str) -> Problem:
        """A problem at `keys` (a path of names and positions), on the line of the deepest one that is there."""
        node = self.node
        spoken = ""
        for key in keys:
            if isinstance(key, int):
                spoken += f"[{key}]"
                node = node.entries[key] if key < len(node.entries) else node
            else:
                spoken += f".{key}" if spoken else key
                node = node.fields.get(key, node)
        return Problem(self.path, node.line, spoken, what)


def find(named: str, shipped: Path) -> Path:
    """A file, or the name of a scenario that comes with ddr. UnknownName."""
    path = Path(named)
    if path.is_file():
        return path
    inside = shipped / f"{named}{SUFFIX}"
    if path.name == named and inside.is_file():
        return inside
    # `scenarios/NAME.yaml` is also what people type away from a checkout.
    if path.suffix == SUFFIX and path.parent.name == "scenarios" and (shipped / path.name).is_file():
        return shipped / path.name
    there = ", ".join(names(shipped)) or "-"
    raise UnknownName(f"{named}: there is no such scenario", hint=f"shipped with ddr: {there}")


def names(shipped: Path) -> tuple[str, ...]:
    """The scenarios that come with ddr."""
    return tuple(sorted(path.stem for path in shipped.glob(f"*{SUFFIX}")))


def read(path: Path) -> Source:
    """Raises InputError when it cannot be read, BadDocument with every problem."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise InputError(f"{path}: cannot be read: {redact.foreign(problem)}") from problem
    return read_text(text, str(path))


def read_text(text: str, path: str) -> Source:
    """As `read`, from text; `path` is what problems are reported for."""
    try:
        node = located.parse_yaml(text)
    except located.Malformed as problem:
        raise BadDocument([Problem(path, problem.line, "", problem.what)]) from problem
    complaints: list[decode.Complaint] = []
    scenario = decode.decode(scenarios.Scenario, node, complaints)
    if scenario is None:
        ordered = sorted({(complaint.line, complaint.key, complaint.what) for complaint in complaints})
        raise BadDocument(
            [Problem(path, line, key, what) for line, key, what in ordered],
            hint="mend the lines above; nothing was started",
        )
    return Source(path, text, node, scenario)
