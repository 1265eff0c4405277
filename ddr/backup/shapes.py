"""Secret values that are known by their shape: what they begin with, what they look like whole, what only looks alike.

Each shape is anchored on letters that ordinary text seldom has, so that a sieve (`sieve.Grams`) can skip the rest. The
shapes are those the issuers document (AWS: IAM identifiers; GitHub: "Behind GitHub's new authentication token formats",
2021; Slack, GitLab, Google, Azure, Databricks, Hugging Face: their token pages; RFC 7519 for JWT). A finding stops a
backup, so precision comes first: run ids, digests, uuids, base64 pictures, placeholders and references do not fire.
"""

from __future__ import annotations

import base64
import binascii
import functools
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

Span = tuple[int, int]
Finder = Callable[[bytes, int], Span | None]
"""(text, where the anchor begins) -> the span of the secret value."""

LOOK_BACK, LOOK_AHEAD = 512, 4096
"""So many bytes before and after an anchor are enough for every shape."""


@dataclass(frozen=True)
class Anchor:
    """`literal` in the text asks for a look by `find`; the sieve looks for its three bytes at `gram`."""

    kind: str
    literal: bytes
    find: Finder
    gram: int = 0
    any_case: bool = False

    def words(self) -> tuple[bytes, ...]:
        """The 3-byte words the sieve must stop at."""
        word = self.literal[self.gram : self.gram + 3]
        assert len(word) == 3
        if not self.any_case:
            return (word,)
        return tuple(bytes(letters) for letters in itertools.product(*({c, _swapped(c)} for c in word)))

    def stands_at(self, text: bytes, at: int) -> bool:
        if not self.any_case:
            return text.startswith(self.literal, at)
        return text[at : at + len(self.literal)].lower() == self.literal


@functools.cache
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    """When it is first needed: most anchors never stand in a text, and compiling them all takes 50 ms."""
    return re.compile(pattern)


def _swapped(byte: int) -> int:
    return bytes([byte]).swapcase()[0]


def _whole(pattern: bytes, check: Callable[[bytes], bool] = lambda _: True) -> Finder:
    def find(text: bytes, at: int) -> Span | None:
        match = _compiled(pattern).match(text, at)
        return match.span() if match and check(match.group()) else None

    return find


_END = rb"(?![A-Za-z0-9_-])"


def _is_varied(value: bytes) -> bool:
    """No run of one letter, no documentation sample: at least 8 different bytes, not ...EXAMPLE."""
    return len(set(value)) >= 8 and b"EXAMPLE" not in value.upper()


