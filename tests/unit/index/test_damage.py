"""Every kind of damage of every file of a version: found by its digests, before anything loads it; and what loading it
would have done, for those that have changed the digests too."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ddr.domain import indexes
from ddr.errors import Unavailable
from ddr.index import check, child, codec, loading
from ddr.index.homes import publishing, writing
from tests.unit.index import published

Flaw = tuple[str, bytes]
HEADER_BYTES = 128


def flips(content: bytes, every: int = 1, bits: int = 8) -> Iterator[Flaw]:
    """All bits of the first 128 bytes; of the others `bits` (one, another one from byte to byte) in every n-th byte."""
    for at in range(len(content)):
        if at >= HEADER_BYTES and at % every:
            continue
        for bit in range(8) if at < HEADER_BYTES or bits == 8 else ((at // every) % 8,):
            yield "bit flip", content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def cuts(content: bytes, every: int) -> Iterator[Flaw]:
    for size in (*range(0, len(content), every), *range(max(0, len(content) - 64), len(content))):
        yield "truncated", content[:size]


def blanks(content: bytes) -> Iterator[Flaw]:
    for start in range(0, len(content), 4096):
        yield "a block of zeros", content[:start] + bytes(len(content[start : start + 4096])) + content[start + 4096 :]
    for tenth in range(10):
        keep = len(content) * tenth // 10
        yield "a tail of zeros", content[:keep] + bytes(len(content) - keep)
    yield "longer", content + b"\0"
    yield "twice", content * 2
    if len(content) > 512:
        yield "two blocks changed places", content[256:512] + content[:256] + content[512:]


def damage(content: bytes, every: int, bits: int) -> Iterator[Flaw]:
    for name, flaw in (*flips(content, every, bits), *cuts(content, every), *blanks(content)):
        if flaw != content:
            yield name, flaw


FILES = ("index.faiss", "ids.json", "manifest.json")
FEW = [(kind, 16, 8 if kind is not indexes.Kind.IVF_FLAT else 2, 1) for kind in published.KINDS]
EACH = [(kind, 1, 1, 8) for kind in published.KINDS]
LONG = (pytest.mark.long, pytest.mark.timeout(3000))


@pytest.mark.parametrize(("kind", "every", "step", "bits"), [*FEW, *(pytest.param(*one, marks=LONG) for one in EACH)])
def test_damage_is_found_before_a_load(kind: indexes.Kind, every: int, step: int, bits: int, tmp_path: Path) -> None:
    """`long` goes through every bit and every length; else names and manifest, which are alike, are for one kind."""
    made = published.make(tmp_path / "corpus", kind, rows=80, ids="texts")
    home = published.at(tmp_path / "home")
    version = published.published(home, made)
    folder = tmp_path / "home/versions" / version
    met: Counter[str] = Counter()
    for name in FILES if step < 8 else FILES[:1]:
        path = folder / name
        content = path.read_bytes()
        path.unlink()
        for what, flaw in itertools.islice(damage(content, every, bits), 0, None, step):
            path.write_bytes(flaw)
            found = check.check(home, version, check.Means(), (0, 1, 2))
            assert found.exit_code == 10, (name, what)
            assert found.findings[0].where.startswith(f"{version}/{name}")
            assert 2 not in found.levels, "it was loaded"
            met[f"{name}: {what}"] += 1
        path.write_bytes(content)
    assert check.check(home, version, check.Means(), (0, 1)).findings == ()
    print(f"{kind}: {met.total()} damaged files, all found before a load")
    for what, count in sorted(met.items()):
        print(f"    {count:6} {what}")


def test_files_that_changed_places(tmp_path: Path) -> None:
    home = published.at(tmp_path / "home")
    one = published.published(home, published.make(tmp_path / "one", rows=80, ids="texts", seed=1))
    two = published.published(home, published.make(tmp_path / "two", rows=80, ids="texts", seed=2))
    first, second = (tmp_path / "home/versions" / name for name in (one, two))
    assert (first / "index.faiss").stat().st_size == (second / "index.faiss").stat().st_size

    def swap(left: Path, right: Path) -> None:
        beside = left.with_name("beside")
        left.rename(beside)
        right.rename(left)
        beside.rename(right)

    def extra(path: Path) -> Callable[[], object]:
        return lambda: path.unlink() if path.exists() else path.write_bytes(b"")

    def link(path: Path) -> Callable[[], object]:
        aside = path.with_name(".aside")

        def do() -> None:
            if path.is_symlink():
                path.unlink()
                aside.rename(path)
            else:
                path.rename(aside)
                path.symlink_to(aside)

        return do

    changes: list[Callable[[], object]] = [
        lambda: swap(first / "index.faiss", second / "index.faiss"),
        lambda: swap(first / "ids.json", first / "index.faiss"),
        lambda: swap(first / "manifest.json", second / "manifest.json"),
        lambda: swap(first / "manifest.json", first / "ids.json"),
        lambda: swap(first, second),
        extra(first / "more"),
        link(first / "index.faiss"),
        lambda: swap(first / "index.faiss", tmp_path / "home/away"),
    ]
    (tmp_path / "home/away").mkdir()
    for change in changes:
        change()
        assert check.check(home, one, check.Means(), (0, 1, 2)).exit_code == 10
        change()
        assert check.check(home, one, check.Means(), (0, 1)).findings == ()
    print(f"{len(changes)} ways to put the wrong file there")


def looked(questions: list[loading.Question]) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.unit.index.attacked"],
        input=b"".join(codec.encode(question) for question in questions),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return ran.stdout.decode().splitlines()


@pytest.mark.parametrize("kind", published.KINDS)
@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=LONG)])
def test_what_a_load_would_have_made_of_it(kind: indexes.Kind, count: int, tmp_path: Path) -> None:
    """The digests are the attacker's too. Whatever a child does, it ends, and this process goes on."""
    made = published.make(tmp_path / "corpus", kind, rows=80)
    content = made.files["index.faiss"].read_bytes()
    probes = tuple(probe.vector for probe in made.manifest.probes)
    flaws = list(damage(content, 8, 1))
    chosen = random.Random(5).sample(flaws, min(count, len(flaws)))
    questions = [loading.Question(str(made.files["index.faiss"]), "", probes, 5, threads=1)]
    for number, (_, flaw) in enumerate(chosen):
        path = tmp_path / f"{number}.faiss"
        path.write_bytes(flaw)
        questions.append(dataclasses.replace(questions[0], path=str(path)))
    good, *answers = looked(questions)
    assert good.startswith("ok ")
    assert len(answers) == len(chosen)
    ends: Counter[str] = Counter()
    for answer in answers:
        ends["answers as before" if answer == good else "answers otherwise" if answer[:2] == "ok" else answer] += 1
    print(f"{kind}: {len(answers)} damaged files loaded in children: {dict(ends)}")


