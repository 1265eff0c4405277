"""`ddr.yaml` is checked whole: every problem with its line, and nothing starts."""

from __future__ import annotations

import re
import typing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ddr.domain import planes
from ddr.errors import BadDocument, InputError
from ddr.wiring import config, connector_types, repository_settings, sample

GOOD = """\
apiVersion: ddr/v1
repository: {type: local, path: .ddr}
connectors:
  registry: {type: mlflow, tracking: "sqlite:///mlflow.db"}
  code: {type: release-folder, root: code}
  server: {type: model-server, url: "http://127.0.0.1:1", golden: golden.jsonl}
services:
  s:
    serving: server
    planes:
      model: {connector: registry, model: m, alias: champion}
      code: {connector: code}
    signals:
      golden: {source: server, series: golden, detector: share, plane: model, limit: 0.02, window: 30m}
    objectives: {rpo: 1h, rto: 15m}
    owners: {team: t, oncall: o, decisionMaker: d}
"""


def load(text: str, folder: Path, **environ: str) -> config.Config:
    path = folder / "ddr.yaml"
    path.write_text(text)
    return config.load(path, environ)


def problems(text: str, folder: Path, **environ: str) -> list[str]:
    with pytest.raises(BadDocument) as problem:
        load(text, folder, **environ)
    return [str(entry).removeprefix(f"{folder}/") for entry in problem.value.problems]


def test_a_good_file_is_read(tmp_path: Path) -> None:
    found = load(GOOD, tmp_path)
    (service,) = found.services.values()
    assert service.planes == {planes.Plane.CODE: "code", planes.Plane.MODEL: "registry"}
    (spec,) = service.signals
    assert (spec.name, spec.limit, spec.window) == ("golden", 0.02, timedelta(minutes=30))
    assert found.base == tmp_path


