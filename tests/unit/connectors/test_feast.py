"""Feature definitions: a registry that feast 0.67 wrote, one view of it elsewhere, and (long) feast's own opinion."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors.feast import connector, registry
from ddr.errors import Conflict, Damaged, InputError, Missing, Unsupported
from ddr.lib import clock, protowire
from ddr.ports import restorable
from tests import captures
from tests.unit.connectors import feast_programs
from tests.unit.connectors.rigs import NOW
from tests.unit.connectors.test_folder_restore import state

GOLDEN = (Path(__file__).parent / "golden" / "feast-0.67-registry.db").read_bytes()
CANARY = "c4n4ry-Zx81qPw"


def repo(root: Path, content: bytes = GOLDEN) -> Path:
    feast_programs.write(root)
    (root / "data" / "registry.db").write_bytes(content)
    return root


def made(root: Path, **settings: Any) -> connector.FeatureRepo:
    return connector.connect(connector.Settings(root.name, **settings), root.parent, clock.ManualClock(NOW))


def captured(made: connector.FeatureRepo) -> captures.Capture:
    sink = captures.Capture("features", "feast")
    made.capture(sink)
    return sink


def changed(content: bytes, view: str, ttl_s: int) -> bytes:
    """The registry with another time to live on one view."""
    found = registry.parse(content, "")
    (old,) = found.views(view)
    spec = protowire.content(old.content, 1)
    kept = b"".join(field.raw for field in protowire.fields(spec) if field.number != 6)
    spec = kept + protowire.encoded(6, protowire.encoded(1, ttl_s))
    new = protowire.encoded(1, spec) + protowire.encoded(2, protowire.content(old.content, 2))
    return b"".join(
        protowire.encoded(6, new) if field.content == old.content else field.raw for field in protowire.fields(content)
    )


def without(content: bytes, *names: str) -> bytes:
    """The registry without the objects of these names."""
    gone = {one.content for one in registry.parse(content, "").objects if one.name in names}
    return b"".join(field.raw for field in protowire.fields(content) if field.content not in gone)


def objects(content: bytes) -> dict[tuple[str, str], bytes]:
    return {(one.kind, one.name): one.content for one in registry.parse(content, "").objects}


def test_the_registry_is_read_without_feast(tmp_path: Path) -> None:
    files = made(repo(tmp_path / "repo"))
    assert isinstance(files, restorable.Restorable)
    sink = captured(files)
    assert sink.contents["registry"] == GOLDEN
    assert {name: value for name, value in sink.facts.items() if not name.startswith("git")} == {
        "registry": "data/registry.db", "feast.entities": "3", "feast.data-sources": "3", "feast.feature-views": "2",
        "feast.on-demand-feature-views": "1", "feast.feature-services": "1", "feast.projects": "1",
        "feast.projects-named": "lanes", "feast.version-id": "3e3fadef-b9c6-46f5-b219-021e877595cb",
        "feast.last-updated": "2026-11-21T07:45:06.096Z",
    }  # fmt: skip
    listed = [json.loads(line) for line in sink.contents["objects.jsonl"].splitlines()]
    assert len(listed) == 11
    pixels = next(one for one in listed if one["name"] == "pixels")
    assert (pixels["ttl_s"], pixels["features"], pixels["entities"], pixels["sources"], pixels["version"]) == (
        21600.0, ["p00", "p01"], ["lane"], ["scans"], 0,
    )  # fmt: skip
    assert next(one for one in listed if one["name"] == "turnover")["ttl_s"] == 172800.5
    assert set(sink.files["repo"]) == {"definitions.py", "feature_store.yaml"}


def test_passwords_in_feature_store_yaml_are_left_out(tmp_path: Path) -> None:
    root = repo(tmp_path / "repo")
    (root / "feature_store.yaml").write_text(
        "project: lanes\nregistry: {path: data/registry.db, cache_ttl_seconds: 60}\nprovider: local\n"
        f"online_store:\n  type: redis\n  connection_string: 'redis:6379,password={CANARY}'\n"
        f"offline_store:\n  type: postgres\n  user: me\n  password: {CANARY}\n  host: db\n"
        f"auth: {{type: oidc, client_secret: {CANARY}, token: '${{TOKEN}}'}}\nx: postgresql://u:{CANARY}@h/d\n"
    )
    sink = captured(made(root))
    text = sink.files["repo"]["feature_store.yaml"][1].decode()
    assert CANARY not in text + repr(sink.facts) + repr(sink.redactions) + repr(sink.warnings)
    assert "host: db" in text
    assert "${TOKEN}" in text
    assert len(sink.redactions) == 4
    plan = made(root).plan_restore(_source(sink), restorable.RestoreOptions(str(tmp_path / "to")))
    assert sum(line.does == "enter-again" for line in plan.lines) == 4


def _source(sink: captures.Capture) -> Any:
    return sink.source()


def test_a_repository_comes_back_byte_by_byte(tmp_path: Path) -> None:
    root = repo(tmp_path / "repo")
    files, source = made(root), _source(captured(made(root)))
    plan = files.plan_restore(source, restorable.RestoreOptions(str(tmp_path / "to")))
    assert not (tmp_path / "to").exists()
    assert plan.refusals == ()
    for _ in range(2):
        files.restore(plan, source)
        assert state(tmp_path / "to").keys() == state(root).keys()
        assert (tmp_path / "to" / "data" / "registry.db").read_bytes() == GOLDEN
        assert all(one.is_equal for one in files.compare(plan, source))
    (tmp_path / "to" / "data" / "registry.db").write_bytes(changed(GOLDEN, "pixels", 60))
    assert [one.what for one in files.compare(plan, source) if not one.is_equal] == ["registry"]


@pytest.mark.parametrize("policy", ["fail", "skip", "update", "recreate"])
def test_each_policy_with_another_registry_there(policy: restorable.Policy, tmp_path: Path) -> None:
    root = repo(tmp_path / "repo")
    files, source = made(root), _source(captured(made(root)))
    other = changed(GOLDEN, "pixels", 60)
    (root / "data" / "registry.db").write_bytes(other)
    plan = files.plan_restore(source, restorable.RestoreOptions(policy=policy))
    assert bool(plan.refusals) == (policy == "fail")
    if policy == "fail":
        with pytest.raises(Conflict):
            files.restore(plan, source)
    else:
        files.restore(plan, source)
    now = (root / "data" / "registry.db").read_bytes()
    assert now == (GOLDEN if policy in ("update", "recreate") else other)


def test_a_registry_that_moved_on_since_the_plan_is_left_alone(tmp_path: Path) -> None:
    root = repo(tmp_path / "repo")
    files, source = made(root), _source(captured(made(root)))
    place = root / "data" / "registry.db"
    for only in ((), ("view:pixels",)):
        place.write_bytes(changed(GOLDEN, "pixels", 60))
        plan = files.plan_restore(source, restorable.RestoreOptions(policy="update", only=only))
        place.write_bytes(changed(GOLDEN, "pixels", 61))
        with pytest.raises(Conflict, match="nothing was changed"):
            files.restore(plan, source)
        assert place.read_bytes() == changed(GOLDEN, "pixels", 61)


def test_one_view_alone_goes_back_and_the_others_stay(tmp_path: Path) -> None:
    root = repo(tmp_path / "repo")
    files, source = made(root), _source(captured(made(root)))
    place = root / "data" / "registry.db"
    now = changed(changed(GOLDEN, "pixels", 60), "turnover", 61)
    place.write_bytes(now)
    options = restorable.RestoreOptions(only=("view:pixels",))
    assert "pixels is there already and different" in files.plan_restore(source, options).refusals[0]
    plan = files.plan_restore(source, restorable.RestoreOptions(policy="update", only=("view:pixels",)))
    assert [(line.does, line.what) for line in plan.lines] == [
        ("update", "feature view pixels"), ("update", "registry"), ("note", "online values"),
    ]  # fmt: skip
    files.restore(plan, source)
    after = place.read_bytes()
    expected = objects(now) | {("feature view", "pixels"): objects(GOLDEN)["feature view", "pixels"]}
    assert objects(after) == expected
    assert [one.key for one in registry.parse(after, "").objects] == [
        one.key for one in registry.parse(now, "").objects
    ]
    found = registry.parse(after, "")
    assert found.last_updated == NOW
    assert found.version_id != registry.parse(now, "").version_id
    assert [one.is_equal for one in files.compare(plan, source)] == [True]
    files.restore(plan, source)
    assert place.read_bytes() == after
    skipped = files.plan_restore(source, restorable.RestoreOptions(policy="skip", only=("view:turnover",)))
    files.restore(skipped, source)
    assert place.read_bytes() == after
    assert [one.is_equal for one in files.compare(skipped, source)] == [False]


@pytest.mark.parametrize("start", ["nothing", "empty", "lacking"])
def test_a_view_brings_what_it_needs(start: str, tmp_path: Path) -> None:
    root = repo(tmp_path / "repo")
    files, source = made(root), _source(captured(made(root)))
    target = tmp_path / "to"
    place = target / "data" / "registry.db"
    if start != "nothing":
        place.parent.mkdir(parents=True)
        place.write_bytes(b"" if start == "empty" else without(GOLDEN, "pixels", "lane", "scans"))
    plan = files.plan_restore(source, restorable.RestoreOptions(str(target), only=("view:pixels",)))
    assert plan.refusals == ()
    files.restore(plan, source)
    after = objects(place.read_bytes())
    needed = {("feature view", "pixels"), ("entity", "lane"), ("data source", "scans"), ("project", "lanes")}
    assert set(after) == (set(objects(GOLDEN)) if start == "lacking" else needed)
    assert all(objects(GOLDEN)[key] == content for key, content in after.items())
    assert all(one.is_equal for one in files.compare(plan, source))


def test_what_is_asked_for_must_be_there(tmp_path: Path) -> None:
    root = repo(tmp_path / "repo")
    files, source = made(root), _source(captured(made(root)))
    for only in (("view:none",), ("model:x",), ("view:",)):
        with pytest.raises(InputError):
            files.plan_restore(source, restorable.RestoreOptions(only=only))
    with pytest.raises(InputError):
        files.plan_restore(source, restorable.RestoreOptions("relative"))


def test_a_registry_elsewhere_is_not_overwritten_by_a_rehearsal(tmp_path: Path) -> None:
    root = repo(tmp_path / "repo", b"")
    far = tmp_path / "far" / "registry.db"
    far.parent.mkdir()
    far.write_bytes(GOLDEN)
    (root / "feature_store.yaml").write_text(f"project: lanes\nregistry: {far}\n")
    files, source = made(root), _source(captured(made(root)))
    assert source.component.facts["registry"] == str(far)
    far.write_bytes(b"\x22\x01x")
    for options, place in (
        (restorable.RestoreOptions(str(tmp_path / "a")), tmp_path / "a" / "data" / "registry.db"),
        (restorable.RestoreOptions(str(tmp_path / "b"), more={"registry": "r.db"}), tmp_path / "b" / "r.db"),
        (restorable.RestoreOptions(str(tmp_path / "c"), rewrites={str(far.parent): str(tmp_path / "d")}),
         tmp_path / "d" / "registry.db"),
    ):  # fmt: skip
        files.restore(files.plan_restore(source, options), source)
        assert place.read_bytes() == GOLDEN
    assert far.read_bytes() == b"\x22\x01x"


REGISTRIES = [
    ("registry: {registry_type: snowflake.registry, path: 'snowflake://u:PW@h/d'}", Unsupported),
    ("registry: s3://bucket/registry.db", Unsupported),
    ("registry: {registry_type: remote, path: 'h:1'}", Unsupported),
    ("registry: $REGISTRY", InputError),
    ("registry: {registry_type: file}", InputError),
    ("registry: nowhere.db", Missing),
    ("registry: definitions.py", Damaged),
    ("registry: [", Damaged),
]


@pytest.mark.parametrize(("line", "raised"), REGISTRIES)
def test_a_registry_that_ddr_cannot_read(line: str, raised: type[Exception], tmp_path: Path) -> None:
    root = repo(tmp_path / "repo")
    (root / "feature_store.yaml").write_text(f"project: lanes\n{line.replace('PW', CANARY)}\n")
    sink = captures.Capture()
    with pytest.raises(raised) as problem:
        made(root).capture(sink)
    assert CANARY not in str(problem.value) + repr(sink)
    if issubclass(raised, InputError):
        assert set(sink.files["repo"]) == {"definitions.py", "feature_store.yaml"}, "the rest is kept"
        other = captured(made(root, registry="data/registry.db")) if "$" in line else None
        assert other is None or other.contents["registry"] == GOLDEN


def test_a_registry_that_is_being_written_is_read_again(tmp_path: Path) -> None:
    root = repo(tmp_path / "repo", GOLDEN[:-1])

    class Writer(clock.ManualClock):
        def sleep(self, seconds: float) -> None:
            (root / "data" / "registry.db").write_bytes(GOLDEN)

    files = connector.connect(connector.Settings("repo"), tmp_path, Writer(NOW))
    assert captured(files).contents["registry"] == GOLDEN


@pytest.mark.long
def test_every_cut_and_every_flipped_bit_is_a_registry_or_damaged() -> None:
    """No other error comes out of bytes, whatever they are."""
    whole = without(GOLDEN, "brightness", "reading", "asked", "sales", "turnover", "shop", "__dummy")
    damaged = 0
    for at in range(len(whole)):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]):
            try:
                list(registry.listing(registry.parse(content, "x").objects))
            except Damaged:
                damaged += 1
    print(f"{damaged} of {2 * len(whole)} are damaged")
    assert damaged > len(whole)


def test_protobuf_numbers() -> None:
    for value in (0, 1, 127, 128, 300, 2**31, 2**63 - 1):
        assert protowire.integer(protowire.encoded(5, value), 5) == value
    at = datetime(2026, 11, 2, 9, 0, 0, 123456, tzinfo=UTC)
    assert protowire.time(protowire.encoded(3, protowire.timestamp(at)), 3) == at
    minus = protowire.encoded(1, 2**64 - 5)
    assert protowire.time(protowire.encoded(3, minus), 3) == datetime(1970, 1, 1, tzinfo=UTC) - timedelta(seconds=5)


needs_feast = pytest.mark.skipif(not feast_programs.PYTHON.exists(), reason="no Feast: see feast_programs.py")


@pytest.mark.long
@needs_feast
def test_the_field_numbers_are_those_of_feast(tmp_path: Path) -> None:
    numbers = feast_programs.run(feast_programs.NUMBERS, tmp_path)
    assert numbers["4"][0] == "version_id"
    assert numbers["5"][0] == "last_updated"
    names = {}
    for number, kind in registry._KINDS.items():
        name, inside = numbers[str(number)]
        names[number] = name
        expected = {kind.named: "name", kind.project: "name" if kind.name == "project" else "project",
                    kind.created: "created_timestamp", kind.updated: "last_updated_timestamp", kind.ttl: "ttl",
                    kind.entities: "entities"}  # fmt: skip
        expected |= dict.fromkeys(kind.sources, "batch_source, stream_source, source")
        for path, wanted in expected.items():
            if not path:
                continue
            at: Any = [name, inside]
            for step in path:
                at = at[1][str(step)]
            assert at[0] in wanted, (kind, path, at[0])
    assert names == {
        1: "entities", 6: "feature_views", 7: "feature_services", 8: "on_demand_feature_views", 11: "saved_datasets",
        12: "data_sources", 13: "validation_references", 14: "stream_feature_views", 16: "permissions",
        17: "projects", 19: "label_views",
    }  # fmt: skip


@pytest.mark.long
@needs_feast
def test_feast_reads_what_was_restored(tmp_path: Path) -> None:
    """Applied, captured, changed by feast, one view taken back: feast sees that view as it was, the rest as it is."""
    root = feast_programs.write(tmp_path / "repo")
    feast_programs.run(feast_programs.APPLY, root)
    before = feast_programs.run(feast_programs.LIST, root)
    files = made(root)
    sink = captured(files)
    source = _source(sink)
    listed = [json.loads(line) for line in sink.contents["objects.jsonl"].splitlines()]
    for kind in ("entity", "data source", "on demand feature view", "project"):
        assert sorted(one["name"] for one in listed if one["kind"] == kind) == before[kind]
    views = [one for one in listed if one["kind"] == "feature view"]
    said = {one["name"]: [one["ttl_s"], sorted(one["features"]), one["entities"]] for one in views}
    assert said == {name: told[:3] for name, told in before["feature view"].items()}
    assert {one["name"]: one["features"] for one in listed if one["kind"] == "feature service"} == before[
        "feature service"
    ]
    target = tmp_path / "to"
    files.restore(files.plan_restore(source, restorable.RestoreOptions(str(target))), source)
    assert feast_programs.run(feast_programs.LIST, target) == before
    feast_programs.run(feast_programs.APPLY, root, "1")
    changed = feast_programs.run(feast_programs.LIST, root)
    assert changed["feature view"]["pixels"][0] == 3600.0
    plan = files.plan_restore(source, restorable.RestoreOptions(policy="update", only=("view:pixels",)))
    files.restore(plan, source)
    after = feast_programs.run(feast_programs.LIST, root)
    assert after["feature view"] == before["feature view"]
    for part in ("entity", "data source", "feature service", "project"):
        assert after[part] == changed[part]
    alone = tmp_path / "alone"
    (alone / "data").mkdir(parents=True)
    (alone / "feature_store.yaml").write_text(feast_programs.CONFIG)
    files.restore(files.plan_restore(source, restorable.RestoreOptions(str(alone), only=("view:turnover",))), source)
    only = feast_programs.run(feast_programs.LIST, alone)
    assert (list(only["feature view"]), only["entity"], only["data source"]) == (["turnover"], ["shop"], ["sales"])