def crash(question: bytes) -> bytes:
    os.kill(os.getpid(), signal.SIGSEGV)
    return question


def hang(question: bytes) -> bytes:
    time.sleep(600)
    return question


def burn(question: bytes) -> bytes:
    while True:
        len(question)


def flood(question: bytes) -> bytes:
    return question * 2


def grab(question: bytes) -> bytes:
    return question * (1 << 30)


def write(question: bytes) -> bytes:
    Path(question.decode()).write_bytes(b"x" * 100)
    return b"written"


def leave(question: bytes) -> bytes:
    """A process of its own that would go on."""
    if not os.fork():
        time.sleep(600)
    return question


def quiet(question: bytes) -> bytes:
    os._exit(0)


def exited(question: bytes) -> bytes:
    """As OpenMP does it where it gets no thread."""
    os._exit(1)


def refused(question: bytes) -> bytes:
    raise RuntimeError("std::bad_alloc")


def strange(question: bytes) -> bytes:
    raise ValueError("no index begins so")


def killed(question: bytes) -> bytes:
    """As the kernel does it where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    return question


def ended(question: bytes) -> bytes:
    os.kill(os.getpid(), signal.SIGTERM)
    return question


def without_faiss(question: bytes) -> bytes:
    raise Unavailable("faiss cannot be imported", hint=question.decode())


def told(question: bytes) -> bytes:
    del question
    return " ".join(os.environ.values()).encode()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (crash, "died of SIGSEGV"),
        (hang, "did not end in 3 s"),
        (burn, "processor time"),
        (flood, "answered more than"),
        (grab, "more memory"),
        (write, "File too large"),
        (leave, "did not end in 3 s"),
        (quiet, "no whole answer"),
    ],
)
def test_a_child_that_misbehaves(function: child.Function, said: str, tmp_path: Path) -> None:
    limits = child.Limits(64, 1, 3.0 if function is not burn else 60.0, 1000)
    question = str(tmp_path / "written").encode() if function is write else b"q" * 800
    outcome = child.run(function, question, limits)
    assert said in outcome.trouble
    assert outcome.is_late == (function in (hang, burn, leave))
    assert outcome.content == b""
    written = tmp_path / "written"
    assert not written.exists() or not written.stat().st_size


@pytest.mark.parametrize(
    ("function", "home", "said"),
    [
        (killed, "", "the child died of SIGKILL, which something else sent"),
        (ended, "", "the child died of SIGTERM, which something else sent"),
        (told, "/nowhere", "the child ended with 1 before it looked at anything"),
    ],
)
def test_what_befalls_a_child_is_no_finding(function: child.Function, home: str, said: str) -> None:
    limits = child.Limits(environment={"PYTHONHOME": home, "PYTHONPATH": home} if home else {})
    with pytest.raises(Unavailable, match=said) as caught:
        child.run(function, b"", limits)
    assert "the same command again" in caught.value.hint


def test_a_library_that_is_not_here_is_no_finding() -> None:
    with pytest.raises(Unavailable, match="faiss cannot be imported") as caught:
        child.run(without_faiss, b"install it", child.Limits())
    assert caught.value.hint == "install it"


@pytest.mark.parametrize("function", [crash, grab, refused, exited])
def test_trouble_that_less_memory_than_it_takes_may_make_is_no_finding(
    function: child.Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As below `ulimit -v`. What was understood of the bytes is one all the same."""
    assert child.run(function, b"q" * 800, child.Limits()).trouble
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, 2 << 30))
    assert child.run(told, b"", child.Limits()).content
    assert child.run(strange, b"", child.Limits()).trouble == "ValueError: no index begins so"
    with pytest.raises(Unavailable, match="has less memory here than it takes") as caught:
        child.run(function, b"q" * 800, child.Limits())
    assert "ulimit -H -v" in caught.value.hint


