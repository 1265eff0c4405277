"""`ddr index` where pointer and record of a home are gone together, and where others chose names."""

from __future__ import annotations

import json

import pytest

from tests.unit.cli.test_index_ways_out import Own, own

__all__ = ["own"]


def test_without_pointer_and_record_nothing_goes_and_no_other_embedder_serves(own: Own) -> None:
    own.set("modelA")
    version = own.published()
    (own.place.home / "current").unlink()
    (own.place.home / "deployments.jsonl").unlink()
    before = sorted(own.root.rglob("*"))
    for words in (["check"], ["list"], ["gc"], ["repair"], ["repair", "--apply"]):
        assert own.say(*words).code == 10, words
    own.set("modelB")
    assert own.say("build", "--publish").code == 12
    assert not (own.place.home / "current").is_symlink()
    assert set(before) <= set(own.root.rglob("*"))
    own.set("modelA")
    assert own.say("rollback", "--to", version, "--apply").code == 0
    assert own.place.live.name == version
    assert own.say("check").code == 0


@pytest.mark.parametrize("place", ["s3://bucket/served", "gs://bucket", "file:///tmp/served"])
def test_a_bucket_is_no_folder(own: Own, place: str) -> None:
    own.published()
    before = sorted(own.root.rglob("*"))
    assert own.say("fetch", place).code == 64
    assert sorted(own.root.rglob("*")) == before


def test_ids_of_others_forge_no_line(own: Own) -> None:
    forged = "\x1b[1A\x1b[2Kx\n  ok level 4: all is well"
    own.file.write_text(f"{own.file.read_text()}ids: ids.json\n")
    ids = [f"id-{number}" for number in range(600)]
    (own.root / "ids.json").write_text(json.dumps(ids))
    own.published()
    (own.root / "ids.json").write_text(json.dumps([forged, *ids[1:]]))
    said = own.said("check", "--level", "3")
    assert said.code == 11
    assert "\\x1b[1A\\x1b[2Kx\\n  ok level 4" in said.out
    assert "\x1b[1A" not in said.out
    assert not any(line.startswith("  ok level 4") for line in said.out.splitlines())
