"""One value in a text that people wrote, found and changed in place: comments, quotes and layout stay as they are."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddr.lib import durable


class NoSpot(Exception):
    """The value is not there, or cannot be changed without changing something else."""


@dataclass(frozen=True)
class Spot:
    """`text[begin:end]` is `value`, without its quotes."""

    value: str
    begin: int
    end: int

    def put(self, text: str, value: str) -> str:
        return text[: self.begin] + value + text[self.end :]


def in_yaml(text: str, path: Sequence[str]) -> Spot:
    """The scalar at a path of keys; a number counts the entries of a list from 0. Raises NoSpot."""
    import yaml

    where = ".".join(path)
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise NoSpot(f"it cannot be read as one YAML document{line}") from problem
    uses = _uses(root)
    node: Any = root
    for at, key in enumerate(path):
        if id(node) in uses:
            raise NoSpot(f"{'.'.join(path[:at])} is used in several places by an anchor")
        node = _child(node, key, ".".join(path[: at + 1]))
    if not isinstance(node, yaml.ScalarNode):
        raise NoSpot(f"{where} is no single value")
    if id(node) in uses:
        raise NoSpot(f"{where} is used in several places by an anchor")
    begin, end = node.start_mark.index, node.end_mark.index
    if node.style in ("'", '"'):
        begin, end = begin + 1, end - 1
    if text[begin:end] != node.value:
        raise NoSpot(f"{where} is written over several lines or with escapes: write it on one line")
    return Spot(node.value, begin, end)


def _uses(root: Any) -> set[int]:
    """Nodes that the document names more than once."""
    seen: set[int] = set()
    again: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if id(node) in seen:
            again.add(id(node))
            continue
        seen.add(id(node))
        for child in node.value if isinstance(node.value, list) else ():
            waiting += child if isinstance(child, tuple) else (child,)
    return again


def _child(node: Any, key: str, where: str) -> Any:
    import yaml

    if isinstance(node, yaml.MappingNode):
        found = [value for name, value in node.value if name.value == key]
        if len(found) > 1:
            raise NoSpot(f"{where} stands there twice")
        if found:
            return found[0]
    elif isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
        return node.value[int(key)]
    raise NoSpot(f"{where} is not there")


def in_env(text: str, name: str) -> Spot:
    """The value of `NAME=value` or `export NAME="value"`. Raises NoSpot."""
    pattern = rf"(?m)^[ \t]*(?:export[ \t]+)?{re.escape(name)}[ \t]*=[ \t]*(?:\"([^\"\n]*)\"|'([^'\n]*)'|([^\s#\"']*))"
    found = list(re.finditer(pattern, text))
    if len(found) != 1:
        raise NoSpot(f"{name} is not there" if not found else f"{name} stands there {len(found)} times")
    group = next(number for number in (1, 2, 3) if found[0][number] is not None)
    return Spot(found[0][group], *found[0].span(group))


def in_lines(text: str) -> Spot:
    """The only line that is neither empty nor a comment. Raises NoSpot."""
    found = list(re.finditer(r"(?m)^[ \t]*([^#\s][^\r\n]*?)[ \t]*\r?$", text))
    if len(found) != 1:
        raise NoSpot(f"it has {len(found)} lines where it should have one")
    return Spot(found[0][1], *found[0].span(1))


def rewrite(path: Path, content: bytes) -> None:
    """As `durable.replace`, and the file keeps its rights and its owner; behind a link, the file itself is written."""
    real = path.resolve(strict=True)
    was = real.stat()
    beside = real.with_name(f".{real.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            with contextlib.suppress(PermissionError):  # whoever may write the folder need not own the file
                os.fchown(fd, was.st_uid, was.st_gid)
            os.fchmod(fd, stat.S_IMODE(was.st_mode))
            os.fsync(fd)
        finally:
            os.close(fd)
        beside.replace(real)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    durable.sync_folder(real.parent)
