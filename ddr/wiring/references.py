"""`${env:NAME}` and `${file:PATH}` in configuration: resolved on the nodes, so that lines stay known.

A secret stands in `ddr.yaml` only as a reference. What a reference resolved to is remembered, so that it can be
masked wherever it would be printed; not where it only says where something lies, as `${env:HOME}/index` does: a command
or a manifest with such a path masked could not be used.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ddr.lib import decode, located, redact

_REFERENCE = re.compile(r"\$\{(\w+):([^}]*)\}")
_SECRET_KEY = re.compile(r"(?i)(password|passwd|passphrase|secret|token|api_?key|access_?key|credential)")

_PLACE_KEY = re.compile(
    r"(?:indexes\..+\.)?(?:home|work|vectors(?:\[\d+\])?|ids|queries|embedder|embed\.(?:corpus|model))"
    r"|(?:indexes\..+\.)?s3\.(?:endpoint|region)"
    r"|(?:repository|backup\.copies\..+)\.(?:path|spool|bucket|prefix|endpoint|region)"
    r"|connectors\..+\.(?:root|repo|predictions|truths|golden)|sandbox\.root|notify\.path|backup\.(?:keyFile|metrics)"
)
"""Keys that say where something lies."""


@dataclass
class Resolver:
    """Resolves references against an environment and a folder; collects complaints and secret values."""

    environ: Mapping[str, str]
    base: Path
    complaints: list[decode.Complaint] = field(default_factory=list)
    values: set[str] = field(default_factory=set)

    def resolve(self, node: located.Node, key: str = "") -> located.Node:
        """The node with every reference replaced by what it stands for."""
        if isinstance(node.value, dict):
            children = {
                name: self.resolve(child, f"{key}.{name}" if key else name) for name, child in node.value.items()
            }
            return located.Node(node.line, children, node.key_lines)
        if isinstance(node.value, tuple):
            return located.Node(
                node.line, tuple(self.resolve(child, f"{key}[{at}]") for at, child in enumerate(node.value))
            )
        if isinstance(node.value, str):
            return located.Node(node.line, self._resolve_text(node, node.value, key))
        return node

    def _resolve_text(self, node: located.Node, text: str, key: str) -> str:
        names = _REFERENCE.findall(text)
        if not names:
            self._refuse_secret(node, text, key)
            return text
        found = {(kind, name): self._look_up(node, key, kind, name) for kind, name in names}
        resolved = _REFERENCE.sub(lambda match: found[match.group(1), match.group(2)], text)
        if not _is_place(key, names, resolved):
            self.values.update(found.values())
        return resolved

    def _refuse_secret(self, node: located.Node, text: str, key: str) -> None:
        last = key.rpartition(".")[2]
        if text and (_SECRET_KEY.search(last) or redact.find_secret(text)):
            name = re.sub(r"\W+", "_", key.rpartition(".")[2]).upper()
            self.complaints.append(
                decode.Complaint(
                    node.line, key, f"looks like a secret; write a reference: ${{env:{name}}} or ${{file:PATH}}"
                )
            )

    def _look_up(self, node: located.Node, key: str, kind: str, name: str) -> str:
        value: str | None = None
        if kind == "env":
            value = self.environ.get(name)
            what = f"the environment variable {name} is not set; export it before ddr starts"
        elif kind == "file":
            path = self.base / name
            what = f"the file {path} cannot be read; it must hold the value and nothing else"
            try:
                value = path.read_text().strip()
            except (OSError, UnicodeDecodeError):
                value = None
        else:
            what = f"${{{kind}:...}} is not known; allowed: ${{env:NAME}}, ${{file:PATH}}"
        if value is None:
            self.complaints.append(decode.Complaint(node.line, key, what))
            return ""
        return value


def _is_place(key: str, names: Collection[tuple[str, str]], resolved: str) -> bool:
    """Whether nothing of it is secret. A file that a reference names may hold a secret under any key, and so may a
    variable that is called like one, and a URL that is no place in a bucket."""
    if not _PLACE_KEY.fullmatch(key) or any(kind != "env" or _SECRET_KEY.search(name) for kind, name in names):
        return False
    is_url = "://" in resolved.removeprefix("s3://") and not key.endswith(".endpoint")
    return not is_url and redact.link(resolved) == resolved
