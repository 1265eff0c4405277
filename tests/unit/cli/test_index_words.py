"""What a person writes for an index and what becomes of it: fingerprints, secrets, numbers, places that cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ddr.errors import BadDocument, InputError
from ddr.wiring import index_settings
from tests.unit.cli import calls
from tests.unit.index import corpora

_OWN = "home: home\nvectors: [corpus/*.npy]\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    np.save(tmp_path / "corpus" / "a.npy", corpora.clustered(600, 16))
    return tmp_path


def _read(own: Path, more: str, **environ: str) -> index_settings.Own:
    (own / "own.yaml").write_text(_OWN + more)
    return index_settings.read(own / "own.yaml", environ)


def _fingerprint(own: Path, text: str) -> str:
    return index_settings.wanted("own", _read(own, f"embedder: {text!r}\n").entry, own).embedder


@pytest.mark.parametrize("text", ["fingerprnt.txt", "models/e5", "./e5", "model.safetensors", "corpus", "gone.json"])
def test_a_fingerprint_that_looks_like_a_file_is_one(own: Path, text: str) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        _fingerprint(own, text)


def test_without_its_fingerprint_nothing_is_built_and_versions_are_still_looked_after(own: Path) -> None:
    (own / "own.yaml").write_text(_OWN + "embedder: fingerprnt.txt\n")
    for words in (["plan"], ["build"], ["publish"]):
        refused = calls.ddr(own, "index", words[0], str(own / "own.yaml"))
        assert refused.code == 64, refused.err
        assert "fingerprnt.txt: there is no such file" in refused.err
    (own / "own.yaml").write_text(_OWN)
    assert calls.ddr(own, "index", "build", str(own / "own.yaml"), "--publish").code == 0
    (own / "own.yaml").write_text(_OWN + "embedder: fingerprnt.txt\n")
    for words in (["list"], ["gc"], ["fetch", str(own / "out")]):
        done = calls.ddr(own, "index", words[0], str(own / "own.yaml"), *words[1:])
        assert done.code == 0, done.err
    assert calls.ddr(own, "index", "check", str(own / "own.yaml")).code == 64


def test_fingerprints_are_texts_digests_and_files(own: Path) -> None:
    (own / "print.txt").write_text("e5-small 2026-11\n")
    assert _fingerprint(own, "print.txt") == "e5-small 2026-11"
    for text in ("sha256:" + "a" * 64, "bge-small-en-v1.5", "e5 small", "2026.11.02"):
        assert _fingerprint(own, text) == text


def test_references_are_resolved_and_secrets_refused(own: Path) -> None:
    (own / "key").write_text("from a file\n")
    found = _read(own, "s3: {secretKey: '${env:KEY}', accessKey: '${file:key}'}\n", KEY="opensesame")
    assert (found.entry.s3.secret_key, found.entry.s3.access_key) == ("opensesame", "from a file")
    assert found.secrets == {"opensesame", "from a file"}
    assert "opensesame" not in repr(found)
    for more, says in {
        "s3: {secretKey: hunter2}\n": "looks like a secret",
        "s3: {secretKey: '${env:NOSUCHVAR}'}\n": "NOSUCHVAR is not set",
        "queries: '${env:NOSUCHVAR}'\n": "NOSUCHVAR is not set",
        "indexes: {search: {home: h}}\n": "without the name of the index",
    }.items():
        with pytest.raises(BadDocument) as refused:
            _read(own, more)
        told = str(refused.value.problems)
        assert says in told
        assert "hunter2" not in told


def test_a_plain_secret_is_refused_by_command(own: Path) -> None:
    (own / "own.yaml").write_text(_OWN + "s3: {secretKey: hunter2}\n")
    refused = calls.ddr(own, "index", "plan", str(own / "own.yaml"))
    assert refused.code == 64
    assert "own.yaml:3" in refused.err
    assert "hunter2" not in refused.err


@pytest.mark.parametrize("seed", [-1, 1 << 31])
def test_seeds_are_what_all_engines_take(own: Path, seed: int) -> None:
    with pytest.raises(BadDocument) as refused:
        _read(own, f"seed: {seed}\n")
    assert "0 to 2147483647" in str(refused.value.problems)


@pytest.mark.parametrize("work", ["/proc/nowork", "a-file", "a-file/below"])
def test_a_work_folder_that_cannot_be_is_told(own: Path, work: str) -> None:
    (own / "a-file").touch()
    (own / "own.yaml").write_text(_OWN + f"work: {work}\n")
    refused = calls.ddr(own, "index", "build", str(own / "own.yaml"))
    assert refused.code == 64, refused.err
    assert "cannot be made" in refused.err
    assert "`work:`" in refused.err
    assert not (own / "home").exists()
