"""A release is deployed the normal way: published, made live, announced by the pipeline. Some are bad, one is innocent.

The fault finds its release again by its commit, which follows from the key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddr.domain import outcomes, services
from ddr.errors import Conflict, Refused
from ddr.ports import verb
from ddr.sandbox import clock, releases
from ddr.sandbox.harm import stash


@dataclass(frozen=True)
class Deploying:
    """What one such fault deploys, and what has to happen for it to take effect.

    `settle` decides at preparation what the files depend on, `files` makes them of that, `successor` names the
    release that follows the live one; `take_effect` and `restore` are called after the pointer moved there and back.
    """

    channel: Callable[[Path], releases.Channel]
    successor: Callable[[Sequence[str], str], str]
    summary: str
    files: Callable[[Mapping[str, str]], Mapping[str, bytes]]
    take_effect: Callable[[Path], None]
    restore: Callable[[Path], None]
    is_effective: Callable[[Path, str], bool]
    settle: Callable[[Path, Mapping[str, Any]], Mapping[str, str]] = lambda root, inputs: {}
    problems: Callable[[Mapping[str, Any]], Sequence[str]] = lambda inputs: [
        f"{name} is not known here; there are no inputs" for name in inputs
    ]
    facts: Mapping[str, str] | None = None
    about: str = ""
    takes: Mapping[str, str] = field(default_factory=dict)


@dataclass
class DeployRelease:
    root: Path
    name: str
    deploying: Deploying
    changes: bool = True

    @property
    def about(self) -> str:
        return self.deploying.about

    @property
    def takes(self) -> Mapping[str, str]:
        return self.deploying.takes

    def problems(self, inputs: Mapping[str, Any], service: services.Service) -> Sequence[str]:
        return self.deploying.problems(inputs)

    def layer(self, settled: Mapping[str, str]) -> str:
        """The channel: a release that was deployed over another points back at it."""
        return self.deploying.channel(self.root).root.name

    def prepare(self, call: verb.Call) -> verb.Prepared:
        channel = self.deploying.channel(self.root)
        before = channel.live()
        release = self.deploying.successor(channel.pointer.names(), before)
        if release in channel.pointer.names():
            raise Refused(f"{channel.path(release)} is there already", hint="undo the fault that deployed it first")
        return verb.Prepared(
            will=f"deploy {channel.root.name} {release} ({self.deploying.summary}) instead of {before}",
            touches=(f"{channel.root.name}:current",),
            undo=f"point back at {before} if {release} is live, and remove {release}",
            settled={**self.deploying.settle(self.root, call.inputs), "before": before, "release": release},
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        channel = self.deploying.channel(self.root)
        before, release = settled["before"], settled["release"]
        now = clock.read(self.root)
        card = releases.card(release, now, self.deploying.summary, stash.commit_of(call.key), self.deploying.facts)
        channel.publish(release, self.deploying.files(settled), card)
        if not channel.move(before, release):
            live = channel.live()
            raise Conflict(f"{channel.root.name} is at {live}, not at {before}", expected=before, found=live)
        channel.announce(self._announcement(settled))
        self.deploying.take_effect(self.root)
        return outcomes.Outcome(
            outcomes.Status.OK, f"{channel.root.name} {release} is live", values={"release": release}
        )

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        """NOT_DONE also when it is half done: `act` completes it."""
        channel = self.deploying.channel(self.root)
        live = channel.live()
        if live == settled["release"] and self._is_ours(call, settled):
            whole = channel.is_announced(self._announcement(settled))
            return verb.Seen.DONE if whole and self.deploying.is_effective(self.root, live) else verb.Seen.NOT_DONE
        return verb.Seen.NOT_DONE if live == settled["before"] else verb.Seen.OTHER

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        """The release folder goes last, because by it the rest is found."""
        channel = self.deploying.channel(self.root)
        before, release = settled["before"], settled["release"]
        if self._is_ours(call, settled):
            channel.move(release, before)
            self.deploying.restore(self.root)
            channel.retract_announcement(self._announcement(settled))
        found = channel.retract(release, stash.commit_of(call.key))
        for folder in (channel.root, channel.root / channel.folder):
            releases.sweep(folder)
        if not found:
            return outcomes.Outcome(outcomes.Status.SKIPPED, f"{channel.root.name} {release} was not deployed")
        return outcomes.Outcome(
            outcomes.Status.UNDONE, f"{release} is gone, {channel.root.name} is at {channel.live()}"
        )

    def _is_ours(self, call: verb.Call, settled: Mapping[str, str]) -> bool:
        card = self.deploying.channel(self.root).card(settled["release"])
        return card.get("commit") == stash.commit_of(call.key)

    def _announcement(self, settled: Mapping[str, str]) -> releases.Deployment:
        return releases.Deployment(clock.read(self.root), settled["before"], settled["release"], self.deploying.summary)


def next_version(names: Sequence[str], live: str) -> str:
    """`v3` after v1 and v2."""
    numbers = [int(match[1]) for name in (*names, live) if (match := re.fullmatch(r"v(\d+)", name))]
    return f"v{max(numbers, default=0) + 1}"


def next_patch(names: Sequence[str], live: str) -> str:
    """`1.4.1` after 1.4.0."""
    head, _, patch = live.rpartition(".")
    return f"{head}.{int(patch) + 1}" if patch.isdigit() else f"{live}.1"
