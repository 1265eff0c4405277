"""What a server loads a model by: an alias, or, where they are still used, a stage.

`models:/NAME@champion` asks for an alias, `models:/NAME/Production` for the highest version in a stage. MLflow calls
stages deprecated since 2.9 and still obeys them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ddr.connectors.mlflow import transport
from ddr.errors import InputError, Missing, Refused

STAGES = ("Production", "Staging")
_ALIAS = re.compile(r"[A-Za-z0-9_-]+")
_RESERVED = re.compile(r"(?i:latest|v\d+)")


class Seat(Protocol):
    @property
    def name(self) -> str:
        """For people: `@champion`, `/Production`."""
        ...

    @property
    def kind(self) -> str: ...

    def version(self, model: transport.Model) -> str:
        """The number of the version that a server would load. Missing; Refused where the name is nearly right."""
        ...

    def whole(self, speaks: transport.Transport, model: str) -> transport.Version | None:
        """The version itself where it can be had in one question."""
        ...

    def move(self, speaks: transport.Transport, model: str, expect: str, to: str) -> transport.Version | None:
        """Missing; Conflict when another version is there than `expect`, and nothing was changed.

        The version that is there now, where it was read back whole.
        """
        ...

    def remarks(self, model: transport.Model) -> Sequence[str]:
        """Ways in which MLflow lets a server load something else than this seat says."""
        ...


def seat(*, alias: str, stage: str) -> Seat:
    """InputError unless it is one of both, with a name that MLflow takes."""
    if bool(alias) == bool(stage):
        raise InputError(
            "the model is loaded by an alias or by a stage", hint="say one of both: alias: champion, stage: Production"
        )
    if stage:
        said = {known.lower(): known for known in STAGES}.get(stage.lower())
        if said is None:
            raise InputError(f"stage {stage!r}: nothing is served from it", hint=f"one of {', '.join(STAGES)}")
        return Stage(said)
    if not _ALIAS.fullmatch(alias) or _RESERVED.fullmatch(alias):
        raise InputError(
            f"alias {alias!r}: MLflow takes letters, digits, _ and -, but not `latest` or `v1`",
            hint="name the alias that the server loads, like champion",
        )
    return Alias(alias)


@dataclass(frozen=True)
class Alias:
    """Implements Seat. MLflow tells upper from lower case: to set `Champion` would make a second alias."""

    alias: str
    kind = "alias"

    @property
    def name(self) -> str:
        return f"@{self.alias}"

    def version(self, model: transport.Model) -> str:
        if self.alias in model.aliases:
            return model.aliases[self.alias]
        for alias in model.aliases:
            if alias.lower() == self.alias.lower():
                raise Refused(
                    f"{model.name} has no alias {self.alias!r}, but {alias!r}: MLflow tells upper from lower case",
                    hint=f"write alias: {alias}",
                )
        known = ", ".join(sorted(model.aliases)) or "none"
        raise Missing(f"{model.name} has no alias {self.alias!r}", hint=f"its aliases: {known}")

    def whole(self, speaks: transport.Transport, model: str) -> transport.Version | None:
        return speaks.aliased(model, self.alias)

    def move(self, speaks: transport.Transport, model: str, expect: str, to: str) -> transport.Version | None:
        return speaks.move(model, self.alias, expect=expect, to=to)

    def remarks(self, model: transport.Model) -> Sequence[str]:
        said = [
            f"there is also the alias {alias}: a server that loads that one is another matter"
            for alias in model.aliases
            if alias != self.alias and alias.lower() == self.alias.lower()
        ][:1]
        staged = model.stages.get("Production", "")
        if staged and staged != self.version(model):
            said.append(f"stage Production is version {staged}: a server that loads by stage has that one")
        return said


@dataclass(frozen=True)
class Stage:
    """Implements Seat. Whoever leaves a stage goes to Archived, as when MLflow is told to archive what is there."""

    stage: str
    kind = "stage"

    @property
    def name(self) -> str:
        return f"/{self.stage}"

    def version(self, model: transport.Model) -> str:
        found = model.stages.get(self.stage, "")
        if not found:
            known = ", ".join(f"{stage} {number}" for stage, number in sorted(model.stages.items())) or "no version"
            raise Missing(f"{model.name} has no version in stage {self.stage}", hint=f"highest by stage: {known}")
        return found

    def whole(self, speaks: transport.Transport, model: str) -> transport.Version | None:
        del speaks, model
        return None

    def move(self, speaks: transport.Transport, model: str, expect: str, to: str) -> transport.Version | None:
        speaks.promote(model, self.stage, expect=expect, to=to)
        return None

    def remarks(self, model: transport.Model) -> Sequence[str]:
        live = self.version(model)
        others = [f"{alias} is version {number}" for alias, number in sorted(model.aliases.items()) if number != live]
        if not others:
            return ()
        return (f"alias {', '.join(others)}: a server that loads by alias has that one",)
