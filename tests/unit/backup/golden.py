"""The golden repository: made once for each released format version, readable for ever.

`python -m tests.unit.backup.golden` makes it where there is none. Never make version 1 again: that it was written by
an older program is the point of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import tempfile
from datetime import timedelta
from pathlib import Path

from ddr.backup import keys
from ddr.backup import repository as repositories
from ddr.stores import local
from tests.unit.backup import house

ROOT = Path(__file__).parent.parent.parent / "data" / "golden-repository-v1"
PASSPHRASE = "golden: not secret"
NAN = struct.unpack("<d", bytes.fromhex("0100000000c0f8ff"))[0]


def shop_at(root: Path) -> house.Shop:
    """Every kind of cell, coding and entry that the format knows, in a few kilobytes."""
    shop = house.small_shop(root, seed=40)
    for name in ("models/1/weights.bin", "models/2/weights.bin", "models/2/again.bin"):
        (root / name).write_bytes((root / name).read_bytes()[:700])
    (root / "zeros-in-several-chunks").write_bytes(bytes((9 << 20) + 5))
    (root / os.fsdecode(b"not-utf8-\xff\xfe")).write_bytes(b"named in bytes\n")
    (root / "link-not-utf8").symlink_to(os.fsdecode(b"gone-\xff"))
    (root / "..dots").write_bytes(b"no folder above\n")
    for path in root.rglob("*"):
        if not path.is_symlink():
            os.utime(path, ns=(1_700_000_000_123_456_789,) * 2)
    shop.streams = {"registry.db": bytes(range(256)) * 3, "none": b""}
    shop.tables["runs"] = [(number, f"run-{number % 3}", number / 8) for number in range(300)]
    shop.tables["steps"] = [(10**12 + 1000 * number + number % 3, f"only-{number}", -0.0) for number in range(50)]
    shop.tables["odd"] = [
        (None, None, None), (2**70, "", float("inf")), (-(2**70), "\udcff", float("-inf")), (12, "語", NAN),
        (-(2**63), "x" * 300, 5e-324), (2**63 - 1, b"\0\xff", 1), (0, 7, "text"), (1.5, 2.5, b"bytes"),
        (3, False, None),
    ]  # fmt: skip
    shop.tables['a "quoted/name'] = [(1, "a", 1.0)]
    return shop


def told(world: house.World) -> dict[str, dict[str, str]]:
    """A world as JSON holds it."""

    def of(value: bytes | str | None) -> str:
        if value is None:
            return "folder"
        if isinstance(value, str):
            return f"link {os.fsencode(value).hex()}"
        return f"{len(value)} {hashlib.sha256(value).hexdigest()}"

    return {
        "tables": {name: repr(rows) for name, rows in world.tables.items()},
        "streams": {name: of(content) for name, content in world.streams.items()},
        "files": {os.fsencode(path).hex(): of(content) for path, content in sorted(world.files.items())},
    }


def build() -> None:
    if ROOT.exists():
        raise SystemExit(f"{ROOT} is there: it is never made again")
    ROOT.mkdir(parents=True)
    keys.new_key_file(ROOT / "key-file")
    now = house.Clock()
    place = local.LocalStore(ROOT / "store")
    repository = repositories.create(place, keys.Opening(passphrase=PASSPHRASE), house.NOW)
    keys.add(place, repository.ring, keys.Opening(key_file=ROOT / "key-file"), now(), "scheduler")
    expected: dict[str, object] = {"recovery": repository.ring.paper()}
    root = Path(tempfile.mkdtemp())
    try:
        shop = shop_at(root)
        first = house.backup(repository, {"shop": shop}, now)
        expected[first.id] = told(shop.world())
        (root / "models/1/weights.bin").unlink()
        (root / "new").write_bytes(b"new\n")
        shop.tables["runs"] += [(300, "last", float("nan"))]
        now.at += timedelta(days=1)
        second = house.backup(repository, {"shop": shop}, now)
        expected[second.id] = told(shop.world())
    finally:
        shutil.rmtree(root)
    (ROOT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    build()