# Each entry: what to replace in the good file, by what, and the problems that must be reported.
BAD = [
    ("apiVersion: ddr/v1", "apiVersion: v2", ["ddr.yaml:1: apiVersion: is 'v2', must be one of ddr/v1"]),
    ("apiVersion: ddr/v1\n", "", ["ddr.yaml:1: apiVersion: is missing; it must be one of ddr/v1"]),
    ("repository:", "repositry:", ["ddr.yaml:1: repository: is missing: {type: local, path: FOLDER} or {",
                                   "ddr.yaml:2: repositry: is not known here; did you mean repository?"]),
    ("type: local", "type: ftp", ["ddr.yaml:2: repository.type: is 'ftp', which is not known; one of local, s3"]),
    ("path: .ddr", "path: [1]", ["ddr.yaml:2: repository.path: is a list, must be text"]),
    ("type: mlflow,", "type: mlfow,",
     ["ddr.yaml:4: connectors.registry.type: is 'mlfow', which is not known; one"]),
    ("tracking:", "trackin:", ["ddr.yaml:4: connectors.registry.trackin: is not known here; did you mean tracking?",
                               "ddr.yaml:4: connectors.registry.tracking: is missing"]),
    ("{connector: registry,", "{connector: registri,",
     ["ddr.yaml:11: services.s.planes.model.connector: 'registri' is no connector here; known: registry, code, "]),
    ("      model: {", "      modle: {",
     ["ddr.yaml:11: services.s.planes.modle: is no plane; one of code, model"]),
    ("alias: champion", "alas: champion", ["ddr.yaml:11: services.s.planes.model.alas: is not known here; did you"]),
    (", alias: champion", "", ["ddr.yaml:11: services.s.planes.model: the model is loaded by an alias or by a stage"]),
    ("alias: champion", "alias: latest", ["ddr.yaml:11: services.s.planes.model: alias 'latest': MLflow takes"]),
    ("alias: champion", "stage: Live", ["ddr.yaml:11: services.s.planes.model: stage 'Live': nothing is served"]),
    ("serving: server", "serving: servr", ["ddr.yaml:9: services.s.serving: is no connector here"]),
    ("source: server", "source: servr",
     ["ddr.yaml:14: services.s.signals.golden.source: is no connector here"]),
    ("series: golden", "series: silver",
     ["ddr.yaml:14: services.s.signals.golden.series: is not measured there; "]),
    ("detector: share", "detector: columns",
     ["ddr.yaml:14: services.s.signals.golden.detector: columns cannot judge golden; fits: share, shift"]),
    ("detector: share", "detector: guess",
     ["ddr.yaml:14: services.s.signals.golden.detector: is 'guess', must be one of share"]),
    ("limit: 0.02, ", "",
     ["ddr.yaml:14: services.s.signals.golden.limit: is missing; a share detector needs a number"]),
    ("limit: 0.02", "limit: lots", ["ddr.yaml:14: services.s.signals.golden.limit: is 'lots', must be a number"]),
    ("limit: 0.02", "limit: -3",
     ["ddr.yaml:14: services.s.signals.golden.limit: is -3, a share lies between 0 and 1, 0.05 is 5 %"]),
    ("limit: 0.02", "limit: 5",
     ["ddr.yaml:14: services.s.signals.golden.limit: is 5, a share lies between 0 and 1, 0.05 is 5 %"]),
    ("path: .ddr", "path: &x [*x]", ["ddr.yaml:2: anchors (&name, *name) are not read here; write the value out"]),
    ("path: .ddr", "path: " + "[" * 5000 + "]" * 5000, ["ddr.yaml:1: lists and mappings are nested too deep"]),
    ("window: 30m", "window: 30", ["ddr.yaml:14: services.s.signals.golden.window: '30' is no duration"]),
    ("rpo: 1h, ", "", ["ddr.yaml:15: services.s.objectives.rpo: is missing; it must be a duration like 15m"]),
    ("team: t, ", "", ["ddr.yaml:16: services.s.owners.team: is missing; it must be text"]),
    ("services:\n", "services: 3\nx:\n",
     ["ddr.yaml:7: services: is 3, must be a mapping", "ddr.yaml:8: x: is not known here"]),
    ("root: code", "root: '${env:NOWHERE}'",
     ["ddr.yaml:5: connectors.code.root: the environment variable NOWHERE is not set"]),
    ("path: .ddr", "path: 'https://user:hunter22@host'", ["ddr.yaml:2: repository.path: looks like a secret"]),
    ("connectors:", "connectors: [", ["no YAML"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), BAD, ids=lambda value: str(value)[:30])
def test_every_problem_is_reported_with_its_line(old: str, new: str, expected: list[str], tmp_path: Path) -> None:
    assert GOOD.count(old) >= 1
    found = problems(GOOD.replace(old, new, 1), tmp_path)
    assert len(found) == len(expected), found
    for line, wanted in zip(found, expected, strict=True):
        assert wanted in line
    assert "hunter22" not in str(found)


def test_all_problems_of_all_stages_come_at_once(tmp_path: Path) -> None:
    text = GOOD
    for old, new in (
        ("type: local", "type: ftp"),
        ("root: code", "rot: code"),
        ("series: golden", "series: x"),
        ("team: t, ", ""),
    ):
        text = text.replace(old, new, 1)
    assert [int(re.findall(r":(\d+):", line)[0]) for line in problems(text, tmp_path)] == [2, 5, 5, 16]


def test_the_file_is_found_upwards_by_name_and_by_environment(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    with pytest.raises(InputError, match=r"no ddr\.yaml"):
        config.find(None, {}, deep)
    (tmp_path / "ddr.yaml").write_text(GOOD)
    assert config.find(None, {}, deep) == tmp_path / "ddr.yaml"
    assert config.find(str(tmp_path), {}, deep) == tmp_path / "ddr.yaml"
    assert config.find(None, {"DDR_CONFIG": str(tmp_path / "ddr.yaml")}, Path("/")) == tmp_path / "ddr.yaml"
    with pytest.raises(InputError, match="no such file"):
        config.find(str(tmp_path / "nope.yaml"), {}, deep)


@pytest.mark.parametrize("named", ["ddr.yaml", "./ddr.yaml", ".", "../demo/ddr.yaml", "../link/ddr.yaml", "ddr.yml"])
def test_however_the_file_is_named_from_here_it_is_the_one_that_is_found_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    here = tmp_path / "demo"
    here.mkdir()
    (here / "ddr.yaml").write_text(GOOD)
    (here / "ddr.yml").symlink_to(tmp_path / "ddr.yaml")
    (tmp_path / "ddr.yaml").write_text(GOOD)
    (tmp_path / "link").symlink_to("demo")
    monkeypatch.chdir(here)
    for found in (config.find(named, {}, here), config.find(None, {"DDR_CONFIG": named}, here)):
        assert found == here / Path(named if named != "." else "ddr.yaml").name
    assert config.load(Path("ddr.yaml"), {}).base == here


def test_the_first_file_is_valid_as_it_is_and_with_its_example(tmp_path: Path) -> None:
    text = sample.text({"type": "local", "path": ".ddr"}, ", ".join(connector_types.TYPES))
    assert load(text, tmp_path).services == {}
    lines = text.replace("connectors: {}\n", "").replace("services: {}\n", "").splitlines()
    full = "\n".join(line.removeprefix("# ") for line in lines if not line.startswith("## "))
    assert set(load(full.replace("# connectors", "connectors"), tmp_path).services) == {"ranking"}


def test_every_connector_type_has_what_the_configuration_needs() -> None:
    for kind in connector_types.TYPES:
        module = connector_types.module(kind)
        assert callable(module.connect)
        assert module.Settings.__dataclass_fields__
        captures = hasattr(typing.get_type_hints(module.connect)["return"], "capture")
        assert connector_types.binding_type(kind) or connector_types.series(kind) or captures


def test_a_file_that_is_no_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "ddr.yaml"
    path.write_bytes(b"apiVersion: ddr/v1\n# caf\xe9\n")
    with pytest.raises(BadDocument) as caught:
        config.load(path, {})
    assert [str(problem) for problem in caught.value.problems] == [f"{path}:2: is no UTF-8 text"]
    assert "UTF-8" in caught.value.hint


def test_how_backups_are_made_is_read(tmp_path: Path) -> None:
    said = (
        "backup:\n"
        "  passphrase: ${env:SEAL}\n"
        "  connectors: [registry]\n"
        "  keep: {keepWithin: 14d, keepDaily: 7, minimum: 2}\n"
        '  shrunkAccepted: "2026-11-21T09:00:00Z"\n'
        "  copies: {second: {type: local, path: second}}\n"
    )
    found = load(GOOD + said, tmp_path, SEAL="a long secret")
    assert found.backup is not None
    assert (found.backup.keep.keep_within, found.backup.keep.minimum) == (timedelta(days=14), 2)
    assert found.backup.shrunk_accepted == datetime(2026, 11, 21, 9, tzinfo=UTC)
    assert found.copies == {"second": repository_settings.LocalRepository("local", "second")}
    assert "a long secret" not in repr(found)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("keyFile: k, encryption: none", "ddr.yaml:17: backup: passphrase, keyFile and encryption: none exclude"),
        (
            'passphrase: "correct-horse-battery"',
            "ddr.yaml:17: backup.passphrase: looks like a secret; write a reference",
        ),
        ("connectors: [nope]", "ddr.yaml:17: backup.connectors: 'nope' is no connector here"),
        ("copies: {second: {type: ftp}}", "ddr.yaml:17: backup.copies.second.type: is 'ftp', which is not known"),
        ("keep: {keepDaily: -2}", "ddr.yaml:17: backup.keep: keepDaily is -2; write a number, or -1 for all"),
        ("shrunkAccepted: soon", "ddr.yaml:17: backup.shrunkAccepted: "),
    ],
)
def test_what_is_wrong_with_the_backup_section(said: str, expected: str, tmp_path: Path) -> None:
    (problem,) = problems(GOOD + f"backup: {{{said}}}\n", tmp_path)
    assert problem.startswith(expected)


