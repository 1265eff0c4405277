"""Finds out whether a store keeps what it promises; conditional writes above all.

Some servers accept `If-None-Match` and `If-Match` and ignore them. Such a server says yes to every create and every
swap: nothing fails, no error is seen, and of two writers at once one loses what it was told is safe. The only way to
know is to try.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ddr.errors import Conflict, DdrError, Missing, Unavailable, Unsupported
from ddr.ports import store

_WRITERS = 8
_ROUNDS = 3
_CLEANINGS = 20
_MEANING = (
    "so of two writers at once one would overwrite the other's record and neither would be told: do not share this "
    "store; take one that keeps conditional writes (AWS S3, SeaweedFS, MinIO, Ceph), or a folder on this machine"
)


@dataclass(frozen=True)
class Verdict:
    """What was found: sentences for a person, none when there is nothing to say.

    `honest`: every promise that was tried was kept. `unanswered`: the store did not answer, so nothing is known.
    """

    store: str
    honest: bool
    findings: tuple[str, ...]
    unanswered: bool = False


def probe(tried: store.Store, *, writers: int = _WRITERS, rounds: int = _ROUNDS) -> Verdict:
    """Try every promise of the port on keys of our own, `probe/<random>/...`, and take the keys away again.

    Never raises for what the store does. Each race is run `rounds` times with `writers` threads.
    """
    place = f"probe/{secrets.token_hex(8)}"
    try:
        tried.head(f"{place}/is-anybody-there")
    except Unavailable as problem:
        return Verdict(tried.name, honest=False, findings=(_sentence(problem),), unanswered=True)
    try:
        conditions = [
            *_kept(tried, f"{place}/create", _create_twice),
            *_kept(tried, f"{place}/swap", _swap_stale),
            *_kept(tried, f"{place}/races", lambda races, key: _races(races, key, writers, rounds)),
        ]
        findings = [*conditions, *([_MEANING] if conditions else [])]
        findings += _kept(tried, f"{place}/read", _read_back)
        findings += _kept(tried, f"{place}/list", _list)
        findings += _kept(tried, f"{place}/delete", _delete)
    except Unavailable as problem:
        left = _clean(tried, place)
        return Verdict(tried.name, honest=False, findings=(_sentence(problem), *left), unanswered=True)
    left = _clean(tried, place)
    return Verdict(tried.name, honest=not findings, findings=(*findings, *left))


def try_beginning(tried: store.Store, beginning: str) -> str:
    """Write, read and delete one key that begins so; what is wrong, '' when it went well.

    Rights may differ from one folder or prefix to the next: what `probe` may do, another one may not.
    """
    key, content = f"{beginning}{secrets.token_hex(8)}", b"tried by `ddr doctor`; may be deleted\n"
    try:
        for left in list(tried.list(beginning)):  # of a trial that was cut off
            tried.delete(left.key)
        tried.create(key, content)
        is_same = tried.get(key) == content
        tried.delete(key)
    except DdrError as problem:
        return _sentence(problem)
    return "" if is_same else f"{tried.name} gave other bytes back than were written to {key!r}"


def _kept(tried: store.Store, key: str, promise: Callable[[store.Store, str], Iterator[str]]) -> list[str]:
    """What was found about one promise. An answer nobody expects is a finding; no answer is Unavailable."""
    findings = []
    try:
        for finding in promise(tried, key):
            findings.append(finding)
    except Unavailable:
        raise
    except DdrError as problem:
        findings.append(_sentence(problem))
    return findings


def _create_twice(tried: store.Store, key: str) -> Iterator[str]:
    tried.create(key, b"first")
    try:
        tried.create(key, b"other")
    except store.Exists:
        return
    kept = "was refused without a word" if tried.get(key) == b"first" else "overwrote what was there"
    yield f"a create of a key that exists was accepted and {kept}"


def _swap_stale(tried: store.Store, key: str) -> Iterator[str]:
    first = tried.create(key, b"first").version
    second = tried.swap(key, b"second", expect=first).version
    if second == first:
        yield "a swap left the version as it was"
    for what, target in (
        ("a swap that expected an old version", key),
        ("a swap of a key that is not there", f"{key}2"),
    ):
        try:
            tried.swap(target, b"other", expect=first)
        except Conflict:
            continue
        yield f"{what} was accepted"


def _races(tried: store.Store, key: str, writers: int, rounds: int) -> Iterator[str]:
    created, swapped = [], []
    for number in range(rounds):
        created.append(_winners(tried, f"{key}/create-{number}", writers, None))
        place = f"{key}/swap-{number}"
        swapped.append(_winners(tried, place, writers, tried.create(place, b"first").version))
    for what, wins in (("create one key", created), ("swap one version", swapped)):
        if any(count != 1 for count in wins):
            told = ", ".join(str(count) for count in wins)
            yield f"{writers} writers raced to {what}, {rounds} times: one must win, {told} were told that they had"


def _winners(tried: store.Store, key: str, writers: int, expect: str | None) -> int:
    """How many of the writers that write at once are told that they have won. Unavailable when nobody was told."""
    together = threading.Barrier(writers)

    def write(number: int) -> DdrError | None:
        content = f"writer {number}".encode()
        together.wait()
        try:
            _ = tried.create(key, content) if expect is None else tried.swap(key, content, expect)
        except (Conflict, Unavailable) as lost:
            return lost
        return None

    from concurrent import futures  # with logging behind it, and most commands probe nothing

    with futures.ThreadPoolExecutor(writers) as pool:
        results = list(pool.map(write, range(writers)))
    silences = [result for result in results if isinstance(result, Unavailable)]
    won = results.count(None)
    if not won and silences:
        raise silences[0]
    return won


def _read_back(tried: store.Store, key: str) -> Iterator[str]:
    content = secrets.token_bytes(100_000)
    written = tried.create(key, content)
    if tried.get(key) != content:
        yield "what is read is not what was written"
    if tried.get(key, 1_000, 5_000) != content[1_000:6_000] or tried.get(key, 99_990, 100) != content[99_990:]:
        yield "a part of the bytes is not the part that was asked for"
    if tried.head(key) != written:
        yield f"head says {tried.head(key)}, the write said {written}"
    try:
        tried.get(f"{key}2")
    except Missing:
        return
    yield "a key that was never written can be read"


def _list(tried: store.Store, key: str) -> Iterator[str]:
    # In the order of bytes. Servers that keep folders list `run/1` first, and drop it behind a marker `run-1`.
    written = [
        tried.create(f"{key}/{name}", name.encode()) for name in ("0", "run-1", "run.1", "run/1", "run/2", "run0")
    ]
    if list(tried.list(f"{key}/")) != written:
        yield "a listing right after the writes lacks keys or order: a journal would look shorter than it is"
    if any(list(tried.list(f"{key}/", after=entry.key)) != written[at:] for at, entry in enumerate(written, start=1)):
        yield "a listing from the middle leaves keys out: a journal would look shorter than it is"


def _delete(tried: store.Store, key: str) -> Iterator[str]:
    tried.create(key, b"first")
    tried.delete(key)
    tried.delete(key)
    if tried.head(key) is not None or list(tried.list(key)):
        yield "a key that was deleted is still there"
    tried.create(key, b"again")


def _clean(tried: store.Store, place: str) -> list[str]:
    """Take our keys away; a sentence where that fails. rclone lists a raced key twice, and again when deleted once."""
    left = "they come back"
    for _ in range(_CLEANINGS):
        found = False
        try:
            for entry in tried.list(f"{place}/"):
                found = True
                tried.delete(entry.key)
        except Unavailable as problem:
            left = problem.message
            break
        except DdrError as problem:
            left = problem.message
            continue
        if not found:
            return []
    return [f"keys may be left under {place}, remove them by hand ({left})"]


def _sentence(problem: DdrError) -> str:
    if isinstance(problem, Unsupported):
        return f"{problem.message}: ddr cannot do without conditional writes"
    return f"{problem.message} ({problem.hint})" if problem.hint else problem.message
