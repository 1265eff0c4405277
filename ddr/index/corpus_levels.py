"""Levels 3 and 4 of a check: the version is held against its corpus, and a part is made of it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, DdrError, Unavailable
from ddr.index import loading
from ddr.index.homes import naming

if TYPE_CHECKING:
    from ddr.index import check, syncing

CORPUS = "the corpus"
_AGAIN = "`ddr index build --publish`: the corpus is another one by now"
_RESCAN = "`ddr index build --rescan --publish`: the corpus was rewritten under the same sizes and times"
WRONG = "`ddr index repair --level 3 --apply`: the corpus has the rows it had, so the index is what is wrong"
_BRING = "bring the corpus back, or `ddr index build --publish` from what it is now"


def compare(look: check.Look) -> str:
    _golden(look)
    if look.means.corpus is None:
        look.skipped.append("level 3: the corpus is not at hand")
        return ""
    from ddr.index import syncing

    try:
        corpus = look.means.corpus()
        if (corpus.id_kind == "text") != look.has_names:
            own, others = ("texts", "numbers") if look.has_names else ("numbers", "texts")
            what = f"its ids are {own}, those of the corpus are {others}"
            look.find(indexes.Trouble.OUT_OF_SYNC, f"{look.version}/{naming.INDEX}", what, _AGAIN)
            return "level 3"
        wanted = syncing.wanted(corpus, look.manifest, look.means.sample)
    except Unavailable as problem:
        return look.away(3, problem)
    except DdrError as problem:
        look.find(indexes.Trouble.OUT_OF_SYNC, CORPUS, f"cannot be read as it was: {problem.message}", _BRING)
        return "level 3"
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
        then = _remedy(look.manifest, wanted)
        for what in syncing.differences(look.manifest, wanted, seen, names, rows):
            look.find(indexes.Trouble.OUT_OF_SYNC, f"{look.version}/{naming.INDEX}", what, then)
    return f"level 3: {wanted.scan.kept:,} ids are those of the corpus, {len(rows)} sampled vectors are theirs"


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


def _remedy(manifest: indexes.Manifest, wanted: syncing.Wanted) -> str:
    """By the rows that were read and what the build went by."""
    if wanted.scan.digests == manifest.scan.digests:
        return WRONG
    return _RESCAN if wanted.corpus.shards == manifest.plan.shards else _AGAIN


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
        then = _AGAIN if isinstance(problem, Conflict) else _BRING
        what = f"cannot be made again: {problem.message}"
        look.find(indexes.Trouble.OUT_OF_SYNC, f"part {number}", what, then)
        return "level 4"
    if found.digests and found.digests != look.manifest.scan.digests:
        look.find(indexes.Trouble.OUT_OF_SYNC, CORPUS, "its shards have other rows than when it was built", _RESCAN)
    elif found.sha256 != parts[number]:
        look.broken(f"part {number}", "made again it has other bytes: the source, the software or this machine")
    return f"level 4: part {number} made again has the same bytes"
