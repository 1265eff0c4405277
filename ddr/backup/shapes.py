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

    def look(self, text: bytes, at: int) -> Span | None:
        """The span of the secret whose word the sieve found at `at`."""
        begin = at - self.gram
        return self.find(text, begin) if begin >= 0 and self.stands_at(text, begin) else None


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


_SAMPLE = re.compile(
    rb"(?i)(?:abc|arg|bar|base|bcrypt|char|default|demo|field|float|foo|input|int|key|level|line|md|method|oauth|opt|page"
    rb"|para?m?|part|pass(?:wd|word)?|pbkdf|phase|pwd?|rule|sample|scrypt|secret|sha|step|str(?:ing)?|test|text|type|uint"
    rb"|user|utf|val(?:ue)?|var|ver(?:sion)?|argon|foobar|xyz)[-_]?\d+(?:\w{0,3})$|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$|.*[+]$"
)
"""Short values of code, documentation and algorithms."""

_PROSE = frozenset(
    b"a after again all an and any are as at authentication be been before box by can cannot change character "
    b"characters check config configuration confirm confirmation contains credentials current database "
    b"default description digits does encrypted encryption enter entered environment error empty expired "
    b"fallback field fields file for forgot form from has have hash hashed hidden if in incorrect input invalid "
    b"is it key label least length letters limit login long longer many match matches message minimum missing "
    b"must name needed needs new no none not null number of old on one only optional or our parameter passphrase "
    b"password passwords placeholder please policy prompt protected provided read reset required requires rules "
    b"same secret see set should shorter sign stored string strong system text than that the their them then "
    b"they this to token too type unknown unset use used user username users using valid value variable was weak "
    b"when which will with without wrong you your".split()
)
_WORD = re.compile(rb"[A-Za-z]+")


def _is_prose(value: bytes, most_words: int) -> bool:
    words = _WORD.findall(value.lower())
    return sum(word in _PROSE for word in words) > most_words


def _is_passphrase(value: bytes) -> bool:
    """Four and more words of three letters and more, not one of those that sentences and labels are made of."""
    words = value.split(b" ")
    return (
        4 <= len(words) <= 12
        and all(word.islower() and 3 <= len(word) <= 12 for word in words if not word.isdigit())
        and len(set(words)) >= 4
        and not _is_prose(value, 0)
    )


def is_placeholder(value: bytes) -> bool:
    """A variable, a reference, or a word that says that something else belongs there."""
    return bool(_PLACEHOLDER.match(value))


def looks_real(value: bytes, *, is_password: bool) -> bool:
    """Whether this is a value and no reference, name, placeholder or number.

    A password is rated by its kinds of letters (6 and more, a letter, and a digit or a sign; below 8 no name with a
    number behind it) or is a phrase of words that make no sentence; what is called token, secret or key must be
    machine-made: 16 and more, letters and digits, at least 3 bits a letter (a random one of 16 hex digits has 3.2 in
    the median; English words of that length without digits are excluded by the digit).
    """
    if _PLACEHOLDER.match(value) or _NUMBER.match(value) or _UUID.match(value):
        return False
    if _WORDS_ONLY.match(value):
        return is_password and _is_passphrase(value)
    letters = any(chr(byte).isalpha() for byte in value)
    digits = any(48 <= byte < 58 for byte in value)
    if not is_password:
        return len(value) >= 16 and letters and digits and _entropy_bits(value) >= 3.0
    if b" " in value and _is_prose(value, 1):
        return False
    if len(value) < 6 or (len(value) < 8 and (not digits or _SAMPLE.match(value))):
        return False
    return letters and (digits or any(byte in _SIGNS for byte in value)) and len(set(value)) > 4


def _entropy_bits(value: bytes) -> float:
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


