"""Secrets that only the form around them gives away: each is found in every spelling, its sample is not."""

from __future__ import annotations

import base64
import json
import random

import pytest

from ddr.backup import scanner, surroundings

_RANDOM = random.Random(7)
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
_VALUES = ("Tr0ub4dor&3", "hunter2x", "s3cr3t-Pa55!", "".join(_RANDOM.choice(_LETTERS) for _ in range(20)))
_WORDS = ("correcthorse", *_VALUES)
"""Where the form is narrow a word will do."""


def _coded(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


_HEAD = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\ntype: Opaque\n"
_TAIL = "kind: Secret\nmetadata:\n  name: db\n"
FORMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "environment": ("password", "DB_PASS={}\n", _VALUES),
    "exported": ("password", "export SMTP_PASS='{}'\n", _VALUES),
    "yaml": ("password", "db_pass: {}\n", _VALUES),
    "ini": ("password", "db_pass = {}\n", _VALUES),
    "json": ("password", '{{"db_pass": "{}"}}', _VALUES),
    "json in json": ("password", '{{\\"db_pass\\": \\"{}\\"}}', _VALUES),
    "mysql's own": ("password", "MYSQL_PWD={}\n", _VALUES),
    "odbc": ("password", "Server=db;Uid=ml;Pwd={};Database=x\n", tuple(v for v in _VALUES if "&" not in v)),
    "pwd in json": ("password", '{{"pwd": "{}"}}', _VALUES),
    "netrc": ("netrc-password", "machine mlflow.internal login ml password {}\n", _WORDS),
    "netrc, lines": ("netrc-password", "machine mlflow.internal\n  login ml\n  password {}\n", _WORDS),
    "netrc, default": ("netrc-password", "default login ml password {}\n", _WORDS),
    "pgpass": ("pgpass-password", "db.internal:5432:mlflow:ml:{}\n", _WORDS),
    "pgpass, any": ("pgpass-password", "*:*:*:ml:{}\n", _WORDS),
    "curl": ("password-in-command", "curl -sf -u admin:{} https://x.internal/api\n", _WORDS),
    "curl, quoted": ("password-in-command", "curl --user 'admin:{}' https://x.internal/api\n", _WORDS),
    "curl, wrapped": ("password-in-command", "curl -X POST \\\n  -u admin:{} \\\n  https://x\n", _WORDS),
    "mysql": ("password-in-command", "mysql -h db -u ml -p{} mlflow\n", tuple(v for v in _VALUES if "&" not in v)),
    "mysqldump": ("password-in-command", "mysqldump -uml -p'{}' mlflow > x\n", _VALUES),
    "sshpass": ("password-in-command", "sshpass -p {} ssh ml@host\n", _WORDS),
    "redis": ("password-in-command", "redis-cli -h r.internal -a {} ping\n", _WORDS),
    "env list": ("password", "env:\n- name: DB_PASSWORD\n  value: {}\n", _VALUES),
    "env list, quoted": ("password", "env:\n  - name: DB_PASS\n    value: \"{}\"\n", _VALUES),
    "env list, json": ("password", '{{"env": [{{"name": "DB_PASSWORD", "value": "{}"}}]}}', _VALUES),
    "env list, pwd": ("password", "- name: MYSQL_PWD\n  value: {}\n", _VALUES),
    "Secret, text": ("kubernetes-secret", _HEAD + "stringData:\n  user: ml\n  word: {}\n", _WORDS),
    "Secret of kubectl": (
        "kubernetes-secret", "apiVersion: v1\nstringData:\n  word: {}\n" + _TAIL, _WORDS
    ),
}  # fmt: skip
CODED = {
    "Secret": _HEAD + "data:\n  word: {}\n",
    "Secret, quoted": _HEAD + 'data:\n    word: "{}"\n',
    "Secret of kubectl": "apiVersion: v1\ndata:\n  word: {}\n" + _TAIL,
    "Secret in a list": "items:\n- apiVersion: v1\n  data:\n    word: {}\n  kind: Secret\n  metadata:\n    name: a\n",
    "Secret in json": '{{"apiVersion": "v1", "kind": "Secret", "data": {{"word": "{}"}}}}',
    "Secret of kubectl in json": '{{"apiVersion": "v1", "data": {{"word": "{}"}}, "kind": "Secret"}}',
}


