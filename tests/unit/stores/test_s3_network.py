"""Lost requests and lost answers: whoever is told that a write was done has done it, and nobody else is told so."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from datetime import UTC, datetime

import pytest

from ddr.errors import Conflict, Missing, Unavailable
from ddr.lib import clock
from ddr.ports import store
from ddr.stores import retrying, s3
from tests import servers
from tests.unit.stores import conftest, lossy


@pytest.fixture
def network(moto_server: servers.S3Server) -> Iterator[lossy.Lossy]:
    with lossy.Lossy(moto_server.endpoint).running() as running:
        yield running


def through(network: lossy.Lossy, server: servers.S3Server, bucket: str, prefix: str, attempts: int = 3) -> s3.S3Store:
    return s3.S3Store(bucket, prefix, network.endpoint, None, server.key, server.secret, attempts=attempts)


@pytest.fixture
def tried(
    network: lossy.Lossy, moto_server: servers.S3Server, moto_bucket: str, request: pytest.FixtureRequest
) -> s3.S3Store:
    return through(network, moto_server, moto_bucket, f"network/{request.node.name}".replace("[", "-").rstrip("]"))


@pytest.fixture
def another(
    network: lossy.Lossy, moto_server: servers.S3Server, moto_bucket: str, request: pytest.FixtureRequest
) -> s3.S3Store:
    """Somebody else, on a network that works."""
    prefix = f"network/{request.node.name}".replace("[", "-").rstrip("]")
    return conftest.s3_store(moto_server, moto_bucket, prefix)


@pytest.mark.parametrize("losses", [1, 2, 3])
def test_a_create_whose_answer_is_lost_is_ours(tried: s3.S3Store, network: lossy.Lossy, losses: int) -> None:
    """botocore sends it again, the server says 412: that is about our own bytes."""
    network.lose("PUT", *[lossy.AFTER] * losses)
    entry = tried.create("k", b"ours")
    assert network.lost == [("PUT", lossy.AFTER)] * losses
    assert (tried.head("k"), tried.get("k")) == (entry, b"ours")
    with pytest.raises(store.Exists):
        tried.create("k", b"ours")


@pytest.mark.parametrize("losses", [1, 2, 3])
def test_a_swap_whose_answer_is_lost_is_ours(tried: s3.S3Store, network: lossy.Lossy, losses: int) -> None:
    first = tried.create("k", b"first")
    network.lose("PUT", *[lossy.AFTER] * losses)
    entry = tried.swap("k", b"second", first.version)
    assert (tried.head("k"), tried.get("k")) == (entry, b"second")
    with pytest.raises(Conflict):
        tried.swap("k", b"second", first.version)


def test_a_write_that_never_arrives_is_no_write(tried: s3.S3Store, network: lossy.Lossy) -> None:
    first = tried.create("there", b"first")
    uses: list[Callable[[], object]] = [
        lambda: tried.create("k", b"ours"),
        lambda: tried.swap("there", b"ours", first.version),
    ]
    for use in uses:
        network.lose("PUT", *[lossy.BEFORE] * 3)
        with pytest.raises(Unavailable, match="cannot write") as caught:
            use()
        assert network.endpoint in caught.value.hint
        assert not isinstance(caught.value, store.Unusable)
    assert tried.head("k") is None
    assert tried.get("there") == b"first"
    tried.create("k", b"ours")


@pytest.mark.parametrize("loss", [lossy.BEFORE, lossy.AFTER])
def test_a_create_left_open_is_settled_when_repeated(tried: s3.S3Store, network: lossy.Lossy, loss: str) -> None:
    """The network breaks in the middle and nothing can be asked: the effect is unknown until it is back."""
    network.plan = lambda method: loss if method == "PUT" else lossy.BEFORE
    with pytest.raises(Unavailable):
        tried.create("k", b"ours")
    network.mend()
    entry = tried.create("k", b"ours")
    assert tried.get("k") == b"ours"
    assert tried.head("k") == entry
    with pytest.raises(store.Exists):
        tried.create("k", b"ours")


@pytest.mark.parametrize("loss", [lossy.BEFORE, lossy.AFTER])
def test_a_swap_left_open_is_settled_when_repeated(tried: s3.S3Store, network: lossy.Lossy, loss: str) -> None:
    first = tried.create("k", b"first")
    network.plan = lambda method: loss if method == "PUT" else lossy.BEFORE
    with pytest.raises(Unavailable):
        tried.swap("k", b"second", first.version)
    network.mend()
    entry = tried.swap("k", b"second", first.version)
    assert (tried.head("k"), tried.get("k")) == (entry, b"second")


def test_the_same_bytes_of_another_are_not_ours(tried: s3.S3Store, another: s3.S3Store, network: lossy.Lossy) -> None:
    """Our request got lost, somebody else wrote the very same bytes, and then we try again."""
    network.cut()
    with pytest.raises(Unavailable):
        tried.create("k", b"same")
    network.mend()
    another.create("k", b"same")
    with pytest.raises(store.Exists):
        tried.create("k", b"same")

    first = another.create("p", b"first")
    network.cut()
    with pytest.raises(Unavailable):
        tried.swap("p", b"same", first.version)
    network.mend()
    another.swap("p", b"same", first.version)
    with pytest.raises(Conflict):
        tried.swap("p", b"same", first.version)


def test_other_bytes_are_not_taken_for_those_left_open(tried: s3.S3Store, network: lossy.Lossy) -> None:
    network.plan = lambda method: lossy.AFTER if method == "PUT" else lossy.BEFORE
    with pytest.raises(Unavailable):
        tried.create("k", b"ours")
    network.mend()
    with pytest.raises(store.Exists):
        tried.create("k", b"others")
    assert tried.get("k") == b"ours"


def test_a_swap_overtaken_before_we_could_look(tried: s3.S3Store, another: s3.S3Store, network: lossy.Lossy) -> None:
    first = tried.create("k", b"first")
    network.plan = lambda method: lossy.AFTER if method == "PUT" else lossy.BEFORE
    with pytest.raises(Unavailable):
        tried.swap("k", b"ours", first.version)
    network.mend()
    ours = another.head("k")
    assert ours
    another.swap("k", b"theirs", ours.version)
    with pytest.raises(Conflict):
        tried.swap("k", b"ours", first.version)
    assert another.get("k") == b"theirs"


def test_reads_and_deletes_through_losses(tried: s3.S3Store, network: lossy.Lossy) -> None:
    tried.create("k", b"bytes")
    for method, use in (
        ("GET", lambda: tried.get("k")),
        ("GET", lambda: [entry.key for entry in tried.list("")]),
        ("HEAD", lambda: tried.head("k")),
        ("DELETE", lambda: tried.delete("k")),
    ):
        network.lose(method, lossy.BEFORE, lossy.AFTER)
        use()
        assert len(network.lost) == 2
        network.lost.clear()
    with pytest.raises(Missing):
        tried.get("k")


def test_many_writers_on_a_bad_network(network: lossy.Lossy, moto_server: servers.S3Server, moto_bucket: str) -> None:
    """A third of all messages is lost, either way. Each key still has one winner and no increment is lost.

    An increment may count twice: overtaken before its writer could look, it is a Conflict and tried again.
    """
    writers, keys, rounds = 4, 10, 5
    dice, guard = random.Random(7), threading.Lock()

    def plan(_: str) -> str:
        with guard:
            return dice.choice([lossy.BEFORE, lossy.AFTER, "", "", "", ""])

    stores = [
        retrying.Retrying(
            through(network, moto_server, moto_bucket, "bad-network", attempts=1),
            clock.SystemClock(),
            random.Random(number),
            first_s=0.01,
            longest_s=0.1,
        )
        for number in range(writers)
    ]
    stores[0].create("counter", b"0")
    network.plan = plan

    def work(number: int) -> list[str]:
        tried, won = stores[number], []
        for key in range(keys):
            try:
                tried.create(f"race/{key}", b"the same bytes")
                won.append(f"race/{key}")
            except store.Exists:
                continue
        for _ in range(rounds):
            while True:
                entry = tried.head("counter")
                assert entry
                value = int(tried.get("counter").split()[0])
                try:
                    tried.swap("counter", b"%d by %d" % (value + 1, number), entry.version)
                    break
                except Conflict:
                    continue
        return won

    with futures.ThreadPoolExecutor(writers) as pool:
        won = [key for keys_won in pool.map(work, range(writers)) for key in keys_won]
    network.mend()
    assert sorted(won) == [f"race/{key}" for key in range(keys)]
    counted = int(stores[0].get("counter").split()[0])
    assert counted >= writers * rounds
    print(f"{len(network.lost)} messages lost, {keys} keys won once, {writers * rounds} increments counted {counted}")


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_server_that_says_nothing(attempts: int) -> None:
    with lossy.answering(None) as endpoint:
        tried = s3.S3Store("bucket", "", endpoint, None, "key", "secret", read_timeout_s=0.2, attempts=attempts)
        for use in (lambda: tried.get("k"), lambda: tried.create("k", b"x"), lambda: list(tried.list(""))):
            with pytest.raises(Unavailable, match="Read timeout") as caught:
                use()
            assert f"is {endpoint} up" in caught.value.hint


def test_an_answer_that_breaks_off() -> None:
    answer = b'HTTP/1.1 200 OK\r\nETag: "abc"\r\nContent-Length: 1000\r\nConnection: close\r\n\r\nonly this'
    with lossy.answering(answer) as endpoint:
        tried = s3.S3Store("bucket", "", endpoint, None, "key", "secret")
        with pytest.raises(Unavailable, match="cannot read 'k'") as caught:
            tried.get("k")
        assert not isinstance(caught.value, store.Unusable)


def test_a_server_that_ignores_ranges() -> None:
    answer = b'HTTP/1.1 200 OK\r\nETag: "abc"\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789'
    with lossy.answering(answer) as endpoint:
        tried = s3.S3Store("bucket", "", endpoint, None, "key", "secret")
        assert tried.get("k", 3, 4) == b"3456"
        assert tried.get("k", 8) == b"89"
        assert tried.get("k", 20, 4) == b""


def test_a_port_that_nobody_listens_on_is_given_up_soon() -> None:
    with lossy.answering(None) as endpoint:
        """The port is free again behind this."""
    tried = s3.S3Store("bucket", "", endpoint, None, "key", "secret", attempts=1)
    with pytest.raises(store.Unreached):
        tried.get("k")
    told: list[str] = []
    watch = clock.ManualClock(datetime(2026, 11, 21, tzinfo=UTC))
    patient = retrying.Retrying(tried, watch, random.Random(2), deadline_s=120.0, reach_s=1.0, told=told.append)
    with pytest.raises(Unavailable, match="tried"):
        list(patient.list(""))
    assert len(told) == 1
