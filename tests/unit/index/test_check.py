"""Levels 0 to 4 of a check on real indexes: what is whole passes, what does not fit its corpus is named."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import faiss
import numpy as np
import pytest

from ddr.domain import indexes
from ddr.errors import Conflict, DdrError, InputError, Missing, Refused, Unavailable, UnknownName
from ddr.index import check, repair
from ddr.index.engines import files as faiss_files
from ddr.index.homes import home as homes
from ddr.index.homes import writing
from tests.unit.index import published

ALL = (0, 1, 2, 3, 4)
Index = Any
Change = Callable[[Index], Index]


def means(made: published.Made, **more: object) -> check.Means:
    return dataclasses.replace(check.Means(corpus=made.corpus, sample=200), **more)  # type: ignore[arg-type]


def republished(made: published.Made, change: Change) -> published.Made:
    """The index with something done to it, written and digested as if it were meant."""
    changed = change(faiss_files.load(made.files["index.faiss"]))
    file = writing.write(made.files["index.faiss"], lambda sink: faiss_files.serialize_to(changed, sink))
    others = tuple(each for each in made.manifest.files if each.name != "index.faiss")
    return dataclasses.replace(made, manifest=dataclasses.replace(made.manifest, files=(file, *others)))


IDS = ("numbers", "texts", "positions")
PAIRS = list(itertools.product(published.KINDS, IDS))
FEW = set(zip(published.KINDS, (*IDS, *IDS), strict=False))


@pytest.mark.parametrize(
    ("kind", "ids"), [pytest.param(*pair, marks=() if pair in FEW else pytest.mark.long) for pair in PAIRS]
)
def test_what_is_whole_passes(kind: indexes.Kind, ids: str, tmp_path: Path) -> None:
    made = published.make(tmp_path / "corpus", kind, ids=ids, metric=indexes.Metric.COSINE)
    home = published.at(tmp_path / "home")
    version = published.published(home, made)
    found = check.check(home, version, means(made), ALL)
    assert found.findings == ()
    assert found.levels == (0, 1, 2, 3)
    assert found.exit_code == 0
    assert len(found.passed) == 4
    assert any("level 4" in skipped for skipped in found.not_checked)


@pytest.mark.parametrize(
    "harm", [None, lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-1])]
)
def test_every_byte_is_told_once(harm: Callable[[Path], object] | None, tmp_path: Path) -> None:
    home = published.at(tmp_path / "home")
    made = published.make(tmp_path / "corpus", ids="texts")
    version = published.published(home, made)
    if harm:
        harm(published.loosened(tmp_path / "home" / "versions" / version / "index.faiss"))
    told: list[tuple[str, int, int]] = []
    check.check(home, version, check.Means(), (1,), lambda *what: told.append(what))
    total = sum(file.size_bytes for file in made.manifest.files)
    counted = [done for _, done, of in told if of]
    assert counted == sorted(counted)
    assert (counted[-1], counted.count(total), told[-1][2]) == (total, 1, total)


def test_rows_that_are_compared_with_their_corpus_are_told(tmp_path: Path) -> None:
    home = published.at(tmp_path / "home")
    made = published.make(tmp_path / "corpus", rows=60)
    version = published.published(home, made)
    told: list[tuple[str, int, int]] = []
    check.check(home, version, means(made), (3,), lambda *what: told.append(what))
    total = 60 * made.manifest.plan.shape.dimension * 4
    assert told == [("level 3", 0, 0), ("level 3", total, total)]


def shifted(index: Index) -> Index:
    labels = faiss_files.labels(index)
    return relabelled(index, {label: label + 7 for label in labels.tolist()})


def relabelled(index: Index, names: dict[int, int]) -> Index:
    """IVF: each list's ids replaced where they lie."""
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        ids = faiss.rev_swig_ptr(index.invlists.get_ids(number), size)
        ids[:] = [names.get(label, label) for label in ids.tolist()]
    return index


def swapped(index: Index) -> Index:
    """The first and the last fifth of the ids change places."""
    labels = sorted(faiss_files.labels(index).tolist())
    some = len(labels) // 5
    names = dict(zip(labels[:some], labels[-some:], strict=True))
    return relabelled(index, {**names, **{new: old for old, new in names.items()}})


def one_missing_one_extra(index: Index) -> Index:
    return relabelled(index, {5: 6})


def twice(index: Index) -> Index:
    return relabelled(index, {5: 12})


def missing(index: Index) -> Index:
    index.remove_ids(np.array([5, 12, 19], np.int64))
    return index


def lost_probes(index: Index) -> Index:
    index.nprobe = 1
    return index


