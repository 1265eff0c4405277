"""Parts on a real Ray cluster of this machine: the bytes of one process, whatever dies, comes twice or is wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import pytest

from ddr.domain import indexes
from ddr.errors import Conflict, InputError, Refused, Unavailable
from ddr.index import build, stages, worker
from ddr.index.spread import ray_driver, rays
from tests.unit.index import builds, rayside

pytestmark = [
    pytest.mark.skipif(util.find_spec("ray") is None, reason="ray is not installed: pip install 'ddr[ray]'"),
    pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning", "default::ResourceWarning"),
]
CLUSTER = ray_driver.Cluster(cpus=2, seen_s=0)


@pytest.fixture(scope="module")
def driver() -> Iterator[rays.Driver]:
    """With its cluster; one for the module."""
    with rays.driving(CLUSTER) as driver:
        yield driver


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    builds.write(tmp_path / "corpus")
    return tmp_path / "corpus"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


def _path(bench: stages.Bench) -> str:
    return str(bench.work.path("plan.json"))


def _prepared(corpus: Path, kind: indexes.Kind = indexes.Kind.IVF_FLAT) -> tuple[stages.Bench, dict[str, str]]:
    """Ready for parts; and the bytes that one process makes of the plan."""
    chosen = builds.plan(builds.wanted(corpus, kind, recall=0.5))
    alone = builds.digests(build.build(builds.bench(chosen, corpus / "alone")))
    bench = builds.bench(chosen, corpus / "work")
    build.prepare(bench)
    return bench, alone


@pytest.mark.parametrize("kind", [indexes.Kind.IVF_FLAT, indexes.Kind.IVF_PQ])
def test_several_processes_make_the_bytes_of_one(
    kind: indexes.Kind, corpus: Path, notes: Path, driver: rays.Driver
) -> None:
    _, alone = _prepared(corpus, kind)
    calls: list[stages.Progress] = []
    bench = builds.bench(builds.plan(builds.wanted(corpus, kind, recall=0.5)), corpus / "work", calls.append)
    opened = functools.partial(rayside.together, _path(bench), notes)
    built = build.build(bench, rays.spread(bench, opened, CLUSTER, driver))
    assert builds.digests(built) == alone
    processes = {int(path.suffix[1:]) for path in notes.iterdir()}
    assert len(processes) > 1
    assert os.getpid() not in processes
    told = [one for one in calls if one.stage == rays.STAGE]
    assert [one.done for one in told] == [builds.ROWS * done // 4 for done in range(5)]
    made = [one for one in calls if one.stage.startswith("part-") and not one.is_kept]
    assert not made  # here
    print(f"{kind}: 4 parts by {len(processes)} processes, {len(alone)} files of the same bytes as by one")


def test_a_worker_killed_in_the_middle_is_tried_again(
    corpus: Path, notes: Path, capfd: pytest.CaptureFixture[str], driver: rays.Driver
) -> None:
    bench, alone = _prepared(corpus)
    opened = functools.partial(rayside.dying, _path(bench), notes, "part-00001", 2)
    built = build.build(bench, rays.spread(bench, opened, CLUSTER, driver))
    assert builds.digests(built) == alone
    assert len(rayside.noted(notes, "part-00001")) == 3  # two died
    assert capfd.readouterr().out == ""  # where `--json` has its document


def test_a_part_whose_process_always_dies_is_given_up_and_the_rest_is_found(
    corpus: Path, notes: Path, driver: rays.Driver
) -> None:
    bench, alone = _prepared(corpus)
    opened = functools.partial(rayside.dying, _path(bench), notes, "part-00003", 99)
    with pytest.raises(Unavailable, match=f"part 3: its process died {ray_driver.RETRIES + 1} times"):
        build.build(bench, rays.spread(bench, opened, CLUSTER, driver))
    assert len(rayside.noted(notes, "part-00003")) == ray_driver.RETRIES + 1
    assert builds.digests(build.build(builds.bench(bench.plan, corpus / "work"))) == alone


def test_a_part_made_twice_at_once_is_one_part(corpus: Path, notes: Path, driver: rays.Driver) -> None:
    bench, alone = _prepared(corpus)
    opened = functools.partial(rayside.together, _path(bench), notes)
    first = bench.plan.parts[0]
    rays.spread(bench, opened, CLUSTER, driver)([first, first, first, first])
    assert len({*rayside.noted(notes, "part-00000")}) > 1
    assert builds.digests(build.build(bench)) == alone


def test_a_killed_build_takes_its_cluster_along_and_the_next_one_finds_the_parts(
    corpus: Path, notes: Path, driver: rays.Driver
) -> None:
    bench, alone = _prepared(corpus)
    program = f"from tests.unit.index import rayside; rayside.drive({_path(bench)!r}, {str(notes)!r})"
    with subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[3]) as killed:
        try:
            _until_two_parts_are_done(bench, notes)
            family = _descendants(killed.pid)
            agents = [pid for pid in family if _command(pid).endswith("Agent")]
            assert len(family) - len(agents) > 3
        finally:
            killed.send_signal(signal.SIGKILL)
    rayside.until(lambda: not any(_is_alive(one) for one in family if one not in agents))
    for agent in agents:  # which look for their cluster for another minute
        os.kill(agent, signal.SIGKILL)
    assert _parts_made_again(bench, alone, notes, driver) == [0, builds.ROWS // 4, builds.ROWS // 2]  # two of four
    for left in Path(tempfile.gettempdir()).glob("ddr-ray-*"):
        if any(path.name.endswith(f"_{pid}") for path in left.glob("session_*") for pid in family):
            shutil.rmtree(left)


@pytest.mark.parametrize("process", ["gcs_server", "raylet", "driver"])
def test_a_cluster_that_goes_away_is_an_error_and_the_next_build_finds_the_parts(
    process: str, corpus: Path, notes: Path, driver: rays.Driver
) -> None:
    """Ray's library ends the process that has it when the head of the cluster is away: the build has not."""
    bench, alone = _prepared(corpus)
    opened = functools.partial(rayside.held, _path(bench), notes)
    family: list[int] = []

    def struck() -> None:
        _until_two_parts_are_done(bench, notes)
        family.extend([doomed.pid, *_descendants(doomed.pid)])
        chosen = [pid for pid in family if process in _command(pid)] if process != "driver" else [doomed.pid]
        os.kill(chosen[0], signal.SIGKILL)

    with rays.driving(rayside.IMPATIENT) as doomed:
        striker = threading.Thread(target=struck)
        striker.start()
        with pytest.raises(Unavailable) as caught:
            build.build(bench, rays.spread(bench, opened, rayside.IMPATIENT, doomed))
        striker.join()
    rayside.until(lambda: not any(_is_alive(one) for one in family))
    print(f"{process}: {caught.value}")
    assert "the same command goes on" in caught.value.hint
    assert _parts_made_again(bench, alone, notes, driver) == [0, builds.ROWS // 4, builds.ROWS // 2]


def _until_two_parts_are_done(bench: stages.Bench, notes: Path) -> None:
    done = [bench.work.folder / "done" / f"part-{number:05d}.json" for number in (0, 1)]
    rayside.until(lambda: all(path.exists() for path in done) and len(list(notes.glob("part-00002.*"))) > 0)


def _parts_made_again(bench: stages.Bench, alone: dict[str, str], notes: Path, driver: rays.Driver) -> list[int]:
    """Rows that Ray was seen to have made, by a build that comes to its end."""
    calls: list[stages.Progress] = []
    again = builds.bench(bench.plan, bench.work.folder.parent, calls.append)
    opened = functools.partial(rayside.dying, _path(bench), notes, "none", 0)
    assert builds.digests(build.build(again, rays.spread(again, opened, CLUSTER, driver))) == alone
    return [one.done for one in calls if one.stage == rays.STAGE]


def _command(pid: int) -> str:
    """Name of the program that a process runs."""
    try:
        return Path(os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0])).name
    except OSError:
        return ""


