"""Secrets that only the form around them gives away: netrc, pgpass, command lines, Kubernetes objects, short names.

`shapes` knows a secret by its own look or by a long name before it. Here the value may be any word: the form is so
narrow that what stands in its place is a password. Samples, references and placeholders do not fire.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections.abc import Iterator

from ddr.backup import shapes

_COMMON = re.compile(
    rb"(?i)(?:(?:my|your|the|new|old|db|user|some)?[-_]?(?:pass(?:word|wd|phrase)?|pwd?|pw|secret|token|key)"
    rb"|user(?:name)?|admin|root|test|guest|postgres|mysql|minio|value|string|none|foo|bar|baz|xxx+|\.\.\.|p[a@]ssw0rd)$"
)
"""What manuals write there, and what everybody tries first: to find it tells nobody anything."""


def _is_given(value: bytes) -> bool:
    """Whether somebody put a value there and no sample, variable or path."""
    return len(value) >= 4 and not (shapes.is_placeholder(value) or _COMMON.match(value) or value[:1] in b"/~`")


def _found(pattern: re.Pattern[bytes], text: bytes, at: int) -> shapes.Span | None:
    match = pattern.match(text, at)
    return match.span("value") if match and _is_given(match["value"]) else None


# --- netrc, pgpass

_NETRC_BEFORE = re.compile(rb"(?:machine\s+\S+|default)\s+login\s+(\S+)\s+(?:account\s+\S+\s+)?$")
_NETRC = re.compile(rb"password[ \t\r\n]+(?P<value>\S{1,256})")


def _netrc(text: bytes, at: int) -> shapes.Span | None:
    return _found(_NETRC, text, at) if _NETRC_BEFORE.search(text, max(0, at - 300), at) else None


_PGPASS = re.compile(
    rb"(?:[\w.*-]+|\[[0-9a-f:]+\]):(?:\d{2,5}|\*):[\w.*-]+:[\w.*@-]+:(?P<value>(?:[^\s:\\]|\\.){4,256})\s*$"
)


def _pgpass(text: bytes, at: int) -> shapes.Span | None:
    begin = max(text.rfind(b"\n", max(0, at - 300), at) + 1, 0)
    end = text.find(b"\n", at, at + 600)
    match = _PGPASS.match(text, begin, end if end >= 0 else min(len(text), at + 600))
    return match.span("value") if match and _is_given(match["value"]) and not match["value"].isdigit() else None


# --- command lines

_QUOTE = rb"(?:\\*[\"'])?"
_REST = rb"(?:[^\n|;&]|\\\r?\n){0,300}?"
_CURL = re.compile(rb"(?:curl|wget|http) " + _REST + rb"(?<=\s)(?:-u|--user|--proxy-user)[ =]?[ \t]*" + _QUOTE
                   + rb"(?P<user>[^\s:\"'$<{(/]{1,128}):(?P<value>[^\s\"'\\]{1,256})")  # fmt: skip
_MYSQL = re.compile(rb"(?:mysql|mariadb)(?:dump|admin|import|check|-\w+)?[ \t]" + _REST + rb"(?<=\s)-p" + _QUOTE
                    + rb"(?P<value>[^\s\"'\\=|;&]{1,256})")  # fmt: skip
_SSHPASS = re.compile(rb"sshpass[ \t]+-p[ \t]*" + _QUOTE + rb"(?P<value>[^\s\"'\\]{1,256})")
_REDIS = re.compile(
    rb"redis-cli[ \t]" + _REST + rb"(?<=\s)(?:-a|--pass)[ \t]+" + _QUOTE + rb"(?P<value>[^\s\"'\\]{1,256})"
)


def _curl(text: bytes, at: int) -> shapes.Span | None:
    match = _CURL.match(text, at)
    if match is None or match["user"].isdigit() or match["user"] == match["value"]:
        return None
    return match.span("value") if _is_given(match["value"]) else None


def _mysql(text: bytes, at: int) -> shapes.Span | None:
    match = _MYSQL.match(text, at)
    if (
        match is None
        or not _is_given(match["value"])
        or not any(byte in b"0123456789!@#$%^*+?~" for byte in match["value"])
    ):
        return None  # a word alone: `mysql -protocol` of somebody's prose
    return match.span("value")


def _line(pattern: re.Pattern[bytes]) -> shapes.Finder:
    return lambda text, at: _found(pattern, text, at)


# --- short names that end in pass and pwd

_SEPARATOR = rb"(?:\\*[\"'])?[ \t]*(?:=>|[:=])[ \t]*(?:[brfu]?\\*[\"'])?"
_WORD_VALUE = rb"(?:(?<=[\"'])[^\"'\\\n]{6,256}(?=\\*[\"'])|(?<![\"'])[^\s\"'\\,;&<>{}()\[\]|]{6,256}+(?![(\[]))"
_IDENTIFIER = re.compile(rb"[A-Za-z_]+\d{0,2}(?:[_.][A-Za-z_]*\d{0,3})+$")
_OF_WORK = re.compile(
    rb"(?i)(?:first|second|third|last|next|prev(?:ious)?|this|one|two|single|multi|each|by|fwd|bwd|forward|backward|back"
    rb"|fused?|train|eval|test|opt(?:imi[sz]ation)?|compil\w+|graph|ir|render|band|high|low|all|post|pre|joint|num|n|is|no"
    rb"|by|can|must|should|will|do|did|old)_$"
)


def _short(name: bytes) -> shapes.Finder:
    pattern = re.compile(rb"(?i)" + re.escape(name) + _SEPARATOR + rb"(?P<value>" + _WORD_VALUE + rb")")
    in_list = re.compile(rb"(?i)" + re.escape(name) + _LIST_VALUE + rb"(?P<value>" + _WORD_VALUE + rb")")

    def find(text: bytes, at: int) -> shapes.Span | None:
        match = pattern.match(text, at) or (
            in_list.match(text, at) if _NAMED.search(text, max(0, at - 100), at) else None
        )
        if match is None or match["value"][:1] in b"/~.-" or _IDENTIFIER.match(match["value"]):
            return None
        if _OF_WORK.search(text, max(0, at - 24), at + 1):
            return None
        real = shapes.looks_real(match["value"], is_password=True) and _is_given(match["value"])
        return match.span("value") if real else None

    return find


# --- lists of environment variables in Kubernetes: the name on one line, the value on the next

_LIST_VALUE = (
    rb"(?:[\"']?[ \t]*\r?\n[ \t]*value:[ \t]*[\"']?"
    rb"|\\*[\"'][ \t\r\n]*,[ \t\r\n]*\\*[\"']value\\*[\"'][ \t]*:[ \t]*\\*[\"'])"
)
_NAMED = re.compile(rb"name\\*[\"']?[ \t]*:[ \t]*\\*[\"']?[\w.-]*$")


@functools.cache
def _listed(name: bytes, *, is_password: bool) -> shapes.Finder:
    pattern = re.compile(rb"(?i)" + re.escape(name) + _LIST_VALUE + rb"(?P<value>" + _WORD_VALUE + rb")")

    def find(text: bytes, at: int) -> shapes.Span | None:
        match = pattern.match(text, at)
        if match is None or not _NAMED.search(text, max(0, at - 100), at):
            return None
        return match.span("value") if shapes.looks_real(match["value"], is_password=is_password) else None

    return find


# --- Kubernetes Secrets

_KIND = re.compile(rb"(?m)^[ \t]*(?:- )?kind:[ \t]*[\"']?(\w+)")
_BLOCK = re.compile(rb"(?m)^(?P<indent>[ \t]*)(?:- )?(?P<which>data|stringData):[ \t]*(?:#[^\n]*)?\r?\n")
_ENTRY = re.compile(rb"(?P<indent>[ \t]+)[\"']?(?P<key>[\w.-]+)[\"']?:[ \t]*(?P<value>[^\r\n]*?)[ \t]*\r?(?:\n|$)")
_JSON_BLOCK = re.compile(rb"\\*\"(?P<which>data|stringData)\\*\"\s*:\s*\{(?P<body>[^{}]*)\}")
_JSON_ENTRY = re.compile(rb"\\*\"(?P<key>[\w.-]+)\\*\"\s*:\s*\\*\"(?P<value>[^\"\\]*)\\*\"")
_JSON_KIND = re.compile(rb"\\*\"kind\\*\"\s*:\s*$")
_PUBLIC = (b".crt", b".pub", b".pem.pub", b"namespace", b"ca")


def _is_secret_value(which: bytes, key: bytes, value: bytes) -> bool:
    value = value.strip(b"\"' ")
    if key.endswith(_PUBLIC) or value.startswith(b"ENC["):
        return False
    if which == b"stringData":
        return _is_given(value) or value[:1] in (b"|", b">")
    try:
        plain = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return _is_given(plain.strip())


def _entries(text: bytes, block: re.Match[bytes]) -> Iterator[shapes.Span]:
    at, deep = block.end(), None
    while entry := _ENTRY.match(text, at):
        if len(entry["indent"]) <= len(block["indent"]) or (deep is not None and len(entry["indent"]) < deep):
            return
        deep = deep or len(entry["indent"])
        if len(entry["indent"]) == deep and _is_secret_value(block["which"], entry["key"], entry["value"]):
            yield entry.span("value")
        at = entry.end()


def _document(text: bytes, at: int) -> tuple[int, int]:
    """Where the YAML document around `at` begins and ends, as far as a shape may look."""
    low, high = max(0, at - shapes.LOOK_BACK), min(len(text), at + shapes.LOOK_AHEAD)
    begin, end = text.rfind(b"\n---", low, at), text.find(b"\n---", at, high)
    return (begin + 4 if begin >= 0 else low), (end if end >= 0 else high)


def _secret_data(text: bytes, at: int) -> shapes.Span | None:
    """From `data:` on: the object's kind may stand before or behind it."""
    block = _BLOCK.match(text, text.rfind(b"\n", max(0, at - 200), at) + 1)
    if block is None:
        return None
    begin, end = _document(text, at)
    indent = len(block["indent"])
    behind = _KIND.search(text, block.end(), end)
    before = next(iter(list(_KIND.finditer(text, begin, at))[-1:]), None)
    stop = re.compile(rb"(?m)^[ \t]{0,%d}- " % max(indent - 1, 0)).search(text, block.end(), end) if indent else None
    if behind is not None and stop is not None and stop.start() < behind.start():
        behind = None
    kind = before or behind
    if kind is None or kind[1] != b"Secret":
        return None
    spans = list(_entries(text, block))
    return (spans[0][0], spans[-1][1]) if spans else None


