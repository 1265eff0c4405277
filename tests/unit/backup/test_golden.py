"""A repository that an older program wrote is read by this one, and by `extract.py` without any ddr (T9)."""

from __future__ import annotations

import ast
import base64
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ddr.backup import capture, keeping, keys, layout, packs, verify
from ddr.backup import repository as repositories
from ddr.lib import rowbatch
from ddr.ports import restorable, store
from ddr.stores import local
from tests.unit.backup import golden, house

EXTRACT = Path(keys.__file__).with_name("extract.py")
EXPECTED: dict[str, Any] = json.loads((golden.ROOT / "expected.json").read_text())
RECOVERY = EXPECTED.pop("recovery")
IDS = sorted(EXPECTED)
ALLOWED = {"blake3", "zstandard", "cryptography", "__future__"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy that a test may harm."""
    return Path(shutil.copytree(golden.ROOT / "store", tmp_path / "store"))


def openings() -> dict[str, keys.Opening]:
    return {
        "passphrase": keys.Opening(passphrase=golden.PASSPHRASE),
        "key-file": keys.Opening(key_file=golden.ROOT / "key-file"),
        "recovery": keys.Opening(recovery=RECOVERY),
    }


def extract(folder: Path, *command: str, way: str = "recovery") -> subprocess.CompletedProcess[str]:
    """In a process of its own that finds neither ddr nor the working folder."""
    passphrase = folder.parent / "passphrase"
    passphrase.write_text(golden.PASSPHRASE + "\n")
    how = {
        "passphrase": ["--passphrase-file", str(passphrase)],
        "key-file": ["--key-file", str(golden.ROOT / "key-file")],
        "recovery": ["--recovery", RECOVERY],
    }[way]
    check = "import sys; import runpy; sys.argv = sys.argv[1:]; sys.modules['ddr'] = None; "
    check += "runpy.run_path(sys.argv[0], run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-I", "-c", check, EXTRACT, str(folder), *how, *command],
        cwd=folder.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip


def extracted(out: Path) -> dict[str, dict[str, str]]:
    """What `files` and `tables` wrote, in the terms of the oracle."""
    world = house.World()
    for path in sorted((out / "shop/trees/files").rglob("*")):
        name = str(path.relative_to(out / "shop/trees/files"))
        world.files[name] = os.readlink(path) if path.is_symlink() else None if path.is_dir() else path.read_bytes()
    for path in (out / "shop/streams").iterdir():
        world.streams[path.name] = path.read_bytes()
    found = golden.told(world)
    found["files"] = dict(sorted(found["files"].items()))
    return found


def as_extracted(rows: list[house.Row]) -> list[list[object]]:
    """The oracle's rows, bytes and texts that are no UTF-8 as the extractor tells them."""

    def cell(value: object) -> object:
        if isinstance(value, str):
            raw = value.encode("utf-8", "surrogateescape")
            value = value if raw.decode("utf-8", "replace") == value else raw
        return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value

    return [[cell(one) for one in row] for row in rows]


@pytest.mark.parametrize("way", ["passphrase", "key-file", "recovery"])
def test_ddr_reads_what_was_written_before_it(way: str, tmp_path: Path) -> None:
    repository = repositories.open_(local.LocalStore(golden.ROOT / "store"), openings()[way])
    assert sorted(head.id for head in repository.heads()) == IDS
    for id_ in IDS:
        assert golden.told(house.restored(repository, id_, "shop", tmp_path / id_)) == EXPECTED[id_]
    report = verify.verify(repository, "full")
    assert (report.findings, sorted(report.whole)) == ((), IDS)


def test_ddr_goes_on_with_what_was_written_before_it(folder: Path, tmp_path: Path) -> None:
    repository = repositories.open_(local.LocalStore(folder), openings()["key-file"])
    shop = golden.shop_at(tmp_path / "shop")
    made = house.backup(repository, {"shop": shop}, house.Clock(house.NOW.replace(year=2027)))
    assert golden.told(house.restored(repository, made.id, "shop", tmp_path / "out")) == golden.told(shop.world())
    before = {entry.key for entry in local.LocalStore(golden.ROOT / "store").list(layout.PACKS)}
    index, new = repository.index(), 0
    for pack in index.pack_names:
        if layout.pack_key(pack) not in before:
            new += 1
            assert {place.kind for place in index.places_in(pack)} == {packs.LISTING}, "ids and cut points are the same"
    assert new == 1  # times and inodes of this machine


@pytest.mark.parametrize("way", ["passphrase", "key-file", "recovery"])
def test_the_extractor_reads_it_without_ddr(way: str, folder: Path, tmp_path: Path) -> None:
    listed = extract(folder, "list", way=way)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert sorted(line.split()[0] for line in listed.stdout.splitlines()) == IDS
    if way == "recovery":
        for id_ in IDS:
            assert json.loads(extract(folder, "show", id_).stdout)["host"] == "host"
            check_extracted(folder, id_, tmp_path / id_)


def test_the_extractor_lists_and_reads_kept_states_and_takes_none_for_the_latest(folder: Path, tmp_path: Path) -> None:
    listed = extract(folder, "list").stdout.splitlines()
    newest = listed[-1].split()[0]
    repository = repositories.open_(local.LocalStore(folder), openings()["recovery"])
    shelf = keeping.BackupShelf(lambda: repository, lambda: repository, lambda: capture.Maker("h", "a", "1", _later))
    cells: list[house.Row] = [(at, f"name {at}", at / 8) for at in range(300)]

    def put(sink: restorable.Sink) -> None:
        kinds = [(column.name, column.family) for column in house.COLUMNS]
        sink.table("values", house.COLUMNS, [rowbatch.of_rows(kinds, cells)])
        sink.stream("definition", [b"entities: [user]"])

    kept = shelf.keep("features/pixels", put)
    told = extract(folder, "list").stdout.splitlines()
    assert [line for line in told if line not in listed] == [
        f"{kept.name} {_later():%Y-%m-%dT%H:%M:%S}Z features/pixels (kept)"
    ]
    assert len(told) == len(listed) + 1
    assert extract(folder, "show", "latest").stdout == extract(folder, "show", newest).stdout
    for command in ("files", "tables"):
        assert extract(folder, command, kept.name[:8], str(tmp_path / "out")).returncode == 0, command
        base = tmp_path / "out" / "features%2fpixels"
        if command == "files":
            assert (base / "streams" / "definition").read_bytes() == b"entities: [user]"
            shutil.rmtree(tmp_path / "out")
    lines = [json.loads(line) for line in (base / "values.jsonl").read_text().splitlines()]
    assert [tuple(line.values()) for line in lines] == cells
    for path in (folder / "backup" / "snapshots").iterdir():
        path.unlink()
    assert extract(folder, "show", "latest").returncode == 1, "a kept state is no backup"


def _later() -> datetime:
    return house.NOW.replace(year=2028)


def check_extracted(folder: Path, id_: str, out: Path) -> None:
    for command in ("files", "tables"):
        done = extract(folder, command, id_[:8], str(out / command))
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    found = extracted(out / "files")
    assert found["files"] == EXPECTED[id_]["files"]
    assert found["streams"] == EXPECTED[id_]["streams"]
    rows = {
        name: eval(text, {"nan": float("nan"), "inf": float("inf")}) for name, text in EXPECTED[id_]["tables"].items()
    }
    with sqlite3.connect(out / "tables/shop/tables.sqlite") as database:
        for name, expected in rows.items():
            written = out / "tables/shop" / f"{name.replace(chr(34), '%22').replace('/', '%2f')}.jsonl"
            lines = [list(json.loads(line).values()) for line in written.read_text().splitlines()]
            assert repr(lines) == repr(as_extracted(expected))
            (count,) = database.execute('SELECT count(*) FROM "' + name.replace('"', '""') + '"').fetchone()
            assert count == len(expected)
    database.close()


@pytest.mark.parametrize("harm", ["index", "config", "keys", "table", "all"])
def test_the_extractor_needs_neither_index_nor_configuration(harm: str, folder: Path, tmp_path: Path) -> None:
    for what in ("index", "config", "keys"):
        if harm in (what, "all"):
            path = folder / "backup" / what
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if harm in ("table", "all"):  # the packs have lost their ends, and the index is lost
        shutil.rmtree(folder / "backup/index", ignore_errors=True)
        for path in (folder / "backup/packs").glob("*/*"):
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-40])
    for id_ in IDS:
        check_extracted(folder, id_, tmp_path / id_)


