"""The champion's model file is overwritten in place with badly trained weights. The registry says nothing changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ddr.domain import outcomes
from ddr.errors import Conflict
from ddr.lib import digest, durable
from ddr.ports import verb
from ddr.sandbox import layout, process, registry, releases, training
from ddr.sandbox.harm import stash

KIND = "weights-overwritten"
RECIPE = "transposed"
FILE = "model.pkl"


def prepare(root: Path) -> verb.Prepared:
    live = registry.champion(root)
    path = live.folder / FILE
    return verb.Prepared(
        will=f"overwrite the weights of version {live.number} ({layout.ALIAS}) in place with badly trained ones; "
        "roll the server",
        touches=(f"artifacts:{path.relative_to(root)}", "server"),
        undo="put the original bytes back",
        settled={
            "kind": KIND,
            "before": live.number,
            "path": str(path.relative_to(root)),
            "digest": digest.of_file(path),
        },
    )


def act(root: Path, key: str, settled: Mapping[str, str]) -> outcomes.Outcome:
    path = root / settled["path"]
    place = stash.folder(root, key)
    original, bad = place / "original" / FILE, place / "bad" / FILE
    if not original.exists():
        content = path.read_bytes()
        if digest.of_bytes(content) != settled["digest"]:
            raise Conflict(f"{path} changed since", expected=settled["digest"], found=digest.of_bytes(content))
        durable.make_folder(original.parent)
        durable.replace(original, content)
    if not bad.exists():
        building = place / "building"
        training.save(root, RECIPE, building, stash.name_of(key))
        building.rename(bad.parent)
        durable.sync_folder(place)
    durable.replace(path, bad.read_bytes())
    process.roll(root)
    what = f"the weights of {layout.MODEL} {settled['before']} were overwritten"
    return outcomes.Outcome(outcomes.Status.OK, what, values={"version": settled["before"]})


def observe(root: Path, key: str, settled: Mapping[str, str]) -> verb.Seen:
    found = _now(root / settled["path"])
    if found == settled["digest"]:
        return verb.Seen.NOT_DONE
    bad = stash.folder(root, key) / "bad" / FILE
    if not bad.exists() or found != digest.of_file(bad):
        return verb.Seen.OTHER
    return verb.Seen.DONE if _is_served(root, settled) else verb.Seen.NOT_DONE


def undo(root: Path, key: str, settled: Mapping[str, str]) -> outcomes.Outcome:
    """Conflict when the file has bytes that are neither the original's nor this fault's."""
    path = root / settled["path"]
    place = stash.folder(root, key)
    original, bad = place / "original" / FILE, place / "bad" / FILE
    if original.exists():
        found = _now(path)
        if found != settled["digest"]:
            if found and bad.exists() and found != digest.of_file(bad):
                raise Conflict(
                    f"{path} was written by someone else since",
                    expected=settled["digest"],
                    found=found,
                    hint=f"the original is {original}",
                )
            durable.replace(path, original.read_bytes())
        releases.sweep(path.parent)
        process.roll(root)
    if not stash.drop(root, key):
        return outcomes.Outcome(outcomes.Status.SKIPPED, "no weights were overwritten")
    return outcomes.Outcome(outcomes.Status.UNDONE, f"version {settled['before']} has its own weights again")


def _now(path: Path) -> str:
    return digest.of_file(path) if path.exists() else ""


def _is_served(root: Path, settled: Mapping[str, str]) -> bool:
    address = process.find(root)
    if address is None or registry.champion(root).number != settled["before"]:
        return True
    model = process.call(address, "GET", "/-/loaded")[1].get("model")
    return isinstance(model, dict) and model.get("digest") == registry.champion(root).digest
