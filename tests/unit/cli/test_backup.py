"""`ddr backup` and `ddr restore` as a person types them, on the real platform of a sandbox."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests import sandboxes
from tests.unit.cli import calls


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, pristine_sandbox: Path) -> Path:
    """A platform whose server is down: a backup needs none. Its configuration names a key and a second place."""
    made = sandboxes.copy(pristine_sandbox, tmp_path_factory.mktemp("backup") / "platform")
    assert calls.ddr(made, "backup", "key", "new-file", str(made / "backup.key")).code == 0
    return made


@pytest.fixture(scope="module")
def plain(root: Path) -> str:
    """The configuration as `sandbox up` wrote it."""
    return (root / "ddr.yaml").read_text()


def configure(root: Path, plain: str, more: str = "") -> None:
    (root / "ddr.yaml").write_text(
        plain + f"\nbackup: {{keyFile: backup.key, copies: {{second: {{type: local, path: second}}}}{more}}}\n"
    )


@pytest.fixture(scope="module")
def first(root: Path, plain: str) -> str:
    """The id of the first snapshot."""
    configure(root, plain)
    done = calls.ddr(root, "backup", "run", "--json")
    assert done.code == 0, done.err
    made: str = done.document["snapshot"]["id"]
    return made


def test_without_a_word_on_sealing_nothing_is_stored(tmp_path: Path, pristine_sandbox: Path) -> None:
    made = sandboxes.copy(pristine_sandbox, tmp_path / "platform")
    done = calls.ddr(made, "backup", "run")
    assert done.code == 64
    assert "keyFile" in done.err
    assert "encryption: none" in done.err
    assert not (made / ".ddr" / "backup").exists()


def test_before_the_first_backup_there_is_none(root: Path, plain: str) -> None:
    configure(root, plain)
    for words in (["list"], ["verify"], ["show"], ["prune"], ["drill"]):
        done = calls.ddr(root, "backup", *words)
        assert done.code == 1, (words, done)
        assert "ddr backup run" in done.err
    assert calls.ddr(root, "backup", "run", "--dry-run", "--json").document == {
        "would_capture": ["registry", "lookalikes", "journal"]
    }


def test_a_snapshot_has_every_row_and_file(root: Path, first: str) -> None:
    shown = calls.ddr(root, "backup", "show", first[:8], "--files", "--json").document
    (registry, _, journal) = shown["snapshot"]["components"]
    with sqlite3.connect(root / "mlflow" / "mlflow.db") as database:
        names = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        counts = {name: database.execute(f"select count(*) from {name}").fetchone()[0] for name in names}
    assert {table["name"]: table["rows"] for table in registry["tables"]} == counts
    assert registry["facts"]["alembic"]
    on_disk = [path for path in (root / "mlflow").rglob("*") if path.is_file() and "artifacts" in path.parts]
    assert len(shown["files"]["registry"]) >= len(on_disk) > 0
    assert journal["trees"][0]["files"] == 1 + len(list((root / ".ddr" / "journal").glob("0*"))) - 2
    text = calls.ddr(root, "backup", "show", "latest")
    assert text.code == 0
    assert "registered_models" in text.out


def test_a_second_one_stores_next_to_nothing(root: Path, first: str) -> None:
    again = calls.ddr(root, "backup", "run", "--json").document["snapshot"]
    assert again["parent"] == first
    assert again["added_bytes"] < 20_000
    listed = calls.ddr(root, "backup", "list", "--json").document["snapshots"]
    assert [one["id"] for one in listed][:2] == [first, again["id"]]


def test_what_changed_is_told(root: Path, first: str) -> None:
    with sqlite3.connect(root / "mlflow" / "mlflow.db") as database:
        database.execute("update registered_model_aliases set version = 1")
    calls.ddr(root, "backup", "run")
    found = calls.ddr(root, "backup", "diff", first[:8], "--json").document["differences"]
    assert ("registry", "table registered_model_aliases", "changed") in {
        (one["component"], one["what"], one["how"]) for one in found
    }
    assert not any(one["component"] == "registry" and "tree" in one["what"] for one in found)


def test_damage_is_found_named_and_healed(root: Path, first: str) -> None:
    assert calls.ddr(root, "backup", "verify").code == 0
    packs = sorted(path for path in (root / ".ddr" / "backup" / "packs").rglob("*") if path.is_file())
    largest = max(packs, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.chmod(0o644)
    largest.write_bytes(content)
    done = calls.ddr(root, "backup", "verify", "--json")
    assert done.code == 2
    (finding,) = done.document["findings"]
    assert largest.name in finding["object"]
    assert any(first[:8] in line for line in finding["affected"])
    assert finding["next_move"]
    assert calls.ddr(root, "backup", "repair").code == 2
    healed = calls.ddr(root, "backup", "run", "--json").document["snapshot"]
    after = calls.ddr(root, "backup", "verify", "--json").document
    assert healed["id"] in after["whole"]


def test_a_lost_configuration_is_written_anew(root: Path, first: str) -> None:
    config = root / ".ddr" / "backup" / "config"
    before = config.read_bytes()
    for harm in (config.unlink, lambda: config.write_bytes(before[:-3])):
        harm()
        broken = calls.ddr(root, "backup", "list")
        assert broken.code == 2
        assert "ddr backup repair" in broken.err
        assert calls.ddr(root, "backup", "repair").code in (0, 2)
        assert calls.ddr(root, "backup", "list").code == 0
        assert config.read_bytes() == before


def test_a_copy_is_the_same_repository(root: Path, first: str) -> None:
    done = calls.ddr(root, "backup", "copy", "second", "--json")
    assert done.code == 2, "the damaged pack is left out, and that is said"
    again = calls.ddr(root, "backup", "copy", "second", "--json").document
    assert again["objects"] == 0
    assert calls.ddr(root, "backup", "copy", "nowhere").code == 64


def test_it_is_restored_and_every_row_is_proved(root: Path, first: str, tmp_path: Path) -> None:
    target = tmp_path / "restored.db"
    words = ["restore", "registry", "--to", f"sqlite:///{target}", "--with", f"artifacts={tmp_path / 'artifacts'}"]
    plan = calls.ddr(root, *words, "--json")
    assert plan.code == 0, plan.err
    assert not target.exists()
    assert not plan.document["applied"]
    done = calls.ddr(root, *words, "--apply", "--json")
    assert done.code == 0, done.err
    assert done.document["unequal"] == []
    assert done.document["compared"] > 60
    with sqlite3.connect(target) as database:
        assert database.execute("select version from registered_model_aliases").fetchone() == (1,)
    again = calls.ddr(root, *words, "--json")
    assert again.code == 0
    assert {line["does"] for line in again.document["plan"]["lines"]} <= {"skip", "rewrite"}
    with sqlite3.connect(target) as database:
        database.execute("update params set value = 'somebody was here'")
    refused = calls.ddr(root, *words, "--apply")
    assert refused.code in (1, 3), "nothing is overwritten without a word"
    with sqlite3.connect(target) as database:
        assert database.execute("select distinct value from params").fetchall() == [("somebody was here",)]


def test_keys(root: Path, first: str, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    assert calls.ddr(root, "backup", "key", "new-file", str(other)).code == 0
    assert calls.ddr(root, "backup", "key", "new-file", str(other)).code == 1
    added = calls.ddr(root, "backup", "key", "add", "--key-file", str(other), "--label", "second", "--json").document
    slots = calls.ddr(root, "backup", "key", "list", "--json").document["slots"]
    assert [slot["kind"] for slot in slots] == ["key-file", "key-file"]
    assert calls.ddr(root, "backup", "key", "remove", added["id"]).code == 0
    (last,) = calls.ddr(root, "backup", "key", "list", "--json").document["slots"]
    assert calls.ddr(root, "backup", "key", "remove", last["id"]).code == 1, "the last one stays"
    paper = calls.ddr(root, "backup", "key", "export").out.strip()
    assert paper.startswith("ddr-recovery-1-")


def test_pruning_keeps_what_must_stay(root: Path, plain: str, first: str) -> None:
    configure(root, plain, ", keep: {keepLast: 1, minimum: 1}, grace: 0s")
    try:
        dry = calls.ddr(root, "backup", "prune", "--dry-run", "--json")
        assert dry.code == 0, dry.err
        kept = [one["snapshot"] for one in dry.document["decisions"] if one["keeps"]]
        assert len(calls.ddr(root, "backup", "list", "--json").document["snapshots"]) > len(kept)
        for _ in range(2):  # the second call deletes what the first one buried
            assert calls.ddr(root, "backup", "prune").code == 0
        left = [one["id"] for one in calls.ddr(root, "backup", "list", "--json").document["snapshots"]]
        assert sorted(left) == sorted(kept)
        assert calls.ddr(root, "backup", "verify").code == 0, (
            "the damaged pack is gone with the snapshots that needed it"
        )
    finally:
        configure(root, plain)


def test_a_secret_ends_it_and_nothing_of_it_stays(root: Path, first: str) -> None:
    before = sorted(path.name for path in (root / ".ddr" / "backup").rglob("*") if path.is_file())
    with sqlite3.connect(root / "mlflow" / "mlflow.db") as database:
        (run,) = database.execute("select run_uuid from runs limit 1").fetchone()
        database.execute("insert into params values ('dsn', 'postgresql://ml:hunter2SuperSecret@db/x', ?)", (run,))
    try:
        done = calls.ddr(root, "backup", "run")
        assert done.code == 1
        assert "registry/table params" in done.err
        assert "hunter2SuperSecret" not in done.err + done.out
        assert sorted(path.name for path in (root / ".ddr" / "backup").rglob("*") if path.is_file()) == before
    finally:
        with sqlite3.connect(root / "mlflow" / "mlflow.db") as database:
            database.execute("delete from params where key = 'dsn'")


def test_a_source_that_empties_is_an_alarm(root: Path, first: str) -> None:
    saved = (root / "mlflow" / "mlflow.db").read_bytes()
    with sqlite3.connect(root / "mlflow" / "mlflow.db") as database:
        database.execute("delete from logged_model_tags")
    try:
        done = calls.ddr(root, "backup", "run")
        assert done.code == 2
        assert "logged_model_tags" in done.out
    finally:
        (root / "mlflow" / "mlflow.db").write_bytes(saved)
        assert calls.ddr(root, "backup", "run").code == 0


class _Watcher(BaseHTTPRequestHandler):
    heard: list[str] = []

    def do_POST(self) -> None:
        self.heard.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def watcher() -> Iterator[str]:
    _Watcher.heard.clear()
    server = HTTPServer(("127.0.0.1", 0), _Watcher)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/ping"
    server.shutdown()
    thread.join()
    server.server_close()


def test_others_are_told(root: Path, plain: str, first: str, watcher: str) -> None:
    configure(root, plain, f', ping: "{watcher}", metrics: ddr.prom')
    try:
        assert calls.ddr(root, "backup", "run").code == 0
        assert _Watcher.heard == ["/ping/start", "/ping"]
        assert 'ddr_backup_status{component="registry"} 1' in (root / "ddr.prom").read_text()
    finally:
        configure(root, plain)
    for form in ("--cron", "--systemd", "--cronjob", "--alerts"):
        printed = calls.ddr(root, "backup", "schedule", form, "--json")
        assert printed.code == 0
        assert all(printed.document["files"].values())
    assert calls.ddr(root, "backup", "schedule").code == 64


def test_the_record_tells_it_all(root: Path, first: str) -> None:
    told = calls.ddr(root, "journal", "show", "--all", "--kind", "backup", "--json").document["events"]
    kinds = {event["kind"] for event in told}
    assert kinds >= {"backup.made", "backup.verified", "backup.copied", "backup.forgotten", "backup.restored"}
    assert calls.ddr(root, "journal", "verify").code == 0
    assert all(json.dumps(event).count("hunter2") == 0 for event in told)


@pytest.mark.long
def test_a_drill_starts_the_real_server_and_measures(root: Path, first: str) -> None:
    done = calls.ddr(root, "backup", "drill", "--json")
    assert done.code == 0, done.out
    registry = next(part for part in done.document["parts"] if part["component"] == "registry")
    assert set(registry["phases"]) == {"restore", "compare", "start the server", "ask the server"}
    assert registry["compared"] > 60
    assert done.document["took_s"] >= registry["phases"]["start the server"]
