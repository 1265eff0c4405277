"""A retraining goes wrong and its model is promoted: trained for real, registered, the alias moved, the server rolled.

MLflow keeps no history of aliases, so nobody wrote down who promoted it. A freeze of promotions (the tag ddr.frozen
on the registered model) keeps it out. The fault's run, model and version carry the tag ddr.fault=<key>.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ddr.domain import outcomes
from ddr.errors import Conflict, DdrError, Refused
from ddr.ports import verb
from ddr.sandbox import clock, layout, process, registry, training
from ddr.sandbox.harm import stash

KINDS = ("labels-flipped", "stale-slice", "wrong-preprocessing")


def prepare(root: Path, kind: str) -> verb.Prepared:
    _refuse_when_frozen(root)
    before = registry.champion(root).number
    return verb.Prepared(
        will=f"train a {kind} model for real, make it {layout.ALIAS} instead of {before}, roll the server",
        touches=(f"registry:{layout.MODEL}", f"alias:{layout.ALIAS}", "server"),
        undo=f"give {layout.ALIAS} back to {before} if the bad version has it, erase the bad version and its run",
        settled={"kind": kind, "before": before},
    )


def act(root: Path, key: str, settled: Mapping[str, str]) -> outcomes.Outcome:
    version = registry.of_fault(root, key)
    evidence: tuple[str, ...] = ()
    if version is None or not version.folder.is_dir():
        _refuse_when_frozen(root)
        _erase(root, key)  # what a killed training or undo left
        entry = training.Entry(settled["kind"], clock.read(root), promote=True)
        (trained,) = training.register(root, [entry], fault=key, scratch_name=stash.name_of(key))
        evidence = (f"{1 - trained.golden_accuracy:.3f} of the golden set is wrong",)
        number = trained.version
    else:
        number = version.number
        if registry.champion(root).number != number:
            _refuse_when_frozen(root)
            registry.set_times(root, number, clock.read(root))
            if not registry.move_alias(root, to=number, expect=settled["before"]):
                live = registry.champion(root).number
                raise Conflict(f"{layout.ALIAS} is at {live}", expected=settled["before"], found=live)
    process.roll(root)
    what = f"{layout.MODEL} {number} ({settled['kind']}) is {layout.ALIAS}"
    return outcomes.Outcome(outcomes.Status.OK, what, evidence, {"version": number})


def observe(root: Path, key: str, settled: Mapping[str, str]) -> verb.Seen:
    version = registry.of_fault(root, key)
    live = registry.champion(root).number
    if version is not None and live == version.number:
        return verb.Seen.DONE if _is_served(root, version) else verb.Seen.NOT_DONE
    return verb.Seen.NOT_DONE if live == settled["before"] else verb.Seen.OTHER


def undo(root: Path, key: str, settled: Mapping[str, str]) -> outcomes.Outcome:
    """Alias first, so that nobody loads what is about to go; rows last, because by them the rest is found."""
    if not registry.traces(root, key):
        stash.drop(root, key)
        return outcomes.Outcome(outcomes.Status.SKIPPED, "nothing was promoted")
    version = registry.of_fault(root, key)
    if version is not None and registry.champion(root).number == version.number:
        registry.find(root, settled["before"])
        registry.move_alias(root, to=settled["before"], expect=version.number)
    process.roll(root)
    _erase(root, key)
    live = registry.champion(root).number
    gone = version.number if version else "of an unfinished training"
    return outcomes.Outcome(outcomes.Status.UNDONE, f"version {gone} is gone, {layout.ALIAS} is {live}")


def _erase(root: Path, key: str) -> None:
    found = registry.traces(root, key)
    for folder in found.folders:
        if folder.is_dir():
            stash.discard(root, key, folder)
    registry.erase(root, found)
    stash.drop(root, key)


def _refuse_when_frozen(root: Path) -> None:
    why = registry.frozen(root)
    if why:
        raise Refused(f"promotions of {layout.MODEL} are frozen: {why}", hint="thaw them first: promotions.thaw")


def _is_served(root: Path, version: registry.Version) -> bool:
    """Whether the running server has it; without a running server there is nothing to roll."""
    address = process.find(root)
    if address is None:
        return True
    try:
        _, told = process.call(address, "GET", "/-/loaded")
    except DdrError:
        return False
    model = told.get("model")
    return isinstance(model, dict) and (model.get("name"), model.get("digest")) == (version.number, version.digest)