def test_a_child_finds_the_libraries_that_are_found_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/gpu/lib")
    monkeypatch.setenv("SOME_TOKEN", "hush-hush")
    said = child.run(told, b"", child.Limits()).content
    assert (b"/opt/gpu/lib" in said, b"hush-hush" in said) == (True, False)


def test_where_no_child_can_be_started_nothing_is_known_and_nothing_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = published.at(tmp_path / "home")
    made = published.make(tmp_path / "corpus", rows=60)
    first, second = published.published(home, made), published.published(home, made.as_another(1))
    other, prove = made.as_another(2), published.prover(home)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    tried: tuple[Callable[[], object], ...] = (
        lambda: prove(second),
        lambda: check.check(home, second, check.Means(corpus=made.corpus), (3,)),
        lambda: publishing.publish(home, other.files, other.manifest, prove),
        lambda: publishing.way_back(home, None, prove),
        lambda: publishing.way_back(home, first, prove),
    )
    for one in tried:
        with pytest.raises(Unavailable, match="no child process can be started"):
            one()
    assert home.current() == second
    (tmp_path / "home/versions" / first / "stray").touch()
    found = prove(first)
    assert (found.levels, len(found.findings), found.exit_code) == ((0, 1), 1, 10)
    assert any(one.startswith("level 2: no child process") for one in found.not_checked)


def test_a_child_is_told_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2-hunter2")
    assert b"hunter2" not in child.run(told, b"", child.Limits()).content


def test_a_child_dies_with_its_parent() -> None:
    program = (
        "from ddr.index import child; from tests.unit.index import test_damage; import os, threading, time, subprocess;"
        "threading.Thread(target=child.run, args=(test_damage.hang, b'', child.Limits()), daemon=True).start();"
        "time.sleep(1.5); print(subprocess.run(['ps', '-o', 'pid=', '--ppid', str(os.getpid())],"
        " capture_output=True, text=True).stdout.split()[0], flush=True); os.kill(os.getpid(), 9)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pid = int(ran.stdout)
    for _ in range(100):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("it lives on")


def test_a_damaged_build_is_never_pointed_at(tmp_path: Path) -> None:
    """The file is what its digest says, and no index: the child says so, the pointer stays, the version is gone."""

    home = published.at(tmp_path / "home")
    good = published.published(home, published.make(tmp_path / "one", rows=80))
    made = published.make(tmp_path / "two", rows=80)
    file = writing.write_bytes(made.files["index.faiss"], made.files["index.faiss"].read_bytes()[:3000])
    made = dataclasses.replace(made, manifest=dataclasses.replace(made.manifest, files=(file,)))
    with pytest.raises(publishing.NotProved, match="cannot be loaded") as caught:
        published.published(home, made, (0, 1, 2))
    assert caught.value.exit_code == 10
    assert (home.current(), home.versions()) == (good, (good,))


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_two_hundred_clean_rebuilds(tmp_path: Path) -> None:
    """No alarm, at any level."""
    home = published.at(tmp_path / "home")
    for number in range(200):
        kind = published.KINDS[number % len(published.KINDS)]
        ids = ("numbers", "texts", "positions")[number % 3]
        metric = list(indexes.Metric)[number % 2]
        made = published.make(tmp_path / f"{number}", kind, rows=300, seed=number, ids=ids, metric=metric)
        version = published.published(home, made)
        found = check.check(home, version, check.Means(corpus=made.corpus, sample=300), (0, 1, 2, 3))
        assert found.findings == (), (kind, number)
    print("200 clean rebuilds: 0 alarms")
