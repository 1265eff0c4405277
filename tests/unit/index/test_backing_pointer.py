"""A restore over a pointer that was lost: it says how it goes on, and that works."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ddr.index.homes import bucket, folder, home
from ddr.stores import memory
from tests.unit.index import backed, published

ELSEWHERE = "../elsewhere/v7"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> published.Made:
    return published.make(tmp_path_factory.mktemp("corpus"), rows=40)


def lost(root: Path, put: Callable[[Path], object] | None) -> home.Home:
    """An empty home, of which `put` made the pointer; None is a bucket."""
    if put is None:
        place = memory.MemoryStore()
        place.create("current", b"{")
        return backed.in_bucket(place)
    at = published.at(root)
    put(at.link)
    return at


@pytest.mark.parametrize("put", [Path.touch, Path.mkdir, None], ids=["a file", "a folder", "of a bucket"])
def test_what_stands_in_its_place_is_put_aside_as_told_or_stays(
    tmp_path: Path, made: published.Made, put: Callable[[Path], object] | None
) -> None:
    at, _, second = backed.two(tmp_path / "home", made)
    vault = backed.Vault()
    vault.run(backed.of(at))
    source, to = vault.source(), lost(tmp_path / "to", put)
    mine = backed.of(to)
    for wish in ("", "recorded", second):
        (refusal,) = mine.plan_restore(source, backed.options(pointer=wish)).refusals
    stays = mine.plan_restore(source, backed.options(pointer="stay"))
    assert (stays.refusals, backed.said(stays)[-1]) == ((), ("note", "pointer"))
    mine.restore(stays, source)
    assert to.versions() == (second,)
    with pytest.raises(home.LostPointer):
        to.current()

    assert refusal.endswith("then the same command again; --with pointer=stay leaves it as it is")
    if isinstance(to, folder.FolderHome):
        (command,) = re.findall("`(.*)`", refusal)
        subprocess.run(shlex.split(command), check=True)
    else:
        assert isinstance(to, bucket.BucketHome)
        assert "delete the object current, then" in refusal
        to.store.delete("current")
    plan = mine.plan_restore(source, backed.options())
    assert (plan.refusals, backed.said(plan)[-1]) == ((), ("create", "pointer"))


def test_a_link_that_leads_elsewhere_goes_where_it_is_told(tmp_path: Path, made: published.Made) -> None:
    """As the hint says: a pointer of somebody else is not taken unasked."""
    at = published.at(tmp_path / "home")
    place = at.root / "versions" / "v1"
    place.mkdir(parents=True)
    (place / "some").write_text("bytes")
    at.point(None, "v1")
    vault = backed.Vault()
    vault.run(backed.of(at))
    source, to = vault.source(), published.at(tmp_path / "to")
    to.link.symlink_to(ELSEWHERE)
    mine = backed.of(to)
    (refusal,) = mine.plan_restore(source, backed.options()).refusals
    assert refusal.endswith("with pointer=recorded or =VERSION points it there; --with pointer=stay leaves it as it is")
    backed.restored(mine, source, backed.options(pointer="stay"))
    assert str(to.link.readlink()) == ELSEWHERE
    for wish in ("recorded", "v1"):
        to.link.unlink()
        to.link.symlink_to(ELSEWHERE)
        backed.restored(mine, source, backed.options(pointer=wish))
        assert to.current() == "v1"