@pytest.mark.parametrize("kind", [indexes.Kind.IVF_FLAT, pytest.param(indexes.Kind.IVF_PQ, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("change", "levels", "trouble", "said"),
    [
        (shifted, (3,), indexes.Trouble.OUT_OF_SYNC, "1 ids of the corpus are missing: 5"),
        (shifted, (2,), indexes.Trouble.OUT_OF_SYNC, "other ids than its manifest"),
        (swapped, (3,), indexes.Trouble.OUT_OF_SYNC, "have the vector of something else"),
        (swapped, (2,), indexes.Trouble.CORRUPT, "answers to its probes"),
        (one_missing_one_extra, (3,), indexes.Trouble.OUT_OF_SYNC, "1 ids are not in the corpus: 6"),
        (one_missing_one_extra, (2,), indexes.Trouble.OUT_OF_SYNC, "other ids than its manifest"),
        (twice, (2,), indexes.Trouble.CORRUPT, "399 different labels"),
        (twice, (3,), indexes.Trouble.OUT_OF_SYNC, "1 ids are there more than once"),
        (missing, (2,), indexes.Trouble.CORRUPT, "has 397 rows, its manifest says 400"),
        (missing, (3,), indexes.Trouble.OUT_OF_SYNC, "3 ids of the corpus are missing: 5, 12, 19"),
        (lost_probes, (2,), indexes.Trouble.LOW_RECALL, "searches with nprobe 1, was measured with 4"),
    ],
)
def test_an_index_that_is_not_its_corpus(
    change: Change, levels: tuple[int, ...], trouble: indexes.Trouble, said: str, kind: indexes.Kind, tmp_path: Path
) -> None:
    """Its digests are right: it was built wrongly."""
    made = republished(published.make(tmp_path / "corpus", kind), change)
    home = published.at(tmp_path / "home")
    version = published.published(home, made)
    found = check.check(home, version, means(made), levels)
    assert any(finding.trouble is trouble and said in finding.what for finding in found.findings), found.findings
    assert found.exit_code in (10, 11, 13)


def test_names_that_are_shifted_by_one(tmp_path: Path) -> None:
    """The same texts, each one row further: no set of ids tells, only vectors do."""
    made = published.make(tmp_path / "corpus", ids="texts")
    names = made.corpus().texts(0, 400)
    file = writing.write_bytes(made.files["ids.json"], json.dumps([names[-1], *names[:-1]]).encode())
    made = dataclasses.replace(made, manifest=dataclasses.replace(made.manifest, files=(made.manifest.files[0], file)))
    home = published.at(tmp_path / "home")
    version = published.published(home, made, (0, 1, 2))
    found = check.check(home, version, means(made), ALL)
    assert found.exit_code == 11
    assert "have the vector of something else" in found.findings[0].what


def test_a_corpus_that_goes_on(tmp_path: Path) -> None:
    made = published.make(tmp_path / "corpus")
    home = published.at(tmp_path / "home")
    version = published.published(home, made)
    ids = np.load(tmp_path / "corpus/i1.npy")
    ids[-1] = 1
    np.save(tmp_path / "corpus/i1.npy", ids)
    found = check.check(home, version, means(made), (0, 1, 3))
    assert found.exit_code == 11
    said = " | ".join(finding.what for finding in found.findings)
    assert "1 ids of the corpus are missing: 1" in said
    assert "1 ids are not in the corpus: 2798" in said
    assert "shards have other rows than when it was built: number 1" in said
    (tmp_path / "corpus/v1.npy").unlink()
    found = check.check(home, version, means(made), (3,))
    assert found.exit_code == 11
    assert "cannot be read" in found.findings[0].what


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("numbers", "texts", "its ids are numbers, those of the corpus are texts"),
        ("positions", "texts", "its ids are numbers, those of the corpus are texts"),
        ("texts", "numbers", "its ids are texts, those of the corpus are numbers"),
        ("texts", "positions", "its ids are texts, those of the corpus are numbers"),
    ],
)
def test_ids_of_another_kind_are_told_and_built_again(before: str, after: str, said: str, tmp_path: Path) -> None:
    made = published.make(tmp_path / "corpus", ids=before)
    home = published.at(tmp_path / "home")
    version = published.published(home, made)
    other = published.make(tmp_path / "corpus", ids=after)
    found = check.check(home, version, check.Means(corpus=other.corpus), (3,))
    (finding,) = found.findings
    assert (found.exit_code, finding.what) == (11, said)
    assert finding.next.startswith("`ddr index build --publish`")
    decided = repair.decide(home, found, lambda: repair.Left(has_source=True), published.prover(home))
    assert decided.step is repair.Step.BUILD


def test_a_corpus_of_another_dimension_is_told_and_built_again(tmp_path: Path) -> None:
    made = published.make(tmp_path / "corpus")
    home = published.at(tmp_path / "home")
    version = published.published(home, made)
    for path in (tmp_path / "corpus").glob("v*.npy"):
        np.save(path, np.tile(np.load(path), 2))
    found = check.check(home, version, check.Means(corpus=made.corpus), (3,))
    (finding,) = found.findings
    assert (found.exit_code, finding.next.startswith("`ddr index build --publish`")) == (11, True)
    assert "dimensions, those of the corpus" in finding.what


