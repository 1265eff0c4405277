"""Secrets by reference: resolved, remembered, masked; a value in the file is refused without repeating it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddr.lib import located
from ddr.wiring import references


def resolve(text: str, tmp_path: Path, **environ: str) -> tuple[object, references.Resolver]:
    resolver = references.Resolver(environ, tmp_path)
    return resolver.resolve(located.parse_yaml(text)).plain(), resolver


def test_references_are_resolved_inside_text_and_lists(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("s3cr3t\n")
    plain, resolver = resolve(
        "a: ${env:NAME}\nb: [x, 'postgresql://u:${file:pw}@h/db']\nsecretKey: ${env:KEY}",
        tmp_path,
        NAME="n",
        KEY="kkkk",
    )
    assert plain == {"a": "n", "b": ["x", "postgresql://u:s3cr3t@h/db"], "secretKey": "kkkk"}
    assert resolver.complaints == []
    assert resolver.values == {"n", "s3cr3t", "kkkk"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: ${env:NOPE}", "the environment variable NOPE is not set"),
        ("a: ${file:nope}", "cannot be read"),
        ("a: ${vault:x}", "is not known; allowed: ${env:NAME}, ${file:PATH}"),
    ],
)
def test_what_cannot_be_resolved_is_a_complaint_with_its_line(text: str, what: str, tmp_path: Path) -> None:
    _, resolver = resolve(f"# one\n{text}", tmp_path)
    (complaint,) = resolver.complaints
    assert complaint.line == 2
    assert what in complaint.what


@pytest.mark.parametrize(
    "text",
    [
        "password: hunter22",
        "nested: {secretKey: abcdefgh}",
        "list: [{api_key: abcdefgh}]",
        "tracking: https://u:hunter22@host",
        "x: AKIAABCDEFGHIJKLMNOP",
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(text: str, tmp_path: Path) -> None:
    _, resolver = resolve(text, tmp_path)
    (complaint,) = resolver.complaints
    assert "looks like a secret" in complaint.what
    assert not any(secret in complaint.what for secret in ("hunter22", "abcdefgh", "AKIAABCDEFGHIJKLMNOP"))


_AWAY = "https://hook.example/T0/${env:PLACE}"
_MAY_BE_SECRET = {
    "s3: {secretKey: '${env:PLACE}'}": "a key of a bucket",
    "backup: {passphrase: '${env:PLACE}'}": "a passphrase",
    "connectors: {m: {tracking: 'https://${env:PLACE}'}}": "a URL",
    "connectors: {m: {auth: '${env:PLACE}'}}": "what nobody says to be a place",
    "home: '${env:API_TOKEN}/index'": "a variable that is called like a secret",
    "home: '${file:place}'": "a file",
    "home: 's3://me:${env:PLACE}@bucket/x'": "a password of a URL",
    "home: 's3://${env:PLACE}@bucket/x'": "a user of a URL",
    "vectors: ['s3://bucket/x?token=${env:PLACE}']": "a token of a URL",
    f"vectors: ['{_AWAY}']": "a URL that is no place in a bucket",
    "s3: {endpoint: 'https://me:${env:PLACE}@host'}": "a password of an endpoint",
    "{home: '${env:PLACE}', s3: {secretKey: '${env:PLACE}'}}": "a place and a secret",
}


@pytest.mark.parametrize("text", _MAY_BE_SECRET, ids=_MAY_BE_SECRET.values())
def test_what_may_be_secret_is_remembered_to_be_masked(text: str, tmp_path: Path) -> None:
    (tmp_path / "place").write_text("swordfish")
    _, resolver = resolve(text, tmp_path, PLACE="swordfish", API_TOKEN="swordfish")
    assert resolver.complaints == []
    assert resolver.values == {"swordfish"}


_PLACES = (
    *(f"{{{key}: '${{env:PLACE}}/x'}}" for key in ("home", "work", "ids", "queries", "embedder")),
    "vectors: ['${env:PLACE}/a?.npy', 's3://bucket${env:PLACE}/*.npy']",
    "embed: {corpus: '${env:PLACE}/x.jsonl', model: '${env:PLACE}'}",
    "s3: {endpoint: 'https://${env:PLACE}', region: '${env:PLACE}'}",
)


@pytest.mark.parametrize(
    "text",
    [
        *_PLACES,
        *(f"indexes: {{a.b: {text}}}" if text.startswith("{") else f"indexes: {{a.b: {{{text}}}}}" for text in _PLACES),
        "repository: {path: '${env:PLACE}/repo', spool: '${env:PLACE}'}",
        "connectors: {code: {root: '${env:PLACE}/code'}}",
        "backup: {keyFile: '${env:PLACE}/key', copies: {away: {bucket: '${env:PLACE}'}}}",
    ],
)
def test_where_something_lies_is_no_secret(text: str, tmp_path: Path) -> None:
    plain, resolver = resolve(text, tmp_path, PLACE="/home/me")
    assert "/home/me" in str(plain)
    assert resolver.complaints == []
    assert resolver.values == set()
