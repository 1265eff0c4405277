"""Durations, times, templates, redaction: what people write and read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddr.lib import redact, template, timetext


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("1h30m", 5400), ("7d", 604800), ("2w", 1209600), ("0.5s", 0.5), ("250ms", 0.25)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert timetext.parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "5 parsecs", "1h-3m", "-5m", "1h 3"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        timetext.parse_duration(text)


@given(st.integers(min_value=10, max_value=48 * 3600))
def test_a_shown_duration_reads_back_within_its_last_unit(seconds: int) -> None:
    shown = timetext.parse_duration(timetext.format_duration(seconds)).total_seconds()
    assert abs(shown - seconds) <= (0 if seconds < 3600 else 30)


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001
def test_a_time_sorts_as_text_and_reads_back(at: datetime) -> None:
    at = at.replace(tzinfo=UTC)
    text = timetext.format_time(at)
    assert len(text) == 24
    assert abs((timetext.parse_time(text) - at).total_seconds()) < 0.001


def test_a_time_without_zone_is_utc_and_with_one_is_turned() -> None:
    assert timetext.parse_time("2026-11-21T03:00") == datetime(2026, 11, 21, 3, tzinfo=UTC)
    assert timetext.parse_time("2026-11-21T03:00+02:00") == datetime(2026, 11, 21, 1, tzinfo=UTC)


def test_templates_are_filled_and_name_what_is_missing() -> None:
    scope = {"run": {"id": "r1"}, "steps": {"check-target": {"target": "2"}}}
    assert template.fill("{{run.id}}/{{ steps.check-target.target }}", scope) == "r1/2"
    assert list(template.names("a {{b.c}} {{d}}")) == ["b.c", "d"]
    with pytest.raises(template.UnknownName) as problem:
        template.fill("{{ run.nope }}", scope)
    assert problem.value.name == "run.nope"


SECRETS = {
    "s3://AKIAABCDEFGHIJKLMNOP@bucket": "AKIAABCDEFGHIJKLMNOP",
    "postgresql://mlflow:hunter22@db/x": "hunter22",
    "Authorization: Bearer abc.def.ghi": "abc.def.ghi",
    'aws_secret_access_key = "wJalrXUtnFEMI"': "wJalrXUtnFEMI",
    "password=correct-horse": "correct-horse",
    '{"api_key": "k-123456"}': "k-123456",
    "token ghp_0123456789abcdef": "ghp_0123456789abcdef",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----": "MIIE",
}


@pytest.mark.parametrize("text", SECRETS)
def test_secret_shapes_are_masked(text: str) -> None:
    assert SECRETS[text] not in redact.foreign(text)
    assert redact.MASK in redact.foreign(text)
    assert redact.find_secret(text)


@pytest.mark.parametrize("text", ["sha256:0123abcd", "models:/m-123", "the token expired", "s3://bucket/key", "a: b"])
def test_harmless_text_is_left_alone(text: str) -> None:
    assert redact.foreign(text) == text


def test_known_values_are_masked_longest_first_and_foreign_text_is_cut() -> None:
    mask = redact.Redactor(frozenset({"swordfish", "sword", "abc"}))
    assert mask("swordfish and sword, abc") == f"{redact.MASK} and {redact.MASK}, abc"
    assert len(redact.foreign("x" * 1000)) == redact.LONGEST_FOREIGN_TEXT


def test_a_link_loses_who_logs_in_and_what_lets_in_however_short() -> None:
    hidden = (
        "https://u:p@ci.example/1",
        "https://tok@ci.example/1",
        *(f"https://ci.example/1?a=1&{name}=ab" for name in ("token", "key", "sig", "password", "secret")),
        *(
            f"https://ci.example/1?{name}=ab#x"
            for name in ("access_token", "X-Amz-Signature", "api_key", "client_secret")
        ),
    )
    for url in hidden:
        assert redact.MASK in redact.link(url), url
        assert "=ab" not in redact.link(url)
    for url in ("https://ci.example/42", "https://ci.example/1?monkey=ab&page=2", ""):
        assert redact.link(url) == url
