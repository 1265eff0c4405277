"""Secrets by name. Every source is full of canaries; none may reach the sink in any form."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from ddr.connectors.secret_references import airflow, connector, env_files, found, manifests
from ddr.domain import snapshots
from ddr.errors import Missing
from ddr.lib import clock
from ddr.ports import confidential, restorable
from tests import captures
from tests.unit.connectors.rigs import NOW

# One that looks like a password, a word, a token, a key's first line, one with odd letters.
CANARIES = (
    "hunter22-Canary", "correcthorsebatterycanary", "AKIAIOSFODNN7CANARY1",
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj",
    "cänary/+=&?@: x", "ghp_c4n4ryC4n4ryC4n4ryC4n4ry12345678", "40414243444546474849canary",
)  # fmt: skip


def forms(value: str) -> list[str]:
    raw = value.encode()
    coded = base64.b64encode(raw).decode()
    return [
        value, coded, coded.rstrip("="), base64.urlsafe_b64encode(raw).decode(), raw.hex(),
        urllib.parse.quote(value, ""), base64.b64encode(gzip.compress(raw, mtime=0)).decode(),
        json.dumps(value)[1:-1], hashlib.sha256(raw).hexdigest(),
        base64.b64encode(coded.encode()).decode(), hashlib.md5(raw).hexdigest(), value[:12],
    ]  # fmt: skip


def assert_clean(sink: captures.Capture, *more: str) -> int:
    said = repr(sink) + "".join(more)
    looked = 0
    for canary in CANARIES:
        for form in forms(canary):
            assert form not in said, f"{canary} as {form}"
            looked += 1
    return looked


def captured(base: Path, **settings: Any) -> captures.Capture:
    sink = captures.Capture("secrets", "secret-references")
    settings = {"config": "", **settings}
    connector.connect(connector.Settings(**settings), base, clock.ManualClock(NOW)).capture(sink)
    assert not sink.tables
    assert not sink.streams
    assert not sink.trees
    return sink


def told(sink: captures.Capture) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.name, one.kind, one.keys) for one in sink.references]


def env_file() -> str:
    a, b, c, d, e, f, g = CANARIES
    return "\n".join(
        [
            "# PASSWORD=" + a,
            f"DB_PASSWORD={a}",
            f"export API_TOKEN = '{b}'",
            f'WITH_SPACES="{c} # {a}"',
            'PRIVATE_KEY="-----BEGIN PRIVATE KEY-----',
            d,
            "abcdefgh==",
            '-----END PRIVATE KEY-----"',
            f"AFTER={e}",
            f"SINGLE='first line {a}",
            f"KEY_INSIDE={b}",
            "last line'",
            "BARE=-----BEGIN RSA PRIVATE KEY-----",
            f"{d}==",
            "-----END RSA PRIVATE KEY-----",
            "-----BEGIN CERTIFICATE-----",
            f"{d}=",
            "-----END CERTIFICATE-----",
            f"{d}={d}",
            f"{f}={f}",
            f,
            a,
            "EXPORTED_ONLY",
            f"lower.case-name={g}",
            f'ESCAPED="a\\" {a}',
            f'NOT_A_KEY={b}"',
            "EMPTY=",
        ]
    )


def test_env_files_give_their_names(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(env_file())
    sink = captured(tmp_path, env_files=(".env",))
    assert [one.name for one in sink.references] == [
        "AFTER", "API_TOKEN", "BARE", "DB_PASSWORD", "EMPTY", "ESCAPED", "PRIVATE_KEY", "SINGLE", "WITH_SPACES",
        "lower.case-name",
    ]  # fmt: skip
    assert {one.kind for one in sink.references} == {"environment variable"}
    assert next(one for one in sink.references if one.name == "DB_PASSWORD").origin == ".env:2"
    assert sink.warnings == [".env: 4 lines are no NAME=value and were skipped: 16, 19, 20, 22"]
    print(f"{assert_clean(sink)} forms of canaries looked for")


def test_manifests_give_names_types_and_keys(tmp_path: Path) -> None:
    a, b, *_ = CANARIES
    data = {key: base64.b64encode(value.encode()).decode() for key, value in zip("vwxyz", CANARIES, strict=False)}
    secret = {
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": {
            "name": "db", "namespace": "ml",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": data, "s": a})},
            "labels": {"token": b},
        },
        "data": data, "stringData": {"password": a, "user": b},
    }  # fmt: skip
    sealed = {
        "kind": "SealedSecret", "metadata": {"name": "sealed"},
        "spec": {"encryptedData": {"token": a, "key": b}, "template": {"type": "Opaque", "data": {"plain": a}}},
    }  # fmt: skip
    external = {
        "kind": "ExternalSecret", "metadata": {"name": "ext", "namespace": "ml"},
        "spec": {
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": "vault"},
            "data": [{"secretKey": "pw", "remoteRef": {"key": "prod/db", "property": "password"}}],
            "dataFrom": [{"extract": {"key": "prod/all"}}],
            "target": {"template": {"data": {"url": f"pg://{a}@x"}}},
        },
    }  # fmt: skip
    store = {
        "kind": "SecretStore", "metadata": {"name": "vault"},
        "spec": {"provider": {"vault": {"server": f"https://u:{a}@v", "auth": {"tokenSecretRef": {"name": "t"}}}}},
    }  # fmt: skip
    folder = tmp_path / "k8s"
    folder.mkdir()
    (folder / "all.yaml").write_text("---\n".join(json.dumps(one) + "\n" for one in (sealed, external, store)))
    (folder / "deep").mkdir()
    (folder / "deep" / "list.json").write_text(json.dumps({"kind": "SecretList", "items": [secret, {"kind": "Pod"}]}))
    (folder / "helm.yaml").write_text(f"kind: Secret\ndata:\n  {{{{ .Values.x }}}}: {a}\n  k: '{b}\n")
    (folder / "tagged.yml").write_text(f"kind: Secret\nmetadata: {{name: t}}\ndata: !vault {{{b}: 1}}\n")
    (folder / "odd.yaml").write_text(f"kind: Secret\nmetadata: [{a}]\ndata: {b}\n---\n- {a}\n---\n{b}\n")
    (folder / "other.txt").write_text(a)
    sink = captured(tmp_path, manifests=("k8s",))
    assert told(sink) == [
        ("ml/ext", "external secret", ("pw",)),
        ("ml/db", "kubernetes secret (kubernetes.io/basic-auth)", ("v", "w", "x", "y", "z", "password", "user")),
        ("sealed", "sealed secret (Opaque)", ("token", "key", "plain")),
        ("vault", "secret store (vault)", ()),
    ]
    assert sink.references[0].origin == "k8s/all.yaml; ClusterSecretStore vault; prod/db#password; all of prod/all"
    assert len(sink.warnings) == 3
    assert_clean(sink)


def airflow_exports() -> dict[str, str]:
    a, b, c, d, e, f, g = CANARIES
    fields = {
        "warehouse": {
            "conn_type": "postgres", "host": "db.example.com", "port": 5432, "schema": "features", "login": b,
            "password": a, "description": c, "extra": json.dumps({"sslmode": d, "options": {"deep": e}}),
        },
        "hook": {"conn_type": "slackwebhook", "host": f"https://hooks.example.com/services/T0/{g}", "password": f},
        "jdbc": {"conn_type": "jdbc", "host": f"jdbc:x://h/db?password={a}", "extra": {"driver": b}},
        "odd": {"conn_type": "http", "host": f"{f}", "schema": f"{e}", "extra": f"not json {a}"},
        "uri": f"mysql://{b}:{urllib.parse.quote(a, '')}@my.example.com:3306/db?charset={c}",
        "google": f"google-cloud-platform://?__extra__={urllib.parse.quote(json.dumps({'keyfile_dict': d, 'p': a}))}",
        "wrong": 3,
    }  # fmt: skip
    lines = {name: value for name, value in fields.items() if isinstance(value, str)}
    return {
        "connections.json": json.dumps(fields),
        "connections.yaml": json.dumps(fields, indent=1).replace('"odd"', "odd"),
        "connections.env": "".join(f"{name}={uri}\n" for name, uri in lines.items()) + f"{d}==\n{a}\n",
    }


@pytest.mark.parametrize("name", ["connections.json", "connections.yaml", "connections.env"])
def test_airflow_connections_say_what_they_need(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(airflow_exports()[name])
    sink = captured(tmp_path, airflow=(name,))
    of = {one.name: one for one in sink.references}
    assert (of["uri"].kind, of["uri"].keys) == ("airflow connection (mysql)", ("login", "password", "extra.charset"))
    assert of["uri"].origin == f"{name}, host my.example.com, port 3306, schema db"
    assert of["google"].keys == ("extra.keyfile_dict", "extra.p")
    if not name.endswith("env"):
        assert set(of) == {"warehouse", "hook", "jdbc", "odd", "uri", "google"}
        assert of["warehouse"].keys == ("login", "password", "extra.sslmode", "extra.options")
        assert of["warehouse"].origin == f"{name}, host db.example.com, port 5432, schema features"
        assert of["hook"].origin == f"{name}, host hooks.example.com"
        assert (of["jdbc"].origin, of["odd"].origin) == (name, name)
        assert of["odd"].keys == ("extra",)
        assert len(sink.warnings) == 3
    assert_clean(sink)


def test_the_references_of_ddr_yaml_and_named_ones(tmp_path: Path) -> None:
    a, b, *_ = CANARIES
    (tmp_path / "ddr.yaml").write_text(
        "repository:\n  type: s3\n  secretKey: ${env:S3_SECRET}\n"
        'connectors:\n  m: {tracking: "postgresql://u:${env:PG_PASSWORD}@h", list: ["${file:/run/key}"]}\n'
        f"# ${{env:NOT_ME}} {a}\n"
    )
    named = (connector.Named("prod/db", "vault kv", ("user", "password"), "vault.example.com"),)
    sink = captured(tmp_path, config="ddr.yaml", names=(*named, connector.Named(f"AKIA{'A' * 16}", keys=(b * 9,))))
    assert told(sink) == [
        ("PG_PASSWORD", "environment variable", ()), ("S3_SECRET", "environment variable", ()),
        ("/run/key", "file", ()), ("prod/db", "vault kv", ("user", "password")),
    ]  # fmt: skip
    assert sink.references[0].origin == "ddr.yaml:5 connectors.m.tracking"
    assert_clean(sink)
    made = connector.connect(connector.Settings(), tmp_path, clock.ManualClock(NOW))
    assert isinstance(made, restorable.Restorable)
    source: Any = sink.source()
    plan = made.plan_restore(source, restorable.RestoreOptions())
    assert {line.does for line in plan.lines} == {"enter-again"}
    assert plan.lines[3] == restorable.PlanLine(
        "enter-again", "vault kv prod/db", "keys user, password; from vault.example.com"
    )
    made.restore(plan, source)
    assert made.compare(plan, source) == ()


def test_a_source_that_is_not_there_is_named_when_the_others_are_told(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n")
    sink = captures.Capture()
    settings = connector.Settings("", (), (".env", "none.env"), ("nowhere",), ("none.json",))
    with pytest.raises(Missing, match=r"none\.env .*none\.json .*nowhere"):
        connector.connect(settings, tmp_path, clock.ManualClock(NOW)).capture(sink)
    assert [one.name for one in sink.references] == ["A"]


@pytest.mark.parametrize("reader", [env_files.read, manifests.read, airflow.read])
@pytest.mark.parametrize("source", ["env", "connections.json", "connections.env", "binary", "nested", "cut", "empty"])
def test_the_wrong_file_in_the_wrong_reader_leaks_nothing(reader: Any, source: str) -> None:
    texts = {
        "env": env_file(),
        **airflow_exports(),
        "binary": bytes(range(256)).decode(errors="replace") + "".join(CANARIES),
        "nested": "[" * 5000 + CANARIES[0],
        "cut": json.dumps({"kind": "Secret", "data": dict(zip("abcdefg", CANARIES, strict=True))})[:-20],
        "empty": "",
    }
    into = found.Found()
    reader(texts[source], "file", into)
    sink = captures.Capture(references=into.references, warnings=into.complaints)
    assert_clean(sink)
    assert all(isinstance(one, snapshots.Reference) for one in into.references)


NAMES = (
    "DB_PASSWORD", "prod/db#password", "ml/gcp-service-account", "AWS_SECRET_ACCESS_KEY", "a" * 60, "X1_Y2_Z3",
    "kubernetes.io/service-account-token", "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", "extra__google_keyfile_dict",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_people_call_secrets_is_a_name(name: str) -> None:
    assert found.is_name(name)


def test_values_of_env_files_are_known_to_the_search_and_told_to_nobody(tmp_path: Path) -> None:
    lines = ["# a comment", "export DB_PASSWORD=winterTale", 'API_TOKEN="a b$c\\"d9 x"', "HOST=db.internal  # where",
             "URL=postgres://u:hidden99@db/x", "PLAIN='single quoted' # note", "EMPTY=", "LONG='one", "two'",
             "LAST=end"]  # fmt: skip
    (tmp_path / ".env").write_text("\n".join(lines))
    made = connector.connect(connector.Settings(config="", env_files=(".env", "gone.env")), tmp_path,
                             clock.ManualClock(NOW))  # fmt: skip
    assert isinstance(made, confidential.KnowsSecrets)
    assert made.secret_values() == {
        "DB_PASSWORD of .env:2": "winterTale", "API_TOKEN of .env:3": 'a b$c\\"d9 x',
        "API_TOKEN of .env:3, unescaped": 'a b$c"d9 x', "HOST of .env:4": "db.internal",
        "URL of .env:5": "postgres://u:hidden99@db/x", "PLAIN of .env:6": "single quoted", "LAST of .env:10": "end",
    }  # fmt: skip
    sink = captured(tmp_path, env_files=(".env",))
    assert not any(value in repr(sink) for value in ("winterTale", "hidden99", "single quoted"))
