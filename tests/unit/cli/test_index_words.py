"""What a person writes for an index and what becomes of it: fingerprints, secrets, numbers, places that cannot be."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from ddr.cli import main
from ddr.errors import BadDocument, InputError
from ddr.wiring import index_settings, indexes
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


def _keys() -> set[str]:
    """As code calls them, where a document calls them otherwise."""
    entries = (index_settings.IndexEntry, index_settings.EmbedEntry, index_settings.AnomalyEntry)
    return {field.name for entry in entries for field in dataclasses.fields(entry) if "_" in field.name}


def test_what_is_said_names_keys_as_they_are_written() -> None:
    named = re.compile(rf"\b(?:{'|'.join(_keys())})\b")
    ddr = Path(index_settings.__file__).parents[1]
    for path in [*ddr.glob("index/**/*.py"), *ddr.glob("wiring/index*.py"), *ddr.glob("cli/index*.py")]:
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if named.search(text) else ():
            if isinstance(node, ast.Raise) or (isinstance(node, ast.keyword) and node.arg == "hint"):
                said = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                assert not [one for one in said if isinstance(one, str) and named.search(one)], path


@pytest.mark.parametrize("text", ["fingerprnt.txt", "models/e5", "./e5", "model.safetensors", "corpus", "gone.json"])
def test_a_fingerprint_that_looks_like_a_file_is_one(own: Path, text: str) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        _fingerprint(own, text)


@pytest.mark.parametrize("content", ["", " \n", "\n" * 300])
def test_a_file_without_a_fingerprint_in_it_is_refused(own: Path, content: str) -> None:
    (own / "print.txt").write_text(content)
    with pytest.raises(index_settings.NoFingerprint, match=r"print\.txt is empty$"):
        _fingerprint(own, "print.txt")


def test_without_its_fingerprint_nothing_is_built_and_versions_are_still_looked_after(own: Path) -> None:
    (own / "ddr.yaml").write_text("apiVersion: ddr/v1\nrepository: {type: local, path: .ddr}\nservices: {}\n")
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
    (own / "print.txt").write_text("\u2003\n")
    assert _fingerprint(own, "print.txt").startswith("sha256:"), "never none at all"


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


_TOO_LARGE = "; 1 to 2147483647, or 0, which leaves it to ddr"
_REFUSED = {
    "an empty home": (b"home: ''\nvectors: [a.npy]\n", 1, "home is empty; a folder, or s3://BUCKET/PREFIX"),
    "a home of a space": (b"home: ' '\nvectors: [a.npy]\n", 1, "home is empty; a folder, or s3://BUCKET/PREFIX"),
    "no list": (b"home: h\nvectors: x/*.npy\n", 2, """is 'x/*.npy', must be a list: ["x/*.npy"]"""),
    "a map for a list": (b"home: h\nvectors: {a: b}\n", 2, "is a mapping, must be a list"),
    "no UTF-8": (b"home: h\nvectors: [a.npy]\nembedder: '\xfc'\n", 3, "is no UTF-8 text"),
    **{
        f"{key} {value}": (f"home: h\nvectors: [a]\n{key}: {value}\n".encode(), 1, f"{key} is {value}{_TOO_LARGE}")
        for key in ("memoryMib", "bytesPerVector", "rowsPerPart")
        for value in (-1, 1 << 31, 10**20)
    },
    "a digit that is none": (
        'home: h\nvectors: [a]\ndevice: "cuda:²"\n'.encode(),
        1,
        "device is 'cuda:²'; auto, cpu, cuda, cuda:1 or mps",
    ),
    "a shard of texts": (
        b"home: h\nembed: {corpus: a, model: m, rowsPerShard: 2147483648}\n",
        2,
        "rowsPerShard is 2147483648; 1 to 2147483647",
    ),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_cannot_be_meant_is_refused_where_it_stands(tmp_path: Path, name: str) -> None:
    content, line, what = _REFUSED[name]
    (tmp_path / "own.yaml").write_bytes(content)
    with pytest.raises(BadDocument) as refused:
        index_settings.read(tmp_path / "own.yaml", {})
    (problem,) = refused.value.problems
    assert (problem.line, problem.what) == (line, what)
    assert refused.value.hint


_PLACES = {
    "home": "home: {}\nvectors: [a]\n",
    "vectors": "home: h\nvectors: [a, {}]\n",
    **{key: f"home: h\nvectors: [a]\n{key}: {{}}\n" for key in ("work", "ids", "queries")},
    "corpus": "home: h\nembed: {{corpus: {}, model: m}}\n",
    "model": "home: h\nembed: {{corpus: c, model: {}}}\n",
}
_NO_PLACES = {
    '"a\\0b"': "is 'a\\x00b'; no path has a zero byte in it",
    f"a/{'ü' * 128}/b": "has a name of 256 bytes in it; 255 at most",
}


_ON_THIS_MACHINE = ("work", "model")
_ELSEWHERE = ["s3:/b/x", "s3:b/x", "S3://b/x", "' s3://b/x'", "gs://b/x", "file:///x"]


@pytest.mark.parametrize(
    ("key", "text"),
    [*((key, text) for key in _PLACES for text in _ELSEWHERE), *((key, "s3://b/x") for key in _ON_THIS_MACHINE)],
)
def test_what_is_elsewhere_is_no_folder_here(tmp_path: Path, key: str, text: str) -> None:
    (tmp_path / "own.yaml").write_text(_PLACES[key].format(text))
    with pytest.raises(BadDocument) as refused:
        index_settings.read(tmp_path / "own.yaml", {})
    (problem,) = refused.value.problems
    assert problem.what.startswith(f"{key} is '{text.strip(chr(39))}'; a path on this machine")
    assert ("s3://BUCKET/KEY" in problem.what) == (key not in _ON_THIS_MACHINE)


@pytest.mark.parametrize(
    ("home", "says", "key"),
    [
        ("home: s3://", "'' is not the name of a bucket", "`home:`"),
        ("home: s3://b c/x", "'b c' is not the name of a bucket", "`home:`"),
        ("home: s3://bucket\ns3: {accessKey: '${env:KEY}'}", "both access key and secret key", "`s3:`"),
    ],
)
def test_a_bucket_that_cannot_be_is_corrected_in_the_index(own: Path, home: str, says: str, key: str) -> None:
    (own / "own.yaml").write_text(f"{home}\nvectors: [corpus/*.npy]\n")
    read = index_settings.read(own / "own.yaml", {"KEY": "key-0123456789"})
    with pytest.raises(InputError, match=says) as refused:
        indexes.home_of(read.entry.home, lambda: datetime(2026, 11, 22, tzinfo=UTC), "", read.entry.s3)
    assert key in refused.value.hint
    assert "repository" not in refused.value.hint


@pytest.mark.parametrize("key", _PLACES)
def test_a_bucket_and_a_folder_with_such_a_name_are_taken(tmp_path: Path, key: str) -> None:
    for text in ("./s3:/b/x", "data:x", *([] if key in _ON_THIS_MACHINE else [f"s3://b/{'x' * 300}"])):
        (tmp_path / "own.yaml").write_text(_PLACES[key].format(text))
        assert index_settings.read(tmp_path / "own.yaml", {}).entry


_FOR_A_SHELL = {
    "~/x": "write ${env:HOME}/x, or the path as it is",
    "${HOME}/x": "write ${env:HOME}/x, or the path as it is",
    "a/${DAY}": "write a/${env:DAY}, or the path as it is",
    "~me/x": "write the path as it is",
    "a/${DAY": "write the path as it is",
    "${env:THERE}": "write ${env:HOME}/x, or the path as it is",
}


@pytest.mark.parametrize("text", _FOR_A_SHELL)
@pytest.mark.parametrize("key", _PLACES)
def test_what_only_a_shell_fills_in_is_refused(tmp_path: Path, key: str, text: str) -> None:
    (tmp_path / "own.yaml").write_text(_PLACES[key].format(json.dumps(text)))
    with pytest.raises(BadDocument) as refused:
        index_settings.read(tmp_path / "own.yaml", {"THERE": "~/x"})
    (problem,) = refused.value.problems
    assert problem.what.startswith(f"{key} is ")
    assert problem.what.endswith(_FOR_A_SHELL[text])


@pytest.mark.parametrize("key", _PLACES)
def test_references_and_names_with_a_tilde_are_places(tmp_path: Path, key: str) -> None:
    (tmp_path / "place").write_text("/srv/x\n")
    for text in ('"${env:THERE}/x"', '"${file:place}"', "./~x", "a~", "a/~", "a$x"):
        (tmp_path / "own.yaml").write_text(_PLACES[key].format(text))
        assert index_settings.read(tmp_path / "own.yaml", {"THERE": "/srv"}).entry


@pytest.mark.parametrize("text", _NO_PLACES, ids=["zero", "long"])
@pytest.mark.parametrize("key", _PLACES)
def test_what_cannot_be_a_place_is_refused(tmp_path: Path, key: str, text: str) -> None:
    (tmp_path / "own.yaml").write_text(_PLACES[key].format(text))
    with pytest.raises(BadDocument) as refused:
        index_settings.read(tmp_path / "own.yaml", {})
    assert [one.what for one in refused.value.problems] == [f"{key} {_NO_PLACES[text]}"]


def test_the_largest_numbers_are_taken(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        _OWN + "rowsPerPart: 2147483647\nmemoryMib: 2147483647\nbytesPerVector: 2147483647\n"
    )
    entry = index_settings.read(tmp_path / "own.yaml", {}).entry
    assert {entry.rows_per_part, entry.memory_mib, entry.bytes_per_vector} == {2**31 - 1}


@pytest.mark.parametrize(
    ("home", "work", "key"),
    [("corpus/a.npy", "", "home"), ("corpus/a.npy/x", "work", "home"), ("home", "corpus/a.npy/x", "work")],
)
def test_a_file_in_the_way_of_a_folder_is_told_by_the_plan(own: Path, home: str, work: str, key: str) -> None:
    (own / "own.yaml").write_text(f"home: {home}\nvectors: [corpus/*.npy]\nwork: '{work}'\n")
    index = indexes.of_file(own / "own.yaml", "oncall-ml", {})
    with pytest.raises(InputError, match=rf"cannot be made: {own}/corpus/a\.npy is a file$") as refused:
        index.plan(is_measured=False)
    assert refused.value.hint.startswith(f"`{key}:` names ")


@pytest.mark.parametrize("work", ["/proc/nowork", "a-file", "a-file/below"])
def test_a_work_folder_that_cannot_be_is_told(own: Path, work: str) -> None:
    (own / "a-file").touch()
    (own / "own.yaml").write_text(_OWN + f"work: {work}\n")
    refused = calls.ddr(own, "index", "build", str(own / "own.yaml"))
    assert refused.code == 64, refused.err
    assert "cannot be made" in refused.err
    assert "`work:`" in refused.err
    assert not (own / "home").exists()


@pytest.mark.parametrize("name", ["-lead.yaml", "it's my own.yaml"])
def test_what_is_told_next_can_be_typed_whatever_the_file_is_called(
    own: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(own)
    Path(name).write_text(_OWN)
    words = ["plan", "--", name]
    for following in (["build"], ["publish"], []):
        assert main.run(["index", *words]) == 0
        told = re.search(r"next: ddr index (.*)", capsys.readouterr().out)
        words = shlex.split(told[1]) if told else []
        assert words[:1] == following
