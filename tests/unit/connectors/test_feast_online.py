"""A Feast view as a plane, on SQLite and on a real Redis: only that view moves, whatever happens meanwhile."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors.feast import registry
from ddr.connectors.feast.online import connector, places, switching
from ddr.domain import planes, signals
from ddr.errors import Conflict, Damaged, DdrError, InputError, Missing, Refused, Unsupported
from ddr.lib import durable, process, resp, sqlitefile
from ddr.ports import connector as ports
from tests.unit.backup import house
from tests.unit.connectors import feast_online as online
from tests.unit.connectors.test_feast import changed

KINDS = ("sqlite", "redis")


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[online.Made]:
    with online.made(tmp_path, request.param, {"p00": 0.25, "p01": None}) as one:
        yield one


def test_other_views_are_byte_identical_after_any_sequence(made: online.Made) -> None:
    """Switches, their undos, writes of others to both views, in any order; every end is what was asked for."""
    moves = 0
    for seed in range(4):
        dice = random.Random(seed)
        done: list[tuple[Any, Any]] = []
        for _ in range(8):
            rest, live = made.store.rest(), made.plane.revision()
            step = dice.choice(["switch", "switch", "undo", "other", "view"])
            if step == "other":
                made.store.write(online.OTHER, [(f"lane-{dice.randrange(70)}", online.AT + 1, dice.random(), None)])
                continue
            if step == "view":
                made.store.write(online.VIEW, [(f"lane-{dice.randrange(50)}", online.AT + 1, dice.random(), 1.0)])
                done = []
                continue
            if step == "undo" and not done:
                continue
            to, expect = done.pop() if step == "undo" else (made.plane.find(dice.choice(made.names)), live)
            assert made.plane.switch(to, expect).is_same(to)
            assert made.store.rest() == rest
            if step == "switch":
                done.append((made.plane.find(live.name), to))
            moves += 1
    print(f"{moves} moves")
    assert moves > 10


def test_the_definition_goes_back_with_the_values(made: online.Made) -> None:
    place = made.root / "data" / "registry.db"
    good, whole = made.plane.revision(), place.read_bytes()
    place.write_bytes(changed(whole, online.VIEW, 60))
    made.move(made.names[1])
    bad = made.plane.revision()
    assert bad.facts["ttl_s"] == "60"
    assert made.plane.switch(good, bad).is_same(good)
    kept, now = registry.parse(whole, ""), registry.parse(place.read_bytes(), "")
    assert {one.key: one.content for one in now.objects} == {one.key: one.content for one in kept.objects}
    assert made.plane.switch(made.plane.find(bad.name), good).facts["ttl_s"] == "60"


def test_somebody_who_writes_between_the_look_and_the_switch_wins(made: online.Made) -> None:
    live, other, _ = map(made.plane.find, made.names)
    row = ("lane-2", online.AT + 5, 77.0, 78.0)
    made.store.write(online.VIEW, [row])
    before = made.state()
    with pytest.raises(Conflict):
        made.plane.switch(other, live)
    assert made.state() == before


@pytest.mark.parametrize("lane", ["lane-0", "lane-2", "lane-39", "lane-40", "lane-77"])
def test_somebody_who_writes_while_values_are_put_back_wins_too(
    made: online.Made, lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what was put back before it was seen nothing stays; what they wrote does."""
    live, other, _ = map(made.plane.find, made.names)
    kind = type(made.connector.place().store)
    real = kind.exchange

    def interrupted(self: Any, *words: Any) -> None:
        made.store.write(online.VIEW, [(lane, online.AT + 5, 77.0, 78.0)])
        raced.append(made.state())
        real(self, *words)

    raced: list[Any] = []
    monkeypatch.setattr(kind, "exchange", interrupted)
    with pytest.raises(Conflict):
        made.plane.switch(other, live)
    monkeypatch.undo()
    now = made.state()
    if lane == "lane-77" and isinstance(made.store, online.Redis):  # in neither state: seen when all is read back
        assert made.plane.revision().name not in made.names
        return
    assert now == raced[0]
    again = made.plane.revision()
    assert made.plane.switch(other, again).is_same(other)


def test_a_switch_that_was_cut_off_belongs_to_who_goes_on(made: online.Made) -> None:
    live, other, third = map(made.plane.find, made.names)
    with made.connector.opened() as at:
        at.store.set_mark(switching.MARK, f'["{live.name}", "{other.name}"]')
    before = made.state()
    with pytest.raises(Conflict, match="was cut off"):
        made.plane.switch(third, live)
    assert made.state() == before
    assert made.plane.health().state is signals.State.BAD
    assert made.plane.switch(other, live).is_same(other)
    assert made.plane.health().state is signals.State.OK