_HOMES = {
    "the same": ("index", "index"),
    "a slash behind": ("index", "index/"),
    "another path": ("index", "other/../index"),
    "a whole path": ("index", "{base}/index"),
    "a link": ("index", "link"),
    "below a link": ("index/a", "link/a"),
    "a prefix with a slash": ("s3://bucket/docs", "s3://bucket/docs/"),
    "a bucket with a slash": ("s3://bucket", "s3://bucket/"),
}


@pytest.mark.parametrize("name", _HOMES)
def test_two_indexes_have_two_homes(tmp_path: Path, name: str) -> None:
    (tmp_path / "index").mkdir()
    (tmp_path / "link").symlink_to("index")
    one, other = _HOMES[name]
    text = (
        f"{GOOD}indexes:\n  one: {{home: '{one}', vectors: [a.npy]}}\n  two:\n    vectors: [b.npy]\n"
        f"    home: '{other.format(base=tmp_path)}'\n"
    )
    with pytest.raises(BadDocument) as refused:
        load(text, tmp_path)
    (problem,) = refused.value.problems
    assert (problem.line, problem.key) == (text.count("\n"), "indexes.two.home")
    assert problem.what == "is the home of index 'one', too; every index has one of its own"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("home: index", "home: index2"),
        ("home: s3://bucket/docs", "home: s3://bucket/docs2"),
        ("home: s3://bucket/docs, s3: {endpoint: 'http://a'}", "home: s3://bucket/docs, s3: {endpoint: 'http://b'}"),
    ],
)
def test_homes_that_are_not_the_same(tmp_path: Path, one: str, other: str) -> None:
    text = f"indexes:\n  one: {{vectors: [a.npy], {one}}}\n  two: {{vectors: [a.npy], {other}}}\n"
    assert set(load(GOOD + text, tmp_path).indexes) == {"one", "two"}
