"""Is a version what was published, and does it fit its corpus? Five levels, each of which trusts the ones before it.

    0  stat       the files of the manifest are there with their sizes, and no others
    1  digests    every byte is as it was written; damage is told by the 64 MiB that have it
    2  load       a child loads it: rows, ids, search parameter, and the probes' answers as they were written down
    3  corpus     its ids are those of the corpus as it is now, none missing, none too many; sampled vectors are theirs;
                  the live model gives the golden documents the vectors that they had
    4  rebuild    one part is made again and has the same bytes, where the kind is deterministic

faiss has no checksum: of the damage that shows in results more than half shows nowhere else, and a handful of queries
sees a third of it. So level 1 is what finds damage, and what it found is not loaded any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, DdrError, Missing, Unavailable, UnknownName
from ddr.index import codec, loading
from ddr.index.homes import hashing, history, home, naming
from ddr.lib import digest

if TYPE_CHECKING:
    from ddr.index import syncing
    from ddr.index.embedders import fingerprint
    from ddr.index.sources import corpus as corpora

QUICK = (0, 1, 2)
_REBUILD = 4
_ALIKE = 0.99
"""Share of the probes' answers that must be those of the publication. Another processor adds in another order, and
turns a tie now and then; damage that shows at all changes more (reference/index.md, 0.1)."""
CORPUS = "the corpus"
_BETTER = "`ddr index repair`, or `ddr index rollback` to another version"
_AGAIN = "`ddr index build --publish`: the corpus is another one by now"
_RESCAN = "`ddr index build --rescan --publish`: the corpus was rewritten under the same sizes and times"
_WRONG = "`ddr index repair --level 3 --apply`: the corpus has the rows it had, so the index is what is wrong"
OF_WHAT_SERVES = (_BETTER, _WRONG)
_BRING = "bring the corpus back, or `ddr index build --publish` from what it is now"

Report = Callable[[str, int, int], None]
"""The level, and of how many bytes how many are read: 0 of 0 where it counts none."""


@dataclass(frozen=True)
class Again:
    """A part that was made again: the digest of its file, and those of the shards it was made of."""

    sha256: str
    digests: tuple[str, ...] = ()


@dataclass(frozen=True)
class Means:
    """What the levels need beyond the home. What is None is not checked, and the check says so."""

    embedder: str = ""
    """Fingerprint of the one that makes the queries now."""
    golden: Callable[[indexes.Embedder], fingerprint.Comparison] | None = None
    """The golden documents embedded again by the live model. DdrError where that cannot be done here."""
    corpus: Callable[[], corpora.Corpus] | None = None
    """Opened over the files as they are now, not as the plan saw them."""
    rebuild: Callable[[int], Again] | None = None
    """Make a part again, elsewhere."""
    part: int = 0
    scratch: Path | None = None
    """Where what is not local is fetched to."""
    sample: int = 1000
    threads: int = 2


def check(
    of: home.Shelf, version: str, means: Means, levels: Sequence[int] = QUICK, report: Report = lambda *told: None
) -> indexes.Check:
    """Never raises for what is wrong with the version. Missing where there is none of that name, UnknownName where it
    has no such part, codec.Newer where a newer ddr wrote it, Unavailable where the corpus does not answer, or this
    machine has no room for a child, and nothing was found before."""
    try:
        manifest = of.manifest(version)
    except codec.Newer:
        raise
    except (Damaged, Missing) as problem:
        if isinstance(problem, Missing) and not (naming.is_ours(version) and version in of.versions()):
            raise  # others may put versions there that have no manifest
        finding = _corrupt(f"{version}/manifest.json", problem.message)
        return indexes.Check(version, (), (finding,), not_checked=("everything: what it must be is not known",))
    if _REBUILD in levels and manifest.parts and not 0 <= means.part < len(manifest.parts):
        raise UnknownName(f"{version} has no part {means.part}", hint=f"parts are 0 to {len(manifest.parts) - 1}")
    look = _Look(of, version, manifest, means, report)
    for level in sorted(set(levels)):
        if level > 0 and look.is_broken:
            look.skipped.append(f"level {level}: what is damaged is not looked into")
            continue
        look.at(level)
    return indexes.Check(version, tuple(look.done), tuple(look.findings), tuple(look.passed), tuple(look.skipped))


def pointed(of: home.Home) -> str | indexes.Check:
    """The version that serves, "" where nothing ever did; a finding where the pointer was lost or leads nowhere."""
    moves: Sequence[home.Move] = ()
    try:
        moves = of.moves()  # of a bucket they lie in the pointer
        current = of.current()
    except home.LostPointer as problem:
        return _lost("", problem.message, problem.first, of, problem.aside)
    if current is None:
        return _lost("", "is not there, and it was", "", of) if moves else ""
    if current not in of.versions():
        return _lost(current, f"points at {current}, which is not there", "`ddr index repair`, or ", of)
    return current


def _lost(current: str, what: str, first: str, of: home.Home, aside: str = "") -> indexes.Check:
    known = history.of(of)
    to = next((name for name in (*known.ways, *known.others) if home.is_whole_at_a_glance(of, name)), "")
    back, build = f"`ddr index rollback --to {to} --apply`", "`ddr index build --publish`"
    if not to:
        then = f"{aside}{build}"
    elif to in known.ways:
        then = back
    elif to in known.left:
        then = f"{build}; or {back}, though {to} was gone back from"
    else:
        then = f"{back}, if {to} is what served, which no record tells; or {build}"
    finding = indexes.Finding(indexes.Trouble.CORRUPT, "current", what, f"{first}{then}")
    return indexes.Check(current, (), (finding,), not_checked=("everything: which version serves is not known",))


class _Look:
    def __init__(self, of: home.Shelf, version: str, manifest: indexes.Manifest, means: Means, report: Report) -> None:
        self._of, self._version, self._manifest = of, version, manifest
        self._means, self._report = means, report
        self.findings: list[indexes.Finding] = []
        self.passed: list[str] = []
        self.skipped: list[str] = []
        self.done: list[int] = []
        self.is_broken = False
        self._embedder()

    def at(self, level: int) -> None:
        self._report(f"level {level}", 0, 0)
        before = len(self.findings)
        passed = (self._stat, self._digests, self._load, self._corpus, self._rebuild)[level]()
        if passed:
            self.done.append(level)
            if len(self.findings) == before:
                self.passed.append(passed)

    def _embedder(self) -> None:
        made, live = self._manifest.embedder.fingerprint, self._means.embedder
        if made and live and made != live:
            self._find(
                indexes.Trouble.OTHER_EMBEDDER,
                self._version,
                f"its vectors were made by {made}, queries are made by {live}",
                "go back to the embedder that made it, or embed the corpus again",
            )
        elif not made or not live:
            self.skipped.append("whether the embedder of the queries made these vectors: a fingerprint is not known")

    def _find(self, trouble: indexes.Trouble, where: str, what: str, then: str) -> None:
        self.findings.append(indexes.Finding(trouble, where, what, then))

    def _broken(self, file: str, what: str) -> None:
        self.is_broken = True
        self.findings.append(_corrupt(f"{self._version}/{file}", what))

    def _stat(self) -> str:
        found = self._of.sizes(self._version)
        wanted = {file.name: file.size_bytes for file in self._manifest.files}
        for name, size in wanted.items():
            if name not in found:
                self._broken(name, "is not there as a plain file")
            elif found[name] != size:
                self._broken(name, f"has {found[name]:,} bytes, not {size:,}")
        others = {*found, *self._of.strays(self._version)} - set(wanted)
        for name in sorted(others):  # which does not keep the others from being looked into
            self.findings.append(_corrupt(f"{self._version}/{name}", "is not of this version: somebody put it there"))
        return f"level 0: {len(wanted)} files have their sizes"

    def _digests(self) -> str:
        size, total = 0, sum(file.size_bytes for file in self._manifest.files)
        for file in self._manifest.files:
            try:
                if what := self._damage(file, size, total):
                    self._broken(file.name, what)
            except (Damaged, Missing) as problem:
                self._broken(file.name, problem.message)
            size += file.size_bytes
            self._report("level 1", size, total)
        return f"level 1: {size:,} bytes of {len(self._manifest.files)} files are what was published"

    def _damage(self, file: indexes.File, before: int, total: int) -> str:
        """Read once; where it is damaged once more, to say where. `before`: bytes of the files that were read."""
        sha256, size = hashlib.sha256(), 0
        for piece in self._of.read(self._version, file.name):
            self._report("level 1", before + min(size, file.size_bytes), total)
            sha256.update(piece)
            size += len(piece)
        if digest.PREFIX + sha256.hexdigest() == file.sha256:
            return ""
        with hashing.Hashing() as hashes:
            for piece in self._of.read(self._version, file.name):
                hashes.add(piece)
            found = hashes.file(file.name)
        return home.difference(file, found) or "was read as other bytes once, and as its own then: look at the disk"

    def _load(self) -> str:
        probes, manifest = self._manifest.probes, self._manifest
        k = max((len(probe.found) for probe in probes), default=0)
        try:
            with self._local() as folder:
                seen = self._ask(folder, probes=tuple(probe.vector for probe in probes), k=k)
        except Unavailable as problem:
            return self._away(2, problem)
        if seen is None:
            return "level 2"
        head = seen.head
        told = {
            "rows": (head.rows, manifest.scan.kept),
            "dimensions": (head.dimension, manifest.plan.shape.dimension),
            "lists": (head.lists, manifest.plan.shape.lists or head.lists),
            "different labels": (head.different_labels, manifest.scan.kept),
        }
        for what, (found, wanted) in told.items():
            if found != wanted:
                self._broken(naming.INDEX, f"has {found:,} {what}, its manifest says {wanted:,}")
        if head.is_l2 != (manifest.plan.shape.metric is indexes.Metric.L2):
            self._broken(
                naming.INDEX, f"measures by {'L2' if head.is_l2 else 'inner product'}, not as its manifest says"
            )
        if not head.is_trained:
            self._broken(naming.INDEX, "is not trained")
        if head.ids != manifest.scan.ids:
            self._find(
                indexes.Trouble.OUT_OF_SYNC,
                f"{self._version}/{naming.INDEX}",
                "has other ids than its manifest",
                _BETTER,
            )
        for name, wanted in manifest.quality.search.items():
            if head.search and head.search != wanted:
                what = f"searches with {name} {head.search}, was measured with {wanted}"
                self._find(indexes.Trouble.LOW_RECALL, f"{self._version}/{naming.INDEX}", what, _BETTER)
                self.skipped.append("probes: whoever searches otherwise gets other answers")
                return "level 2"
        self._probes(seen.head.found)
        return f"level 2: {head.rows:,} rows of {head.dimension}, {len(probes)} probes answered as published"

    def _probes(self, found: Sequence[Sequence[int]]) -> None:
        probes = self._manifest.probes
        if not probes:
            self.skipped.append("probes: its manifest has none")
            return
        wanted = sum(len(probe.found) for probe in probes)
        if len(found) != len(probes):
            self._broken(naming.INDEX, f"answered {len(found)} of {len(probes)} probes")
            return
        alike = sum(
            len(set(probe.found) & set(answer[: len(probe.found)])) for probe, answer in zip(probes, found, strict=True)
        )
        if alike < _ALIKE * wanted:
            self._broken(
                naming.INDEX, f"gives {alike} of {wanted} answers to its probes that it gave when it was published"
            )

    def _ask(self, folder: Path | None, **more: object) -> loading.Seen | None:
        """None, with a finding, when it cannot be loaded."""
        if folder is None:
            return None
        has_names = any(file.name == naming.NAMES for file in self._manifest.files)
        question = loading.Question(
            str(folder / naming.INDEX),
            str(folder / naming.NAMES) if has_names else "",
            threads=self._means.threads,
            **more,  # type: ignore[arg-type]
        )
        try:
            return loading.ask(question, loading.limits_for(folder / naming.INDEX, self._manifest, question))
        except Damaged as problem:
            self._broken(naming.INDEX, problem.message)
        except OSError as problem:
            self._broken(naming.INDEX, f"cannot be looked at: {problem.strerror}")
        return None

    @contextlib.contextmanager
    def _local(self) -> Iterator[Path | None]:
        """Its files on this machine. None, with a finding, when they cannot be had."""
        folder = self._of.local(self._version)
        if folder is not None:
            yield folder
            return
        with tempfile.TemporaryDirectory(dir=self._means.scratch, prefix="ddr-index-") as made:
            try:
                home.fetch(self._of, self._version, Path(made))
            except (Damaged, Missing) as problem:
                self._broken(naming.INDEX, problem.message)
                yield None
            else:
                yield Path(made)

    def _golden(self) -> None:
        """Fingerprints are what is said; this is what is so."""
        embedder = self._manifest.embedder
        if self._means.golden is None or not embedder.golden:
            self.skipped.append("golden documents: none were kept, or no model is named to embed them again")
            return
        try:
            found = self._means.golden(embedder)
        except DdrError as problem:
            self.skipped.append(f"golden documents: {problem.message}")
            return
        if found.is_same:
            self.passed.append(f"level 3: {found.sentence}")
        elif found.is_known:
            then = "go back to the embedder that made it, or embed the corpus again: `ddr index build`"
            self._find(indexes.Trouble.OTHER_EMBEDDER, self._version, found.sentence, then)
        else:
            self.skipped.append(f"golden documents: {found.sentence}")

    def _corpus(self) -> str:
        self._golden()
        if self._means.corpus is None:
            self.skipped.append("level 3: the corpus is not at hand")
            return ""
        from ddr.index import syncing

        try:
            corpus = self._means.corpus()
            wanted = syncing.wanted(corpus, self._manifest, self._means.sample)
        except Unavailable as problem:
            return self._away(3, problem)
        except DdrError as problem:
            self._find(indexes.Trouble.OUT_OF_SYNC, CORPUS, f"cannot be read as it was: {problem.message}", _BRING)
            return "level 3"
        with self._local() as folder:
            if folder is None:
                return "level 3"
            names = loading.names(folder / naming.NAMES) if wanted.has_texts else None
            labels, rows = syncing.labels_of_sample(wanted, names)
            try:
                seen = self._ask(folder, sample=tuple(labels.tolist()), wants_labels=True)
            except Unavailable as problem:
                return self._away(3, problem)
        if seen is not None:
            for what in syncing.differences(self._manifest, wanted, seen, names, rows):
                self._find(indexes.Trouble.OUT_OF_SYNC, f"{self._version}/{naming.INDEX}", what, self._remedy(wanted))
        return f"level 3: {wanted.scan.kept:,} ids are those of the corpus, {len(rows)} sampled vectors are theirs"

    def _away(self, level: int, problem: Unavailable) -> str:
        """What does not answer is not known, and no finding. Raised where it is all there is to tell."""
        if not self.findings:
            raise problem
        self.skipped.append(f"level {level}: {problem.message}")
        return ""

    def _remedy(self, wanted: syncing.Wanted) -> str:
        """By the rows that were read and what the build went by."""
        if wanted.scan.digests == self._manifest.scan.digests:
            return _WRONG
        return _RESCAN if wanted.corpus.shards == self._manifest.plan.shards else _AGAIN

    def _rebuild(self) -> str:
        parts, number = self._manifest.parts, self._means.part
        if self._means.rebuild is None or not parts:
            self.skipped.append("level 4: no part can be made again here")
            return ""
        if not self._manifest.is_deterministic:
            self.skipped.append("level 4: this kind is not the same bytes each time; only its recall proves it")
            return ""
        try:
            found = self._means.rebuild(number)
        except Unavailable as problem:
            return self._away(4, problem)
        except DdrError as problem:
            then = _AGAIN if isinstance(problem, Conflict) else _BRING
            what = f"cannot be made again: {problem.message}"
            self._find(indexes.Trouble.OUT_OF_SYNC, f"part {number}", what, then)
            return "level 4"
        if found.digests and found.digests != self._manifest.scan.digests:
            self._find(
                indexes.Trouble.OUT_OF_SYNC, CORPUS, "its shards have other rows than when it was built", _RESCAN
            )
        elif found.sha256 != parts[number]:
            self._broken(f"part {number}", "made again it has other bytes: the source, the software or this machine")
        return f"level 4: part {number} made again has the same bytes"


def _corrupt(where: str, what: str) -> indexes.Finding:
    return indexes.Finding(indexes.Trouble.CORRUPT, where, what, _BETTER)
