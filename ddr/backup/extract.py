"""Reads a backup repository without ddr: for the day on which there is no ddr, or not the one that wrote it.

    python extract.py REPOSITORY [--passphrase-file F | --key-file F | --recovery KEY] COMMAND
    list                     every kept state of a plane, then every snapshot, each oldest first
    show SNAPSHOT            its manifest, as JSON
    files SNAPSHOT OUT_DIR   its trees and streams
    tables SNAPSHOT OUT_DIR  its tables: one .jsonl file each, and one SQLite file for each component

REPOSITORY is a folder with `backup/` in it; SNAPSHOT the beginning of an id (of a kept state, too), or `latest`. Needs
Python 3.11 with blake3, zstandard and cryptography, nothing of ddr: copy this file wherever you like. Works without
configuration and index. Ends with 0 all is out, 1 nothing is, 2 something is damaged and left out.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import io
import itertools
import json
import os
import re
import sqlite3
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import blake3
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PLACE, HEADER, LISTED = struct.Struct("<32sBIII"), struct.Struct("<4sI32sI"), struct.Struct("<32sII")
UNPACKED = zstandard.ZstdDecompressor().decompress
BROKEN = (InvalidTag, ValueError, KeyError, IndexError, TypeError, struct.error, zstandard.ZstdError, OSError)


def derived(master: bytes, purpose: str, salt: bytes = b"") -> bytes:
    return blake3.blake3(master + salt, derive_key_context=f"ddr 2026-11-21 backup v1 {purpose}").digest()


def repository_id(master: bytes) -> bytes:
    return derived(master, "repository id")[:16]


class Repository:
    """An open repository: chunks by their id, snapshots by theirs."""

    def __init__(self, folder: Path, master: bytes) -> None:
        self.folder, self.master = folder, master
        self.id, self.chunk_key = repository_id(master), derived(master, "chunk ids")
        self.places: dict[bytes, list[tuple[str, int, int, int]]] = {}  # pack, kind, begin and length of ciphertext
        self.unread = sorted((folder / "packs").glob("*/*"))
        for path in sorted((folder / "index").glob("*")):
            with contextlib.suppress(*BROKEN):
                read = io.BytesIO(self.unsealed("index", path)).read
                while head := read(LISTED.size):
                    name, _, count = LISTED.unpack(head)
                    for chunk, kind, begin, stored, _ in PLACE.iter_unpack(read(count * PLACE.size)):
                        self.places.setdefault(chunk, []).append((name.hex(), kind, begin, stored))

    def unsealed(self, kind: str, path: Path) -> bytes:
        stored = path.read_bytes()
        if stored[:8] != b"DDROBJ01" or not path.name.endswith(blake3.blake3(stored).hexdigest()):
            raise ValueError("other bytes than its name says")
        cipher = AESGCM(derived(self.master, f"object {kind}", stored[8:40]))
        return UNPACKED(cipher.decrypt(bytes(12), stored[40:], self.id + kind.encode()), max_output_size=1 << 31)

    def _scan(self) -> None:
        """The headers of the blobs in every pack; they do not say the kind, so each is offered as both."""
        while self.unread:
            pack = (path := self.unread.pop()).read_bytes()
            for match in re.finditer(b"DDRB", pack[: -HEADER.size]):
                _, _, chunk, stored = HEADER.unpack_from(pack, match.start())
                for kind in (0, 1):
                    self.places.setdefault(chunk, []).append((path.name, kind, match.start() + HEADER.size, stored))

    def manifest(self, path: Path) -> dict[str, Any]:
        """Of a snapshot; empty where it cannot be read."""
        with contextlib.suppress(*BROKEN):
            return dict(json.loads(self.unsealed("snapshot", path)))
        return {}

    def chunks(self, ids: list[str]) -> Iterator[bytes]:
        """Each from the first place where it is whole. ValueError."""
        for chunk in map(bytes.fromhex, ids):
            content = self._chunk(chunk)
            if content is None:
                self._scan()
                content = self._chunk(chunk)
            if content is None:
                raise ValueError(f"chunk {chunk.hex()[:12]} is in no pack that can be read")
            yield content

    def _chunk(self, chunk: bytes) -> bytes | None:
        for pack, kind, at, stored in self.places.get(chunk, ()):
            with contextlib.suppress(*BROKEN), (self.folder / "packs" / pack[:2] / pack).open("rb") as file:
                magic, salt = file.read(8), file.read(32)
                file.seek(at - HEADER.size)
                slot, blob = HEADER.unpack(file.read(HEADER.size))[1], file.read(stored)
                bound = self.id + struct.pack("<B32sI", kind, chunk, slot)
                cipher = AESGCM(derived(self.master, "pack", salt))
                plain = cipher.decrypt(slot.to_bytes(12, "little"), blob, bound)
                content = UNPACKED(plain[1:], max_output_size=1 << 31) if plain[0] else plain[1:]
                if magic == b"DDRPACK1" and blake3.blake3(content, key=self.chunk_key).digest() == chunk:
                    return content
        return None


def unlocked(folder: Path, given: argparse.Namespace) -> bytes:
    """The master key. ValueError."""
    if given.recovery:
        text = "".join(given.recovery.split()).upper().removeprefix("DDR-RECOVERY-1-").replace("-", "")
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
        if len(raw) == 36 and blake3.blake3(repository_id(raw[:32]) + raw[:32]).digest()[:4] == raw[32:]:
            return raw[:32]
        raise ValueError("this is no recovery key, or a letter of it is wrong")
    kind = "passphrase" if given.passphrase_file else "key-file" if given.key_file else "none"
    secret = Path(given.passphrase_file or given.key_file or os.devnull).read_bytes()
    for path in sorted((folder / "keys").glob("*")):
        with contextlib.suppress(*BROKEN):
            slot = json.loads(path.read_bytes())
            master, salt, n, r, p = bytes.fromhex(slot["wrapped"]), bytes.fromhex(slot["salt"]), *map(slot.get, "nrp")
            if slot["kind"] != kind or 128 * n * r > 1 << 30 or n * r * p > 1 << 26:
                continue  # another kind, or costs that nobody would choose
            key = derived(secret.strip() + salt, "key file")
            if kind == "passphrase":
                key = hashlib.scrypt(secret.rstrip(b"\r\n"), salt=salt, n=n, r=r, p=p, maxmem=(1 << 31) - 1, dklen=32)
            if kind != "none":
                master = AESGCM(key).decrypt(master[:12], master[12:], bytes.fromhex(slot["repository"]))
            if repository_id(master).hex() == slot["repository"]:
                return master
    raise ValueError(f"no key slot of kind {kind} opens")


def columns_of(content: bytes) -> list[list[Any]]:
    """The cells of a batch of rows, column by column. The format is `ddrrows1`, see FORMAT.md."""
    read = io.BytesIO(content).read

    def take(layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, read(struct.calcsize(layout)))

    def cell(tag: bytes, raw: bytes) -> Any:
        if tag in b"bf":
            return raw != b"\0" if tag == b"b" else struct.unpack("<d", raw)[0]
        with contextlib.suppress(UnicodeDecodeError):
            return int(raw) if tag == b"i" else raw.decode() if tag == b"t" else raw
        return raw  # a text that is no UTF-8

    def numbers(width: int, count: int) -> list[int]:
        return list(take(f"<{count}{' BH I   Q'[width]}")) if width else [0] * count

    def column() -> list[Any]:
        read(*take("<H"))  # its name
        family, flags = take("<cB")
        bits = read((size + 7) // 8) if flags & 1 else bytes(size)
        cells = {}
        for _ in range(take("<I")[0] if flags & 2 else 0):
            row, tag, length = take("<IcI")
            cells[row] = cell(tag, read(length))
        gaps = [bits[row // 8] >> row % 8 & 1 for row in range(size)]
        count = gaps.count(0)
        if family == b"f":
            values = list(take(f"<{count}d"))
        elif family in b"tx":
            coding, entries = take("<BI")
            values = [cell(family, read(length)) for length in take(f"<{entries}I")]
            values = [values[number] for number in numbers(coding, count)] if coding else values
        else:
            width, delta, base = take("<BBq")
            step = take("<q")[0] if delta else base
            values = [step + one for one in numbers(width, count - delta)]
            values = list(itertools.accumulate(values, initial=base)) if delta else values
        present = iter(map(bool, values) if family == b"b" else values)
        return [cells.get(row) if is_gap else next(present) for row, is_gap in enumerate(gaps)]

    magic, size, count = take("<8sIH")
    if magic != b"ddrrows1":
        raise ValueError("no batch of rows")
    return [column() for _ in range(count)]


def part(name: str) -> str:
    """A name as one part of a path."""
    return re.sub(r"[^\w.@+ -]|^\.+$", lambda found: "".join(f"%{byte:02x}" for byte in found[0].encode()), name) or "%"


def portable(cell: Any, limit: int = 2**63) -> Any:
    return str(cell) if isinstance(cell, int) and not -limit <= cell < limit else cell


def write_tables(of: Repository, component: dict[str, Any], base: Path) -> Iterator[str]:
    """Yields what is lost. SQLite gets integers beyond 64 bits as text, and makes NaN NULL; the .jsonl is exact."""
    encode = json.JSONEncoder(default=lambda cell: {"base64": base64.b64encode(cell).decode()}).encode
    base.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(base / "tables.sqlite")) as database:
        for table in component["tables"]:
            names = [column["name"] for column in table["columns"]]
            into, *quoted = ['"' + name.replace('"', '""') + '"' for name in (table["name"], *names)]
            database.execute(f"CREATE TABLE {into} ({', '.join(quoted) or 'nothing'})")
            insert = f"INSERT INTO {into} VALUES ({', '.join('?' for _ in names)})"  # noqa: S608
            with (base / f"{part(table['name'])}.jsonl").open("w") as lines:
                for number, chunk in enumerate(table["chunks"], 1):
                    try:
                        rows = list(zip(*columns_of(next(of.chunks([chunk]))), strict=True))
                    except BROKEN as problem:
                        yield f"{base}: table {table['name']}: part {number} of its rows: {problem}"
                        continue
                    lines.writelines(encode(dict(zip(names, row, strict=True))) + "\n" for row in rows)
                    database.executemany(insert, ([*map(portable, row)] for row in rows))
        database.commit()


def write_files(of: Repository, component: dict[str, Any], base: Path) -> Iterator[str]:
    for stream in component["streams"]:
        yield from write_file(of, base / "streams" / part(stream["name"]), stream["chunks"])
    for tree in component["trees"]:
        yield from write_folder(of, base / "trees" / part(tree["name"]), tree["root"])


def write_folder(of: Repository, folder: Path, ids: list[str]) -> Iterator[str]:
    folder.mkdir(parents=True)  # fails where something is, be it a link: nothing is written through one
    try:
        entries = json.loads(b"".join(of.chunks(ids)) or b"[]")
    except BROKEN as problem:
        yield f"{folder}: all in it: {problem}"
        return
    for entry in entries:
        name = spelled(entry, "n", "b")
        path, kind = folder / name, entry.get("k", "f")
        if "/" in name or "\0" in name or name in ("", ".", ".."):
            yield f"{folder}: {name!r} is no name"
        elif kind == "l":
            path.symlink_to(spelled(entry, "to", "tb"))
        else:
            yield from (write_folder if kind == "d" else write_file)(of, path, entry.get("c", []))
            if path.exists():
                path.chmod(entry.get("m", 0) | (0o700 if kind == "d" else 0o400))
                os.utime(path, ns=(entry.get("t", 0),) * 2)


def spelled(entry: dict[str, Any], plain: str, coded: str) -> str:
    return os.fsdecode(base64.b64decode(entry.get(coded, "")) or entry.get(plain, "").encode())


def write_file(of: Repository, path: Path, ids: list[str]) -> Iterator[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.writelines(of.chunks(ids))
    except BROKEN as problem:
        path.unlink(missing_ok=True)
        yield f"{path}: {problem}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", type=Path)
    for option in ("--passphrase-file", "--key-file", "--recovery"):
        parser.add_argument(option, default="")
    parser.add_argument("command", choices=["list", "show", "files", "tables"])
    parser.add_argument("snapshot", nargs="?", default="latest")
    parser.add_argument("out", nargs="?", default="extracted", type=Path)
    given = parser.parse_args()
    folder = given.repository / "backup" if (given.repository / "backup").is_dir() else given.repository
    lost, write = [], write_files if given.command == "files" else write_tables
    try:
        if not (folder / "packs").is_dir():
            raise ValueError(f"no repository here: {folder.absolute()} has no packs/")
        repository = Repository(folder, unlocked(folder, given))
        paths = [path for kind in ("kept", "snapshots") for path in sorted((folder / kind).glob("*-*"))]
        known = [(path.name.partition("-")[2][:16], repository.manifest(path)) for path in paths]
        latest = known[-1][0] if paths and paths[-1].parent.name == "snapshots" else "none"
        wanted = [one for one in known if one[0].startswith(given.snapshot.replace("latest", latest))]
        if given.command == "list":
            for path, (id_, manifest) in zip(paths, known, strict=True):
                names = " ".join(one["name"] for one in manifest.get("components", ()))
                print(id_, manifest.get("at", "damaged"), names + " (kept)" * (path.parent.name == "kept"))
                lost += [] if manifest else [f"snapshot {id_}"]
        elif len(wanted) != 1 or not wanted[0][1]:
            raise ValueError(f"{given.snapshot}: no such snapshot, more than one, or it cannot be read")
        elif given.command == "show":
            print(json.dumps(wanted[0][1], indent=2))
        else:
            print(f"extract: snapshot {wanted[0][0]} to {given.out.absolute()}")
            for component in wanted[0][1]["components"]:
                lost += write(repository, component, given.out / part(component["name"]))
            print(f"extract: {sum(map(Path.is_file, given.out.rglob('*')))} files are there now")
    except BROKEN as problem:
        sys.exit(f"extract: {problem}")
    sys.stderr.writelines(f"extract: lost: {line}\n" for line in lost)
    return 2 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
