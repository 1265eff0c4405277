"""Which work folders are worth something, and of which plan a version is when its manifest cannot be read any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, Missing, Unavailable
from ddr.index import codec, plans
from ddr.index import work as works
from ddr.index.homes import home, naming
from ddr.ports import store

_AT_WORK = "a build is at it"


@dataclass(frozen=True)
class Kept:
    """One that stays though it is of no use to this index."""

    folder: Path
    why: str


@dataclass(frozen=True)
class Old:
    """`gone` may go; `why` nothing may, "" where that is decided."""

    gone: tuple[works.Stages, ...] = ()
    why: str = ""
    kept: tuple[Kept, ...] = ()

    def with_old(self, more: Sequence[works.Stages]) -> Old:
        """These may go, too, but for those where somebody works now, and those of another person."""
        gone, kept = [], []
        for one in more:
            try:
                if not one.is_held():
                    gone.append(one)
                    continue
                why = _AT_WORK
            except Unavailable as problem:
                why = problem.message
            kept.append(Kept(one.folder, why))
        return replace(self, gone=(*self.gone, *gone), kept=(*self.kept, *kept))

    def with_kept(self, more: Sequence[works.Stages], why: str) -> Old:
        return replace(self, kept=(*self.kept, *(Kept(one.folder, why) for one in more)))

    def forgotten(self) -> Old:
        """Delete what may go. What it returns is what went, and what stayed."""
        gone, kept = [], []
        for one in self.gone:
            try:
                one.forget()
            except works.Held:
                kept.append(Kept(one.folder, _AT_WORK))
                continue
            except Unavailable as problem:
                kept.append(Kept(one.folder, problem.message))
                continue
            except Conflict:
                pass  # another process deleted it
            gone.append(one)
        return replace(self, gone=tuple(gone), kept=(*self.kept, *kept))


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
        """Those of other corpora than that of now and that of the version that serves. All stay where either is not
        known: they may be all there is to repair with. `shards`: of the corpus as it is now, None where it is away.
        What is left of one that was being deleted goes in any case.

        Other indexes may have theirs below the same root: of those nothing is known here.
        """
        ours, kept = [], [Kept(one, "its plan cannot be read") for one in works.unread(self.root)]
        for one in works.all_of(self.root, self.depot):
            its = one.plan.wanted
            if (its.name, its.home) == (wanted.name, wanted.home):
                ours.append(one)
            else:
                kept.append(Kept(one.folder, f"it is of index {its.name} in {its.home}"))
        stay = Old(kept=tuple(kept)).with_old(works.left(self.root))
        if not ours:
            return stay
        if shards is None:
            return replace(stay, why="the corpus is not at hand, what was built of it may be all there is")
        needed: dict[str, str] = {}
        current = of.current()
        if current and naming.is_ours(current):
            live = self.plan_of(of, current)
            if live is None:
                return replace(stay, why=f"by which plan {current} was built is not known: its manifest cannot be read")
            needed[codec.key(live)] = "what serves was made in it"
        of_now = [codec.key(one.plan) for one in ours if plans.is_of(one.plan, wanted, shards)]
        needed = {**dict.fromkeys(of_now, "it is of the corpus as it is now"), **needed}
        told = tuple(Kept(one.folder, needed[key]) for one in ours if (key := codec.key(one.plan)) in needed)
        stay = replace(stay, kept=(*stay.kept, *told))
        return stay.with_old([one for one in ours if codec.key(one.plan) not in needed])

    def with_vectors(self, old: Old, vectors: Sequence[works.Stages]) -> Old:
        """`vectors`: folders of those that were made of texts, by embedders of no use to this index. What a plan that
        stays reads stays, too."""
        gone = {one.folder for one in old.gone}
        staying = [one.plan for one in works.all_of(self.root) if one.folder not in gone]
        read = {Path(shard.uri).resolve().parent for plan in staying for shard in plan.shards}
        unread = [one for one in vectors if one.folder.resolve() not in read]
        more = [Kept(one.folder, "another work folder is made of it") for one in vectors if one not in unread]
        found = old.with_old(unread)
        return replace(found, kept=(*found.kept, *more))