def _secret_json(text: bytes, at: int) -> shapes.Span | None:
    """From `"Secret"` as a kind on: the nearest data before or behind it."""
    if not _JSON_KIND.search(text, max(0, at - 20), at):
        return None
    blocks = _JSON_BLOCK.finditer(text, max(0, at - shapes.LOOK_BACK), min(len(text), at + shapes.LOOK_AHEAD))
    for block in sorted(blocks, key=lambda one: abs(one.start() - at)):
        spans = [
            entry.span("value")
            for entry in _JSON_ENTRY.finditer(text, *block.span("body"))
            if _is_secret_value(block["which"], entry["key"], entry["value"])
        ]
        if spans:
            return spans[0][0], spans[-1][1]
    return None


_SIGNS = (b"=", b":", b'"', b"'", b"\\", b" =", b"\n", b"\r")
_CLI = "password-in-command"


@functools.cache
def anchors() -> tuple[shapes.Anchor, ...]:
    """Each with the letters it is found by."""
    found = [
        shapes.Anchor("netrc-password", b"password", _netrc, gram=2),
        *(shapes.Anchor("pgpass-password", port, _pgpass, gram) for port, gram in _PORTS),
        shapes.Anchor(_CLI, b"curl ", _curl, gram=2),
        shapes.Anchor(_CLI, b"mysql", _mysql, gram=1),
        shapes.Anchor(_CLI, b"mariadb", _mysql, gram=4),
        shapes.Anchor(_CLI, b"sshpass", _line(_SSHPASS), gram=1),
        shapes.Anchor(_CLI, b"redis-cli", _line(_REDIS), gram=5),
        shapes.Anchor("kubernetes-secret", b"data:\n", _secret_data, gram=3),
        shapes.Anchor("kubernetes-secret", b"data:\r", _secret_data, gram=3),
        shapes.Anchor("kubernetes-secret", b"stringData:", _secret_data, gram=4),
        shapes.Anchor("kubernetes-secret", b'"Secret"', _secret_json, gram=0),
        shapes.Anchor("kubernetes-secret", b'"Secret\\"', _secret_json, gram=0),
        shapes.Anchor("password", b"pwd", _short(b"pwd"), any_case=True),
    ]
    for sign in _SIGNS:
        gram = 0 if sign == b" =" else 3
        found.append(shapes.Anchor("password", b"_pass" + sign, _short(b"_pass"), gram, any_case=True))
    for name in shapes.names():
        finder = _listed(name, is_password=shapes.kind_of(name) == "password")
        found += [
            shapes.Anchor(shapes.kind_of(name), name + sign, finder, len(name) - 2, any_case=True)
            for sign in (b"\n", b"\r", b'"')
        ]
    return tuple(found)


_PORTS = ((b":5432:", 1), (b":5433:", 1), (b":6432:", 1), (b":3306:", 1), (b":*:", 0))
