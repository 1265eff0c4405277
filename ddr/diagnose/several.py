"""Whether more than one layer is broken. A swap of one layer proves nothing about the others then.

A layer counts by a sign of its own: bytes that are not those that were good, a server that answers with something
else, taking it back restores, or a signal that speaks about it alone is bad.
"""

from __future__ import annotations

from collections.abc import Iterator

from ddr.diagnose import scene as scenes
from ddr.diagnose import swap
from ddr.domain import planes, signals


def broken(scene: scenes.Scene, report: swap.Report) -> tuple[planes.Plane, ...]:
    """The layers that are broken each by itself; one or none where there is nothing to tell apart.

    Where two restore by themselves they are wrong only together, and taking one back is enough.
    """
    restoring = [test.plane for test in report.tests if test.restores]
    found = [*restoring[:1], *(plane for plane in _marked(scene, report) if plane not in restoring)]
    return tuple(plane for plane in planes.Plane if plane in found)


def _marked(scene: scenes.Scene, report: swap.Report) -> Iterator[planes.Plane]:
    """A plane's signal also feels the programs around it: where one of those restores and the plane does not, it is
    acquitted. What is said of feature values is about nothing else, and they disturb no other plane's signal.
    """
    programs = {test.plane for test in report.tests if test.restores} - {planes.Plane.FEATURES}
    acquitted = {test.plane for test in report.tests if not test.restores} if programs else set()
    for plane in scene.live:
        is_bad = bool(scene.spoken_of(plane, signals.State.BAD))
        is_acquitted = scene.has_stayed(plane) or plane in acquitted
        if plane is planes.Plane.FEATURES:
            is_acquitted = False
        if scene.is_overwritten(plane) or scene.is_harmed_by_server(plane) or (is_bad and not is_acquitted):
            yield plane
