"""A build whose disk is full at any call that writes, or cannot read what was written: told, and gone on with."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ddr.errors import DdrError
from ddr.index import build, remains, stages
from ddr.lib import digest
from tests.unit.index import builds, dying


@pytest.mark.parametrize("call", ["fsync", "mkdir", "replace"])
def test_a_disk_that_is_full_at_any_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    builds.write(tmp_path, 120)
    chosen = builds.plan(builds.wanted(tmp_path, rows_per_part=60))
    whole = builds.digests(build.build(builds.bench(chosen, tmp_path / "whole")))
    number = 0
    while True:
        number += 1
        folder = tmp_path / f"{call}-{number}"
        with monkeypatch.context() as patched:
            count = dying.failing(patched, call, number, errno.ENOSPC)
            try:
                build.build(builds.bench(chosen, folder))
                has_failed = False
            except DdrError:
                has_failed = True
        if count[0] < number:
            break
        assert has_failed, f"{call} {number}"
        assert builds.digests(build.build(builds.bench(chosen, folder))) == whole
    print(f"{number - 1} calls of {call} failed")
    assert number > 2


@pytest.mark.parametrize(("code", "is_mended"), [(errno.EIO, True), (errno.EUCLEAN, True), (errno.EACCES, False)])
def test_what_the_disk_cannot_read_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, is_mended: bool
) -> None:
    """What may not be read is told."""
    builds.write(tmp_path)
    chosen = builds.plan(builds.wanted(tmp_path))
    whole = builds.digests(build.build(builds.bench(chosen, tmp_path / "work")))
    bench = builds.bench(chosen, tmp_path / "work")
    receipt = bench.work.receipt(stages.part_stage(1))
    assert receipt
    bad, of_file = bench.work.path(receipt.files[0].name), digest.of_file
    mark = bad.stat().st_ino

    def read(path: Path) -> str:
        if path == bad and path.stat().st_ino == mark:
            raise OSError(code, "it cannot", str(path))
        return of_file(path)

    monkeypatch.setattr(digest, "of_file", read)
    if is_mended:
        assert remains.whole_parts(bench)[0] == (True, False, True, True)
        assert builds.digests(build.build(bench)) == whole
        return
    with pytest.raises(DdrError, match="cannot be read"):
        remains.whole_parts(bench)
