"""Metrics as Prometheus reads them, rules that see absence, pings to a real server."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from ddr.backup import metrics, ping

AT = datetime(2026, 11, 21, tzinfo=UTC)
FACTS = metrics.Facts(
    (
        metrics.ComponentFacts("mlflow", AT, 1.5, 100, 40, is_complete=True),
        metrics.ComponentFacts('we"ird\\na\nme', None, None, 0, None, is_complete=False),
    ),
    last_verified_at=AT,
    rpo_s=60,
    score=4,
    rpo_objective_s={"search": 3600},
)
_SAMPLE = re.compile(r'([a-z_]+)(?:\{([a-z]+)="((?:[^"\\\n]|\\["\\n])*)"\})? (\S+)')


def test_the_textfile_is_the_exposition_format(tmp_path: Path) -> None:
    path = tmp_path / "ddr.prom"
    path.write_text("old")
    metrics.write(path, FACTS)
    typed: set[str] = set()
    found = {}
    for line in path.read_text().splitlines():
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
        elif not line.startswith("# HELP "):
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert match[1] in typed
            found[match[1], match[3]] = float(match[4])
    assert found["ddr_backup_last_success_timestamp_seconds", "mlflow"] == AT.timestamp()
    assert found["ddr_backup_status", r"we\"ird\\na\nme"] == 0
    assert found["ddr_backup_rpo_objective_seconds", "search"] == 3600
    assert "ddr_backup_rto_seconds" not in typed
    assert [one.name for one in tmp_path.iterdir()] == ["ddr.prom"]
    print(f"{len(found)} samples")


def test_the_rules_alert_on_absence_of_every_promise() -> None:
    (group,) = yaml.safe_load(metrics.alert_rules(86400, 7 * 86400))["groups"]
    rules = {rule["alert"]: rule for rule in group["rules"]}
    assert rules["DdrBackupMissing"]["expr"].endswith("> 176400")
    known = set(re.findall(r"# TYPE (\S+)", metrics.text(FACTS))) | {"ddr_backup_last_drill_timestamp_seconds"}
    for rule in rules.values():
        assert set(re.findall(r"ddr_backup_\w+", rule["expr"])) <= known
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert rules["DdrBackupUnheard"]["expr"].count("absent(") == 3


class _Watcher(BaseHTTPRequestHandler):
    seen: list[tuple[str, bytes]] = []
    answer = 200

    def do_POST(self) -> None:
        self.seen.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.answer)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def watcher() -> Iterator[str]:
    _Watcher.seen, _Watcher.answer = [], 200
    server = HTTPServer(("127.0.0.1", 0), _Watcher)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_pings_say_start_success_and_fail_with_the_end_of_the_log(watcher: str) -> None:
    url = f"{watcher}/ping/uuid?rid=1"
    log = "ä" * 20_000 + "\npostgresql://mlflow:hunter22@db/x\nthe end"
    assert [ping.send(url, "start"), ping.send(url, "success"), ping.send(url, "fail", log)] == ["", "", ""]
    paths = [path for path, _ in _Watcher.seen]
    assert paths == ["/ping/uuid/start?rid=1", "/ping/uuid?rid=1", "/ping/uuid/fail?rid=1"]
    body = _Watcher.seen[2][1]
    assert len(body) == ping.LONGEST_LOG_BYTES
    assert body.endswith(b"the end")
    assert b"hunter22" not in body


@pytest.mark.parametrize("answer", [301, 404, 500])
def test_a_watcher_that_refuses_is_told_of_and_harmless(watcher: str, answer: int) -> None:
    _Watcher.answer = answer
    assert str(answer) in ping.send(watcher, "success")


def test_nobody_there_and_no_address_are_told_without_the_secret_path(watcher: str) -> None:
    for url in (
        "http://127.0.0.1:1/secret-uuid",
        "http://127.0.0.1:99999/secret-uuid",
        "nonsense/secret-uuid",
        "http://[/secret-uuid",
    ):
        told = ping.send(url, "fail", "log", timeout_s=0.5)
        assert told
        assert "secret-uuid" not in told
