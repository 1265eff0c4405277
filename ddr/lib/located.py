"""YAML and JSON read into nodes that know their line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(frozen=True)
class Node:
    """One value of a document: a scalar, a tuple of nodes, or a mapping of names to nodes."""

    line: int
    value: object  # str | int | float | bool | None | tuple[Node, ...] | dict[str, Node]
    key_lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def fields(self) -> Mapping[str, Node]:
        return self.value if isinstance(self.value, dict) else {}

    @property
    def entries(self) -> Sequence[Node]:
        return self.value if isinstance(self.value, tuple) else ()

    def plain(self) -> object:
        """The same value without lines."""
        if isinstance(self.value, dict):
            return {name: child.plain() for name, child in self.value.items()}
        if isinstance(self.value, tuple):
            return [child.plain() for child in self.value]
        return self.value


class Malformed(Exception):
    """The text is no YAML, or uses a part of it that ddr does not read."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line = line
        self.what = what


def of_value(value: object, line: int = 0) -> Node:
    """Nodes around a value that came from JSON; every line is `line`."""
    if isinstance(value, Mapping):
        return Node(line, {str(name): of_value(child, line) for name, child in value.items()})
    if isinstance(value, list | tuple):
        return Node(line, tuple(of_value(child, line) for child in value))
    return Node(line, value)


def parse_yaml(text: str) -> Node:
    """One YAML document. Duplicate keys, tags and anchors are refused. Raises Malformed."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return Node(1, {})
        _refuse_anchors(root, {})
        return _convert(loader, root)
    except RecursionError:
        raise Malformed(1, "lists and mappings are nested too deep") from None
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        what = getattr(problem, "problem", None) or getattr(problem, "context", None) or str(problem)
        raise Malformed(mark.line + 1 if mark else 1, f"no YAML: {what}") from problem
    finally:
        loader.dispose()


def _refuse_anchors(root: object, seen: dict[int, int]) -> None:
    """An alias is the node of its anchor a second time; one inside its own anchor would never end."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        line = node.start_mark.line + 1  # type: ignore[attr-defined]
        if id(node) in seen:
            raise Malformed(line, "anchors (&name, *name) are not read here; write the value out")
        seen[id(node)] = line
        value = node.value  # type: ignore[attr-defined]
        for child in value if isinstance(value, list) else ():
            waiting += child if isinstance(child, tuple) else (child,)


_PLAIN = ("str", "int", "float", "bool", "null", "timestamp")


def _convert(loader: object, node: object) -> Node:
    import yaml

    line = node.start_mark.line + 1  # type: ignore[attr-defined]
    if isinstance(node, yaml.MappingNode):
        return _convert_mapping(loader, node, line)
    if isinstance(node, yaml.SequenceNode):
        return Node(line, tuple(_convert(loader, child) for child in node.value))
    if node.tag.removeprefix("tag:yaml.org,2002:") not in _PLAIN:  # type: ignore[attr-defined]
        raise Malformed(line, f"the tag {node.tag} is not read here; write a plain value")  # type: ignore[attr-defined]
    value = loader.construct_object(node)  # type: ignore[attr-defined]
    if isinstance(value, datetime | date):
        value = node.value  # type: ignore[attr-defined]  # whoever wants a time reads the text
    return Node(line, value)


def _convert_mapping(loader: object, node: object, line: int) -> Node:
    fields: dict[str, Node] = {}
    key_lines: dict[str, int] = {}
    for key_node, value_node in _pairs(node):
        name = str(key_node.value)  # type: ignore[attr-defined]
        key_line = key_node.start_mark.line + 1  # type: ignore[attr-defined]
        if name in fields:
            raise Malformed(key_line, f"{name!r} stands here twice; the first is on line {key_lines[name]}")
        fields[name] = _convert(loader, value_node)
        key_lines[name] = key_line
    return Node(line, fields, key_lines)


def _pairs(node: object) -> Iterator[tuple[object, object]]:
    yield from node.value  # type: ignore[attr-defined]