_SEPARATOR = rb"(?:\\*[\"'])?[ \t]*(?:=>|[:=])[ \t]*(?:[brfu]?\\*[\"'])?"
_VALUE = (
    rb"(?:(?<=\")[^\"\\\n]{6,256}(?=\\*\")|(?<=')[^'\\\n]{6,256}(?=\\*')"
    rb"|(?<![\"'])[^\s\"'\\,;&<>{}()\[\]|]{6,256}+(?![(\[]))"
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
def assigned(name: bytes) -> Finder:
    pattern = rb"(?i)" + re.escape(name) + _SEPARATOR + rb"(?P<value>" + _VALUE + rb")"
    is_password = name in _PASSWORDS

    def find(text: bytes, at: int) -> Span | None:
        match = _compiled(pattern).match(text, at)
        if match is None or _OF_A_LIST.search(text[max(0, at - 16) : at]):
            return None
        return match.span("value") if looks_real(match["value"], is_password=is_password) else None

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
def tokens() -> tuple[Anchor, ...]:
    """Secrets that are known without a name before them."""
    found = [
        Anchor(kind, literal, _whole(pattern, _is_varied), 5 if literal.startswith(b"hooks") else 0)
        for kind, literals, pattern in _TOKENS
        for literal in literals
    ]
    found.append(Anchor("jwt", b"eyJ", _whole(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}", _is_jwt)))
    found.append(Anchor("private-key", b"-----BEGIN", _private_key(), gram=4))
    found.append(Anchor("docker-auth", b'auth"', _docker_auth, gram=2))
    found.append(Anchor("docker-auth", b'auth\\"', _docker_auth, gram=2))
    found.append(Anchor("authorization", b"authorization", _header, gram=5, any_case=True))
    found.append(Anchor("password-in-url", b"%40", _in_url(3)))
    return tuple(found)


def names() -> tuple[bytes, ...]:
    """What a secret is called where it is assigned."""
    return tuple(name for name, _, _ in _NAMES)


@functools.cache
def anchors() -> tuple[Anchor, ...]:
    """Every shape, each with the letters it is found by. `hidden.anchors` are the same in base64."""
    named = [
        Anchor(kind_of(name), name + sign, assigned(name), gram % (len(name + sign) - 2), any_case=True)
        for name, gram, signs in _NAMES
        for sign in signs
    ]
    return (*tokens(), *named)


AT_SIGN = Anchor("password-in-url", b"@", _in_url(1))
"""One byte is too short for the sieve; whoever scans looks for it separately."""


def url_from(text: bytes, at: int) -> Span | None:
    """The password of a URL whose scheme, or the `://` behind it, begins at `at`; printed letters only."""
    begin = text.find(b"://", at, at + 40)
    sign = text.find(b"@", begin, begin + 300) if begin >= 0 else -1
    span = _in_url(1)(text, sign) if sign > 0 else None
    return span if span and re.fullmatch(rb"[!-~]+", text[begin:sign]) else None


_SAYS_SECRET = re.compile(rb"(?i)pass|pwd|token|secret|key|credential|auth|private|salt|dsn|signature")
_PLAIN_URL = re.compile(rb"(?i)[a-z][a-z0-9+.-]*://|[~.]{0,2}/")


def worth_knowing(name: str, text: str) -> tuple[str, ...]:
    """What of a variable of an environment is secret: nothing, its value, or the password in its URL.

    Names, numbers, paths, hosts and words stand in every text; as known values they would stop every backup.
    """
    value = text.encode("utf-8", "surrogateescape")
    if _PLAIN_URL.match(value):
        span = url_from(value, 0)
        return (value[span[0] : span[1]].decode("utf-8", "surrogateescape"),) if span else ()
    if _PLACEHOLDER.match(value) or _NUMBER.match(value):
        return ()
    says_secret = bool(_SAYS_SECRET.search(name.encode("utf-8", "surrogateescape")))
    if _UUID.match(value):
        return (text,) if says_secret else ()
    return (text,) if looks_real(value, is_password=says_secret) else ()


def kind_of(name: bytes) -> str:
    return "kubeconfig-key" if name == b"client-key-data" else "password" if name in _PASSWORDS else "secret"
