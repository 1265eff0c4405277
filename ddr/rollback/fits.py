"""Whether a target fits the planes that stay, and if not, the smallest combination that would fit. Pure.

A fact that two planes both carry must be the same on both: the inputs a model wants and the features give
(`inputs_schema`), the embedder an index was built with and the service asks with (`embedder`).

Where no plane says what the service asks with, known-good releases do: what asked an index of one embedder in them asks
with that. Where it asked others alone, an index goes back together with what asks it, and what asks is told of an index
that stays.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from ddr.domain import index_versions, planes, plans, releases, revisions, signals
from ddr.lib import digest

_NAMED = 3
"""Packages that are told by name."""

_SPOKEN = {revisions.INPUTS_SCHEMA: "input columns", revisions.EMBEDDER: "embedder"}

EMBEDDER = f"fits {_SPOKEN[revisions.EMBEDDER]}"
"""The name of its check."""

_CARRIERS: Mapping[str, tuple[planes.Plane, ...]] = {
    revisions.INPUTS_SCHEMA: (planes.Plane.MODEL, planes.Plane.FEATURES),
    revisions.EMBEDDER: (planes.Plane.INDEX,),
}
"""The planes that must say it; another plane may say it too and is then held to it."""

_ASKING = (planes.Plane.MODEL, planes.Plane.CODE)
"""What may have the embedder of the queries, or its address, without saying so."""


def checks(
    plane: planes.Plane,
    after: Mapping[planes.Plane, revisions.Revision],
    was: Mapping[planes.Plane, revisions.Revision],
    good: Sequence[releases.Release],
    unread: Mapping[planes.Plane, str],
) -> tuple[plans.Check, ...]:
    """One check for every fact the plane's revisions carry: all planes as they will be, and as they are now. Of what
    may ask an index that stays also where it asked others alone.

    `good` are known-good releases, newest first.
    """
    found: list[plans.Check] = []
    for fact in (revisions.INPUTS_SCHEMA, revisions.EMBEDDER):
        if plane in _CARRIERS[fact] or fact in after[plane].facts or fact in was[plane].facts:
            found.append(_check(fact, plane, after, was, good, unread))
    if plane in _ASKING and not _crosses(after, was):
        found += _asks_another(after, good)
    return tuple(found)


def _check(
    fact: str,
    plane: planes.Plane,
    after: Mapping[planes.Plane, revisions.Revision],
    was: Mapping[planes.Plane, revisions.Revision],
    good: Sequence[releases.Release],
    unread: Mapping[planes.Plane, str],
) -> plans.Check:
    name, what = f"fits {_SPOKEN[fact]}", _SPOKEN[fact]
    mine = after[plane].facts.get(fact, "")
    others = {
        other: revision.facts[fact] for other, revision in after.items() if other != plane and fact in revision.facts
    }
    silent = [f"{other}: {why}" for other, why in unread.items() if other in _CARRIERS[fact]]
    if fact == revisions.EMBEDDER and plane is planes.Plane.INDEX and _crosses(after, was):
        return _crossing(name, after, was, good)
    if not mine or not others:
        why = f"{after[plane]} does not say its {what}" if not mine else f"no other plane says its {what}"
        return plans.Check(name, signals.State.UNKNOWN, "; ".join([why, *silent]))
    wrong = [other for other, value in others.items() if value != mine]
    if not wrong:
        against = ", ".join(f"{other} {after[other].name}" for other in others)
        return plans.Check(name, signals.State.OK, f"{what} {digest.short(mine)} as on {against}")
    differs = ", ".join(f"{other} {after[other].name} has {digest.short(others[other])}" for other in wrong)
    way_out = smallest_fit(plane, after, was, good)
    detail = f"{after[plane].object} {after[plane].name} has {what} {digest.short(mine)}, but {differs}; {way_out}"
    return plans.Check(name, signals.State.BAD, detail)


def _crossing(
    name: str,
    after: Mapping[planes.Plane, revisions.Revision],
    was: Mapping[planes.Plane, revisions.Revision],
    good: Sequence[releases.Release],
) -> plans.Check:
    """Of an index that crosses: refused where all that may ask it served with others alone."""
    to, serves = after[planes.Plane.INDEX], was[planes.Plane.INDEX]
    mine, its = to.facts[revisions.EMBEDDER], serves.facts.get(revisions.EMBEDDER)
    has = f"has {digest.short(its)}" if its else "does not say its own"
    what = f"{to.object} {to.name} has embedder {digest.short(mine)}, but {serves.name}, which serves, {has}"
    asking = [plane for plane in _ASKING if plane in after]
    named = " and ".join(f"{plane} {after[plane].name}" for plane in asking) or "the service"
    asked = {_embedder(release): release for release in reversed(good) if _asked(release, after)}
    if mine in asked:
        known = f"{named} served with one of that in the known-good release {asked[mine].id}"
        return plans.Check(name, signals.State.UNKNOWN, f"{what}; {known}")
    way_out = smallest_fit(planes.Plane.INDEX, after, was, good)
    if not asked:
        known = f"whether the queries of {named} are made by it is not known"
        return plans.Check(name, signals.State.UNKNOWN, f"{what}; {known}; {way_out}")
    ways = [f"--with {plane}=REVISION" for plane in asking]
    if index_versions.is_ours(to.name):
        ways.append(f"`ddr index rollback --to {to.name} --model-also`")
    others = " and ".join(digest.short(one) for one in asked)
    known = f"in known-good releases {named} served with one of {others} alone"
    what = f"{what}; {known}; {way_out}; what asks with it may go along: {' or '.join(ways)}"
    return plans.Check(name, signals.State.BAD, what)


def _asks_another(
    after: Mapping[planes.Plane, revisions.Revision], good: Sequence[releases.Release]
) -> list[plans.Check]:
    """Of the index that stays, where all that may ask it served with indexes of other embedders alone, as far as known.

    UNKNOWN, not BAD: the queries may be made by something that is on no plane, and was changed with the index.
    """
    index = after.get(planes.Plane.INDEX)
    if index is None or _carry_embedder(after) != [planes.Plane.INDEX]:
        return []
    mine = index.facts[revisions.EMBEDDER]
    asked = {_embedder(release): release for release in reversed(good) if _asked(release, after)}
    if not asked or mine in asked:
        return []
    newest = next(release for release in good if release in asked.values())
    then = newest.revisions[planes.Plane.INDEX]
    named = " and ".join(f"{plane} {after[plane].name}" for plane in _ASKING if plane in after)
    what = f"{index.object} {index.name}, which stays, has embedder {digest.short(mine)}"
    known = f"in known-good releases {named} served with one of {' and '.join(map(digest.short, asked))} alone"
    way_out = f"the index of then goes along by --with index={then.name} (release {newest.id})"
    return [plans.Check(EMBEDDER, signals.State.UNKNOWN, f"{what}; {known}; {way_out}")]


def smallest_fit(
    plane: planes.Plane,
    after: Mapping[planes.Plane, revisions.Revision],
    was: Mapping[planes.Plane, revisions.Revision],
    good: Sequence[releases.Release],
) -> str:
    """The fewest other planes to take back as well, as text."""
    found = smallest(plane, after, was, good)
    if found is None:
        return "no known-good combination fits it"
    back, release = found
    spoken = " and ".join(f"{other} to {revision.name}" for other, revision in back.items())
    return f"it fits together with {spoken} (release {release.id})"


def smallest(
    plane: planes.Plane,
    after: Mapping[planes.Plane, revisions.Revision],
    was: Mapping[planes.Plane, revisions.Revision],
    good: Sequence[releases.Release],
) -> tuple[Mapping[planes.Plane, revisions.Revision], releases.Release] | None:
    """The fewest other planes to take back as well, to revisions of known-good releases, newest first."""
    others = [other for other in after if other is not plane and other in planes.ROLLED_BACK]
    for size in range(1, len(others) + 1):
        for chosen in itertools.combinations(others, size):
            for release in good:
                back = {other: release.revisions[other] for other in chosen if other in release.revisions}
                moves = all(other in back and _is_way(after[other], back[other]) for other in chosen)
                if moves and fit({**after, **back}, was, release):
                    return back, release
    return None


def runtime(
    after: Mapping[planes.Plane, revisions.Revision],
    was: Mapping[planes.Plane, revisions.Revision],
    good: Sequence[releases.Release] = (),
) -> plans.Check:
    """Whether the code that will run can load the model that will be live: flavor, Python, pinned packages.

    What is as it is now fits, because it runs now, and so does what served together in a known-good release. A Python
    of another minor version than the code's is BAD where the model that runs now has the code's; what nobody says is
    UNKNOWN, and the server's own loading is the proof.
    """
    name = "fits the code's runtime"
    model, code = after.get(planes.Plane.MODEL), after.get(planes.Plane.CODE)
    if model is None or code is None:
        return plans.Check(name, signals.State.UNKNOWN, "model or code cannot be read")
    together = next((release for release in good if _served(release, model) and _served(release, code)), None)
    if together is not None:
        what = f"code {code.name} served model {model.name} in the known-good release {together.id}"
        return plans.Check(name, signals.State.OK, what)
    before = was.get(planes.Plane.MODEL, model)
    same_code = planes.Plane.CODE in was and was[planes.Plane.CODE].is_same(code)
    fine, open_ = [], []
    for fact in (revisions.FLAVOR, revisions.PYTHON):
        needs, has = model.facts.get(fact, ""), code.facts.get(fact, "")
        ran = before.facts.get(fact, "") if same_code else ""  # what ran with other code says nothing of this one
        if fact == revisions.PYTHON:
            needs, has, ran = _minor(needs), _minor(has), _minor(ran)
        if needs and needs in (has, ran):
            fine.append(f"{fact} {needs}")
        elif not needs or not (has or ran):
            open_.append(f"{fact}: {'the model' if not needs else f'code {code.name}'} does not say")
        elif fact == revisions.PYTHON and has and has == ran:
            what = f"{model.object} {model.name} was made with Python {needs}, code {code.name} runs {has}"
            return plans.Check(name, signals.State.BAD, f"{what}; roll the code back with it, or name another model")
        else:
            open_.append(f"{fact} {needs} is new to the code, which has {has or ran}")
    ran_with = before if same_code else code
    text, is_fine = _packages(model, code, ran_with)
    (fine if is_fine else open_).append(text)
    state = signals.State.UNKNOWN if open_ else signals.State.OK
    return plans.Check(name, state, "; ".join([*open_, *fine]))


def _served(release: releases.Release, revision: revisions.Revision) -> bool:
    """Whether it was live in the release, with these bytes. Bytes that nobody knows prove nothing."""
    recorded = release.revisions.get(revision.plane)
    return recorded is not None and bool(recorded.digest and revision.digest) and recorded.is_same(revision)


def _packages(model: revisions.Revision, code: revisions.Revision, ran_with: revisions.Revision) -> tuple[str, bool]:
    """What is to say of the packages a model pins, and whether that is all right.

    They are held to those the code pins, and where it pins none, to those of the model that this code runs now.
    """
    needs = revisions.versions_of(model.facts.get(revisions.PACKAGES, ""))
    if not needs:
        return "packages: the model pins none", False
    has = revisions.versions_of(code.facts.get(revisions.PACKAGES, ""))
    whose = "the code" if has else "the model that runs now"
    has = has or revisions.versions_of(ran_with.facts.get(revisions.PACKAGES, ""))
    if not has:
        return "packages: the code pins none", False
    other = [
        f"{name} {version} ({whose} has {has.get(name, 'none')})"
        for name, version in needs.items()
        if has.get(name) != version
    ]
    if other:
        more = f" and {len(other) - _NAMED} more" if len(other) > _NAMED else ""
        return f"packages: made with {', '.join(other[:_NAMED])}{more}", False
    return f"{len(needs)} packages as {whose}", True


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _is_way(now: revisions.Revision, back: revisions.Revision) -> bool:
    """Whether `back` is another revision, and says every fact that the one it would replace says."""
    return not back.is_same(now) and all(fact in back.facts for fact in _CARRIERS if fact in now.facts)


def fit(
    after: Mapping[planes.Plane, revisions.Revision],
    was: Mapping[planes.Plane, revisions.Revision],
    release: releases.Release,
) -> bool:
    """Whether all planes agree, and an index that crosses goes with what asked one of its embedder in `release`."""
    if not _crosses(after, was):
        return _agree(after)
    return _agree(after) and _asked(release, after) and is_of_its_embedder(release, after)


def is_of_its_embedder(release: releases.Release, after: Mapping[planes.Plane, revisions.Revision]) -> bool:
    """Whether the release has an index of the embedder that the index will have; False where either is not known."""
    index = after.get(planes.Plane.INDEX)
    mine = index.facts.get(revisions.EMBEDDER, "") if index else ""
    return bool(mine) and _embedder(release) == mine


def _crosses(after: Mapping[planes.Plane, revisions.Revision], was: Mapping[planes.Plane, revisions.Revision]) -> bool:
    """Whether the index will be of another embedder than the one that serves, as far as that is known, and no other
    plane says its own."""
    if planes.Plane.INDEX not in after or planes.Plane.INDEX not in was:
        return False
    to, serves = (index.facts.get(revisions.EMBEDDER) for index in (after[planes.Plane.INDEX], was[planes.Plane.INDEX]))
    return bool(to) and to != serves and _carry_embedder(after) == [planes.Plane.INDEX]


def _carry_embedder(after: Mapping[planes.Plane, revisions.Revision]) -> list[planes.Plane]:
    return [plane for plane, revision in after.items() if revision.facts.get(revisions.EMBEDDER)]


def _asked(release: releases.Release, after: Mapping[planes.Plane, revisions.Revision]) -> bool:
    """Whether all that may ask an index asked that of the release, whose embedder is known, as it will be."""
    asking = [plane for plane in _ASKING if plane in after or plane in release.revisions]
    return bool(asking and _embedder(release)) and all(
        plane in after and _served(release, after[plane]) for plane in asking
    )


def _embedder(release: releases.Release) -> str:
    index = release.revisions.get(planes.Plane.INDEX)
    return index.facts.get(revisions.EMBEDDER, "") if index else ""


def _agree(all_planes: Mapping[planes.Plane, revisions.Revision]) -> bool:
    for fact in _CARRIERS:
        if len({revision.facts[fact] for revision in all_planes.values() if fact in revision.facts}) > 1:
            return False
    return True
