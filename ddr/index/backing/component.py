"""An index as a component of a backup.

What goes in by default (`versions: serving`) are the records of all versions and the bytes of the one that serves. A
record alone says everything about an index and brings nothing back: that would be a rebuild, which needs the corpus as
it was, the same software, and hours in which nobody is served. Copying the bytes of what serves takes minutes.
So what serves is there to be put back, and what is served no more is recorded, proved by name and rebuilt if anybody
ever wants it: an index of 10 GB with ten old versions costs 10 GB and not 110. `pinned` adds what somebody pinned,
`all` everything, `records` leaves the bytes out where a rebuild is cheap.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ddr.domain import indexes
from ddr.errors import Conflict, InputError
from ddr.index.backing import capturing, proving, record, restoring
from ddr.index.homes import home
from ddr.ports import restorable

_BUCKET = "s3://"


@dataclass(frozen=True)
class IndexHome:
    """Implements ports.restorable.Rehearsable. `homes` opens another home: a folder, or `s3://bucket/prefix`.

    `wanted` is what ddr.yaml asks for, None for a home that only serves.
    """

    of: home.Home
    homes: Callable[[str], home.Home]
    wanted: indexes.Wanted | None = None
    choice: indexes.Kept = "serving"

    @property
    def where(self) -> str:
        return self.of.name

    def capture(self, sink: restorable.Sink) -> None:
        capturing.capture(self.of, self.wanted, self.choice, sink)

    def plan_restore(self, source: restorable.Source, options: restorable.RestoreOptions) -> restorable.RestorePlan:
        restorable.check_wishes(options, restoring.WISHES)
        if options.target and not options.target.startswith(_BUCKET) and not Path(options.target).is_absolute():
            raise InputError(f"{options.target} is no absolute path", hint="name the folder with its whole path")
        into = options.more.get(restoring.DOCUMENTS, "")
        if into:
            options = dataclasses.replace(
                options, more={**options.more, restoring.DOCUMENTS: str(Path(into).absolute())}
            )
        made = self._restoring(source, options)
        decided = made.decide()
        more = {**options.more, restoring.SEEN: decided.seen, restoring.GOAL: decided.goal}
        more |= {
            restoring.NAMED + step.version.name: step.name for step in decided.steps if step.name != step.version.name
        }
        options = dataclasses.replace(options, more=more)
        return restorable.RestorePlan(source.component.name, made.to.name, options, decided.lines, decided.refusals)

    def restore(
        self, plan: restorable.RestorePlan, source: restorable.Source, progress: restorable.Progress | None = None
    ) -> None:
        made = self._restoring(source, _asked(plan.options))
        decided = made.decide()
        seen, goal = plan.options.more[restoring.SEEN], plan.options.more[restoring.GOAL]
        found = decided.seen
        renamed = any(step.name != _named(plan.options, step.version.name) for step in decided.steps)
        if decided.refusals or renamed or (goal and found not in (seen, goal)):
            what = "; ".join(decided.refusals) or f"it points at {found or 'nothing'}, not at {seen or 'nothing'}"
            what = "somebody published a version meanwhile" if renamed else what
            raise Conflict(
                f"{made.to.name} is not as it was planned for: {what}; nothing was changed",
                expected=seen,
                found=found,
                hint="look again: the same command without --apply",
            )
        made.apply(dataclasses.replace(decided, seen=found, goal=goal), progress)

    def compare(self, plan: restorable.RestorePlan, source: restorable.Source) -> Sequence[restorable.Comparison]:
        more = plan.options.more
        made = self._restoring(source, _asked(plan.options))
        left = {line.what for line in plan.lines if line.does == "leave"}
        found: list[restorable.Comparison] = []
        names = {}
        for version in made.chosen():
            if f"version {version.name}" not in left:
                name = names[version.name] = _named(plan.options, version.name)
                found += proving.of_version(source, made.to, version, name)
        pins = {names[name]: why for name, why in made.said.pins.items() if name in names}
        there = made.to.pins() if pins else {}
        found += proving.of_home(
            made.to, {name: there.get(name, why) for name, why in pins.items()}, more[restoring.GOAL]
        )
        if into := more.get(restoring.DOCUMENTS, ""):
            found += proving.of_documents(source, made.said, Path(into))
        return found

    def rehearse(
        self, source: restorable.Source, folder: Path, progress: restorable.Progress | None = None
    ) -> restorable.Rehearsal:
        """Into a home in the folder. What has bytes is loaded in a limited child and asked the probes that its manifest
        has the answers of; what is only recorded is held against its own name."""
        began = time.monotonic()
        more = {restoring.DOCUMENTS: str(folder / "records")}
        plan = self.plan_restore(source, restorable.RestoreOptions(str(folder / "home"), more=more))
        if plan.refusals:
            return restorable.Rehearsal({}, (), plan.refusals)
        self.restore(plan, source, progress)
        restored_s = time.monotonic() - began
        compared = self.compare(plan, source)
        phases = {"restore": round(restored_s, 3), "compare and ask": round(time.monotonic() - began - restored_s, 3)}
        return restorable.Rehearsal(phases, tuple(compared))

    def _restoring(self, source: restorable.Source, options: restorable.RestoreOptions) -> restoring.Restoring:
        to = self.homes(options.target) if options.target else self.of
        return restoring.Restoring(source, record.read(source), to, options)


def _named(options: restorable.RestoreOptions, version: str) -> str:
    """What the plan calls a version of the snapshot in the home."""
    return options.more.get(restoring.NAMED + version, version)


def _asked(options: restorable.RestoreOptions) -> restorable.RestoreOptions:
    """Without what the plan added."""
    added = (restoring.SEEN, restoring.GOAL)
    more = {
        name: value
        for name, value in options.more.items()
        if name not in added and not name.startswith(restoring.NAMED)
    }
    return dataclasses.replace(options, more=more)
