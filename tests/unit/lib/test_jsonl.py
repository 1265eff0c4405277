"""Logs of JSON lines that others write: damage, growth, and windows found by time."""

from __future__ import annotations

import json
import math
import random
import time
from pathlib import Path

import pytest

from ddr.errors import Damaged, Unavailable
from ddr.lib import jsonl


def decode(line: bytes) -> tuple[float, int] | None:
    value = jsonl.parse(line)
    if value is None or not isinstance(value.get("at"), int | float):
        return None
    return float(str(value["at"])), int(str(value.get("id", -1)))


def _write(path: Path, times: list[float], rng: random.Random, bad: float = 0.0) -> list[bytes]:
    lines = []
    for number, at in enumerate(times):
        if rng.random() < bad:
            lines.append(rng.choice([b"\n", b"{torn\n", b"[1]\n", b"\xff\xfe\n", b"\0" * 50 + b"\n"]))
        filler = "x" * rng.choice([0, 3, 40, 400, 9000])
        lines.append(json.dumps({"id": number, "at": at, "filler": filler}).encode() + b"\n")
    path.write_bytes(b"".join(lines))
    return lines


def test_a_file_is_read_with_its_bad_lines_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    assert jsonl.read(path) == jsonl.Records((), 0, torn=False)
    path.write_bytes(b'{"a":1}\n\nno\n[2]\n{"a":3}')
    assert jsonl.read(path) == jsonl.Records(({"a": 1}, {"a": 3}), 2, torn=False)
    path.write_bytes(b'{"a":1}\n{"a":')
    assert jsonl.read(path) == jsonl.Records(({"a": 1},), 0, torn=True)
    with pytest.raises(Unavailable):
        jsonl.read(tmp_path)


def test_one_object_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    assert jsonl.of_file(path) is None
    assert jsonl.of_file(path / "below") is None
    path.write_text('{"a": 1}\n')
    assert jsonl.of_file(path) == {"a": 1}
    for text in ("", "[]", "{", '{"a": 1} x', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(Damaged, match=r"card\.json"):
            jsonl.of_file(path)


def test_every_window_of_many_small_logs_is_what_a_full_scan_finds(tmp_path: Path) -> None:
    """Bisection against the plain way: sorted, unsorted within the slack, with bad lines, with repeated times."""
    windows = 0
    for seed in range(60):
        rng = random.Random(seed)
        path = tmp_path / f"{seed}.jsonl"
        times = sorted(rng.choice([rng.uniform(0, 5000), float(rng.randrange(0, 5000, 300))]) for _ in range(seed))
        times = [at + rng.uniform(0, jsonl.SLACK_S / 2) * (seed % 2) for at in times]
        _write(path, times, rng, bad=0.2 * (seed % 3))
        for _ in range(20):
            since, until = sorted((rng.uniform(-500, 5500), rng.uniform(-500, 5500)))
            found = [entry[1] for entry in jsonl.between(path, decode, since, until) if entry]
            assert found == [number for number, at in enumerate(times) if since <= at < until]
            before = [number for number, at in enumerate(times) if at < since]
            last = jsonl.last_before(path, decode, since)
            assert (last[1] if last else None) == (before[-1] if before else None)
            windows += 1
    print(f"{windows} windows")


def test_bad_lines_near_a_window_are_seen_and_far_ones_are_not(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [json.dumps({"id": at, "at": at}).encode() + b"\n" for at in range(0, 10_000, 10)]
    path.write_bytes(b"".join([b"bad\n", *lines[:500], b"bad\n", *lines[500:], b"bad\n"]))
    assert list(jsonl.between(path, decode, 5000, 5010)).count(None) == 1
    assert list(jsonl.between(path, decode, 2000, 2010)).count(None) == 0
    assert list(jsonl.between(path, decode, -math.inf, math.inf)).count(None) == 3


@pytest.mark.parametrize("tail", [b"{", b'{"at": 50', b'{"id": 1, "at": 50}', b"\0\0\0"])
def test_a_torn_last_line_is_left_alone_and_a_whole_one_counts(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"id": 0, "at": 40}\n' + tail)
    found = list(jsonl.between(path, decode, 0, 100))
    assert found == ([(40.0, 0), (50.0, 1)] if tail.endswith(b"}") else [(40.0, 0)])


def test_a_line_without_end_is_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"id": 0, "at": 40}\n' + b"\0" * (3 * jsonl.LONGEST_LINE_BYTES) + b'\n{"id": 1, "at": 50}\n')
    found = list(jsonl.between(path, decode, 0, 100))
    assert [entry for entry in found if entry] == [(40.0, 0), (50.0, 1)]
    assert found.count(None) >= 1


def test_no_file_is_no_lines_and_a_folder_is_unavailable(tmp_path: Path) -> None:
    assert list(jsonl.between(tmp_path / "none", decode, 0, 1)) == []
    with pytest.raises(Unavailable):
        list(jsonl.between(tmp_path, decode, 0, 1))


def test_the_end_of_a_long_log_costs_its_window_only(tmp_path: Path) -> None:
    """A sparse gigabyte in front: reading it all would take seconds."""
    path = tmp_path / "log.jsonl"
    with path.open("wb") as file:
        for at in range(200_000):
            file.write(b'{"id": %d, "at": %d, "row": "%s"}\n' % (at, at, b"x" * 900))
    asked = 0

    def counting(line: bytes) -> tuple[float, int] | None:
        nonlocal asked
        asked += 1
        return decode(line)

    begin = time.perf_counter()
    found = list(jsonl.between(path, counting, 199_990, 200_000))
    took_ms = (time.perf_counter() - begin) * 1000
    assert [entry[1] for entry in found if entry] == list(range(199_990, 200_000))
    print(f"{path.stat().st_size >> 20} MiB, {asked} lines decoded, {took_ms:.1f} ms")
    assert asked < 200
