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
