"""Secrets are found in every form and across every border; what ML platforms are full of is no secret."""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
import random
import uuid
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from ddr.backup import scanner, shapes, sieve

_RANDOM = random.Random(20261121)
_ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _letters(count: int, among: str = _ALNUM) -> str:
    return "".join(_RANDOM.choice(among) for _ in range(count))


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


_BODY = "\n".join(_letters(64) for _ in range(6))
SECRETS: dict[str, tuple[str, str]] = {
    "AWS key id": ("aws-access-key-id", "AKIA" + _letters(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
    "AWS temporary key id": ("aws-access-key-id", "ASIA" + _letters(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")),
    "GitHub": ("github-token", "ghp_" + _letters(36)),
    "GitHub server": ("github-token", "ghs_" + _letters(36)),
    "GitHub fine-grained": ("github-token", f"github_pat_{_letters(22)}_{_letters(59)}"),
    "GitLab": ("gitlab-token", "glpat-" + _letters(20)),
    "Slack": ("slack-token", "xoxb-1234567890123-1234567890123-" + _letters(24)),
    "Slack hook": ("slack-webhook", "hooks.slack.com/services/T0A1B2C3D/B0A1B2C3D/" + _letters(24)),
    "Google": ("google-api-key", "AIza" + _letters(35)),
    "Google token": ("google-oauth-token", "ya29." + _letters(60)),
    "Azure": ("azure-account-key", "AccountKey=" + base64.b64encode(_RANDOM.randbytes(64)).decode()),
    "Databricks": ("databricks-token", "dapi" + _letters(32, "0123456789abcdef")),
    "Hugging Face": ("huggingface-token", "hf_" + _letters(34)),
    "npm": ("npm-token", "npm_" + _letters(36)),
    "JWT": ("jwt", f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part({'sub': 'mlflow', 'iat': 1})}.{_letters(43)}"),
    "RSA": ("private-key", f"-----BEGIN RSA PRIVATE KEY-----\n{_BODY}\n-----END RSA PRIVATE KEY-----\n"),
    "PKCS8": ("private-key", f"-----BEGIN PRIVATE KEY-----\n{_BODY}\n-----END PRIVATE KEY-----\n"),
    "OpenSSH": ("private-key", f"-----BEGIN OPENSSH PRIVATE KEY-----\n{_BODY}\n-----END OPENSSH PRIVATE KEY-----\n"),
    "URL": ("password-in-url", "postgresql://mlflow:hunter22@db.internal:5432/mlflow"),
    "URL, encoded": ("password-in-url", quote("postgresql://mlflow:hunter22@db.internal/mlflow", safe="")),
    "password=": ("password", "db_password=Tr0ub4dor&3"),
    "password in JSON": ("password", '{"password": "Tr0ub4dor&3"}'),
    "password in JSON in JSON": ("password", json.dumps({"tags": json.dumps({"password": "Tr0ub4dor&3"})})),
    "password in YAML": ("password", "  password: 's3cr3t-Pa55!'"),
    "PASSWORD in an environment": ("password", "MLFLOW_TRACKING_PASSWORD=Winter2026!"),
    "AWS secret": ("secret", "aws_secret_access_key = " + _letters(40)),
    "API key": ("secret", f'{{"api_key": "{_letters(32)}"}}'),
    "token": ("secret", f"token: {_letters(40)}"),
    "Fernet": ("secret", "FERNET_KEY=" + base64.urlsafe_b64encode(_RANDOM.randbytes(32)).decode()),
    "client secret": ("secret", f"client_secret='{_letters(40)}'"),
    "docker": ("docker-auth", '{"auths": {"r.io": {"auth": "' + base64.b64encode(b"me:hunter22").decode() + '"}}}'),
    "kubeconfig": ("kubeconfig-key", "client-key-data: " + base64.b64encode(_RANDOM.randbytes(300)).decode()),
    "header": ("authorization", "Authorization: Bearer " + _letters(30)),
}
HIDDEN = [name for name in SECRETS if name not in ("URL, encoded", "kubeconfig", "docker", "header", "API key")]


def _scan(*pieces: bytes, known: dict[str, str] | None = None, allow: tuple[str, ...] = ()) -> list[scanner.Finding]:
    scan = scanner.Scanner(known or {}, b"key", allow)
    for piece in pieces:
        scan.feed("mlflow/params", piece)
    return list(scan.finish())


def _kinds(*pieces: bytes, known: dict[str, str] | None = None) -> set[str]:
    return {finding.kind for finding in _scan(*pieces, known=known)}


@pytest.mark.parametrize("name", SECRETS)
def test_each_kind_is_found_alone_and_in_a_long_text_and_never_told(name: str) -> None:
    kind, text = SECRETS[name]
    assert kind in _kinds(text.encode())
    around = ("a line of words\n" * 3000).encode()
    findings = [one for one in _scan(around + text.encode() + b"\n" + around) if one.kind == kind]
    assert len(findings) == 1, findings
    assert 3001 <= findings[0].line <= 3002
    shown = str(findings[0]) + repr(findings[0])
    start = findings[0].offset - len(around)
    assert text[start : start + findings[0].length][:40] not in shown
    assert findings[0].length > 3


@pytest.mark.parametrize("name", SECRETS)
def test_each_kind_is_found_across_every_border(name: str) -> None:
    kind, text = SECRETS[name]
    content = b"x = 1\n" * 20 + text.encode() + b"\n" + b"y = 2\n" * 20
    borders = range(118, min(122 + len(text), 118 + 150))
    for border in borders:
        findings = [one for one in _scan(content[:border], content[border:]) if one.kind == kind]
        assert len(findings) == 1, (border, findings)
    print(f"{name}: {len(borders)} borders")


@pytest.mark.parametrize("name", HIDDEN)
def test_what_base64_hides_is_found_at_every_alignment_and_in_gzip(name: str) -> None:
    kind, text = SECRETS[name]
    for before in ("", ";", "; ", "k: v\n"):
        plain = f"{before}{text}\n".encode()
        hidden = base64.b64encode(plain)
        if not text.startswith(
            ("AccountKey", "hooks", "client", "token", "db_", "MLFLOW", '{"', "  pass", "aws", "FERNET")
        ):
            kinds = _kinds(b"data: " + hidden + b"\n")
            assert any(found.startswith(kind) for found in kinds), (before, kinds)
        for packed in (
            base64.b64encode(gzip.compress(plain)),
            base64.b64encode(base64.b64encode(gzip.compress(plain))),
        ):
            if packed.startswith(b"H4sI"):
                assert any(found.startswith(kind) for found in _kinds(b'{"release": "' + packed + b'"}'))
        assert any(found.startswith(kind) for found in _kinds(gzip.compress(plain)))


CANARIES = ["correct horse battery", "s3cr3t/with+odd=signs&%", "Übergröße-4711", "plainvalue99", 'quote"d\\value']


def _forms(value: str) -> Iterator[tuple[str, bytes]]:
    raw = value.encode()
    yield "plain", raw
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    yield "percent", quote(value, safe="").encode()
    yield "json", json.dumps({"a": value}).encode()
    for before in range(3):
        yield f"base64 {before}", base64.b64encode(b"z" * before + raw + b"yyy")
        yield f"urlsafe {before}", base64.urlsafe_b64encode(b"z" * before + raw + b"yyy")
    yield "gzip", gzip.compress(b"before " + raw)
    yield "gzip in base64", base64.b64encode(gzip.compress(b"before " + raw))
    big = " ".join(uuid.UUID(bytes=_RANDOM.randbytes(16)).hex for _ in range(3000)).encode()
    yield "long gzip in base64", base64.b64encode(gzip.compress(big + raw + big))


@pytest.mark.parametrize("value", CANARIES)
def test_a_known_value_is_found_in_every_form_at_every_offset_and_border(value: str) -> None:
    tried = 0
    for form, hidden in _forms(value):
        for shift in range(9):
            lead = b"-" * shift if not form.startswith("gzip") or "base64" in form else b""
            for middle in (len(lead), len(lead) + 1, len(lead) + len(hidden) // 2, len(lead) + len(hidden)):
                cut = max(middle, 3) if form == "gzip" else middle
                content = lead + hidden + b"\n"
                found = _scan(content[:cut], content[cut:], known={"env CANARY": value})
                assert any("env CANARY" in one.kind for one in found), (form, shift, cut)
                assert value not in str(found)
                tried += 1
    print(f"{tried} forms, offsets and borders")


def test_a_known_value_is_found_in_bytes_that_are_no_text() -> None:
    noise = _RANDOM.randbytes(100_000)
    assert scanner.looks_binary(noise)
    assert _kinds(noise + b"plainvalue99" + noise, known={"canary": "plainvalue99"}) == {"known value canary"}


def test_a_short_value_is_not_searched_and_that_is_said() -> None:
    scan = scanner.Scanner({"env PORT": "5432", "env X": "long enough"}, b"key")
    assert scan.not_searched == ("env PORT",)


def _innocent() -> Iterator[tuple[str, str]]:
    def hexed(digits: int) -> str:
        return _RANDOM.randbytes(digits // 2).hex()

    run = hexed(32)
    yield "runs", "\n".join(f"{hexed(32)},s3://bucket/1/{hexed(32)}/artifacts,FINISHED" for _ in range(3000))
    yield "uuids", "\n".join(str(uuid.UUID(bytes=_RANDOM.randbytes(16))) for _ in range(3000))
    yield "digests", "\n".join(f'sha256:{hexed(64)} md5={hexed(32)} etag: "{hexed(32)}-7"' for _ in range(2000))
    yield "picture", "data:image/png;base64," + base64.b64encode(_RANDOM.randbytes(2_000_000)).decode()
    yield "wrapped base64", base64.encodebytes(_RANDOM.randbytes(500_000)).decode()
    yield "random words", " ".join(_letters(_RANDOM.randint(5, 40)) for _ in range(40_000))
    yield (
        "requirements",
        "\n".join(
            f"{name}=={_RANDOM.randint(0, 9)}.{_RANDOM.randint(0, 30)}.1 --hash=sha256:{hexed(64)}"
            for name in ("numpy", "tokenizers", "passlib", "secretstorage", "python-jose", "keyring", "hf_transfer")
        ),
    )
    yield "pip by address", "pkg @ git+https://github.com/org/pkg@" + hexed(40) + "\npkg @ file:///tmp/x@1.2\n"
    yield "RECORD", "\n".join(f"pkg/{n}.py,sha256={_letters(43)},{n}" for n in range(2000))
    yield (
        "conda.yaml",
        "channels: [conda-forge]\ndependencies:\n- python=3.11.7\n- pip<=24.0\n- pip:\n  - mlflow==3.17.0\n",
    )
    yield (
        "MLmodel",
        f'model_uuid: {run}\nrun_id: {run}\nartifact_path: model\nsignature:\n  inputs: \'[{{"type": "long"}}]\'\n',
    )
    yield (
        "tags",
        json.dumps({"mlflow.source.git.commit": hexed(40), "mlflow.user": "someone@example.com", "team": "a@b"}),
    )
    yield (
        "tokens",
        json.dumps(
            {"max_tokens": 4096, "prompt_tokens": 1234567, "token": "<|endoftext|>", "next_page_token": _letters(40)}
            | {
                "pad_token": "[PAD]",
                "tokenizer": "bert-base-uncased",
                "stop_token": "</s>",
                "secret": None,
                "token_id": 9,
            }
        ),
    )
    yield (
        "placeholders",
        "\n".join(
            f"{key}{value}"
            for key in ("password=", "password: ", "api_key = ", "token: ", "client_secret=")
            for value in (
                "${DB_PASSWORD_1}",
                "{{ vault.pass1 }}",
                "<your password 1>",
                "********",
                "changeme123",
                "None",
                "os.environ['PASS1']",
                "getpass.getpass()",
                "env:DB_PASS1",
                "vault:secret/data/db1#pw",
                "[redacted]",
                "$PASS1",
            )
        ),
    )
    yield (
        "references",
        "secretName: mlflow-db-creds-v2-2024\nsecret: mlflow-tls-2024\nsecretKeyRef: {name: db, key: password}",
    )
    yield (
        "urls",
        "http://localhost:5000/@x postgresql://localhost/db s3://a@b/c https://user@host:8080/p postgresql://u:***@h",
    )
    yield (
        "documentation",
        "postgresql://user:password@localhost/db AKIAIOSFODNN7EXAMPLE git@github.com:org/repo.git a@b.de",
    )
    yield (
        "certificate",
        f"-----BEGIN CERTIFICATE-----\n{_BODY}\n-----END CERTIFICATE-----\n-----BEGIN PUBLIC KEY-----\n{_BODY}\n",
    )
    yield (
        "mentions",
        "rejects '-----BEGIN RSA PRIVATE KEY-----' headers; ghp_ and hf_ prefixes; eyJ; Authorization: Bearer <token>",
    )
    yield "json in base64", base64.b64encode(json.dumps({"a": [run] * 500, "time": 1}).encode()).decode()
    yield (
        "code",
        "def login(password: str, token: str = ''):\n    password = config.password_v2\n    return auth(token=token)\n",
    )
    model = {"weights": [_RANDOM.random() for _ in range(20_000)], "vocab": {_letters(6): n for n in range(5000)}}
    yield "model JSON", json.dumps(model)
    yield (
        "spans",
        "\n".join(
            json.dumps({"trace_id": "tr-" + hexed(32), "span": base64.b64encode(_RANDOM.randbytes(8)).decode()})
            for _ in range(3000)
        ),
    )


def test_what_ml_platforms_are_full_of_is_no_secret() -> None:
    size = count = 0
    for name, text in _innocent():
        findings = _scan(text.encode(), known={"env DB_PASSWORD": "Tr0ub4dor&3"})
        assert findings == [], (name, [text[one.offset : one.offset + one.length] for one in findings])
        size, count = size + len(text), count + 1
    print(f"{count} innocent texts, {size:,} bytes, 0 findings")


def test_random_bytes_and_pickles_do_not_fire() -> None:
    import pickle

    noise = _RANDOM.randbytes(8 << 20)
    assert _scan(noise) == []
    assert _scan(pickle.dumps({"weights": noise[:100_000], "names": [f"feature_{n}" for n in range(1000)]})) == []
    assert not scanner.looks_binary("Größe der Straße, 模型的权重 и веса".encode() * 50)


def test_an_allow_list_names_values_by_fingerprint_or_places() -> None:
    secret = SECRETS["GitHub"][1].encode()
    (found,) = _scan(secret)
    assert found.fingerprint == scanner.Scanner({}, b"key").fingerprint(secret)
    assert found.fingerprint != scanner.Scanner({}, b"other").fingerprint(secret)
    assert hashlib.sha256(secret).hexdigest()[:16] != found.fingerprint
    for allow in (found.fingerprint, "mlflow/params", "mlflow/*"):
        assert _scan(secret, allow=(allow,)) == []
    assert len(_scan(secret, allow=("mlflow/par", "feast/*", "0" * 16))) == 1


def test_places_are_apart_and_one_value_in_one_place_is_told_once() -> None:
    scan = scanner.Scanner({}, b"key")
    secret = SECRETS["GitHub"][1].encode()
    scan.feed("a", secret[:20])
    scan.feed("b", secret[20:])
    scan.feed("c", secret + b"\n" + secret)
    scan.feed("d", secret)
    assert [finding.place for finding in scan.finish()] == ["c", "d"]


def test_a_table_of_names_and_values_is_read_across_its_columns() -> None:
    pairs = scanner.pairs(["lr", "db_password", "max_tokens", "password"], ["0.1", "Tr0ub4dor&3", "4096", None])
    assert pairs == b'db_password="Tr0ub4dor&3"'
    assert _kinds(pairs) == {"password"}


def test_the_sieve_stops_at_every_anchor() -> None:
    for anchor in shapes.anchors():
        assert len(anchor.words()[0]) == 3
        assert anchor.stands_at(b"xx" + anchor.literal, 2)
    print(f"{len(shapes.anchors())} anchors")


def test_both_sieves_find_the_same() -> None:
    pytest.importorskip("hyperscan", reason="the extra `scan` is not installed")
    words = {bytes(letters) for letters in itertools.product(b"aA:", b"bB/", b"c\\/")} | {b"\x00\xff.", b"[^]"}
    numbers = random.Random(7)
    text = bytes(numbers.choices(b"aAbBc:/\\.[]^\x00\xff ", k=300_000))
    fast, slow = sieve.Hyperscan(words), sieve.Grams(words)
    for start, stop in ((0, len(text)), (5, 99), (1000, 1000), (len(text) - 2, len(text))):
        found = list(fast.find(text, start, stop))
        assert found == list(slow.find(text, start, stop))
    print(f"{len(list(fast.find(text, 0, len(text))))} positions, the same by both")
