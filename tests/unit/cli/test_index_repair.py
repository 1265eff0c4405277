"""`ddr index repair` where the work folder, the corpus or the home is not as the version left it."""

from __future__ import annotations

import numpy as np

from benchmarks.corpus import harms
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
