"""`ddr index repair` where the work folder, the corpus or the home is not as the version left it."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import numpy as np
import pytest

from benchmarks.corpus import harms
from ddr.errors import Unavailable
from ddr.index import syncing
from ddr.index.sources import scan
from tests.unit.cli.test_index_ways_out import Own, own
from tests.unit.index import corpora

__all__ = ["own"]


def test_parts_of_other_queries_are_not_merged(own: Own) -> None:
    own.file.write_text(f"{own.file.read_text()}queries: asked.npy\n")
    np.save(own.root / "asked.npy", corpora.clustered(300, 16, seed=2))
    own.published()
    np.save(own.root / "asked.npy", corpora.clustered(300, 16, seed=3))
    assert own.say("prepare").code == 0
    own.damage(harms.INDEX)
    planned = own.say("repair").document["repair"]
    assert (planned["step"], planned["parts"]) == ("parts", [0, 1, 2])
    assert own.say("repair", "--apply").code == 0
    assert own.place.live.name == own.published(), "what a build makes"


def test_a_corpus_that_was_written_again_with_the_same_rows_is_the_same(own: Own) -> None:
    first = own.published()
    shutil.rmtree(own.place.home / ".work")
    own.damage(harms.INDEX)
    os.utime(own.root / "corpus" / "a.npy", (1, 1))
    before = sorted(own.root.rglob("*"))
    planned = own.say("repair")
    assert (planned.code, planned.document["repair"]["step"]) == (2, "build"), planned.out
    assert "with the rows that they had" in planned.document["repair"]["why"]
    assert sorted(own.root.rglob("*")) == before
    own.corpus(2)
    other = own.say("repair")
    assert (other.code, other.document["repair"]["step"]) == (1, "helpless")
    assert other.document["repair"]["next"].startswith(f"`ddr index build {own.file} --publish`")
    own.corpus(1)
    assert own.say("repair", "--apply").code == 0
    assert own.place.live.name != first
    assert own.say("check", "--level", "3").code == 0


def test_a_corpus_that_lies_elsewhere_with_the_same_rows_is_the_same(own: Own) -> None:
    """What serves already is not built at once where something older could serve sooner."""
    first = own.published()
    own.corpus(2)
    own.published()
    shutil.rmtree(own.place.home / ".work")
    own.damage(harms.INDEX)
    (own.root / "corpus").rename(own.root / "moved")
    own.file.write_text(own.file.read_text().replace("corpus/", "moved/"))
    planned = own.say("repair").document["repair"]
    assert (planned["step"], planned["sooner"]) == ("build", first)
    assert "or moved since" in planned["why"]
    assert own.say("repair", "--apply").code == 0
    assert own.say("check", "--level", "3").code == 0


def test_a_corpus_that_goes_away_while_it_is_read_is_no_other_one(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    first = own.published()
    own.corpus(2)
    own.published()
    shutil.rmtree(own.place.home / ".work")
    own.damage(harms.INDEX)
    os.utime(own.root / "corpus" / "a.npy", (1, 1))
    monkeypatch.setattr(scan, "scan", _away)
    planned = own.say("repair")
    assert (planned.code, planned.document["repair"]["step"], planned.document["repair"]["to"]) == (
        2,
        "roll-back",
        first,
    )
    assert "its corpus cannot be read: the bucket is away" in planned.document["repair"]["why"]


def test_where_the_pointer_leads_nowhere_the_way_back_is_named_before_what_is_built(own: Own) -> None:
    own.published()
    own.corpus(2)
    second = own.published()
    own.set("modelB")
    own.published("--model-also")
    own.set("modelA")
    link = own.place.home / "current"
    link.unlink()
    link.symlink_to("versions/v000099-0123456789ab")
    planned = own.said("repair")
    assert planned.code == 2
    chosen, sooner, then = planned.out.splitlines()[-3:]
    assert "build all of it again" in chosen
    assert sooner.startswith(f"sooner: ddr index rollback {own.file} --to {second} --apply ")
    assert then == f"next: ddr index repair {own.file} --apply"
    assert own.say("rollback", "--to", second, "--apply").code == 0
    assert own.place.live.name == second


@pytest.mark.parametrize("corpus", ["the same", "another", "away", "gone"])
def test_what_was_made_is_looked_at_as_high_as_was_asked(
    own: Own, corpus: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.published()
    own.damage(harms.INDEX)
    if corpus == "another":
        own.corpus(2)
    elif corpus == "away":
        monkeypatch.setattr(syncing, "wanted", _away)
    elif corpus == "gone":
        (own.root / "corpus").rename(own.root / "elsewhere")
    done = own.say("repair", "--level", "3", "--apply")
    after = done.document["after"]
    assert (done.document["repair"]["step"], after["version"]) == ("merge", own.place.live.name)
    if corpus == "another":
        assert (done.code, after["levels"]) == (11, [3])
        assert all(f"`ddr index build {own.file} --publish`" in one["next"] for one in after["findings"])
    elif corpus == "away":
        assert (done.code, after["levels"]) == (0, [])
        assert "level 3: the bucket is away" in after["not_checked"]
    elif corpus == "gone":
        assert (done.code, after["levels"], len(after["not_checked"])) == (0, [], 1)
    else:
        assert (done.code, after["levels"]) == (0, [3])
        assert own.say("repair", "--apply").document["after"] is None, "nothing was made"


def _away(*given: object) -> NoReturn:
    raise Unavailable("the bucket is away")
