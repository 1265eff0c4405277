"""Levels 3 and 4 of a check: the version is held against its corpus, and a part is made of it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, DdrError, InputError, Refused, Unavailable
from ddr.index import loading
from ddr.index.homes import naming

if TYPE_CHECKING:
    from ddr.index import check
    from ddr.index.sources import corpus as corpora

CORPUS = "the corpus"
_AGAIN = "`ddr index build --publish`: the corpus is another one by now"
_RESCAN = "`ddr index build --rescan --publish`: the corpus was rewritten under the same sizes and times"
WRONG = "`ddr index repair --level 3 --apply`: the corpus has the rows it had, so the index is what is wrong"
ELSEWHERE = (
    "the same command on another machine: where it finds nothing, this one computes wrongly; else take the work folder"
    " away, and `ddr index build --publish`"
)
_BRING = "bring the corpus back, or `ddr index build --publish` from what it is now"


def compare(look: check.Look) -> str:
    _golden(look)
    if look.means.corpus is None:
        look.skipped.append("level 3: the corpus is not at hand")
        return ""
    from ddr.index import syncing

    try:
        corpus = look.means.corpus()
        if what := _of_another_form(look, corpus):
            look.find(indexes.Trouble.OUT_OF_SYNC, f"{look.version}/{naming.INDEX}", what, _AGAIN)
            return "level 3"
        row_bytes = corpus.dimension * 4
        wanted = syncing.wanted(
            corpus,
            look.manifest,
            look.means.sample,
            lambda rows: look.told(3, rows * row_bytes, corpus.rows * row_bytes),
        )
    except Unavailable as problem:
        return look.away(3, problem)
    except DdrError as problem:
        look.find(indexes.Trouble.OUT_OF_SYNC, CORPUS, f"cannot be read as it was: {problem.message}", _BRING)
        return "level 3"
    look.is_of_same_rows = wanted.scan.digests == look.manifest.scan.digests
    with look.local() as folder:
        if folder is None:
            return "level 3"
        try:
            names = loading.names(folder / naming.NAMES) if look.has_names else None
        except Damaged as problem:
            look.broken(naming.NAMES, problem.message)
            return "level 3"
        labels, rows = syncing.labels_of_sample(wanted, names)
        try:
            seen = look.ask(folder, sample=tuple(labels.tolist()), wants_labels=True)
        except Unavailable as problem:
            return look.away(3, problem)
    if seen is not None:
        is_planned = wanted.corpus.shards == look.manifest.plan.shards
        then = WRONG if look.is_of_same_rows else _RESCAN if is_planned else _AGAIN
        for what in syncing.differences(look.manifest, wanted, seen, names, rows):
            look.find(indexes.Trouble.OUT_OF_SYNC, f"{look.version}/{naming.INDEX}", what, then)
    return f"level 3: {wanted.scan.kept:,} ids are those of the corpus, {len(rows)} sampled vectors are theirs"


def _of_another_form(look: check.Look, corpus: corpora.Corpus) -> str:
    """Why rows cannot even be compared, "" where they can."""
    if (corpus.id_kind == "text") != look.has_names:
        own, others = ("texts", "numbers") if look.has_names else ("numbers", "texts")
        return f"its ids are {own}, those of the corpus are {others}"
    dimension = look.manifest.plan.shape.dimension
    if corpus.dimension != dimension:
        return f"its vectors have {dimension} dimensions, those of the corpus {corpus.dimension}"
    return ""


def _golden(look: check.Look) -> None:
    """Fingerprints are what is said; this is what is so."""
    embedder = look.manifest.embedder
    if look.means.golden is None or not embedder.golden:
        look.skipped.append("golden documents: none were kept, or no model is named to embed them again")
        return
    try:
        found = look.means.golden(embedder)
    except DdrError as problem:
        look.skipped.append(f"golden documents: {problem.message}")
        return
    if found.is_same:
        look.passed.append(f"level 3: {found.sentence}")
    elif found.is_known:
        then = "go back to the embedder that made it, or embed the corpus again: `ddr index build`"
        look.find(indexes.Trouble.OTHER_EMBEDDER, look.version, found.sentence, then)
    else:
        look.skipped.append(f"golden documents: {found.sentence}")


def rebuild(look: check.Look) -> str:
    parts, number = look.manifest.parts, look.means.part
    if look.means.rebuild is None or not parts:
        look.skipped.append("level 4: no part can be made again here")
        return ""
    if not look.manifest.is_deterministic:
        look.skipped.append("level 4: this kind is not the same bytes each time; only its recall proves it")
        return ""
    try:
        found = look.means.rebuild(number)
    except Unavailable as problem:
        return look.away(4, problem)
    except DdrError as problem:
        what = f"cannot be made again: {problem.message}"
        if isinstance(problem, Refused | InputError) or (isinstance(problem, Conflict) and look.is_of_same_rows):
            look.skipped.append(f"level 4: part {number} {what}")
            return ""
        then = _AGAIN if isinstance(problem, Conflict) else _BRING
        look.find(indexes.Trouble.OUT_OF_SYNC, f"part {number}", what, then)
        return "level 4"
    if found.digests and found.digests != look.manifest.scan.digests:
        look.find(indexes.Trouble.OUT_OF_SYNC, CORPUS, "its shards have other rows than when it was built", _RESCAN)
    elif found.sha256 != parts[number]:
        what = "made again of the same rows by the same software it has other bytes"
        look.find(indexes.Trouble.CORRUPT, f"{look.version}/part {number}", what, ELSEWHERE)
    return f"level 4: part {number} made again has the same bytes"
