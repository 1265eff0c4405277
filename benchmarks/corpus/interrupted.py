"""What goes wrong while an index is built, each on a build of its own by commands: a kill, and what the disk does to
parts meanwhile; a disk that is full; a second build beside the first. What serves must not notice any of it."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable

from benchmarks.corpus import harms, shops, story

BUILDING = "while it is built"
_AGAIN = "build again"


def all_of(shop: shops.Shop, made: story.Story) -> list[story.Told]:
    """story.Wrong where a build is not as it must be, or answers change."""
    answers = made.answers()
    rows = []
    for number, told in enumerate((_parts_damaged, _disk_full, _second_build)):
        _cut_anew(shop, number)
        rows.append(told(shop))
        same = story.alike(answers, made.answers())
        if same < 1 or shop.say("check").code:
            raise story.Wrong(f"{rows[-1].harm}: {same:.0%} of the answers are as before")
    return rows


def _cut_anew(shop: shops.Shop, number: int) -> None:
    """The same index in other parts: another plan, and so all of its stages anew."""
    text = shop.spec.read_text()
    rows = int(re.findall(r"rowsPerPart: (\d+)", text)[0])
    shop.spec.write_text(text.replace(f"rowsPerPart: {rows}", f"rowsPerPart: {rows + 1}"))


def _parts_damaged(shop: shops.Shop) -> story.Told:
    """Killed when four parts are there; then one has a flipped bit, one a receipt that is torn, one is gone."""
    process = _until(shop, "part-00004")
    process.kill()
    process.wait()
    folder = max(shop.work("*/done"), key=lambda path: path.stat().st_mtime).parent
    names = [json.loads((folder / "done" / f"part-0000{n}.json").read_text())["files"][0]["name"] for n in range(3)]
    harms.written(folder / names[0], harms.flipped((folder / names[0]).read_bytes()), is_silent=True)
    receipt = folder / "done" / "part-00001.json"
    harms.written(receipt, receipt.read_bytes()[:-40])
    (folder / names[2]).unlink()
    began = time.perf_counter()
    done = shops.well(shop.say("build", "--publish", "--events"))
    events = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    made = {event["stage"] for event in events if not event["kept"]}
    if not made >= {"part-00000", "part-00001", "part-00002"} or "part-00003" in made:
        raise story.Wrong(f"behind the kill these were made: {sorted(made)}")
    seconds = time.perf_counter() - began
    return _told("killed; a part damaged, one gone, a receipt torn", 0, seconds, seconds)


def _disk_full(shop: shops.Shop) -> story.Told:
    """No file may get as large as the index: its last 4 KB do not fit."""
    version, size = shop.place.live, (shop.place.live / harms.INDEX).stat().st_size
    limit = size - harms.BLOCK
    began = time.perf_counter()
    full = shop.say("build", "--publish", before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    found_s = time.perf_counter() - began
    if full.code not in (1, 69) or shop.place.live != version or "Traceback" in full.err:
        raise story.Wrong(f"a full disk ended with {full.code}\n{full.err[-1000:]}")
    began = time.perf_counter()
    shops.well(shop.say("build", "--publish"))
    return _told("the disk is full for the last 4 KB", full.code, found_s, time.perf_counter() - began)


def _second_build(shop: shops.Shop) -> story.Told:
    """While the first one is held in the middle of its parts."""
    process = _until(shop, "part-00002")
    process.send_signal(signal.SIGSTOP)
    began = time.perf_counter()
    second = shop.say("build", "--publish")
    found_s = time.perf_counter() - began
    process.send_signal(signal.SIGCONT)
    began = time.perf_counter()
    if process.wait() or second.code != 15:
        raise story.Wrong(f"two builds at once ended with {process.returncode} and {second.code}\n{second.err[-1000:]}")
    return _told("a second build beside the first", second.code, found_s, time.perf_counter() - began)


def _until(shop: shops.Shop, stage: str) -> subprocess.Popen[bytes]:
    """A build that has come to that stage; what it says afterwards goes into a file."""
    told = shop.base / "events"
    with told.open("wb") as file:
        process = subprocess.Popen(
            shop.command("build", "--publish", "--events"), stderr=file, stdout=subprocess.DEVNULL, env=shops.environ()
        )
    _waited(lambda: process.poll() is not None or f'"stage": "{stage}"' in told.read_text())
    return process


def _waited(is_so: Callable[[], bool]) -> None:
    while not is_so():
        time.sleep(0.005)


def _told(harm: str, code: int, found_s: float, mended_s: float) -> story.Told:
    return story.Told(BUILDING, harm, "build", code, _AGAIN, 1.0, found_s, mended_s)
