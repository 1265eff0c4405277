"""Every verb a runbook can name. This list is the registration; a name that stands here twice is a crash at start."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from ddr.actions import gates, isolating, looking, promotions, rollbacks, serving, suspending, switching, telling
from ddr.domain import runbooks
from ddr.ports import platform as platforms
from ddr.ports import verb

VERBS: tuple[Callable[[platforms.Platform], verb.Verb], ...] = (
    looking.ListChanges,
    looking.ReadSignals,
    gates.IsNeeded,
    gates.CheckTarget,
    gates.HoldSignals,
    promotions.Freeze,
    promotions.Thaw,
    switching.SwitchPlane,
    switching.BlockRevision,
    serving.IsBehind,
    serving.Roll,
    serving.Fallback,
    serving.Refresh,
    rollbacks.CheckPlan,
    rollbacks.SwitchPinned,
    rollbacks.HoldsStill,
    rollbacks.Prove,
    isolating.Isolate,
    suspending.Suspend,
    telling.Post,
    telling.Move,
)


def build(on: platforms.Platform) -> verb.Catalog:
    """The verbs, made for this platform."""
    return join([made(on) for made in VERBS])


class _NoPlatform:
    """In place of a platform where only the shape of a runbook is looked at. It has nothing, so nobody can touch it."""


def shapes() -> verb.Catalog:
    """The verbs without a platform: to know their names and inputs, never to call them."""
    return join([made(cast(platforms.Platform, _NoPlatform())) for made in VERBS])


def join(*groups: Iterable[verb.Verb]) -> verb.Catalog:
    """One catalog of several groups, such as the verbs of runbooks and the faults of a sandbox."""
    catalog: dict[str, verb.Verb] = {}
    for found in (found for group in groups for found in group):
        if found.name in catalog or found.name == runbooks.APPROVAL:
            raise ValueError(f"two verbs are called {found.name!r}")
        catalog[found.name] = found
    return catalog
