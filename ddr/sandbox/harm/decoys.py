"""Innocent changes: they happen as changes do, and no answer is another because of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddr.domain import outcomes, services
from ddr.errors import Conflict, Refused
from ddr.lib import digest, durable
from ddr.ports import verb
from ddr.sandbox import clock, layout, loading, process, programs_text, releases
from ddr.sandbox.harm import release

_QUIET, _LOUD = "log_level: info ", "log_level: debug"
_SUMMARY = "more in the log, for a week"


def code_release(root: Path) -> release.DeployRelease:
    """1.4.1 asks the index before the model; the answers are those of 1.4.0."""
    deploying = release.Deploying(
        channel=loading.code_channel,
        successor=release.next_patch,
        summary="look-alikes first",
        about="innocent: a code release that answers as the one before",
        files=lambda settled: {"app.py": programs_text.read("app_1_4_1.py")},
        take_effect=process.roll,
        restore=process.roll,
        is_effective=lambda root, live: process.loaded_name(root, "code") in ("", live),
    )
    return release.DeployRelease(root, "decoy.code-release", deploying)


@dataclass
class ConfigChange:
    """`log_level: debug`."""

    root: Path
    name: str = "decoy.config-change"
    changes: bool = True
    about: str = "innocent: the server logs more"
    takes: Mapping[str, str] = field(default_factory=dict)

    @property
    def _path(self) -> Path:
        return layout.Layout(self.root).config

    def problems(self, inputs: Mapping[str, Any], service: services.Service) -> Sequence[str]:
        return [f"{name} is not known here; there are no inputs" for name in inputs]

    def layer(self, settled: Mapping[str, str]) -> str:
        return "config"

    def prepare(self, call: verb.Call) -> verb.Prepared:
        before = self._path.read_text()
        if _QUIET not in before:
            raise Refused(f"{self._path} does not say {_QUIET.strip()}", hint="undo what changed it first")
        return verb.Prepared(
            will="set log_level to debug and roll the server",
            touches=("config:serving.yaml", "server"),
            undo="put the file back as it was",
            settled={"before": before, "after": before.replace(_QUIET, _LOUD)},
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        found = self._path.read_text()
        if found not in (settled["before"], settled["after"]):
            raise Conflict(f"{self._path} changed since it was looked at")
        durable.replace(self._path, settled["after"].encode())
        self._channel.announce(self._announcement(settled))
        process.roll(self.root)
        return outcomes.Outcome(outcomes.Status.OK, "log_level is debug")

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        """NOT_DONE also when it is half done: `act` completes it."""
        found = self._path.read_text()
        if found == settled["after"]:
            served = process.loaded_name(self.root, "config") in ("", _name(found))
            whole = served and self._channel.is_announced(self._announcement(settled))
            return verb.Seen.DONE if whole else verb.Seen.NOT_DONE
        return verb.Seen.NOT_DONE if found == settled["before"] else verb.Seen.OTHER

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        """The line in the log goes last. A file that someone else has written since is left alone."""
        changed = self._path.read_text() == settled["after"]
        if changed:
            durable.replace(self._path, settled["before"].encode())
        announced = self._channel.is_announced(self._announcement(settled))
        if changed or announced:
            process.roll(self.root)
            self._channel.retract_announcement(self._announcement(settled))
        releases.sweep(self._path.parent)
        if not changed and not announced:
            return outcomes.Outcome(outcomes.Status.SKIPPED, "the configuration was not changed")
        return outcomes.Outcome(outcomes.Status.UNDONE, "the configuration is as it was")

    @property
    def _channel(self) -> releases.Channel:
        return releases.Channel(self._path.parent)

    def _announcement(self, settled: Mapping[str, str]) -> releases.Deployment:
        before, after = _name(settled["before"]), _name(settled["after"])
        return releases.Deployment(clock.read(self.root), before, after, _SUMMARY)


def _name(text: str) -> str:
    return digest.short(digest.of_bytes(text.encode()))