def test_names_that_are_no_list_of_texts_are_damage(tmp_path: Path) -> None:
    made = published.make(tmp_path / "corpus", ids="texts")
    home = published.at(tmp_path / "home")
    version = published.published(home, made)
    published.loosened(home.root / "versions" / version / "ids.json").write_text("[1]")
    found = check.check(home, version, check.Means(corpus=made.corpus), (3,))
    assert (found.exit_code, found.findings[0].where) == (10, f"{version}/ids.json")


def test_what_the_levels_need(tmp_path: Path) -> None:
    made = published.make(tmp_path / "corpus", embedder="sha256:one")
    digest = made.manifest.files[0].sha256
    made = dataclasses.replace(
        made, manifest=dataclasses.replace(made.manifest, parts=(digest, digest), is_deterministic=True)
    )
    home = published.at(tmp_path / "home")
    version = published.published(home, made)
    found = check.check(home, version, check.Means(embedder="sha256:two"), (0, 1))
    assert found.exit_code == 12
    assert found.levels == (0, 1), "another embedder does not end the check"
    means = check.Means(embedder="sha256:one", rebuild=lambda part: check.Again(digest), part=1)
    found = check.check(home, version, means, (4,))
    assert (found.exit_code, found.levels, found.not_checked) == (0, (4,), ())
    found = check.check(home, version, check.Means(rebuild=lambda part: check.Again("sha256:other")), (4,))
    assert found.exit_code == 10
    assert "ddr index repair" not in found.findings[0].next, "which looks at no part"
    away = Unavailable("the bucket does not answer")

    def silent(*_: object) -> NoReturn:
        raise away

    for level, means in ((3, check.Means(corpus=silent)), (4, check.Means(rebuild=silent))):
        with pytest.raises(Unavailable):
            check.check(home, version, means, (0, level))
        means = dataclasses.replace(means, embedder="sha256:two")
        found = check.check(home, version, means, (0, level))
        assert found.exit_code == 12, "what does not answer is no finding"
        assert any(f"level {level}: the bucket does not answer" in one for one in found.not_checked)
    turned = check.Again("sha256:other", ("sha256:rows",))
    found = check.check(home, version, check.Means(rebuild=lambda part: turned), (4,))
    assert found.exit_code == 11, "it is the corpus that has other rows"
    with pytest.raises(UnknownName, match="no part 2"):
        check.check(home, version, check.Means(rebuild=lambda part: check.Again(digest), part=2), (0, 4))
    with pytest.raises(Missing):
        check.check(home, "v000009-0123456789ab", check.Means())


@pytest.mark.parametrize(
    ("problem", "levels", "code"),
    [
        (Refused("this machine makes other bytes than the plan"), (4,), 0),
        (InputError("no file is named q.npy"), (4,), 0),
        (Conflict("v0.npy changed since it was planned"), (3, 4), 0),
        (Conflict("v0.npy changed since it was planned"), (4,), 11),
    ],
)
def test_a_part_that_cannot_be_made_again_here_is_no_finding(
    problem: DdrError, levels: tuple[int, ...], code: int, tmp_path: Path
) -> None:
    """Where level 3 read the same rows, a file that changed is one that has another time."""
    made = published.make(tmp_path / "corpus", rows=60)
    manifest = dataclasses.replace(made.manifest, parts=("sha256:one",), is_deterministic=True)
    home = published.at(tmp_path / "home")
    version = published.published(home, dataclasses.replace(made, manifest=manifest))

    def failing(part: int) -> NoReturn:
        raise problem

    found = check.check(home, version, means(made, rebuild=failing), levels)
    assert found.exit_code == code
    told = [f"level 4: part 0 cannot be made again: {problem.message}"] if code == 0 else []
    assert [one for one in found.not_checked if "level 4" in one] == told
    assert (4 in found.levels) == bool(code)


@pytest.mark.parametrize("put", [Path.mkdir, lambda path: path.symlink_to("/etc/passwd"), Path.touch])
def test_what_somebody_put_into_a_version_is_told(put: Callable[[Path], None], tmp_path: Path) -> None:
    made = published.make(tmp_path / "corpus", rows=40)
    home = published.at(tmp_path / "home")
    version = published.published(home, made)
    put(home.root / "versions" / version / "evil")
    (finding,) = check.check(home, version, check.Means(), (0, 1)).findings
    assert (finding.trouble, finding.where) == (indexes.Trouble.CORRUPT, f"{version}/evil")
    assert not homes.is_whole_at_a_glance(home, version)
