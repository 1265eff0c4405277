"""Whether the good revision is still there to be gone back to, with the bytes that were good. Only looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ddr.diagnose import scene as scenes
from ddr.domain import planes, releases, revisions
from ddr.errors import DdrError, Missing, Unavailable
from ddr.lib import digest
from ddr.ports import connector
from ddr.ports import platform as platforms


@dataclass(frozen=True)
class Way:
    """`to` is the newest known-good revision that stands, '' where none does; `lost` says why newer ones do not."""

    to: str = ""
    lost: tuple[str, ...] = ()


def look(platform: platforms.Platform, scene: scenes.Scene, plane: planes.Plane) -> Way:
    """From the newest known-good release backwards; what is live is no way back."""
    acting, live = platform.plane(scene.service.name, plane), scene.live.get(plane)
    if not isinstance(acting, connector.Switchable):
        return Way()
    lost: list[str] = []
    for recorded in _recorded(scene, plane):
        if live is not None and recorded.is_same(live):
            continue
        why = damage(acting, recorded) or _block(acting, recorded)
        if not why:
            return Way(recorded.name, tuple(lost))
        lost.append(why)
    return Way("", tuple(lost))


def damage(acting: connector.Switchable, recorded: revisions.Revision) -> str:
    """Why a revision that was good cannot be loaded any more, '' when its bytes are the ones that were good."""
    what = f"{recorded.object} {recorded.name}"
    try:
        now = acting.find(recorded.name)
    except Unavailable as problem:
        return f"{what} cannot be read: {problem.message}"
    except Missing:
        return f"{what} is no longer there"
    except DdrError as problem:
        return f"{what} cannot be read: {problem.message}"
    if recorded.digest and now.digest != recorded.digest:
        was, is_ = digest.short(recorded.digest), digest.short(now.digest) or "unknown"
        return f"{what} is damaged: its bytes were {was} when it was good and are {is_} now"
    return ""


def _block(acting: connector.Switchable, recorded: revisions.Revision) -> str:
    why = acting.find(recorded.name).facts.get(revisions.BLOCKED, "")
    return f"{recorded.object} {recorded.name} is blocked: {why}" if why else ""


def _recorded(scene: scenes.Scene, plane: planes.Plane) -> Iterator[revisions.Revision]:
    seen: set[tuple[str, str]] = set()
    ledgered: list[releases.Release] = [scene.good, *scene.earlier] if scene.good else []
    for release in ledgered:
        found = release.revisions.get(plane)
        if found is not None and (found.name, found.digest) not in seen:
            seen.add((found.name, found.digest))
            yield found
