"""Files of vectors and files with ids go together by the order of their names."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from ddr.cli import main
from ddr.errors import InputError
from tests.unit.index import corpora

_COUNTED = (1, 2, 10, 11)
_WRONG = {
    "padded ids": ("v-{}.npy", "id-{:02}.npy", "v-10.npy", "id-02.npy"),
    "padded vectors": ("v-{:03}.npy", "id-{}.npy", "v-002.npy", "id-10.npy"),
    "a number that all have": ("e5-v2-{}.npy", "id-{:02}.npy", "e5-v2-10.npy", "id-02.npy"),
    "in folders": ("day-{}/v.npy", "ids/{:02}.npy", "day-10/v.npy", "ids/02.npy"),
}
_RIGHT = {
    "both padded": ("v-{:02}.npy", "id-{:05}.npy"),
    "neither padded": ("v-{}.npy", "id-{}.npy"),
    "in folders": ("{}/v.npy", "{}/ids.npy"),
}


def _written(base: Path, vectors: str, ids: str) -> None:
    for number in _COUNTED:
        for name, rows in ((vectors, np.zeros((2, 4), np.float32)), (ids, np.array([number, number + 100]))):
            path = base / name.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, rows)


def _pattern(name: str) -> str:
    return re.sub(r"{.*?}", "*", name)


@pytest.mark.parametrize("name", _WRONG)
def test_ids_of_another_file_are_refused(tmp_path: Path, name: str) -> None:
    vectors, ids, place, file = _WRONG[name]
    _written(tmp_path, vectors, ids)
    with pytest.raises(InputError, match=f"^{place} would get the ids of {file}: ") as told:
        corpora.find(tmp_path, _pattern(vectors), ids=_pattern(ids))
    assert "v-02 and v-10" in told.value.hint
    listed = [vectors.format(number) for number in sorted(_COUNTED, key=ids.format)]
    found = corpora.find(tmp_path, *listed, ids=_pattern(ids))
    assert [(one.uri, one.ids_uri) for one in found] == [
        (vectors.format(number), ids.format(number)) for number in sorted(_COUNTED, key=ids.format)
    ]


@pytest.mark.parametrize("name", _RIGHT)
def test_ids_of_the_same_number_are_taken(tmp_path: Path, name: str) -> None:
    vectors, ids = _RIGHT[name]
    _written(tmp_path, vectors, ids)
    found = corpora.find(tmp_path, _pattern(vectors), ids=_pattern(ids))
    pairs = {(one.uri, one.ids_uri) for one in found}
    assert pairs == {(vectors.format(number), ids.format(number)) for number in _COUNTED}


@pytest.mark.parametrize("ids", ["id-9{}.npy", "a{0}-{0}.npy"])
def test_numbers_that_are_others_say_nothing(tmp_path: Path, ids: str) -> None:
    _written(tmp_path, "v-{:02}.npy", ids)
    assert len(corpora.find(tmp_path, "v-*.npy", ids=_pattern(ids))) == len(_COUNTED)


@pytest.mark.parametrize(
    ("files", "says"), [(1, "v-1.npy with id-1.npy"), (3, "v-1.npy with id-1.npy … v-3.npy with id-3.npy")]
)
def test_a_plan_says_which_ids_go_with_which_vectors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: int, says: str
) -> None:
    rows = corpora.clustered(300, 8)
    for number in range(1, files + 1):
        np.save(tmp_path / f"v-{number}.npy", rows)
        np.save(tmp_path / f"id-{number}.npy", np.arange(300) + 300 * number)
    own = tmp_path / "own.yaml"
    own.write_text("home: home\nvectors: [v-*.npy]\n")
    assert main.run(["index", "plan", str(own)]) == 0
    assert "ids " not in capsys.readouterr().out
    own.write_text("home: home\nvectors: [v-*.npy]\nids: id-*.npy\n")
    assert main.run(["index", "plan", str(own)]) == 0
    assert says in [line.strip().removeprefix("ids").strip() for line in capsys.readouterr().out.splitlines()]
