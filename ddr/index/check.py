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
from ddr.errors import Damaged, Missing, Unavailable, UnknownName
from ddr.index import corpus_levels, loading
from ddr.index.homes import hashing, history, home, naming
from ddr.lib import digest

if TYPE_CHECKING:
    from ddr.index.embedders import fingerprint
    from ddr.index.sources import corpus as corpora

QUICK = (0, 1, 2)
_REBUILD = 4
_ALIKE = 0.99
"""Share of the probes' answers that must be those of the publication. Another processor adds in another order, and
turns a tie now and then; damage that shows at all changes more (reference/index.md, 0.1)."""
_BETTER = "`ddr index repair`, or `ddr index rollback` to another version"
OF_WHAT_SERVES = (_BETTER, corpus_levels.WRONG, corpus_levels.ELSEWHERE)

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
    """Make a part again, elsewhere. Refused where this machine makes other bytes than the plan's."""
    part: int = 0
    scratch: Path | None = None
    """Where what is not local is fetched to."""
    sample: int = 1000
    threads: int = 2


def check(
    of: home.Shelf, version: str, means: Means, levels: Sequence[int] = QUICK, report: Report = lambda *told: None
) -> indexes.Check:
    """Never raises for what is wrong with the version. Missing where there is none of that name, Refused where others
    put it there, UnknownName where it has no such part, codec.Newer where a newer ddr wrote it, Unavailable where the
    corpus does not answer, or this machine has no room for a child, and nothing was found before."""
    try:
        manifest = home.opened(of, version)
    except home.DamagedVersion as problem:
        finding = _corrupt(f"{version}/manifest.json", problem.message)
        return indexes.Check(version, (), (finding,), not_checked=("everything: what it must be is not known",))
    if _REBUILD in levels and manifest.parts and not 0 <= means.part < len(manifest.parts):
        raise UnknownName(f"{version} has no part {means.part}", hint=f"parts are 0 to {len(manifest.parts) - 1}")
    look = Look(of, version, manifest, means, report)
    for level in sorted(set(levels)):
        if level > 0 and look.is_broken:
            look.skipped.append(f"level {level}: what is damaged is not looked into")
            continue
        look.at(level)
    return indexes.Check(version, tuple(look.done), tuple(look.findings), tuple(look.passed), tuple(look.skipped))


def pointed(of: home.Home) -> str | indexes.Check:
    """The version that serves, "" where nothing ever did; a finding where the pointer was lost or leads nowhere. A home
    with versions of ours and no record of a move lost both, or its first publication was cut off."""
    moves: Sequence[home.Move] = ()
    try:
        moves = of.moves()  # of a bucket they lie in the pointer
        current = of.current()
    except home.LostPointer as problem:
        return _lost("", problem.message, problem.first, of, problem.aside)
    if current is None:
        if moves:
            return _lost("", "is not there, and it was", "", of)
        if any(map(naming.is_ours, of.versions())):
            return _lost("", "is not there, nor is a record of its moves, though versions are", "", of)
        return ""
    if current not in of.versions():
        return _lost(current, f"points at {current}, which is not there", "`ddr index repair`, or ", of)
    return current


def _lost(current: str, what: str, first: str, of: home.Home, aside: str = "") -> indexes.Check:
    known = history.of(of)
    to = next((name for name in (*known.ways, *known.others) if home.is_whole_at_a_glance(of, name)), "")
    back, build = f"`ddr index rollback --to {to} --apply`", "`ddr index build --publish`"
    one_of = "one of both: " if first.endswith("then ") else ""  # what comes first is for both
    if not to:
        then = f"{aside}{build}"
    elif to in known.ways:
        then = back
    elif to in known.left:
        then = f"{one_of}{build}; or {back}, though {to} was gone back from"
    else:
        then = f"{one_of}{back}, if {to} is what served, which no record tells; or {build}"
    finding = indexes.Finding(indexes.Trouble.CORRUPT, "current", what, f"{first}{then}")
    return indexes.Check(current, (), (finding,), not_checked=("everything: which version serves is not known",))


