"""A corpus of texts: what is wrong with any line is told with its place, and a cut is a function of the bytes."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest

from ddr.errors import Conflict, InputError
from ddr.index.embedders import texts
from tests.unit.index import corpora, tinybert

GOOD = b'{"id": "a", "text": "one", "more": [1]}'
BAD = {
    b"{": "truncated",
    b'{"id": "b", "text": "two"} x': "trailing characters",
    b'{"id": "b"}': "missing required field `text`",
    b'{"text": "two"}': "missing required field `id`",
    b'["b", "two"]': "Expected `object`",
    b'{"id": null, "text": "two"}': "Expected `int | str`",
    b'{"id": true, "text": "two"}': "Expected `int | str`",
    b'{"id": 1.5, "text": "two"}': "Expected `int | str`",
    b'{"id": "b", "text": null}': "Expected `str`",
    b'{"id": "b", "text": "\xff"}': "utf-8",
    b'{"id": "b", "text": "\\ud800"}': "truncated",
    b'{"id": "b", "text": ""}': "the text of 'b' is empty",
    b'{"id": "b", "text": " \\t\\n"}': "the text of 'b' is empty",
    b'{"id": "", "text": "two"}': "the id is empty",
    b'{"id": 7, "text": "two"}': "7 is of another kind",
}


def corpus(base: Path, pattern: str = "*.jsonl") -> texts.Corpus:
    return texts.Corpus(pattern, base, corpora.no_bucket)


@pytest.mark.parametrize("line", BAD, ids=lambda line: line.decode(errors="replace"))
def test_a_line_that_is_no_document_is_told_by_its_number(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "t.jsonl").write_bytes(b"\n".join([GOOD, b"", line, b'{"id": "c", "text": "three"}']))
    with pytest.raises(InputError, match=re.escape(BAD[line])) as told:
        corpus(tmp_path).survey(2)
    assert told.value.message.startswith("t.jsonl:3: ")


def test_ids_out_of_range_and_twice_are_told_with_both_places(tmp_path: Path) -> None:
    for number in (-1, 2**63):
        (tmp_path / "t.jsonl").write_text(json.dumps({"id": number, "text": "one"}))
        with pytest.raises(InputError, match=f"t.jsonl:1: {number} is no id"):
            corpus(tmp_path).survey(10)
    (tmp_path / "t.jsonl").unlink()
    tinybert.write(tmp_path / "a.jsonl", tinybert.sentences(30), range(30))
    tinybert.write(tmp_path / "b.jsonl", tinybert.sentences(4, 1), [30, 31, 17, 33])
    with pytest.raises(InputError, match=r"b.jsonl:3: the id is there already, in a.jsonl:18"):
        corpus(tmp_path).survey(7)


def test_many_problems_are_one_error_that_counts_them(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("\n".join(["{"] * 25 + [GOOD.decode()]))
    with pytest.raises(InputError, match="25 lines") as told:
        corpus(tmp_path).survey(4)
    assert told.value.message.count("t.jsonl:") == 10
    assert "and 15 more" in told.value.message


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_corpus_without_texts_is_no_corpus(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.jsonl").write_bytes(content)
    with pytest.raises(InputError, match="there is no text"):
        corpus(tmp_path).survey(4)


def test_every_cut_gives_back_every_row_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of every size against pieces of every size, with blank lines, a BOM and no line end at the last one."""
    lines = [b"\xef\xbb\xbf" + b'{"id": "a0", "text": "x"}']
    for number in range(1, 23):
        lines.append(json.dumps({"id": f"a{number}", "text": "äß " * (number % 5 + 1)}, ensure_ascii=False).encode())
        lines += [b""] * (number % 7 == 0) + [b"  "] * (number % 11 == 0)
    (tmp_path / "a.jsonl").write_bytes(b"\r\n".join(lines))
    (tmp_path / "b.jsonl").write_bytes(b'{"id": "b0", "text": "y"}\n')
    tried = 0
    for block, rows in itertools.product((1, 3, 17, 64, 1 << 20), (1, 2, 5, 23, 100)):
        monkeypatch.setattr(texts, "_BLOCK_BYTES", block)
        made = corpus(tmp_path)
        survey = made.survey(rows)
        read = [row for piece in survey.pieces for row in made.read(survey, piece)]
        assert [row.id for row in read] == [f"a{number}" for number in range(23)] + ["b0"]
        assert [piece.rows for piece in survey.pieces] == [len(made.read(survey, piece)) for piece in survey.pieces]
        assert len(survey.golden) == 24
        assert made.find(["b0", "a7", "nobody"]) == {"b0": "y", "a7": "äß äß äß "}
        tried += 1
    assert tried == 25


def test_golden_documents_are_the_same_however_the_corpus_is_cut(tmp_path: Path) -> None:
    all_texts = tinybert.sentences(300)
    tinybert.write(tmp_path / "a.jsonl", all_texts)
    chosen = set()
    for rows in (1, 7, 64, 1000):
        made = corpus(tmp_path)
        survey = made.survey(rows)
        read = [made.read(survey, piece) for piece in survey.pieces]
        chosen.add(tuple(sorted(str(read[piece][row].id) for piece, row in survey.golden)))
    assert len(chosen) == 1
    assert len(chosen.pop()) == texts.GOLDEN


def test_a_text_that_changed_since_is_a_conflict(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    tinybert.write(path, tinybert.sentences(9))
    made = corpus(tmp_path)
    survey = made.survey(4)
    path.write_text(path.read_text() + '{"id": "new", "text": "more"}\n')
    with pytest.raises(Conflict):
        made.read(survey, survey.pieces[0])
    with pytest.raises(Conflict):
        corpus(tmp_path).read(survey, texts.Piece(0, 0, 3, 40, 1, 4, survey.pieces[0].sha256))
