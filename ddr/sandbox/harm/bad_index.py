"""The live index version is damaged in place: bits flip on the disk, or a write was cut off. Its name stays.

`flipped`: signs of the second half of the vectors, so the file is read as before and other look-alikes are near.
`torn`: the file ends too early. Nobody notices while the server runs; whoever loads it next cannot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddr.domain import outcomes, services
from ddr.errors import Conflict, Refused
from ddr.lib import digest, durable
from ddr.ports import verb
from ddr.sandbox import layout, lookalikes, process, releases
from ddr.sandbox.harm import stash

KINDS = ("flipped", "torn")
FILE = "index.faiss"
_FLOAT_BYTES = 4


@dataclass
class Corrupt:
    root: Path
    name: str = "index.corrupt"
    changes: bool = True
    about: str = "the file of the live index is damaged in place; its version keeps its name"
    takes: Mapping[str, str] = field(
        default_factory=lambda: {"kind": f"one of {', '.join(KINDS)}; flipped if not given"}
    )

    def problems(self, inputs: Mapping[str, Any], service: services.Service) -> Sequence[str]:
        found = [f"{name} is not known here; allowed: kind" for name in inputs if name != "kind"]
        if inputs.get("kind", KINDS[0]) not in KINDS:
            found.append(f"kind is {inputs['kind']!r}, must be one of {', '.join(KINDS)}")
        return found

    def layer(self, settled: Mapping[str, str]) -> str:
        return "index"

    def prepare(self, call: verb.Call) -> verb.Prepared:
        kind = str(call.inputs.get("kind", KINDS[0]))
        channel = lookalikes.channel(self.root)
        live = channel.live()
        path = channel.path(live) / FILE
        if not path.is_file():
            raise Refused(f"{path} is not there", hint="`ddr rollback index` to a version that has one")
        content = path.read_bytes()
        return verb.Prepared(
            will=f"damage the file of index {live} in place ({kind})",
            touches=(f"index:{live}",),
            undo="put the original bytes back",
            settled={
                "kind": kind,
                "version": live,
                "path": str(path.relative_to(self.root)),
                "digest": digest.of_bytes(content),
                "bad": digest.of_bytes(damaged(content, kind)),
            },
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        path, original = self._places(call, settled)
        if not original.exists():
            content = path.read_bytes()
            if digest.of_bytes(content) != settled["digest"]:
                raise Conflict(f"{path} changed since", expected=settled["digest"], found=digest.of_bytes(content))
            durable.make_folder(original.parent)
            durable.replace(original, content)
        durable.replace(path, damaged(original.read_bytes(), settled["kind"]))
        if settled["kind"] == "flipped":
            process.roll(self.root)
        return outcomes.Outcome(outcomes.Status.OK, f"the file of index {settled['version']} is damaged")

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        """NOT_DONE also when it is half done: `act` completes it."""
        path, _ = self._places(call, settled)
        found = digest.of_file(path) if path.exists() else ""
        if found == settled["digest"]:
            return verb.Seen.NOT_DONE
        if found != settled["bad"]:
            return verb.Seen.OTHER
        return verb.Seen.DONE if self._is_served(settled) else verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        """Conflict when the file has bytes that are neither the original's nor this fault's."""
        path, original = self._places(call, settled)
        if original.exists():
            found = digest.of_file(path) if path.exists() else ""
            if found not in ("", settled["digest"], settled["bad"]):
                raise Conflict(
                    f"{path} was written by someone else since",
                    expected=settled["digest"],
                    found=found,
                    hint=f"the original is {original}",
                )
            if found != settled["digest"]:
                durable.replace(path, original.read_bytes())
            releases.sweep(path.parent)
            process.roll(self.root)
        if not stash.drop(self.root, call.key):
            return outcomes.Outcome(outcomes.Status.SKIPPED, "no index was damaged")
        return outcomes.Outcome(outcomes.Status.UNDONE, f"index {settled['version']} has its own bytes again")

    def _places(self, call: verb.Call, settled: Mapping[str, str]) -> tuple[Path, Path]:
        return self.root / settled["path"], stash.folder(self.root, call.key) / "original" / FILE

    def _is_served(self, settled: Mapping[str, str]) -> bool:
        """A torn file is on the disk alone: no server can load it."""
        address = process.find(self.root)
        if address is None or settled["kind"] == "torn":
            return True
        if lookalikes.channel(self.root).live() != settled["version"]:
            return True
        held = process.call(address, "GET", "/-/loaded")[1].get("index")
        path = layout.Layout(self.root).index / "versions" / settled["version"]
        return isinstance(held, dict) and held.get("digest") == digest.of_tree(path)


def damaged(content: bytes, kind: str) -> bytes:
    """Of the same content always the same."""
    if kind == "torn":
        return content[: len(content) * 3 // 5]
    changed = bytearray(content)
    for at in range(len(content) - 1, len(content) // 2, -_FLOAT_BYTES):  # the high byte of a little-endian float
        changed[at] ^= 0x80
    return bytes(changed)
