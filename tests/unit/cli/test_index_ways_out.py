"""Whatever was damaged, lost or changed behind its back: each command says what is so, and the next one works."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.corpus import harms, story
from ddr.cli import main
from ddr.lib import jsonl
from tests.unit.index import corpora

_YAML = "home: home\nvectors: [corpus/*.npy]\nkind: ivf-flat\nrowsPerPart: 200\n"


class Own:
    """An index of a file of its own; commands run in this process."""

    def __init__(self, root: Path, captured: Callable[[], Any]) -> None:
        self.root, self._captured = root, captured
        self.file, self.place = root / "own.yaml", harms.Place(root / "home")
        (root / "corpus").mkdir()
        self.set("modelA")
        self.corpus(1)

    def set(self, embedder: str) -> None:
        self.file.write_text(f"{_YAML}embedder: {embedder}\n" if embedder else _YAML)

    def corpus(self, seed: int, rows: int = 600) -> None:
        np.save(self.root / "corpus" / "a.npy", corpora.clustered(rows, 16, seed=seed))

    def said(self, command: str, *words: str) -> story.Done:
        self._captured()
        code = main.run(["index", command, str(self.file), *words])
        said = self._captured()
        assert "Traceback" not in said.err
        return story.Done(code, said.out, said.err)

    def say(self, command: str, *words: str) -> story.Done:
        return self.said(command, *words, "--json")

    def published(self, *words: str) -> str:
        done = self.say("build", "--publish", *words)
        assert done.code == 0, done.err
        return str(done.document["moved"]["after"])

    def damage(self, file: str, version: str = "") -> None:
        path = self.place.home / "versions" / (version or self.place.live.name) / file
        content = path.read_bytes() + b"\n" if file == harms.MANIFEST else harms.flipped(path.read_bytes())
        path.unlink()  # the work folder has the same bytes as the same file
        path.write_bytes(content)

    def lost(self, *, work: bool) -> None:
        """The corpus, and what was built of it."""
        (self.root / "corpus").rename(self.root / "elsewhere")
        if work:
            shutil.rmtree(self.place.home / ".work")


@pytest.fixture
def own(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Own:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return Own(tmp_path, capsys.readouterr)


def test_without_its_corpus_it_is_merged_again_or_gone_back_from_and_nothing_of_use_is_cleaned_away(own: Own) -> None:
    first = own.published()
    own.corpus(2, 500)
    second = own.published()
    own.damage(harms.INDEX)
    own.lost(work=False)
    swept = own.say("gc")
    assert (swept.code, swept.document["work"]) == (0, []), "what was built may be all that is left"
    planned = own.say("repair")
    assert (planned.code, planned.document["repair"]["step"]) == (2, "merge"), planned.err
    assert own.say("repair", "--apply").code == 0
    third = own.place.live.name
    assert third not in (first, second)
    assert own.say("check").code == 0

    shutil.rmtree(own.place.home / ".work")
    own.damage(harms.INDEX)
    planned = own.say("repair")
    assert (planned.document["repair"]["step"], planned.document["repair"]["to"]) == ("roll-back", first), planned.out
    assert own.say("repair", "--apply").code == 0
    assert own.place.live.name == first


def test_nothing_goes_only_where_neither_a_version_nor_a_work_folder_does(own: Own) -> None:
    own.published()
    assert "nothing would go" in own.said("gc", "--dry-run").out
    own.corpus(2)
    own.published()
    for words, verb in ((["--dry-run"], "would go"), ([], "removed")):
        said = own.said("gc", *words).out
        assert said.startswith(f"{verb}: work folder {own.place.home}/.work/"), said
        assert not re.search("^nothing", said, re.MULTILINE), said
    assert "nothing to remove" in own.said("gc").out


def test_a_damaged_manifest_is_mended_from_what_is_left_of_its_work(own: Own) -> None:
    version = own.published()
    own.damage(harms.MANIFEST)
    for level in ("0", "2", "4"):
        assert own.say("check", "--level", level).code == 10
    assert own.say("gc").code == 0
    planned = own.say("repair")
    assert (planned.code, planned.document["repair"]["step"]) == (2, "merge"), planned.out
    assert own.say("repair", "--apply").code == 0
    assert own.place.live.name != version
    assert own.say("check", "--level", "4").code == 0

    own.damage(harms.MANIFEST)
    shutil.rmtree(own.place.home / ".work")
    shutil.rmtree(own.place.home / "versions" / version)
    planned = own.say("repair")
    assert (planned.code, planned.document["repair"]["step"]) == (2, "build"), "the corpus is there"

    own.lost(work=True) if (own.place.home / ".work").exists() else own.lost(work=False)
    helpless = own.said("repair")
    assert helpless.code == 1
    assert "--apply" not in helpless.out
    assert own.said("repair", "--apply").code == 1
    assert "ddr backup restore" not in helpless.err + helpless.out


@pytest.mark.parametrize("is_link", [True, False])
def test_a_pointer_that_leads_out_of_the_home_is_damage_and_a_command_points_it_back(own: Own, is_link: bool) -> None:
    version = own.published()
    link = own.place.home / "current"
    link.unlink()
    if is_link:
        link.symlink_to("/tmp")
    else:
        link.mkdir()
    found = own.say("check")
    assert found.code == 10
    told = found.document["findings"][0]["next"]
    assert f"`ddr index rollback {own.file} --to {version} --apply`" in told
    assert own.say("check", "--level", "4").code == 10
    listed = own.said("list")
    assert listed.code == 10
    assert version in listed.out
    for command in ("rollback", "publish", "repair", "gc", "fetch"):
        done = own.said(command, *([str(own.root / "out")] if command == "fetch" else []))
        assert done.code == 10, (command, done.err)
        assert "ddr index" in done.err
    if not is_link:
        assert f"mv {link} {link}.old" in told
        link.rename(f"{link}.old")
    back = own.said("rollback", "--to", version, "--apply")
    assert back.code == 0, back.err
    assert own.place.live.name == version
    assert own.say("check").code == 0


def _typed(own: Own, done: story.Done) -> story.Done:
    """The command that was told, as it stands: the only one on its line, or the first of those in a sentence."""
    text = done.out + done.err
    words = shlex.split((re.findall(r"next: ddr (.*)", text) or re.findall(r"`ddr ([^`]*)`", text))[0])
    assert (words[0], words[2]) == ("index", str(own.file)), words
    return own.said(words[1], *words[3:])


@pytest.mark.parametrize(
    "harm",
    ["bytes", "bytes of all", "pointer", "pointer and bytes", "pointer is a folder", "pointer is a link, bytes of all"],
)
def test_whoever_types_what_is_told_gets_out(own: Own, harm: str) -> None:
    own.published()
    if harm in ("bytes", "pointer"):
        own.corpus(2)
        own.published()
    link = own.place.home / "current"
    for version in (own.place.home / "versions").iterdir():
        if "bytes" in harm and (version.name == own.place.live.name or harm != "bytes"):
            own.damage(harms.INDEX, version.name)
    if "pointer" in harm:
        link.unlink()
    if "pointer is" in harm:
        link.mkdir() if "folder" in harm else link.symlink_to("/tmp")
    done = own.said("check")
    assert done.code == 10
    while done.code:
        assert done.code in (2, 10), done.err
        for words in re.findall(r"`((?:mv|rm) [^`]*)`", done.out + done.err):
            subprocess.run(shlex.split(words), check=True)
        done = _typed(own, done)
    assert own.said("check").code == 0


def test_one_file_too_many_does_not_hide_whether_the_others_are_whole(own: Own) -> None:
    own.published()
    (own.place.live / "notes.txt").write_text("for later")
    found = own.say("check")
    assert (found.code, found.document["levels"]) == (10, [0, 1, 2])
    own.damage(harms.INDEX)
    assert len(own.say("check").document["findings"]) == 2


def test_a_record_of_moves_that_cannot_be_read_is_told(own: Own) -> None:
    own.published()
    log = own.place.home / "deployments.jsonl"
    log.write_text("garbage\n" + log.read_text())
    found = own.say("check")
    assert found.code == 0
    assert [text for text in found.document["not_checked"] if "1 line of" in text]


def test_a_home_that_is_a_link_to_nowhere_is_told_as_one(own: Own) -> None:
    own.place.home.symlink_to("not-mounted")
    done = own.said("build", "--publish")
    assert done.code == 64
    assert "is a link to not-mounted, which is not there" in done.err


@pytest.mark.parametrize(("why", "kept"), [("", ""), (" \n", ""), ("for the\naudit", "for the audit")])
def test_a_pin_says_why_on_one_line(own: Own, why: str, kept: str) -> None:
    version = own.published()
    done = own.said("pin", version, "--why", why)
    assert done.code == (0 if kept else 64), done.err
    assert own.say("list").document["versions"][0]["pinned"] == kept


def test_where_nobody_knows_what_made_the_vectors_a_person_publishes(own: Own) -> None:
    own.published()
    (own.place.home / "deployments.jsonl").write_text("")
    own.damage(harms.MANIFEST)
    planned = own.say("repair")
    assert (planned.code, planned.document["repair"]["step"]) == (2, "build")
    assert f"`ddr index publish {own.file} --model-also`" in planned.document["repair"]["why"]
    refused = own.said("repair", "--apply")
    assert refused.code == 12
    assert _typed(own, refused).code == 0
    assert own.said("check").code == 0


def test_the_home_of_another_index_is_taken_only_by_its_name(own: Own) -> None:
    first = own.published()
    own.file = own.file.rename(own.root / "renamed.yaml")
    refused = own.said("build", "--publish")
    assert (refused.code, len(list(own.place.home.glob(".work/*")))) == (1, 1), "before anything is built"
    (told,) = re.findall(r"`ddr index build (.*?)`", refused.err)
    assert own.said("build").code == 0
    assert own.said("publish").code == 1
    assert own.place.live.name == first
    assert main.run(["index", "build", *shlex.split(told)]) == 0
    assert own.place.live.name != first


def test_no_repair_builds_a_renamed_index_in_vain(own: Own) -> None:
    own.published()
    own.file = own.file.rename(own.root / "renamed.yaml")
    own.damage(harms.INDEX)
    shutil.rmtree(own.place.home / ".work")
    refused = own.said("repair", "--apply")
    assert (refused.code, "--instead-of own" in refused.err) == (1, True), refused.err
    assert not (own.place.home / ".work").exists()


def test_going_back_across_embedders_ends_with_its_own_code_and_names_the_way(own: Own) -> None:
    first = own.published()
    own.set("modelB")
    second = own.published("--model-also")
    refused = own.said("rollback")
    assert refused.code == 12, refused.err
    assert f"--to {first} --model-also" in refused.err
    own.set("modelC")
    assert own.say("check").code == 12
    repaired = own.say("repair")
    assert (repaired.code, repaired.document["repair"]["step"]) == (1, "helpless")
    assert "modelC" in repaired.document["repair"]["why"]
    assert "at hand" not in repaired.document["repair"]["why"]
    own.set("modelA")
    assert own.say("repair").document["repair"]["to"] == first
    own.set("modelB")
    assert own.say("rollback", "--model-also", "--apply").code == 0
    assert own.place.live.name == first
    assert second != first


def test_what_made_the_vectors_that_serve_is_known_or_nothing_is_published_over_them(own: Own) -> None:
    first = own.published()
    own.damage(harms.MANIFEST)
    own.set("modelB")
    refused = own.said("build", "--publish")
    assert refused.code == 12, refused.out
    assert "modelA" in refused.err, "the record of moves knows"
    assert own.place.live.name == first
    link = own.place.home / "current"
    target = link.readlink()
    link.unlink()
    assert own.said("publish").code == 12, "a pointer that was lost does not open the door"
    link.symlink_to(target)
    own.set("modelA")
    second = own.published()
    assert second != first
    assert own.said("rollback", "--to", first).code == 10
    (own.place.home / "versions" / first / harms.MANIFEST).unlink()
    assert own.said("rollback", "--to", first).code == 10

    own.damage(harms.MANIFEST)
    log = own.place.home / "deployments.jsonl"
    silent = [{key: one[key] for key in one.keys() - {"plan", "embedder"}} for one in jsonl.read(log).objects]
    log.write_text("".join(json.dumps(one) + "\n" for one in silent))
    own.corpus(3)
    refused = own.said("build", "--publish")
    assert refused.code == 12, "nobody knows"
    assert "--model-also" in refused.err
    assert own.place.live.name == second
    assert own.published("--model-also") != second


def test_a_corpus_that_was_rewritten_under_its_size_and_time_is_told_and_built_again(own: Own) -> None:
    first = own.published()
    path = own.root / "corpus" / "a.npy"
    before = path.stat()
    own.corpus(9)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert own.published() == first, "sizes and times are trusted"
    for level in ("3", "4"):
        found = own.say("check", "--level", level)
        assert found.code == 11, found.out
        told = f"`ddr index build {own.file} --rescan --publish`"
        assert all(one["next"].startswith(told) for one in found.document["findings"]), found.out
    planned = own.said("repair")
    assert planned.code == 0
    assert "--level 3" in planned.out, "what was not looked at is said"
    assert f"next: ddr index repair {own.file} --level 3 --apply" in own.said("repair", "--level", "3").out
    planned = own.say("repair", "--level", "3")
    assert (planned.code, planned.document["repair"]["step"]) == (2, "build")
    second = own.published("--rescan")
    assert second != first
    assert own.say("check", "--level", "4").code == 0
    assert own.published("--rescan") == second, "what is the same is not made again"

    own.corpus(10)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert own.say("repair", "--level", "3", "--apply").code == 0
    assert own.say("check", "--level", "3").code == 0


def test_a_part_that_is_not_there_is_a_wrong_word(own: Own) -> None:
    own.published()
    done = own.said("check", "--level", "4", "--part", "5")
    assert done.code == 64, done.err
    assert "0 to 2" in done.err


def test_many_findings_stand_below_one_another(own: Own) -> None:
    versions = []
    for seed in range(4):
        own.corpus(seed, 300)
        versions.append(own.published())
    for version in versions[:3]:
        own.damage(harms.MANIFEST, version)
    listed = own.said("list")
    assert listed.code == 10
    assert max(len(line.rstrip()) for line in listed.out.splitlines() if line.startswith("  v0")) < 120, listed.out
    assert all(f"BAD {one}: " in listed.out for one in versions[:3])
    refused = own.said("rollback")
    assert refused.code == 1
    assert all(any(line.strip().startswith(f"{one}:") for line in refused.err.splitlines()) for one in versions[:3])


def test_a_version_that_is_gone_is_merged_again_from_its_parts(own: Own) -> None:
    own.published()
    own.corpus(2)
    gone = own.published()
    shutil.rmtree(own.place.home / "versions" / gone)
    assert own.say("check").code == 10
    planned = own.say("repair")
    assert (planned.code, planned.document["repair"]["step"]) == (2, "merge"), planned.err
    assert own.say("repair", "--apply").code == 0
    assert own.place.live.is_dir()
    assert own.say("check", "--level", "3").code == 0


def test_a_record_that_is_gone_sends_nobody_forward(own: Own) -> None:
    first = own.published()
    own.corpus(2)
    bad = own.published()
    assert own.said("rollback", "--apply").code == 0
    (own.place.home / "deployments.jsonl").unlink()
    refused = own.said("rollback", "--apply")
    assert refused.code == 1
    assert f"--to {bad}" in refused.err
    assert own.place.live.name == first
    assert "tells no move" in "".join(own.say("check").document["not_checked"])
