"""The serving process: its answers, its refusals, rolling without a gap, replaying."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ddr.errors import Unavailable
from ddr.lib import digest, durable
from ddr.sandbox import clock, layout, loading, lookalikes, process, registry, state, traffic
from tests.unit.sandbox import worlds


@pytest.fixture(autouse=True)
def as_it_was(running_sandbox: Path) -> Iterator[None]:
    """Whatever a test breaks here it puts back."""
    before = state.describe(running_sandbox)
    yield
    assert state.describe(running_sandbox) == before


def _call(root: Path, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    return process.call(process.ensure(root), method, path, body)


def _ask(root: Path, lane: int = 3, id_: str = "t-1") -> tuple[int, dict[str, Any]]:
    at = clock.read(root).isoformat()
    return _call(root, "POST", "/predict", {"id": id_, "at": at, "entity": layout.lane_name(lane)})


def test_a_request_is_answered_and_logged_with_everything_that_answered_it(running_sandbox: Path) -> None:
    status, told = _ask(running_sandbox, id_="logged-1")
    assert status == 200
    assert set(told) == {"id", "answer", "score", "similar", "model"}
    assert (told["id"], told["model"], len(told["similar"])) == ("logged-1", "2", 3)
    assert told["answer"] in set("0123456789")
    assert 0 < told["score"] <= 1
    _call(running_sandbox, "GET", "/-/flush")
    line = worlds.predictions(running_sandbox)[-1]
    assert set(line) == {"id", "at", "entity", "status", "latency_ms", "answer", "score", "model", "weights", "code",
                         "index", "features", "config", "event_ts", "row"}  # fmt: skip
    assert (line["id"], line["status"], line["answer"]) == ("logged-1", 200, told["answer"])
    assert line["weights"] == registry.champion(running_sandbox).digest
    assert line["config"] == digest.of_file(layout.Layout(running_sandbox).config)
    assert len(line["row"]) == 64
    assert line["event_ts"] <= clock.read(running_sandbox).timestamp()


def test_a_golden_probe_is_not_logged(running_sandbox: Path) -> None:
    _call(running_sandbox, "GET", "/-/flush")
    before = len(worlds.predictions(running_sandbox))
    assert worlds.golden_mismatch(running_sandbox) <= 0.04
    _call(running_sandbox, "GET", "/-/flush")
    assert len(worlds.predictions(running_sandbox)) == before


_PROBE = {"id": "g", "features": [0.0] * 64}
_BAD = [
    ("POST", "/predict", b"", 400),
    ("POST", "/predict", b"{", 400),
    ("POST", "/predict", b"[]", 400),
    ("POST", "/predict", b"\xff\xfe", 400),
    ("POST", "/predict", b"{}", 400),
    ("POST", "/predict", b'{"id": "x", "entity": "lane-001"}', 400),
    ("POST", "/predict", b'{"id": "x", "at": "noon", "entity": "lane-001"}', 400),
    ("POST", "/predict", b'{"id": "x", "at": "2026-11-02T09:00:00Z", "entity": "lane-999"}', 404),
    ("POST", "/predict", json.dumps(_PROBE | {"features": [1] * 63}).encode(), 400),
    ("POST", "/predict", json.dumps(_PROBE | {"features": ["1"] * 64}).encode(), 400),
    ("POST", "/predict", json.dumps(_PROBE | {"features": [float("nan")] * 64}).encode(), 400),
    ("POST", "/predict", json.dumps(_PROBE | {"features": None}).encode(), 400),
    ("GET", "/predict", b"", 404),
    ("GET", "/nothing", b"", 404),
    ("POST", "/-/fallback", b"{}", 400),
    ("POST", "/-/fallback", b'{"on": 1}', 400),
    ("POST", "/-/replay", b"{}", 400),
    ("POST", "/-/replay", b'{"ids": [], "swaps": {"config": "x"}}', 400),
    ("POST", "/-/replay", b'{"ids": [], "swaps": {"features": "guessed"}}', 400),
    ("POST", "/-/replay", b'{"ids": [], "swaps": {"model": "99"}}', 404),
    ("POST", "/-/replay", b'{"ids": [], "swaps": {"code": "9.9.9"}}', 404),
    ("POST", "/-/replay", b'{"ids": [], "swaps": {"index": "../v1"}}', 404),
]


def test_bad_requests_are_told_what_is_wrong_on_a_connection_that_stays(running_sandbox: Path) -> None:
    address = process.ensure(running_sandbox)
    connection = http.client.HTTPConnection(process.HOST, address.port, timeout=10)
    for method, path, body, expected in _BAD:
        connection.request(method, path, body)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert (answer.status, bool(told["error"])) == (expected, True), (method, path, body, told)
    connection.close()
    print(f"{len(_BAD)} bad requests")


def test_a_body_without_end_is_refused(running_sandbox: Path) -> None:
    address = process.ensure(running_sandbox)
    for length in ("-1", "many", str(1 << 40)):
        with socket.create_connection((process.HOST, address.port), timeout=10) as line:
            line.sendall(f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
            told = b""
            while chunk := line.recv(1 << 16):
                told += chunk
        assert told.startswith(b"HTTP/1.1 400"), length


def test_metrics_count_requests_by_code(running_sandbox: Path) -> None:
    before = worlds.metrics(running_sandbox)
    _ask(running_sandbox)
    _ask(running_sandbox, lane=999)
    after = worlds.metrics(running_sandbox)
    rose = {name for name in after if after[name] != before.get(name, 0.0)}
    assert after['http_requests_total{code="200"}'] == before['http_requests_total{code="200"}'] + 1
    assert after['http_requests_total{code="404"}'] == before.get('http_requests_total{code="404"}', 0) + 1
    assert after["http_request_seconds_count"] == before["http_request_seconds_count"] + 2
    assert any(name.startswith("http_request_seconds_bucket") for name in rose)
    assert after["up"] == 1
    assert any(name.startswith('model_info{name="postcode-digit",version="2"') for name in after)


def test_loaded_says_what_the_planes_point_at(running_sandbox: Path) -> None:
    _, told = _call(running_sandbox, "GET", "/-/loaded")
    assert set(told) == {"model", "code", "features", "index", "config"}
    assert {plane: (one["object"], one["name"]) for plane, one in told.items() if plane != "config"} == {
        "model": ("postcode-digit", "2"),
        "code": ("code", "1.4.0"),
        "features": ("lane_pixels", "v2"),
        "index": ("index", "v1"),
    }
    assert told["config"]["name"] == digest.short(told["config"]["digest"])
    assert told["model"]["digest"] == registry.champion(running_sandbox).digest
    assert told["code"]["digest"] == digest.of_tree((running_sandbox / "code" / "current").resolve())
    assert told["features"]["digest"] == digest.of_tree((running_sandbox / "features" / "current").resolve())
    assert told["index"]["digest"] == digest.of_tree((running_sandbox / "index" / "current").resolve())
    assert told["model"]["facts"]["inputs_schema"] == told["features"]["facts"]["inputs_schema"]


@pytest.mark.parametrize("number", ["1", "3"])
def test_it_rolls_to_another_version_and_back(running_sandbox: Path, number: str) -> None:
    assert registry.move_alias(running_sandbox, to=number, expect="2")
    assert _ask(running_sandbox)[1]["model"] == "2"  # moving the alias loads nothing
    process.roll(running_sandbox)
    assert _ask(running_sandbox)[1]["model"] == number
    assert worlds.golden_mismatch(running_sandbox) <= 0.04
    assert registry.move_alias(running_sandbox, to="2", expect=number)
    process.roll(running_sandbox)


def test_no_request_fails_while_it_rolls(running_sandbox: Path) -> None:
    address = process.ensure(running_sandbox)
    stop, answers, threads = threading.Event(), list[tuple[int, str]](), 4

    def ask() -> None:
        connection = http.client.HTTPConnection(process.HOST, address.port, timeout=10)
        while not stop.is_set():
            body = {"id": "c", "at": "2026-11-02T09:00:00Z", "entity": "lane-007"}
            connection.request("POST", "/predict", json.dumps(body))
            answer = connection.getresponse()
            answers.append((answer.status, json.loads(answer.read())["model"]))
        connection.close()

    callers = [threading.Thread(target=ask) for _ in range(threads)]
    for caller in callers:
        caller.start()
    rolls = 10
    for number in range(rolls):
        to, expect = ("1", "2") if number % 2 == 0 else ("2", "1")
        assert registry.move_alias(running_sandbox, to=to, expect=expect)
        process.roll(running_sandbox)
    stop.set()
    for caller in callers:
        caller.join()
    print(f"{rolls} rolls under {len(answers)} requests of {threads} threads")
    assert {status for status, _ in answers} == {200}
    assert {model for _, model in answers} == {"1", "2"}


def _break(root: Path) -> list[tuple[str, Path, bytes]]:
    model = registry.champion(root).folder
    return [
        ("model: cut file", model / "model.pkl", (model / "model.pkl").read_bytes()[:1000]),
        ("model: empty file", model / "model.pkl", b""),
        ("model: no MLmodel", model / "MLmodel", b"nothing: here\n"),
        ("code: no Python", root / "code" / "current" / "app.py", b"def answer(:\n"),
        ("code: raises", root / "code" / "current" / "app.py", b"raise ValueError('no')\n"),
        ("code: no answer", root / "code" / "current" / "app.py", b"VERSION = '1'\n"),
        ("index: cut file", root / "index" / "current" / "index.faiss", b"IxF2"),
        ("index: no names", root / "index" / "current" / "ids.json", b"[]"),
        ("index: other embedder", root / "index" / "current" / "card.json", b'{"embedder":"x","dim":16,"count":900}'),
        ("embedder", root / "embedder.npz", b"PK"),
        ("config: no YAML", root / "config" / "serving.yaml", b"similar: [\n"),
        ("config: no number", root / "config" / "serving.yaml", b"similar: many\n"),
        ("registry", root / "mlflow" / "mlflow.db", b"no database at all"),
    ]


def test_a_roll_that_fails_says_why_and_the_old_revisions_go_on_serving(running_sandbox: Path) -> None:
    before = _call(running_sandbox, "GET", "/-/loaded")[1]
    broken = _break(running_sandbox)
    for what, path, content in broken:
        good = path.read_bytes()
        durable.replace(path, content)
        status, told = _call(running_sandbox, "POST", "/-/roll")
        assert (status, bool(told.get("error"))) == (500, True), (what, told)
        with pytest.raises(Unavailable, match="did not roll"):
            process.roll(running_sandbox)
        assert _ask(running_sandbox)[0] == 200, what
        durable.replace(path, good)
        assert _call(running_sandbox, "GET", "/-/loaded")[1] == before, what
        process.roll(running_sandbox)
    print(f"{len(broken)} revisions that do not load")


def test_the_fallback_answers_without_the_model(running_sandbox: Path) -> None:
    assert _call(running_sandbox, "GET", "/-/fallback") == (200, {"on": False})
    for _ in range(2):
        assert _call(running_sandbox, "POST", "/-/fallback", {"on": True}) == (200, {"on": True})
    assert layout.Layout(running_sandbox).fallback.exists()
    status, told = _ask(running_sandbox, id_="fallback-1")
    assert (status, told["fallback"], told["model"]) == (200, True, "")
    assert worlds.golden_mismatch(running_sandbox) <= 0.08
    for _ in range(2):
        assert _call(running_sandbox, "POST", "/-/fallback", {"on": False}) == (200, {"on": False})
    _call(running_sandbox, "GET", "/-/flush")
    assert [line for line in worlds.predictions(running_sandbox) if line.get("fallback")][-1]["id"] == "fallback-1"
    assert "fallback" not in _ask(running_sandbox)[1]
    replayed = _call(running_sandbox, "POST", "/-/replay", {"ids": ["fallback-1"], "swaps": {}})
    assert replayed == (200, {"answers": {}})


def test_a_replay_as_logged_gives_what_was_answered(running_sandbox: Path) -> None:
    logged = [line["id"] for line in worlds.predictions(running_sandbox)]
    answered = {line["id"]: line["answer"] for line in worlds.predictions(running_sandbox)[:200]}
    ids = [*answered, "never-asked"]
    for swaps in ({}, {"features": "as-logged"}, {"features": "recomputed"}, {"model": "2"}, {"code": "1.4.0"}):
        status, told = _call(running_sandbox, "POST", "/-/replay", {"ids": ids, "swaps": swaps})
        assert status == 200
        assert told["answers"] == answered, swaps
    for swaps in ({"model": "1"}, {"model": "3"}, {"code": "1.3.0"}, {"index": "v1", "model": "1"}):
        _, told = _call(running_sandbox, "POST", "/-/replay", {"ids": ids, "swaps": swaps})
        assert told["answers"].keys() == answered.keys()
        same = sum(told["answers"][id_] == answer for id_, answer in answered.items())
        assert same >= 0.95 * len(answered), swaps
    _call(running_sandbox, "GET", "/-/flush")
    assert [line["id"] for line in worlds.predictions(running_sandbox)][: len(logged)] == logged
    assert not {"never-asked", *answered} & {line["id"] for line in worlds.predictions(running_sandbox)[len(logged) :]}


def test_a_request_whose_weights_are_no_more_is_left_out(running_sandbox: Path) -> None:
    log = layout.Layout(running_sandbox).predictions
    line = worlds.predictions(running_sandbox)[0]
    with log.open("a") as file:
        for id_, more in (
            ("gone", {"weights": "sha256:0"}),
            ("no-model", {"model": "99", "weights": "sha256:1"}),
            ("failed", {"status": 500}),
            ("no-code", {"code": "0.0.1"}),
        ):
            file.write(json.dumps({**line, "id": id_, **more}) + "\n")
        file.write("{torn")
    asked = ["gone", "no-model", "failed", "no-code", line["id"]]
    _, told = _call(running_sandbox, "POST", "/-/replay", {"ids": asked, "swaps": {}})
    assert told["answers"] == {line["id"]: line["answer"]}
    _, told = _call(running_sandbox, "POST", "/-/replay", {"ids": asked, "swaps": {"model": "2", "code": "1.4.0"}})
    assert set(told["answers"]) == {"gone", "no-model", "no-code", line["id"]}
    log.write_text("".join(text + "\n" for text in log.read_text().splitlines() if text != "{torn"))


def test_start_finds_the_server_that_runs_and_stop_ends_it(sandbox: Path) -> None:
    assert process.find(sandbox) is None
    assert not process.stop(sandbox)
    first = process.start(sandbox)
    assert process.start(sandbox) == process.ensure(sandbox) == first
    with process.gated(sandbox) as open_gate:  # two at once: the lock lets one live
        assert open_gate() == first
    assert process.stop(sandbox)
    assert process.find(sandbox) is None
    assert not layout.Layout(sandbox).server.exists()
    assert "stopped" in layout.Layout(sandbox).server_log.read_text()


def test_a_server_that_hangs_is_named(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SILENCE_TIMEOUT_S", 0.5)
    address = process.start(sandbox)
    os.kill(address.pid, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable, match=f"pid {address.pid}.* does not answer") as caught:
            process.ensure(sandbox)
        assert str(address.pid) in caught.value.hint
    finally:
        os.kill(address.pid, signal.SIGCONT)
    assert process.ensure(sandbox) == address


def test_a_taken_port_is_named_with_the_end_of_the_log(sandbox: Path) -> None:
    with socket.socket() as taken:
        taken.bind((process.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1:{port}"):
            process.start(sandbox, port)
    assert process.start(sandbox, port).port == port


def test_a_server_that_cannot_load_does_not_start_and_says_why(sandbox: Path) -> None:
    path = registry.champion(sandbox).folder / "model.pkl"
    path.write_bytes(b"")
    with pytest.raises(Unavailable, match="does not load"):
        traffic.Driver(sandbox).advance(60)
    assert process.find(sandbox) is None


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"pid": 1}', b'{"pid": "x", "port": 1, "process_started": "1", "boot": "", "root": ""}'],
)
def test_a_damaged_server_file_is_no_server(sandbox: Path, damage: bytes) -> None:
    layout.Layout(sandbox).server.write_bytes(damage)
    assert process.find(sandbox) is None
    assert not process.stop(sandbox)


def test_a_pid_that_is_another_process_now_is_no_server(sandbox: Path) -> None:
    told = {"pid": os.getpid(), "port": 1, "process_started": "1", "boot": "x", "root": str(sandbox)}
    layout.Layout(sandbox).server.write_text(json.dumps(told))
    assert process.find(sandbox) is None
    assert not process.stop(sandbox)


def test_a_stopped_server_has_written_its_log(sandbox: Path) -> None:
    address = process.start(sandbox)
    before = len(worlds.predictions(sandbox))
    _ask(sandbox)
    assert len(worlds.predictions(sandbox)) == before
    os.kill(address.pid, signal.SIGTERM)
    process.stop(sandbox)
    assert len(worlds.predictions(sandbox)) == before + 1


def test_the_online_table_may_be_replaced_under_it(running_sandbox: Path) -> None:
    online = layout.Layout(running_sandbox).online
    copy = online.with_name("copy.db")
    shutil.copy(online, copy)
    answer = _ask(running_sandbox)[1]
    copy.replace(online)
    assert _ask(running_sandbox)[1] == answer


def test_an_index_version_must_fit(sandbox: Path) -> None:
    index = lookalikes.load(sandbox, "v1")
    rows = [json.loads(line) for line in (sandbox / "golden.jsonl").read_text().splitlines()]
    right = sum(lookalikes.vote(index.nearest(row["features"], 5))[0] == row["truth"] for row in rows)
    assert right >= 0.92 * len(rows)
    assert loading.features_revision(sandbox).name == "v2"