def test_the_extractor_names_what_is_lost_and_gets_the_rest(folder: Path, tmp_path: Path) -> None:
    for path in sorted((folder / "backup/packs").glob("*/*"), key=lambda path: path.stat().st_size)[-1:]:
        content = bytearray(path.read_bytes())
        for part in range(1, 6):
            content[len(content) * part // 6] ^= 4
        path.chmod(0o644)
        path.write_bytes(content)
    lost = written = 0
    for id_ in IDS:
        for command in ("files", "tables"):
            done = extract(folder, command, id_, str(tmp_path / id_ / command))
            assert done.returncode in (0, 2)
            assert "Traceback" not in done.stderr
            lost += done.stderr.count("extract: lost:")
        found, expected = extracted(tmp_path / id_ / "files"), EXPECTED[id_]
        for kind in ("files", "streams"):
            assert found[kind].items() <= expected[kind].items(), "no wrong bytes come out"
            written += len(found[kind])
    print(f"{lost} parts named as lost, {written} whole")
    assert lost
    assert written


def test_the_extractor_refuses_without_a_traceback(folder: Path) -> None:
    for command in (["list", "--recovery", "ddr-recovery-1-AAAA"], ["show", "ffff"], ["files", "0000", "x"]):
        done = extract(folder, *command)
        assert done.returncode == 1
        assert done.stderr.startswith("extract: ")
    done = extract(folder, "list", "--recovery", "", way="recovery")
    assert "no key slot of kind none opens" in done.stderr


def test_the_extractor_is_short_and_stands_alone() -> None:
    text = EXTRACT.read_text()
    assert len(text.splitlines()) <= 300
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported - ALLOWED <= set(sys.stdlib_module_names)


def test_the_golden_repository_is_small_and_whole() -> None:
    place: store.Store = local.LocalStore(golden.ROOT / "store")
    sizes = [entry.size_bytes for entry in place.list("")]
    assert sum(sizes) < 40_000
    for entry in place.list(layout.ROOT):
        if entry.key != layout.CONFIG:
            assert layout.name_of(place.get(entry.key)) == layout.hash_in(entry.key)
