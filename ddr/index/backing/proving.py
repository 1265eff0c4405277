"""What a restored home is held against: digests of every file, manifests, a load in a limited child, probes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ddr.errors import Damaged
from ddr.index import check, child, loading
from ddr.index.backing import record
from ddr.index.homes import folder, home, naming, writing
from ddr.ports import restorable

_LOADED = "loaded in a child"


def of_version(
    source: restorable.Source, to: home.Home, version: record.Version, name: str
) -> Iterator[restorable.Comparison]:
    """`name` is what the version is called in the home."""
    if version.is_ours:
        yield from _ours(source, to, version, name)
        return
    assert isinstance(to, folder.FolderHome)
    yield from _foreign(source, to.root / "versions" / name, version)


def _ours(
    source: restorable.Source, to: home.Home, version: record.Version, name: str
) -> Iterator[restorable.Comparison]:
    manifest = record.manifest(source, version.name)
    found = check.check(to, name, check.Means())
    wrong = {one.where: one.what for one in found.findings}
    said = manifest.version.partition("-")[2]
    whole = f"that of {said}"
    yield restorable.Comparison(f"{name}/{naming.MANIFEST}", whole, wrong.pop(f"{name}/{naming.MANIFEST}", whole))
    for file in manifest.files:
        what = wrong.pop(f"{name}/{file.name}", "" if 1 in found.levels else "not read")
        yield restorable.Comparison(f"{name}/{file.name}", file.sha256, what or file.sha256)
    told = [text for text in found.passed if text.startswith("level 2: ")]
    rows, dimension = manifest.scan.kept, manifest.plan.shape.dimension
    expected = f"{rows:,} rows of {dimension}, {len(manifest.probes)} probes answered as published"
    seen = told[0].removeprefix("level 2: ") if told else "; ".join(one.what for one in found.findings)
    yield restorable.Comparison(f"{name} {_LOADED}", expected, seen or "not loaded")


def _foreign(source: restorable.Source, place: Path, version: record.Version) -> Iterator[restorable.Comparison]:
    trees = [(record.RECORDS, name) for name in version.documents]
    trees += [(record.VERSIONS, file.name) for file in version.files]
    for tree, name in trees:
        path = place / name
        same = path.is_file() and source.matches(tree, f"{version.name}/{name}", writing.blocks(path))
        yield restorable.Comparison(f"{version.name}/{name}", "same bytes", "same bytes" if same else "other bytes")
    if any(file.name == naming.INDEX for file in version.files):
        expected, found = "an index that can be read", ""
        names = place / naming.NAMES
        question = loading.Question(str(place / naming.INDEX), str(names) if names.is_file() else "")
        limits = child.Limits.of_file(version.size_bytes)
        try:
            head = loading.ask(question, limits).head
            if head.names not in (-1, head.rows):
                found = f"{head.rows:,} rows and {head.names:,} names"
        except Damaged as problem:
            found = problem.message
        yield restorable.Comparison(f"{version.name} {_LOADED}", expected, found or expected)


def of_home(to: home.Home, pins: Mapping[str, str], goal: str) -> Iterator[restorable.Comparison]:
    there = to.pins() if pins else {}
    for name, why in pins.items():
        yield restorable.Comparison(f"pin of {name}", why, there.get(name, "not pinned"))
    if goal:
        yield restorable.Comparison("pointer", goal, to.current() or "nothing")


def of_documents(source: restorable.Source, said: record.Record, into: Path) -> Iterator[restorable.Comparison]:
    """Each record as it was written; one of ours must also be the manifest that its version was named after."""
    yield _same(source, record.HOME, into / record.HOME)
    for version in said.versions:
        for name in version.documents:
            path = into / version.name / name
            yield _same(source, f"{version.name}/{name}", path)
            if version.is_ours and path.is_file():
                what, expected = f"{version.name} by its name", "the manifest it was named after"
                yield restorable.Comparison(what, expected, _misnamed(path, version) or expected)


def _same(source: restorable.Source, name: str, path: Path) -> restorable.Comparison:
    found = "not there"
    if path.is_file():
        found = "same bytes" if source.matches(record.RECORDS, name, writing.blocks(path)) else "other bytes"
    return restorable.Comparison(f"record {name}", "same bytes", found)


def _misnamed(path: Path, version: record.Version) -> str:
    try:
        manifest = naming.open_manifest(path.read_bytes(), version.name, str(path))
    except Damaged as problem:
        return problem.message
    return "" if manifest.files == version.files else "one that names other files than were recorded"
