"""The model server's connector against a real HTTP server."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors import model_server
from ddr.detect import judge
from ddr.domain import planes, revisions, services, signals
from ddr.errors import Damaged, DdrError, InputError, Missing, Refused, Unavailable, Unsupported
from ddr.lib import clock, process
from ddr.ports import connector, replayable, signal
from tests.unit.connectors import rigs

HOUR = timedelta(hours=1)


def _connected(folder: Path, **settings: Any) -> model_server.ModelServer:
    return model_server.connect(model_server.Settings(**settings), folder, clock.ManualClock(rigs.NOW))


def _golden(folder: Path, count: int = 300) -> str:
    """Every tenth answer of the test server is not the truth."""
    lines = [
        {"id": f"g{at}", "features": [float(at % 10), *[0.5] * 63], "truth": str(at % 10 if at % 10 else 9)}
        for at in range(count)
    ]
    (folder / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return "golden.jsonl"


def test_it_is_what_it_says(tmp_path: Path) -> None:
    server = _connected(tmp_path, url="http://127.0.0.1:1")
    for port in (connector.Servable, replayable.Replayable, signal.Signal):
        assert isinstance(server, port)
    for address, url in (("", ""), ("server.json", "http://h")):
        with pytest.raises(ValueError, match="one of the two"):
            model_server.Settings(address, url)


def test_what_is_loaded_and_rolled(tmp_path: Path) -> None:
    with rigs.serving(rigs.model_answers) as http:
        server = _connected(tmp_path, url=http.url)
        wanted = revisions.Revision(planes.Plane.MODEL, "postcode-digit", "2", "sha256:aa", {"run": "r"})
        assert server.loaded()[planes.Plane.MODEL] == wanted
        assert server.roll() == server.loaded()
        assert server.fallback() is False
        server.set_fallback(on=True)
        assert [(method, path, body) for method, path, body in http.seen if method == "POST"] == [
            ("POST", "/-/roll", {}),
            ("POST", "/-/fallback", {"on": True}),
        ]


def test_the_golden_set_goes_over_one_connection(tmp_path: Path) -> None:
    with rigs.serving(rigs.model_answers) as http:
        server = _connected(tmp_path, url=http.url, golden=_golden(tmp_path))
        begin = time.perf_counter()
        reading = server.read("golden", rigs.NOW - HOUR, rigs.NOW)
        took_s = time.perf_counter() - begin
        assert reading.sample == signals.Share(30, 300)
        assert http.seen[0][2]["at"] == "2026-11-02T09:00:00.000Z"
    print(f"300 golden requests: {took_s:.3f} s")


def test_a_past_window_has_no_golden_reading(tmp_path: Path) -> None:
    server = _connected(tmp_path, url="http://127.0.0.1:1", golden=_golden(tmp_path))
    reading = server.read("golden", rigs.NOW - 3 * HOUR, rigs.NOW - HOUR)
    assert reading.sample is None
    assert "no past" in reading.why


def test_requests_that_get_no_answer_are_wrong_ones(tmp_path: Path) -> None:
    def half(method: str, path: str, body: Any) -> tuple[int, Any]:
        return rigs.model_answers(method, path, body) if body["features"][0] < 5 else (500, {"error": "x"})

    with rigs.serving(half) as http:
        server = _connected(tmp_path, url=http.url, golden=_golden(tmp_path, 100))
        reading = server.read("golden", rigs.NOW - HOUR, rigs.NOW)
        assert reading.sample == signals.Share(60, 100), "10 wrong, 50 without an answer"
        assert reading.why == "50 of 100 golden requests got no answer"
    with rigs.serving(lambda *_: (503, b"")) as http:
        server = _connected(tmp_path, url=http.url, golden="golden.jsonl")
        reading = server.read("golden", rigs.NOW - HOUR, rigs.NOW)
        assert (reading.sample, reading.why) == (signals.Share(100, 100), "100 of 100 golden requests got no answer")


def test_a_few_that_got_no_answer_are_told_on_an_ok_line_too(tmp_path: Path) -> None:
    def most(method: str, path: str, body: Any) -> tuple[int, Any]:
        return (500, {"error": "x"}) if body["id"] == "g7" else rigs.model_answers(method, path, body)

    spec = services.SignalSpec("golden", "server", "golden", "share", planes.Plane.MODEL, 0.3, HOUR, HOUR, 50)
    with rigs.serving(most) as http:
        server = _connected(tmp_path, url=http.url, golden=_golden(tmp_path, 100))
        judged = judge.judge(spec, server.read("golden", rigs.NOW - HOUR, rigs.NOW), None, rigs.NOW)
    assert judged.state is signals.State.OK
    assert "1 of 100 golden requests got no answer" in str(judged)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (None, Missing),
        ("{", Damaged),
        ('{"id": 1}\n', Damaged),
        ('{"id":"a","features":[1],"truth":"1"}\n{"id"', Damaged),
    ],
)
def test_a_golden_set_that_cannot_be_read(text: str | None, kind: type[DdrError], tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "golden.jsonl").write_text(text)
    with rigs.serving(rigs.model_answers) as http:
        server = _connected(tmp_path, url=http.url, golden="golden.jsonl")
        with pytest.raises(kind, match=r"golden\.jsonl"):
            server.read("golden", rigs.NOW - HOUR, rigs.NOW)
        with pytest.raises(Unsupported):
            _connected(tmp_path, url=http.url).read("golden", rigs.NOW - HOUR, rigs.NOW)
        with pytest.raises(InputError):
            server.read("none", rigs.NOW - HOUR, rigs.NOW)


def test_replay_gives_the_answers_there_are(tmp_path: Path) -> None:
    with rigs.serving(rigs.model_answers) as http:
        server = _connected(tmp_path, url=http.url)
        asked = [f"r{at}" for at in range(1200)] + ["lost"]
        swaps: dict[planes.Plane, replayable.Swap] = {
            planes.Plane.MODEL: "1",
            planes.Plane.CODE: "as-logged",
            planes.Plane.FEATURES: "recomputed",
        }
        answers = server.replay(asked, swaps)
        assert set(answers) == set(asked) - {"lost"}
        bodies = [body for _, path, body in http.seen if path == "/-/replay"]
        assert [len(body["ids"]) for body in bodies] == [500, 500, 201]
        assert bodies[0]["swaps"] == {"model": "1", "features": "recomputed"}
        assert server.replay([], swaps) == {}
        with pytest.raises(Missing, match="no model 99"):
            server.replay(["r1"], {planes.Plane.MODEL: "99"})


def test_a_server_that_is_down_is_unavailable(tmp_path: Path) -> None:
    down = f"http://127.0.0.1:{process.free_port()}"
    for server in (
        _connected(tmp_path, url=down, golden=_golden(tmp_path)),
        _connected(tmp_path, address="server.json", golden="golden.jsonl"),
    ):
        for attempt in (
            server.loaded,
            server.roll,
            server.fallback,
            lambda server=server: server.replay(["x"], {}),
            lambda server=server: server.read("golden", rigs.NOW, rigs.NOW),
        ):
            with pytest.raises(Unavailable) as raised:
                attempt()
            assert raised.value.hint
        plane = server.plane(model_server.Binding(), planes.Plane.INFRA)
        assert plane.health().state is signals.State.UNKNOWN


def test_the_address_is_read_anew_each_time(tmp_path: Path) -> None:
    """A server that was started again listens elsewhere, and is another run."""
    server = _connected(tmp_path, address="server.json")
    plane = server.plane(model_server.Binding(), planes.Plane.INFRA)
    names = []
    for run in (1, 2):
        with rigs.serving(rigs.model_answers) as http:
            said = {"pid": run, "port": http.server_address[1], "process_started": "77"}
            (tmp_path / "server.json").write_text(json.dumps(said))
            assert server.loaded()
            names.append(plane.revision().name)
            assert plane.health().state is signals.State.OK
    assert names == ["1-77", "2-77"]
    assert plane.changes(rigs.NOW) == ()


@pytest.mark.parametrize(
    ("status", "value", "kind"),
    [
        (200, b"hello", Unavailable),
        (200, {"model": "2"}, Damaged),
        (200, {"model": {"name": "2"}}, Damaged),
        (200, {"plane-of-the-future": {"object": "x", "name": "2"}}, Damaged),
        (404, b"", Missing),
        (401, {"error": "who?"}, Unsupported),
        (500, {"error": "version 3 does not load"}, Refused),
        (503, {"error": "starting"}, Unavailable),
    ],
)
def test_strange_answers(status: int, value: object, kind: type[DdrError], tmp_path: Path) -> None:
    with rigs.serving(lambda *_: (status, value)) as http:
        with pytest.raises(kind) as raised:
            _connected(tmp_path, url=http.url).roll()
        assert http.url in raised.value.message
        assert raised.value.hint
        if isinstance(value, dict) and "error" in value:
            assert value["error"] in raised.value.message
