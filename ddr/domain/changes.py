"""Something that happened to a plane."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ddr.domain import planes
from ddr.lib import redact, timetext


@dataclass(frozen=True)
class Change:
    """When, by whom, from what to what.

    `recorded` is false where no one announced it and ddr found it: then `at` is when it was first seen, and it
    happened after `not_before` where that is known. `layer` names what changed where that is no plane of its own
    (`dependencies`, `data`); `link` is where a person reads on, `detail` what is different inside, on one line.

    `arrived`: the revision came into being (a version was registered), and nothing was moved to it by that.
    """

    plane: planes.Plane
    object: str
    at: datetime
    before: str
    after: str
    actor: str = "unknown"
    summary: str = ""
    source: str = ""
    recorded: bool = True
    not_before: datetime | None = None
    layer: str = ""
    link: str = ""
    detail: str = ""
    arrived: bool = False

    @property
    def what(self) -> str:
        """The layer or the plane, as a timeline's column says it."""
        return self.layer or str(self.plane)

    @property
    def name(self) -> str:
        """How evidence and verdicts call it: `model:digits 2 → 3`, `model:digits 3 registered`."""
        if self.arrived:
            return f"{self.plane}:{self.object} {self.after} registered"
        return f"{self.plane}:{self.object} {self.before or '?'} → {self.after or '?'}"


def deployment(at: datetime, before: str, after: str, actor: str, summary: str) -> dict[str, object]:
    """A record of a deployment log, as ddr writes it."""
    return {"at": timetext.format_time(at), "from": before, "to": after, "actor": actor, "summary": summary}


def of_deployments(
    records: Iterable[Mapping[str, object]], since: datetime, plane: planes.Plane, name: str, source: str
) -> tuple[Change, ...]:
    """A deployment log's `{"at", "from", "to", "actor"?, "summary"?, "link"?, "diff"?}` from `since` on, oldest first.

    A record without a time or a target is left out.
    """
    found = (_of_deployment(record, plane, name, source) for record in records)
    return tuple(sorted((change for change in found if change and change.at >= since), key=lambda change: change.at))


def _of_deployment(record: Mapping[str, object], plane: planes.Plane, name: str, source: str) -> Change | None:
    try:
        at = timetext.parse_time(str(record.get("at")))
    except ValueError:
        return None
    if not record.get("to"):
        return None
    return Change(
        plane,
        name,
        at,
        before=str(record.get("from") or ""),
        after=str(record["to"]),
        actor=str(record.get("actor") or "unknown"),
        summary=str(record.get("summary") or ""),
        source=source,
        link=redact.link(str(record.get("link") or "")),
        detail=str(record.get("diff") or ""),
    )
