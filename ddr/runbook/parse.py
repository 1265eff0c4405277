"""A runbook's YAML as a noun, with every problem and its line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ddr.domain import runbooks
from ddr.errors import BadDocument, InputError, Problem
from ddr.lib import decode, digest, located, redact


@dataclass(frozen=True)
class Document:
    """A runbook with the text it came from. `root` knows the lines; `digest` names exactly this text."""

    path: str
    text: str
    root: located.Node
    book: runbooks.Runbook

    @property
    def digest(self) -> str:
        return digest.of_bytes(self.text.encode())

    def line(self, *keys: str | int) -> int:
        """The line of `steps, 2, with, plane`; of the deepest part that is there."""
        node, line = self.root, self.root.line
        for key in keys:
            if isinstance(key, int):
                if key >= len(node.entries):
                    break
                node = node.entries[key]
                line = node.line
            else:
                if key not in node.fields:
                    break
                line = node.key_lines.get(key, node.fields[key].line)
                node = node.fields[key]
        return line


def read(path: Path) -> Document:
    """Raises InputError when the file cannot be read, BadDocument with every problem of its shape."""
    try:
        text = path.read_text()
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise BadDocument([Problem(str(path), line, "", "is no UTF-8 text; write the file as UTF-8")]) from problem
    except OSError as problem:
        raise InputError(f"{path}: cannot be read: {redact.foreign(problem)}", hint="look at the path") from problem
    return read_text(text, str(path))


def read_text(text: str, path: str) -> Document:
    """As `read`, from text; `path` is how problems call it."""
    root = read_yaml(text, path)
    complaints: list[decode.Complaint] = []
    book = decode.decode(runbooks.Runbook, root, complaints)
    if book is None:
        raise bad(path, complaints)
    return Document(path, text, root, book)


def read_yaml(text: str, path: str) -> located.Node:
    """Raises BadDocument where the text is no YAML that ddr reads."""
    try:
        return located.parse_yaml(text)
    except located.Malformed as problem:
        raise BadDocument([Problem(path, problem.line, "", problem.what)]) from problem


def bad(path: str, complaints: list[decode.Complaint]) -> BadDocument:
    """The complaints as one error, in the order of their lines, each once."""
    unique = sorted({(complaint.line, complaint.key, complaint.what) for complaint in complaints})
    return BadDocument(
        [Problem(path, line, key, what) for line, key, what in unique],
        hint="mend the lines above; nothing was started",
    )