def _killed(made: online.Made, number: int, work: Callable[[], object]) -> bool:
    """Run it in a child that dies before its write `number`; whether it died."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    left = [number]

    def mortal(real: Callable[..., Any]) -> Callable[..., Any]:
        def called(*words: Any, **named: Any) -> Any:
            if left[0] == 0:
                os._exit(9)
            left[0] -= 1
            return real(*words, **named)

        return called

    try:
        durable.create, durable.replace = mortal(durable.create), mortal(durable.replace)
        durable.sync_folder = mortal(durable.sync_folder)
        resp.Client.send = mortal(resp.Client.send)  # type: ignore[method-assign]
        sqlitefile.transaction = mortal(sqlitefile.transaction)
        work()
        os._exit(0)
    except BaseException as problem:  # noqa: BLE001 - nothing of pytest may run in the child
        print(problem, file=sys.stderr)
        os._exit(1)


@pytest.mark.parametrize("way", ["again", "back"])
def test_killed_at_any_write_and_run_again_it_comes_to_the_same_end(made: online.Made, way: str) -> None:
    """Also with another definition, so that the registry is written, too."""
    place = made.root / "data" / "registry.db"
    whole = place.read_bytes()
    place.write_bytes(changed(whole, online.VIEW, 60))
    other = made.connector.keep("with another definition").facts["revision"]
    place.write_bytes(whole)
    live, to = made.plane.find(made.names[1]), made.plane.find(other)
    deaths = 0
    while True:
        place.write_bytes(whole)
        made.move(live.name)
        rest = made.store.rest()
        if not _killed(made, deaths, lambda: made.plane.switch(to, live)):
            break
        deaths += 1
        if way == "again":
            assert made.plane.switch(to, live).is_same(to)
        else:
            now = made.plane.revision()
            with made.connector.opened() as at:
                is_marked = bool(at.store.mark(switching.MARK))
            if is_marked or not now.is_same(live):
                assert made.plane.switch(live, to).is_same(live)
        assert made.store.rest() == rest
        with made.connector.opened() as at:
            assert at.store.mark(switching.MARK) == ""
    print(f"{deaths} deaths")
    assert deaths >= 3
    assert made.plane.revision().is_same(to)


def test_isolated_it_gives_the_fallback_and_joined_what_was_there(made: online.Made) -> None:
    plane = made.plane
    assert isinstance(plane, ports.Isolatable)
    before, values = made.state(), online.value(0.25)
    plane.isolate("inc-1")
    plane.isolate("inc-2")
    assert plane.isolated() == "inc-1"
    now = made.store.raw(online.VIEW)
    held = [row[2] for row in now] if isinstance(now, list) else [c for cells in now.values() for c in cells.values()]
    assert values in held
    assert online.value(5.0) not in held
    assert made.store.rest() == before["rest"]
    plane.join()
    plane.join()
    assert plane.isolated() == ""
    assert made.state() == before
    plane.isolate("inc-3")
    made.store.write(online.VIEW, [("lane-2", online.AT + 9, 1.0, 1.0)])
    written = made.state()
    with pytest.raises(Conflict, match="they stay"):
        plane.join()
    assert made.state() == written


def test_killed_at_any_write_an_isolation_can_be_done_and_taken_back(made: online.Made) -> None:
    for way in ("isolate", "join"):
        deaths = 0
        while _killed(made, deaths, lambda: made.plane.isolate("inc-1")):
            if way == "isolate":
                made.plane.isolate("inc-1")
                assert made.plane.isolated() == "inc-1"
            made.plane.join()
            assert made.plane.isolated() == ""
            assert made.plane.revision().name == made.names[0]
            deaths += 1
        made.plane.join()
        print(f"{way}: {deaths} deaths")
        assert deaths >= 3


def test_without_a_declared_fallback_nothing_is_isolated(made: online.Made) -> None:
    before = made.state()
    for fallback, error in (({}, Refused), ({"p00": 1.0}, InputError), ({"p00": "x", "p01": None}, InputError)):
        view = online.connected(made.root, made.shelf, house.NOW, fallback)  # type: ignore[arg-type]
        with pytest.raises(error):
            view.plane(connector.Binding(), planes.Plane.FEATURES).isolate("why")
        assert made.state() == before


def test_what_is_measured_is_read_back_from_the_store(made: online.Made) -> None:
    def read(series: str) -> Any:
        return made.connector.read(series, house.NOW, house.NOW).sample

    assert read("event-age-newest") == signals.Gauge(900.0, 40)
    made.store.write(online.VIEW, [(f"lane-{at}", int(house.NOW.timestamp()) - 7 * 3600, 1.0, 1.0) for at in range(10)])
    assert read("expired-share") == signals.Share(10, 40)
    assert read("event-age-p95") == signals.Gauge(25200.0, 40)
    assert read("null-shares").columns["p01"].rate == 0
    made.store.fill(online.VIEW, online.rows_of(0)[:30])
    assert read("null-shares").columns["p01"] == signals.Share(1, 30)
    assert read("rows") == signals.Gauge(30.0, 30)
    assert read("lost-share") == signals.Share(10, 40)
    early = house.NOW.replace(year=2020)
    assert made.connector.read("rows", early, early).sample is None
    few = online.connected(made.root, made.shelf, house.NOW, sample=5)
    assert 5 <= few.read("event-age-newest", house.NOW, house.NOW).sample.n <= 30  # type: ignore[union-attr]


def test_a_damaged_state_is_never_put_back(made: online.Made, tmp_path: Path) -> None:
    live = made.plane.revision()
    before = made.state()
    other = made.plane.find(made.names[1])
    for path in (tmp_path / "shelf" / "backup" / "packs").rglob("*"):
        if path.is_file():
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.chmod(0o600)
            path.write_bytes(content)
    fresh = online.connected(made.root, online.shelf(tmp_path / "shelf"), house.NOW)
    plane = fresh.plane(connector.Binding(), planes.Plane.FEATURES)
    with pytest.raises((Damaged, Missing)):
        plane.find(other.name)
    with pytest.raises((Damaged, Missing)):
        plane.switch(other, live)
    assert made.state() == before


def test_times_to_live_stay_and_come_back(tmp_path: Path) -> None:
    with online.made(tmp_path, "redis") as made:
        assert isinstance(made.store, online.Redis)
        made.store.write(online.VIEW, online.rows_of(0)[:3], ttl_ms=500_000)
        good = made.connector.keep("good").facts["revision"]
        made.store.fill(online.VIEW, online.rows_of(1))
        with resp.Client(made.store.address) as client:
            client.ask(b"PEXPIRE", online.entity("lane-1") + b"lanes", b"300000")
            client.ask(b"DEL", online.entity("lane-2") + b"lanes")
        made.plane.switch(made.plane.find(good), made.plane.revision())
        assert 490_000 < made.store.ttl_ms("lane-0") <= 500_000, "as it was when the switch came"
        assert 290_000 < made.store.ttl_ms("lane-1") <= 300_000, "what somebody set meanwhile stays"
        assert 490_000 < made.store.ttl_ms("lane-2") <= 500_000, "a key that was gone comes back with its own"
        assert made.store.ttl_ms("lane-9") == -1


def test_addresses_as_feast_and_others_write_them() -> None:
    said = places.address("cache:6380,db=3,ssl=true,password=s3cret,username=me", 5)
    assert (said.host, said.port, said.database, said.is_tls, said.user, said.password) == (
        "cache", 6380, 3, True, "me", "s3cret",
    )  # fmt: skip
    assert places.address("cache", 5) == resp.Address("cache", timeout_s=5)
    url = places.address("rediss://u:p%40ss@h:1/2", 5)
    assert (url.host, url.port, url.database, url.is_tls, url.password) == ("h", 1, 2, True, "p@ss")
    assert "s3cret" not in repr(said) + said.label
    with pytest.raises(InputError):
        places.address("redis://h:x/0", 5)
    text = "project: p\nonline_store:\n  type: {}\n  redis_type: {}\n"
    for kind, redis_type in (("dynamodb", "redis"), ("redis", "redis_cluster")):
        said_ = places.read(text.format(kind, redis_type), "x")
        with pytest.raises(Unsupported):
            places.store(said_, Path(), "v", ("k",), 1)
    with pytest.raises(InputError, match="does not know its value"):
        places.read("project: p\nonline_store: {type: redis, connection_string: '${REDIS}'}\n", "x")


def test_a_wrong_password_and_a_dead_server_are_told(tmp_path: Path) -> None:
    with (
        online.redis_server(tmp_path / "redis", "--requirepass", "open sesame") as address,
        pytest.raises(DdrError) as raised,
        resp.Client(resp.Address(address.host, address.port, password="wrong")),
    ):
        pass
    assert raised.value.hint
    assert "wrong" not in raised.value.message
    with pytest.raises(DdrError, match="does not answer"):
        resp.Client(resp.Address("127.0.0.1", process.free_port()))
