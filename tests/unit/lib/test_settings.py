"""Settings that may be kept: numbers, switches and short words, and nothing that may be a secret."""

from __future__ import annotations

import pytest

from ddr.lib import settings

SECRETS = (
    "password: hunter2",
    "db: {url: 'postgresql://ann:hunter2@db/x'}",
    "key: AKIAIOSFODNN7EXAMPLE",
    "auth: [Bearer eyJhbGciOiJIUzI1NiJ9.e30.abcdefgh]",
    "api_token: hunter2",
    "x: sk-live-hunter2hunter2hunter2",
    "note: my password is hunter2",
    "pem: |\n  -----BEGIN PRIVATE KEY-----\n  hunter2\n  -----END PRIVATE KEY-----\n",
    '{"secret": "hunter2"}',
)


@pytest.mark.parametrize("text", SECRETS)
def test_no_secret_is_told(text: str) -> None:
    told = settings.plain(text)
    assert told, text
    for word in ("hunter2", "AKIAIOSFODNN7EXAMPLE", "eyJhbGciOiJIUzI1NiJ9"):
        assert word not in "".join(told.values())


def test_what_may_be_told_is_told_by_its_path() -> None:
    text = "serving: {threshold: 0.5, on: true, models: [a, b]}\nmodel: models:/fraud@champion\nnone:\n"
    assert settings.plain(text) == {
        "serving.threshold": "0.5",
        "serving.on": "true",
        "serving.models[0]": "a",
        "serving.models[1]": "b",
        "model": "models:/fraud@champion",
        "none": "None",
    }
    assert settings.plain("a: [b") == {}
    assert len(settings.plain("\n".join(f"k{at}: {at}" for at in range(500)))) == settings.MOST