def _is_jwt(value: bytes) -> bool:
    head = value.split(b".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + b"=" * (-len(head) % 4)))
    except (ValueError, binascii.Error):
        return False
    return isinstance(header, dict) and "alg" in header


_KEY_BODY = rb"(?:\s|\\+[nr])*(?:[\w-]+: [^\n\\]*(?:\s|\\+[nr])+)*(?:[A-Za-z0-9+/=](?:\s|\\+[nr])*){40}"

_TOKENS: tuple[tuple[str, Sequence[bytes], bytes], ...] = (
    ("aws-access-key-id", (b"AKIA", b"ASIA"), rb"(?<![A-Za-z0-9+/])....[A-Z2-7]{16}" + rb"(?![A-Za-z0-9+/=])"),
    ("github-token", (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"), rb"(?<![A-Za-z0-9])...._?[A-Za-z0-9]{36}" + _END),
    ("github-token", (b"github_pat_",), rb"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}" + _END),
    ("gitlab-token", (b"glpat-", b"gldt-", b"glrt-"), rb"gl(?:pat|dt|rt)-[\w-]{20,64}(?:\.[\w.]{4,16})?"),
    ("slack-token", (b"xoxb-", b"xoxp-", b"xoxa-", b"xoxs-", b"xoxr-"), rb"xox.-(?:\d-)?\d{6,}-[0-9A-Za-z-]{12,}"),
    ("slack-webhook", (b"hooks.slack.com/services/",), rb"[\w./]{25}T\w{6,}/B\w{6,}/[A-Za-z0-9]{16,}"),
    ("google-api-key", (b"AIza",), rb"(?<![A-Za-z0-9+/])AIza[\w-]{35}" + _END),
    ("google-oauth-token", (b"ya29.",), rb"ya29\.[\w-]{30,}"),
    ("google-client-secret", (b"GOCSPX-",), rb"GOCSPX-[\w-]{28}"),
    ("azure-account-key", (b"AccountKey=", b"SharedAccessKey="), rb"\w+=[A-Za-z0-9+/]{42,86}={1,2}"),
    ("azure-sas", (b"&sig=", b"?sig="), rb"[&?]sig=(?:[A-Za-z0-9+/]|%2[bBfF]){40,}(?:=|%3[dD])"),
    ("databricks-token", (b"dapi",), rb"(?<![A-Za-z0-9])dapi[0-9a-f]{32}(?:-\d+)?" + _END),
    ("huggingface-token", (b"hf_",), rb"(?<![A-Za-z0-9_])hf_[A-Za-z0-9]{34}" + _END),
    ("openai-key", (b"sk-proj-", b"sk-ant-"), rb"sk-(?:proj|ant)-[\w-]{40,}"),
    ("stripe-key", (b"sk_live_", b"rk_live_"), rb".k_live_[A-Za-z0-9]{24,}" + _END),
    ("npm-token", (b"npm_",), rb"(?<![A-Za-z0-9_])npm_[A-Za-z0-9]{36}" + _END),
    ("pypi-token", (b"pypi-AgEI",), rb"pypi-AgEI[\w-]{50,}"),
)

# --- values that only their surroundings give away

_PLACEHOLDER = re.compile(
    rb"(?i)[*x.#\-_]+$|[<$%{\[(]|\\u003c|(?:none|null|true|false|undefined|todo|tbd)$|.*(?:redacted|change.?me|example"
    rb"|placeholder|your[_-]|dummy|masked|hidden)|(?:env|file|vault|arn|secret|projects|op|ref|sha\d+|models|runs|s3|gs"
    rb"|dbfs|https?|os\.environ|process\.env)[:/.]"
)
_WORDS_ONLY = re.compile(rb"[/.~]?(?:[A-Za-z]+|\d{1,4}|v\d+)?(?:[-_./:@ |]+(?:[A-Za-z]+|\d{1,4}|v\d+))*[-_./:]?$")
_NUMBER = re.compile(rb"[\d.,:eE+\-TZ/ ]+(?:[smhd]|[kKMG]i?B?)?$")
_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
_SIGNS = b"!@#$%^&*+=?~"


def _looks_real(value: bytes, *, is_password: bool) -> bool:
    """Whether this is a value and no reference, name, placeholder or number.

    A password is rated by its kinds of letters (8 and more, a letter, and a digit or a sign); what is called token,
    secret or key must be machine-made: 16 and more, letters and digits, at least 3 bits a letter (a random one of 16
    hex digits has 3.2 in the median; English words of that length without digits are excluded by the digit).
    """
    if _PLACEHOLDER.match(value) or _WORDS_ONLY.match(value) or _NUMBER.match(value) or _UUID.match(value):
        return False
    letters = any(chr(byte).isalpha() for byte in value)
    digits = any(48 <= byte < 58 for byte in value)
    if is_password:
        return len(value) >= 8 and letters and (digits or any(byte in _SIGNS for byte in value)) and len(set(value)) > 4
    return len(value) >= 16 and letters and digits and _entropy_bits(value) >= 3.0


def _entropy_bits(value: bytes) -> float:
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


_SEPARATOR = rb"(?:\\*[\"'])?[ \t]*(?:=>|[:=])[ \t]*(?:[brfu]?\\*[\"'])?"
_VALUE = (
    rb"(?:(?<=\")[^\"\\\n]{8,256}(?=\\*\")|(?<=')[^'\\\n]{8,256}(?=\\*')"
    rb"|(?<![\"'])[^\s\"'\\,;&<>{}()\[\]|]{8,256}(?![(\[]))"
)
_PASSWORDS = (b"password", b"passwd", b"passphrase")
_SIGNS_AFTER = (b'"', b"=", b":", b"'", b"\\", b" =")
_NAMES: tuple[tuple[bytes, int, Sequence[bytes]], ...] = (
    (b"password", 2, (b"",)),
    (b"passwd", 2, (b"",)),
    (b"passphrase", 3, (b"",)),
    (b"token", -1, _SIGNS_AFTER),
    (b"secret", -1, _SIGNS_AFTER),
    (b"api_key", 1, (b"",)),
    (b"api-key", 1, (b"",)),
    (b"apikey", 1, (b"",)),
    (b"access_key", 5, (b"",)),
    (b"access-key", 5, (b"",)),
    (b"accesskey", 5, (b"",)),
    (b"secret_key", 5, (b"",)),
    (b"secret-key", 5, (b"",)),
    (b"secretkey", 5, (b"",)),
    (b"account_key", 6, (b"",)),
    (b"encryption_key", 9, (b"",)),
    (b"fernet_key", 5, (b"",)),
    (b"signing_key", 6, (b"",)),
    (b"auth_key", 3, (b"",)),
    (b"client-key-data", 9, (b"",)),
)
"""(name, where the sieve's three letters begin in it, what has to follow at once). The letters are ones that ordinary
words seldom have in a row; a common ending (`token`, `secret`) is only looked for together with its sign."""

_OF_A_LIST = re.compile(rb"(?i)(?:page|next|continuation|cont|pad|eos|bos|unk|sep|cls|mask|special|image|stop|sync)_?$")


@functools.cache
def _assigned(name: bytes) -> Finder:
    pattern = rb"(?i)" + re.escape(name) + _SEPARATOR + rb"(?P<value>" + _VALUE + rb")"
    is_password = name in _PASSWORDS

    def find(text: bytes, at: int) -> Span | None:
        match = _compiled(pattern).match(text, at)
        if match is None or _OF_A_LIST.search(text[max(0, at - 16) : at]):
            return None
        return match.span("value") if _looks_real(match["value"], is_password=is_password) else None

    return find


_IN_URL = re.compile(rb"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/@:\"'<>?#]*:([^\s@\"'<>]{3,})$")
_NO_PASSWORD = re.compile(rb"(?i)(?:pass(?:word)?|passwd|pwd|secret|token|key|user(?:name)?|[*x.]+|\d+(?:/.*)?|.*/.*)$")


def _in_url(sign_bytes: int) -> Finder:
    def find(text: bytes, at: int) -> Span | None:
        before = text[max(0, at - 300) : at]
        if sign_bytes > 1:
            before = unquote_to_bytes(before)
        begin = before.rfind(b"://")
        if begin < 0:
            return None
        match = _IN_URL.search(before, max(0, begin - 12))
        if not match or _NO_PASSWORD.match(match[1]) or _PLACEHOLDER.match(match[1]):
            return None
        host = text[at + sign_bytes : at + sign_bytes + 1]
        return (at - len(match[1]), at) if host.isalnum() or host in b"[$" else None

    return find


_DOCKER_AUTH = re.compile(rb"auth\\*\"\s*:\s*\\*\"([A-Za-z0-9+/]{8,}={0,2})\\*\"")
_HEADER = re.compile(
    rb"(?i)authorization(?:\\*[\"'])?\s*[:=,]\s*(?:\\*[\"'])?(?:bearer|basic|token)\s+([\w.~+/=-]{12,})"
)


def _docker_auth(text: bytes, at: int) -> Span | None:
    match = _DOCKER_AUTH.match(text, at)
    if match is None:
        return None
    try:
        plain = base64.b64decode(match[1], validate=True)
    except binascii.Error:
        return None
    user, colon, password = plain.partition(b":")
    return match.span(1) if colon and user and password and plain.isascii() else None


def _header(text: bytes, at: int) -> Span | None:
    match = _HEADER.match(text, at)
    if match is None or _PLACEHOLDER.match(match[1]) or len(set(match[1])) < 6:
        return None
    return match.span(1)


def _private_key() -> Finder:
    begin = re.compile(
        rb"-----BEGIN(?:[ +]|%20)(?:[A-Z0-9]+(?:[ +]|%20)){0,3}PRIVATE(?:[ +]|%20)KEY(?:[ +]|%20)?(?:BLOCK)?-----"
    )
    body = re.compile(_KEY_BODY)

    def find(text: bytes, at: int) -> Span | None:
        head = begin.match(text, at)
        match = head and body.match(text, head.end())
        return (at, match.end()) if match and len(set(match.group())) >= 12 else None

    return find


@functools.cache
def anchors() -> tuple[Anchor, ...]:
    """Every shape, each with the letters it is found by; plain and, where it can be, in base64."""
    plain = [
        Anchor(kind, literal, _whole(pattern, _is_varied), 5 if literal.startswith(b"hooks") else 0)
        for kind, literals, pattern in _TOKENS
        for literal in literals
    ]
    plain.append(Anchor("jwt", b"eyJ", _whole(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}", _is_jwt)))
    plain.append(Anchor("private-key", b"-----BEGIN", _private_key(), gram=4))
    plain.append(Anchor("docker-auth", b'auth"', _docker_auth, gram=2))
    plain.append(Anchor("docker-auth", b'auth\\"', _docker_auth, gram=2))
    plain.append(Anchor("authorization", b"authorization", _header, gram=5, any_case=True))
    plain.append(Anchor("password-in-url", b"%40", _in_url(3)))
    named = [
        Anchor(_kind_of(name), name + sign, _assigned(name), gram % (len(name + sign) - 2), any_case=True)
        for name, gram, signs in _NAMES
        for sign in signs
    ]
    hidden = [one for anchor in plain for one in _in_base64(anchor)]
    for kind, name in (
        ("password", b"password"),
        ("password", b"PASSWORD"),
        ("secret", b"secret"),
        ("secret", b"SECRET"),
    ):
        for sign in (b"=", b'"', b": "):
            find = _assigned(name.lower())
            hidden += _in_base64(Anchor(kind, name + sign, find))
    for scheme in (
        b"postgresql://",
        b"postgresql+psycopg://",
        b"mysql://",
        b"mysql+pymysql://",
        b"redis://",
        b"mongodb://",
    ):
        hidden += _in_base64(Anchor("password-in-url", scheme, _url_at_scheme))
    return (*plain, *named, *hidden)


AT_SIGN = Anchor("password-in-url", b"@", _in_url(1))
"""One byte is too short for the sieve; whoever scans looks for it separately."""


def _url_at_scheme(text: bytes, at: int) -> Span | None:
    sign = text.find(b"@", at, at + 300)
    return _in_url(1)(text, sign) if sign > 0 else None


def _kind_of(name: bytes) -> str:
    return "kubeconfig-key" if name == b"client-key-data" else "password" if name in _PASSWORDS else "secret"


def base64_forms(literal: bytes) -> tuple[tuple[int, bytes], ...]:
    """(bytes of its 4-letter group that stand before it, its base64 letters), for all three alignments.

    Only the letters that it determines alone: 2 are lost at the front of the second, 3 of the third alignment.
    """
    forms = []
    for before, lost in ((0, 0), (1, 2), (2, 3)):
        letters = base64.b64encode(b"\0" * before + literal)
        forms.append((before, letters[lost : (before + len(literal)) * 8 // 6]))
    return tuple(forms)


_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/_\r\n-]")


def decoded_at(text: bytes, start: int, longest: int = LOOK_AHEAD) -> bytes:
    """The bytes behind the base64 letters from `start` on, without line ends; letters before the text are A."""
    letters = b"A" * -min(start, 0) + text[max(start, 0) : start + longest]
    head = bytes(byte if chr(byte).isalnum() or byte in b"+/-_" else 65 for byte in letters[:3])
    end = _NOT_BASE64.search(letters, 3)
    run = (head + letters[3 : end.start() if end else None]).translate(bytes.maketrans(b"-_", b"+/"), b"\r\n")
    run = run[:-1] if len(run) % 4 == 1 else run
    return binascii.a2b_base64(run + b"=" * (-len(run) % 4))


def _in_base64(anchor: Anchor) -> list[Anchor]:
    found = []
    for before, letters in base64_forms(anchor.literal):
        lost = (0, 2, 3)[before]
        if len(letters) < 3:
            continue
        gram = max(range(len(letters) - 2), key=lambda at: _oddity(letters[at : at + 3]))

        def find(text: bytes, at: int, before: int = before, lost: int = lost) -> Span | None:
            inner = decoded_at(text, at - lost)
            if not anchor.stands_at(inner, before):
                return None
            span = anchor.find(inner, before)
            return None if span is None else (at, min(at + (span[1] - before) * 4 // 3, len(text)))

        found.append(Anchor(f"{anchor.kind}-in-base64", letters, find, gram))
    return found


def _oddity(letters: bytes) -> int:
    """How seldom words and hex digits have these letters in a row: capitals in the middle are best."""
    return sum(3 if 65 <= byte < 91 else 1 if 103 <= byte < 123 else 0 for byte in letters[1:]) * 2 + (letters[0] > 64)
