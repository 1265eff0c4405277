"""What hides a secret: base64 of assignments and URLs, packed files, UTF-16; short passwords, phrases, known values."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import itertools
import lzma
import random
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator

import pytest
import zstandard

from ddr.backup import hidden, scanner, shapes

_RANDOM = random.Random(20261122)
_ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SECRET = "".join(_RANDOM.choice(_ALNUM) for _ in range(40))
_LINE = f"lr = 0.1\naws_secret_access_key = {_SECRET}\n".encode()
_FORMS = ("{} = {}", "{}={}", "{}: {}", '{}="{}"', '"{}": "{}"', '"{}":"{}"', "{}: '{}'", "{}\t=\t{}")
_CODES: tuple[Callable[[bytes], bytes], ...] = (base64.b64encode, base64.urlsafe_b64encode)


def _scan(*pieces: bytes, known: dict[str, str] | None = None, allow: tuple[str, ...] = ()) -> list[scanner.Finding]:
    scan = scanner.Scanner(known or {}, b"key", allow)
    for piece in pieces:
        scan.feed("files/one", piece)
    return list(scan.finish())


def _kinds(*pieces: bytes, known: dict[str, str] | None = None) -> set[str]:
    return {finding.kind for finding in _scan(*pieces, known=known)}


def _wrapped(letters: bytes, columns: int, end: bytes) -> bytes:
    return end.join(letters[at : at + columns] for at in range(0, len(letters), columns)) if columns else letters


def _in_base64(plain: bytes, lead: int) -> Iterator[bytes]:
    for code, (columns, end) in itertools.product(_CODES, ((0, b""), (64, b"\n"), (76, b"\n"), (76, b"\r\n"))):
        yield b"data: " + _wrapped(code(b"k" * lead + b" " + plain + b"\n"), columns, end) + b"\n"


@pytest.mark.parametrize("name", shapes.names())
def test_base64_of_every_name_is_found_with_every_spacing_alignment_and_wrap(name: bytes) -> None:
    tried = 0
    spellings = {name.decode(), name.decode().upper(), name.decode().capitalize()}
    for spelled, form in itertools.product(sorted(spellings), _FORMS):
        tried += _look(form.format(spelled, _SECRET).encode(), range(3))
    tried += _look(_FORMS[0].format(name.decode(), _SECRET).encode(), range(30, 80))  # a line's end in all places
    print(f"{tried} texts")


@pytest.mark.parametrize(
    "spelled", ["aws_secret_access_key", "secretAccessKey", "apiKey", "clientSecret", "DB_PASSWORD"]
)
def test_base64_of_names_as_people_write_them(spelled: str) -> None:
    assert _look(f'{spelled}="{_SECRET}"'.encode(), range(80)) == 640


@pytest.mark.parametrize(
    "scheme",
    ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+asyncpg", "mysql", "mysql+pymysql", "amqp", "amqps",
     "mongodb", "mongodb+srv", "redis", "rediss", "http", "https"],
)  # fmt: skip
def test_base64_of_urls_with_a_password(scheme: str) -> None:
    assert _look(f"{scheme}://mlflow:p4ssw@db.internal/x".encode(), range(80)) == 640


def _look(plain: bytes, leads: range) -> int:
    tried = 0
    for lead in leads:
        for text in _in_base64(plain, lead):
            found = _kinds(text)
            assert any(kind.endswith("-in-base64") for kind in found), (plain, lead, text)
            tried += 1
    return tried


def test_base64_of_what_is_no_secret_stays_quiet() -> None:
    innocent = [
        '{"next_page_token": "' + _SECRET + '", "token": "<|endoftext|>", "max_tokens": 12345}', "token = ${TOKEN_1}",
        "password: required", "https://host/path?a=b@c postgresql://db:5432/x@y", "api_key: env:OPENAI_API_KEY_2",
        "https://user@host:8080/x", "postgresql://u:***@h/x", "secretName: mlflow-db-creds-v2-2024",
    ]  # fmt: skip
    for plain, lead in itertools.product(innocent, range(4)):
        for text in _in_base64(plain.encode(), lead):
            assert _scan(text) == [], plain
    assert _scan(base64.encodebytes(_RANDOM.randbytes(6_000_000))) == []


def _zip(method: int, content: bytes = _LINE, *, streamed: bool = False) -> bytes:
    class Unseekable(io.BytesIO):
        def seekable(self) -> bool:
            return not streamed

        def tell(self) -> int:
            if streamed:
                raise OSError
            return super().tell()

    out = Unseekable()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("weights.bin", _RANDOM.randbytes(100_000))
        archive.writestr("conf/settings.ini", content)
        archive.writestr("more.bin", _RANDOM.randbytes(1000))
    return out.getvalue()


def _tar(content: bytes = _LINE) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in (("a.txt", b"lr = 0.1\n" * 90), ("settings.ini", content)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


_LONG = b"a line of words\n" * 20_000
PACKED: dict[str, tuple[str, bytes]] = {
    "bzip2": ("bzip2", bz2.compress(_LINE)),
    "bzip2, long": ("bzip2", bz2.compress(_LONG + _LINE + _LONG)),
    "bzip2, two streams": ("bzip2", bz2.compress(_LONG) + bz2.compress(_LINE)),
    "xz": ("xz", lzma.compress(_LINE)),
    "xz, long": ("xz", lzma.compress(_LONG + _LINE + _LONG)),
    "lzma": ("lzma", lzma.compress(_LINE, format=lzma.FORMAT_ALONE)),
    "zstd": ("zstd", zstandard.compress(_LINE)),
    "zstd, long": ("zstd", zstandard.compress(_LONG + _LINE + _LONG)),
    "zstd, two frames": ("zstd", zstandard.compress(_LONG) + zstandard.compress(_LINE)),
    "gzip, two members": ("gzip", gzip.compress(_LONG) + gzip.compress(_LINE)),
    "tar in gzip": ("gzip", gzip.compress(_tar())),
    "tar in bzip2": ("bzip2", bz2.compress(_tar())),
    "tar in xz": ("xz", lzma.compress(_tar())),
    "tar in zstd": ("zstd", zstandard.compress(_tar())),
    "zip": ("zip", _zip(zipfile.ZIP_DEFLATED)),
    "zip, streamed": ("zip", _zip(zipfile.ZIP_DEFLATED, streamed=True)),
    "zip, stored": ("zip", _zip(zipfile.ZIP_STORED)),
    "zip, bzip2": ("zip", _zip(zipfile.ZIP_BZIP2)),
    "gzip in zip": ("gzip in zip", _zip(zipfile.ZIP_STORED, gzip.compress(_LINE))),
    "xz in gzip": ("xz in gzip", gzip.compress(lzma.compress(_LINE))),
    "zip in zstd": ("zip in zstd", zstandard.compress(_zip(zipfile.ZIP_DEFLATED))),
    "UTF-16 LE": ("UTF-16", _LINE.decode().encode("utf-16-le")),
    "UTF-16 BE": ("UTF-16", _LINE.decode().encode("utf-16-be")),
    "UTF-16 with a mark": ("UTF-16", _LINE.decode().encode("utf-16")),
    "UTF-16 BE with a mark": ("UTF-16", ("\ufeff" + _LINE.decode()).encode("utf-16-be")),
    "UTF-16, long": ("UTF-16", (_LONG + _LINE + _LONG).decode().encode("utf-16")),
    "UTF-16 in gzip": ("UTF-16 in gzip", gzip.compress(_LINE.decode().encode("utf-16"))),
}


@pytest.mark.parametrize("name", PACKED)
def test_what_is_packed_is_opened_across_every_border(name: str) -> None:
    form, packed = PACKED[name]
    size = len(packed)
    cuts = sorted({*range(1, min(size, 60)), *range(60, size, max(size // 12, 1)), size - 1})
    cuts = cuts[:: 1 if size < 20_000 else 6]
    for cut in cuts:
        found = _kinds(packed[:cut], packed[cut:])
        assert f"secret in {form}" in found, (cut, found)
    step = max(size // 300, 7)
    assert f"secret in {form}" in _kinds(*(packed[at : at + step] for at in range(0, size, step)))
    print(f"{name}: {len(cuts)} borders")


def test_packed_files_that_are_cut_or_damaged_or_locked_end_quietly() -> None:
    tried = 0
    for _, packed in PACKED.values():
        for at in range(0, len(packed), max(len(packed) // 6, 1)):
            _scan(packed[:at])
            _scan(packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :])
            tried += 2
    locked = bytearray(_zip(zipfile.ZIP_DEFLATED))
    locked[6] |= 1
    _scan(bytes(locked))
    print(f"{tried} damaged files")


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz", "zstd", "zip"])
def test_a_bomb_is_opened_within_bounds(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner, "_MOST_UNPACKED_BYTES", 8 << 20)
    zeros = b"\0" * (40 << 20)
    bomb = {
        "gzip": lambda: gzip.compress(zeros, 1), "bzip2": lambda: bz2.compress(zeros),
        "xz": lambda: lzma.compress(zeros, preset=0), "zstd": lambda: zstandard.compress(zeros),
        "zip": lambda: _zip(zipfile.ZIP_DEFLATED, zeros),
    }[form]()  # fmt: skip
    tracemalloc.start()
    assert _scan(bomb + _LINE) is not None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20, peak
    print(f"{form}: {len(bomb):,} bytes stand for 40 MiB; at most {peak / 2**20:.0f} MiB were held")


SHORT = [
    "password: hunter2", "password=hunter2", 'password="hunter2"', "db_password: 'hunt3r'", "PASSWORD=Pa55w0",
    '{"password": "hunter2"}', "passwd: zq7!pl", 'password: "correct horse battery staple"',
    "passphrase: 'violet anchor tundra biscuit lamp'", '{"passphrase": "correct horse battery staple"}',
    'password: "my dog ate 2 tacos!"',
]  # fmt: skip


@pytest.mark.parametrize("text", SHORT)
def test_short_passwords_and_phrases_are_found(text: str) -> None:
    assert _kinds(f"a: 1\n{text}\nb: 2\n".encode()) == {"password"}


NO_SECRETS = [
    "password: required", "password: string", "password field", "password: str", "password: str2", "password: int64",
    "password: sha256", "password: bcrypt", "password: pbkdf2", "password: base64", "password: argon2", "password: md5",
    "password=param1", "password=field_2", "password=arg1", "password=value1", "password: test123", "password=abc123",
    "password=passwd1", "password=cfg.pw2", "password=self.p1", "password=user.p1", "password: 8+",
    "password: 12345678",
    "password=b64decode(value)", "password=f1(x)", "password=$PASS1", "password=${P1}", "password=<pass1>",
    "password=%s",
    "password: {{ pw1 }}", "password=env:P1", "password: ******", "password: xxxxxxx", "password: oauth2",
    "password: v1.2.3",
    'password: "Enter your new password here"', 'password: "must have at least 8 characters!"',
    'password: "the password of the database user"', 'password: "Your password must contain 1 digit"',
    'password: "is required and can not be empty"', 'password: "one two three"', 'passphrase: "not set yet in config"',
    'password: "database user login credentials"', 'password: "at least 12 characters long, 1 digit"',
    'passphrase: "read from the environment"', "password: changeme", "password: changeme1", "password: example1",
    "The password: it is sent by mail.", "Password: 2 of 3 tries left", "password:1,2", "password: 2024-01-01",
    "secret: hunter2", "token: hunter2", "api_key: abc1234", "password: None", "password: null", "password: true",
    'token: "correct horse battery staple"', "password: int32", "password: utf8mb4", "password: line12",
]  # fmt: skip


def test_what_only_talks_of_passwords_is_no_secret() -> None:
    for text in NO_SECRETS:
        for around in ("{}\n", "  - {}  # note\n", "a: 1\n{}\r\nb: 2\n"):
            assert _scan(around.format(text).encode()) == [], text
    print(f"{len(NO_SECRETS)} texts")


def test_one_secret_is_reported_once_with_its_most_telling_kind() -> None:
    github = "ghp_" + _SECRET[:36]
    for text, kind in (
        (f"token: {github}", "github-token"),
        (f"Authorization: Bearer {github}", "github-token"),
        (f"password = '{github}'", "github-token"),
        ("secret: postgresql://mlflow:hunter22x@db/x", "password-in-url"),
        (f"aws_secret_access_key = {_SECRET}", "secret"),
        (f'client_secret: "api_key={_SECRET}"', "secret"),
    ):
        assert [one.kind for one in _scan(text.encode())] == [kind], text
        content = b"x = 1\n" * 2000 + text.encode() + b"\n" + b"y = 2\n" * 2000
        for cut in range(12_000 - 5, 12_000 + len(text) + 5):
            assert [one.kind for one in _scan(content[:cut], content[cut:])] == [kind], (text, cut)
        for step in (997, 4096, 5000):
            pieces = [content[at : at + step] for at in range(0, len(content), step)]
            assert [one.kind for one in _scan(*pieces)] == [kind], (text, step)
    both = _scan(f"token: {github}\npassword: hunter22x\n".encode())
    assert [one.kind for one in both] == ["github-token", "password"]
    assert [one.kind for one in _scan(f"k {_SECRET}".encode(), known={"env K": _SECRET})] == ["known value env K"]
    assert len(_scan(f"secret = {_SECRET}".encode(), known={"env K": _SECRET})) == 1


def test_values_of_an_environment_are_known_where_they_are_secret() -> None:
    known = scanner.worth_knowing({
        "DB_PASSWORD of .env:1": "Tr0ub4dor", "API_KEY of .env:2": _SECRET, "URL of .env:3": "redis://u:p4ssw0rds@h/0",
        "X of .env:4": _SECRET[::-1], "CLIENT_SECRET of .env:5": "01234567-89ab-cdef-0123-456789abcdef",
        "ENV of .env:6": "production", "DB_PASSWORD of .env:7": "production", "HOST of .env:8": "db-1.internal.example",
        "PORT of .env:9": "5432123456", "PATH of .env:10": "/var/lib/mlflow2/x", "BUCKET of .env:11": "s3://models-2/x",
        "PIN_PASSWORD of .env:12": "abc1234", "REF_TOKEN of .env:13": "${OTHER_TOKEN_1}",
        "REGION of .env:14": "us-east-1",
        "TENANT of .env:15": "01234567-89ab-cdef-0123-456789abcdea", "MODE_KEY of .env:16": "True",
    })  # fmt: skip
    assert sorted(name.rpartition(":")[2] for name in known) == ["1", "2", "3", "4", "5"]
    assert known["URL of .env:3"] == "p4ssw0rds"
    for name, value in known.items():
        for content in (
            f"nothing says what {value} is".encode(),
            _RANDOM.randbytes(9000) + value.encode("utf-16-le"),
            base64.b64encode(f"a {value} b".encode()),
            _zip(zipfile.ZIP_DEFLATED, f"a {value} b".encode()),
        ):
            found = _scan(content, known=known)
            assert any(f"known value {name}" in one.kind for one in found), (name, found)
            assert value not in str(found)


def test_every_word_of_the_hidden_ones_stands_in_its_literal() -> None:
    for anchor in hidden.anchors():
        (word,) = anchor.words()
        assert len(word) == 3
        assert anchor.literal.startswith(word, anchor.gram)
    print(f"{len(hidden.anchors())} hidden anchors")
