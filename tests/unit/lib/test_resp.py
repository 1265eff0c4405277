"""Answers of a real Redis taken apart quickly are what they are taken apart word by word."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from ddr.lib import resp, respshape
from tests.unit.connectors import feast_online as online


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[resp.Client]:
    with (
        online.redis_server(tmp_path_factory.mktemp("resp") / "redis") as address,
        resp.Client(address) as made,
    ):
        yield made


NAMES = (b"a", b"b%d", b"c\r\n")
LENGTHS = {"one length": (5,), "a few": (0, 2, 9, 10, 11), "any": tuple(range(40)), "long": (5, 5000)}


def word(dice: random.Random, lengths: tuple[int, ...]) -> bytes:
    """Also such as look like the protocol."""
    content = dice.choice([b"\r\n", b"$-1\r\n", b"*3\r\n", b"$5\r\n12345\r\n", b"\0\xff"]) * 2000
    return content[: dice.choice(lengths)]


@pytest.mark.parametrize("kind", list(LENGTHS))
@pytest.mark.parametrize("piece", [7, 1 << 18])
def test_hashes_of_every_shape(client: resp.Client, kind: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields that are missing, empty, long, or that look like the protocol, in pieces of any size."""
    dice, lengths = random.Random(1), LENGTHS[kind]
    client.ask(b"FLUSHALL")
    wanted: list[tuple[bytes | None, ...]] = []
    for number in range(300):
        row = tuple(word(dice, lengths) if dice.random() < 0.9 else None for _ in NAMES)
        cells = [one for name, cell in zip(NAMES, row, strict=True) if cell is not None for one in (name, cell)]
        if cells:
            client.ask(b"HSET", b"%d" % number, *cells)
        wanted.append(row)
    monkeypatch.setattr(resp, "_PIECE", piece if kind != "long" else 1 << 12)
    for _ in range(2):  # the second time the shapes are known
        client.send(b"".join(resp.command(b"HMGET", b"%d" % number, *NAMES) for number in range(300)))
        client.send(resp.command(b"PING") + b"".join(resp.command(b"PTTL", b"%d" % number) for number in range(300)))
        assert client.hashes(300, len(NAMES)) == wanted
        assert client.answers(1) == [b"PONG"]
        assert set(client.numbers(300)) <= {-1, -2}
    assert client.ask(b"PING") == b"PONG"


def test_a_value_that_holds_a_whole_answer_is_a_value(client: resp.Client) -> None:
    """Where the answer itself looks like none before, and the value in it like one."""
    inner = b"*1\r\n$2\r\nab\r\n"
    for key, content in ((b"plain", b"ab"), (b"sly", inner * 3)):
        client.ask(b"HSET", key, b"a", content)
    order = [b"plain", b"plain", b"sly", b"plain", b"sly"]
    with resp.Client(client.address) as fresh:
        fresh.send(b"".join(resp.command(b"HMGET", key, b"a") for key in order))
        assert fresh.hashes(5, 1) == [(b"ab",), (b"ab",), (inner * 3,), (b"ab",), (inner * 3,)]
        assert fresh.ask(b"PING") == b"PONG"


def test_an_error_among_hashes_is_told(client: resp.Client) -> None:
    client.ask(b"SET", b"word", b"x")
    client.send(resp.command(b"HMGET", b"none", b"a") + resp.command(b"HMGET", b"word", b"a"))
    with pytest.raises(resp.Failed, match="WRONGTYPE"):
        client.hashes(2, 1)
    assert client.ask(b"PING") == b"PONG"


def test_what_went_as_usual_is_taken_and_all_else_is_left(client: resp.Client) -> None:
    client.send(resp.command(b"PING") * 2)
    assert client.went(b"+PONG\r\n")
    assert not client.went(b"+OK\r\n")
    assert client.answers(1) == [b"PONG"]
    client.send(resp.command(b"GET", b"nothing"))
    assert not client.went(b"$12\r\n")
    assert client.answers(1) == [None]
    client.send(resp.command(b"PTTL", b"nothing") + resp.command(b"GET", b"nothing"))
    assert client.numbers(2) == [-2, None]


def test_an_expression_is_given_up_where_lengths_never_end() -> None:
    shape = respshape.Shape(1)
    for size in range(40):
        shape.learn((b"x" * size,))
    assert shape.take(b"*1\r\n$1\r\nx\r\n", 0, 1) == ([], 0)