def _descendants(pid: int) -> list[int]:
    """Of a process, which may have ended meanwhile."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(one) for one in children] + [below for one in children for below in _descendants(int(one))]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_bad_input_is_one_error_and_no_loop(corpus: Path, notes: Path, driver: rays.Driver) -> None:
    bench, _ = _prepared(corpus)
    shard = corpus / "v1.npy"
    before = shard.stat()
    with shard.open("r+b") as file:
        file.write(b"BROKEN")
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    opened = functools.partial(rayside.counted, _path(bench), notes)
    with pytest.raises(InputError, match=r"part [0-3]: ") as caught:
        rays.spread(bench, opened, CLUSTER, driver)(bench.plan.parts)
    assert type(caught.value) is InputError
    assert "v1.npy" in caught.value.message
    assert "Traceback" not in caught.value.message
    assert len(rayside.noted(notes, "call")) <= len(bench.plan.parts)


def test_a_corpus_that_changed_is_a_conflict_at_the_first_try(corpus: Path, notes: Path, driver: rays.Driver) -> None:
    bench, _ = _prepared(corpus)
    os.utime(corpus / "v0.npy", ns=(1, 1))
    opened = functools.partial(rayside.counted, _path(bench), notes)
    with pytest.raises(Conflict, match="part 0: "):
        rays.spread(bench, opened, CLUSTER, driver)(bench.plan.parts[:1])
    assert len(rayside.noted(notes, "call")) == 1


@pytest.mark.parametrize(("times", "is_made"), [(2, True), (99, False)])
def test_a_system_that_is_away_is_asked_again_and_not_for_ever(
    corpus: Path, notes: Path, times: int, is_made: bool, driver: rays.Driver
) -> None:
    bench, _ = _prepared(corpus)
    make = rays.spread(bench, functools.partial(rayside.away, _path(bench), notes, times), CLUSTER, driver)
    if is_made:
        make(bench.plan.parts[:1])
    else:
        with pytest.raises(Unavailable, match="part 0: the store does not answer") as caught:
            make(bench.plan.parts[:1])
        assert caught.value.hint == "later"
    assert len(rayside.noted(notes, "call")) == (times + 1 if is_made else ray_driver.RETRIES + 1)


def test_what_no_node_can_hold_is_refused_and_not_waited_for(corpus: Path, driver: rays.Driver) -> None:
    bench, _ = _prepared(corpus)
    large = dataclasses.replace(bench.plan, estimates=(indexes.Estimate("parts", 900_000_000, 0.0),))
    there = builds.bench(large, corpus / "work")
    build.prepare(there)
    with pytest.raises(Refused, match="no node of Ray has 1 CPU and 900,000,000 MiB"):
        rays.spread(there, functools.partial(rayside.plainly, _path(there)), CLUSTER, driver)(large.parts)


def test_a_work_folder_that_nodes_do_not_share_is_seen(corpus: Path, driver: rays.Driver) -> None:
    bench, _ = _prepared(corpus)
    elsewhere = corpus / "elsewhere"
    shutil.copytree(corpus / "work", elsewhere)
    path = str(elsewhere / bench.work.folder.name / "plan.json")
    with pytest.raises(Refused, match="does not have it"):
        rays.spread(bench, functools.partial(rayside.plainly, path), CLUSTER, driver)(bench.plan.parts)


def test_other_software_makes_no_part(corpus: Path, driver: rays.Driver) -> None:
    bench, _ = _prepared(corpus)
    software = {**bench.plan.software, "faiss": "faiss-cpu 1.9.0"}
    old = builds.bench(dataclasses.replace(bench.plan, software=software), corpus / "work")
    build.prepare(old)
    with pytest.raises(Refused, match=r"faiss is faiss-cpu .*, not faiss-cpu 1\.9\.0"):
        rays.spread(old, functools.partial(rayside.plainly, _path(old)), CLUSTER, driver)(old.plan.parts)
    assert not Counter(one.name for one in (old.work.folder / "done").glob("part-*"))


def test_the_cluster_listens_on_loopback_alone(driver: rays.Driver) -> None:
    family = [driver.pid, *_descendants(driver.pid)]
    inodes = {name for pid in family for name in _sockets(pid)}
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    listening = [fields[1] for fields in lines if fields[3] == "0A" and fields[9] in inodes]
    addresses = {one.rpartition(":")[0] for one in listening}
    assert len(listening) > 3
    assert addresses <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    print(f"{len(listening)} sockets, all on loopback")


def _sockets(pid: int) -> list[str]:
    """Of a process, which may have ended meanwhile."""
    found = []
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if (target := str(link.readlink())).startswith("socket:["):
                    found.append(target[8:-1])
    return found


@pytest.mark.long
def test_who_has_no_token_runs_nothing_in_our_cluster(driver: rays.Driver) -> None:
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0") for pid in _descendants(driver.pid)]
    (address,) = {word.partition("=")[2] for line in lines for word in line if word.startswith("--gcs-address=")}
    program = f"import ray; ray.init({address!r}); print('in', ray.get(ray.remote(lambda: 1).remote()))"
    environ = {
        **os.environ,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }  # else it knocks at another address than loopback
    with subprocess.Popen(
        [sys.executable, "-u", "-c", program], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as stranger:  # which Ray lets knock for minutes
        try:
            assert stranger.stdout is not None
            answers = list(itertools.islice(stranger.stdout, 4))
        finally:
            stranger.kill()
    assert [answer for answer in answers if "InvalidAuthToken" in answer], answers
    assert not [answer for answer in answers if answer.startswith("in ")]


@pytest.mark.parametrize(
    "address", ["127.0.0.1:1", "ray://127.0.0.1:1", "no-such-host.invalid:6379", "127.0.0.1:99999"]
)
def test_an_address_where_nobody_is_says_so_at_once(address: str) -> None:
    """Ray alone takes more than ten minutes, and a test of ours may have five."""
    with pytest.raises(Unavailable, match=f"^Ray: {address}: ") as caught, rays.driving(ray_driver.Cluster(address)):
        pass
    assert "RAY_ADDRESS" in caught.value.hint


def test_a_plan_for_one_gpu_by_number_is_refused(corpus: Path) -> None:
    bench, _ = _prepared(corpus)
    chosen = builds.bench(dataclasses.replace(bench.plan, device="cuda:1"), corpus / "work")
    with pytest.raises(Refused, match="cuda:1"):
        rays.spread(chosen, functools.partial(rayside.plainly, _path(bench)), CLUSTER)(chosen.plan.parts)


@pytest.mark.parametrize(("parts", "cpus", "each"), [(4, 2, 1), (1, 8, 8), (3, 8, 2), (100, 8, 1)])
def test_processors_are_shared_out_among_parts(parts: int, cpus: int, each: int) -> None:
    order = ray_driver.Order(functools.partial(rayside.plainly, ""), range(parts))
    assert ray_driver.Needs.of(order, [{"CPU": float(cpus)}]).cpus == each
    assert worker.batch_rows(8) > 0