def _kinds(*pieces: bytes) -> set[str]:
    scan = scanner.Scanner({}, b"key")
    for piece in pieces:
        scan.feed("files/x", piece)
    found = scan.finish()
    assert all(text not in repr(found) for text in _WORDS)
    return {finding.kind for finding in found}


@pytest.mark.parametrize("name", FORMS)
def test_each_form_is_found_whatever_the_value(name: str) -> None:
    kind, form, values = FORMS[name]
    for value in values:
        text = form.format(value).encode()
        assert kind in _kinds(text), text
        around = b"a: 1\n" * 2000
        assert kind in _kinds(around + text + around), text
    for sample in ("${VALUE}", "<password>", "changeme", "{{ .Values.x }}", "$(cat x)", "password", "********"):
        text = form.format(sample).encode()
        assert not _kinds(text), text


@pytest.mark.parametrize("name", CODED)
def test_secrets_of_kubernetes_are_found_in_base64(name: str) -> None:
    for value in _WORDS:
        assert "kubernetes-secret" in _kinds(CODED[name].format(_coded(value)).encode()), name
    for sample in (_coded("changeme"), "{{ .Values.x | b64enc }}", "''", "<base64>"):
        assert not _kinds(CODED[name].format(sample).encode()), sample


@pytest.mark.parametrize("name", FORMS)
def test_each_form_is_found_across_every_border(name: str) -> None:
    kind, form, values = FORMS[name]
    text = b"x = 1\n" * 5 + form.format(values[0]).encode() + b"y = 2\n" * 5
    for border in range(28, len(text) - 28):
        assert kind in _kinds(text[:border], text[border:]), border
    print(f"{name}: {len(text) - 56} borders")


@pytest.mark.parametrize(
    "text",
    [
        "first_pass = run_pass2(graph1)\n", "if second_pass == pass_2:\n", "PWD=/home/ml/work2\nOLDPWD=/srv/a1\n",
        "cd $PWD && ls\n", "pwd: os.getcwd()\n", "docker run -u 1000:1000 image1 curl x\n", "mkdir -p a1/b2\n",
        "mysql -u root -p mlflow\n", "listen 0.0.0.0:5432: connection a b\n", "10.0.0.1:5432:x:y\n",
        "kind: ConfigMap\ndata:\n  word: c29tZSB3b3JkMQ==\n", "data:\n  word: c29tZSB3b3JkMQ==\nkind: ConfigMap\n",
        "kind: SealedSecret\nspec:\n  data:\n    word: c29tZSB3b3JkMQ==\n",
        "- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef: {name: db1, key: word}\n",
        "- name: REPLICAS\n  value: pass2-word\n", "machine learning: the login page, password reset1\n",
        "kind: ConfigMap\ndata:\n  a: b1b2b3b4\n---\nkind: Secret\ntype: Opaque\n",
        "tests_pass: 12 of 13\n", "num_pass: v2.1.0-rc1\n", json.dumps({"n_pass": 12, "kind": "Secret santa"}),
        "kind: Secret\ndata:\n  ca.crt: c29tZSB3b3JkMQ==\n",
    ],
)  # fmt: skip
def test_what_only_looks_alike_does_not_stop_a_backup(text: str) -> None:
    assert not _kinds(text.encode())


def test_every_anchor_has_letters_for_the_sieve() -> None:
    for anchor in surroundings.anchors():
        assert all(len(word) == 3 for word in anchor.words())
    print(f"{len(surroundings.anchors())} anchors")