class Look:
    """At one version: what was found, and what was passed over."""

    def __init__(self, of: home.Shelf, version: str, manifest: indexes.Manifest, means: Means, report: Report) -> None:
        self._of, self.version, self.manifest = of, version, manifest
        self.means, self._report = means, report
        self.findings: list[indexes.Finding] = []
        self.passed: list[str] = []
        self.skipped: list[str] = []
        self.done: list[int] = []
        self.is_broken = False
        self.is_of_same_rows = False  # as the corpus now, by what level 3 read
        self.has_names = any(file.name == naming.NAMES for file in manifest.files)
        self._embedder()

    def at(self, level: int) -> None:
        self.told(level, 0, 0)
        before = len(self.findings)
        levels = (Look._stat, Look._digests, Look._load, corpus_levels.compare, corpus_levels.rebuild)
        passed = levels[level](self)
        if passed:
            self.done.append(level)
            if len(self.findings) == before:
                self.passed.append(passed)

    def told(self, level: int, done: int, of: int) -> None:
        """How many bytes were read."""
        self._report(f"level {level}", done, of)

    def _embedder(self) -> None:
        made, live = self.manifest.embedder.fingerprint, self.means.embedder
        if made and live and made != live:
            self.find(
                indexes.Trouble.OTHER_EMBEDDER,
                self.version,
                f"its vectors were made by {made}, queries are made by {live}",
                "go back to the embedder that made it, or embed the corpus again",
            )
        elif not made or not live:
            self.skipped.append("whether the embedder of the queries made these vectors: a fingerprint is not known")

    def find(self, trouble: indexes.Trouble, where: str, what: str, then: str) -> None:
        self.findings.append(indexes.Finding(trouble, where, what, then))

    def broken(self, file: str, what: str) -> None:
        self.is_broken = True
        self.findings.append(_corrupt(f"{self.version}/{file}", what))

    def _stat(self) -> str:
        found = self._of.sizes(self.version)
        wanted = {file.name: file.size_bytes for file in self.manifest.files}
        for name, size in wanted.items():
            if name not in found:
                self.broken(name, "is not there as a plain file")
            elif found[name] != size:
                self.broken(name, f"has {found[name]:,} bytes, not {size:,}")
        others = {*found, *self._of.strays(self.version)} - set(wanted)
        for name in sorted(others):  # which does not keep the others from being looked into
            self.findings.append(_corrupt(f"{self.version}/{name}", "is not of this version: somebody put it there"))
        return f"level 0: {len(wanted)} files have their sizes"

    def _digests(self) -> str:
        size, total = 0, sum(file.size_bytes for file in self.manifest.files)
        for file in self.manifest.files:
            try:
                if what := self._damage(file, size, total):
                    self.broken(file.name, what)
            except (Damaged, Missing) as problem:
                self.broken(file.name, problem.message)
            size += file.size_bytes
            self.told(1, size, total)
        return f"level 1: {size:,} bytes of {len(self.manifest.files)} files are what was published"

    def _damage(self, file: indexes.File, before: int, total: int) -> str:
        """Read once; where it is damaged once more, to say where. `before`: bytes of the files that were read."""
        sha256, size = hashlib.sha256(), 0
        for piece in self._of.read(self.version, file.name):
            self.told(1, before + min(size, file.size_bytes), total)
            sha256.update(piece)
            size += len(piece)
        if digest.PREFIX + sha256.hexdigest() == file.sha256:
            return ""
        with hashing.Hashing() as hashes:
            for piece in self._of.read(self.version, file.name):
                hashes.add(piece)
            found = hashes.file(file.name)
        return home.difference(file, found) or "was read as other bytes once, and as its own then: look at the disk"

    def _load(self) -> str:
        probes, manifest = self.manifest.probes, self.manifest
        k = max((len(probe.found) for probe in probes), default=0)
        try:
            with self.local() as folder:
                seen = self.ask(folder, probes=tuple(probe.vector for probe in probes), k=k)
        except Unavailable as problem:
            return self.away(2, problem)
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
                self.broken(naming.INDEX, f"has {found:,} {what}, its manifest says {wanted:,}")
        if head.is_l2 != (manifest.plan.shape.metric is indexes.Metric.L2):
            self.broken(
                naming.INDEX, f"measures by {'L2' if head.is_l2 else 'inner product'}, not as its manifest says"
            )
        if not head.is_trained:
            self.broken(naming.INDEX, "is not trained")
        if head.ids != manifest.scan.ids:
            self.find(
                indexes.Trouble.OUT_OF_SYNC,
                f"{self.version}/{naming.INDEX}",
                "has other ids than its manifest",
                _BETTER,
            )
        for name, wanted in manifest.quality.search.items():
            if head.search and head.search != wanted:
                what = f"searches with {name} {head.search}, was measured with {wanted}"
                self.find(indexes.Trouble.LOW_RECALL, f"{self.version}/{naming.INDEX}", what, _BETTER)
                self.skipped.append("probes: whoever searches otherwise gets other answers")
                return "level 2"
        self._probes(seen.head.found)
        return f"level 2: {head.rows:,} rows of {head.dimension}, {len(probes)} probes answered as published"

    def _probes(self, found: Sequence[Sequence[int]]) -> None:
        probes = self.manifest.probes
        if not probes:
            self.skipped.append("probes: its manifest has none")
            return
        wanted = sum(len(probe.found) for probe in probes)
        if len(found) != len(probes):
            self.broken(naming.INDEX, f"answered {len(found)} of {len(probes)} probes")
            return
        alike = sum(
            len(set(probe.found) & set(answer[: len(probe.found)])) for probe, answer in zip(probes, found, strict=True)
        )
        if alike < _ALIKE * wanted:
            self.broken(
                naming.INDEX, f"gives {alike} of {wanted} answers to its probes that it gave when it was published"
            )

    def ask(self, folder: Path | None, **more: object) -> loading.Seen | None:
        """None, with a finding, when it cannot be loaded."""
        if folder is None:
            return None
        question = loading.Question(
            str(folder / naming.INDEX),
            str(folder / naming.NAMES) if self.has_names else "",
            threads=self.means.threads,
            **more,  # type: ignore[arg-type]
        )
        try:
            return loading.ask(question, loading.limits_for(folder / naming.INDEX, self.manifest, question))
        except Damaged as problem:
            self.broken(naming.INDEX, problem.message)
        except OSError as problem:
            self.broken(naming.INDEX, f"cannot be looked at: {problem.strerror}")
        return None

    @contextlib.contextmanager
    def local(self) -> Iterator[Path | None]:
        """Its files on this machine. None, with a finding, when they cannot be had."""
        folder = self._of.local(self.version)
        if folder is not None:
            yield folder
            return
        with tempfile.TemporaryDirectory(dir=self.means.scratch, prefix="ddr-index-") as made:
            try:
                home.fetch(self._of, self.version, Path(made))
            except (Damaged, Missing) as problem:
                self.broken(naming.INDEX, problem.message)
                yield None
            else:
                yield Path(made)

    def away(self, level: int, problem: Unavailable) -> str:
        """What does not answer is not known, and no finding. Raised where it is all there is to tell."""
        if not self.findings:
            raise problem
        self.skipped.append(f"level {level}: {problem.message}")
        return ""


def _corrupt(where: str, what: str) -> indexes.Finding:
    return indexes.Finding(indexes.Trouble.CORRUPT, where, what, _BETTER)
