"""Which work folders are worth something, and of which plan a version is when its manifest cannot be read any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddr.domain import indexes
from ddr.errors import Damaged, Missing
from ddr.index import codec, plans
from ddr.index import work as works
from ddr.index.homes import home, naming
from ddr.ports import store


@dataclass(frozen=True)
class Old:
    """`gone` may go; `why` nothing may, "" where that is decided."""

    gone: tuple[works.Stages, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Folders:
    """Those of one index: below `root`, and what `depot` has of them."""

    root: Path
    depot: store.Store | None = None

    def plan_of(self, of: home.Home, version: str) -> indexes.Plan | None:
        """That of a version: by its manifest, else by the record of moves where its work folder is still there."""
        try:
            return of.manifest(version).plan
        except (Damaged, Missing):
            published = home.published(of.moves(), version)
        if published is None:
            return None
        found = [one.plan for one in works.all_of(self.root, self.depot)]
        return next((plan for plan in found if codec.key(plan) == published.plan), None)

    def old(self, of: home.Home, wanted: indexes.Wanted, shards: Sequence[indexes.Shard] | None) -> Old:
        """Those of other plans than that of the corpus and that of the version that serves. All stay where either is
        not known: they may be all there is to repair with. `shards`: of the corpus as it is now, None where it is away.
        """
        found = works.all_of(self.root, self.depot)
        if shards is None:
            return Old(why="the corpus is not at hand, what was built of it may be all there is") if found else Old()
        kept = set()
        current = of.current()
        if current and naming.is_ours(current):
            live = self.plan_of(of, current)
            if live is None and found:
                return Old(why=f"by which plan {current} was built is not known: its manifest cannot be read")
            kept |= {codec.key(live)} if live else set()
        begun = plans.begun(self.root, wanted, shards)
        if begun is not None:
            kept.add(codec.key(begun))
        return Old(tuple(one for one in found if codec.key(one.plan) not in kept))
