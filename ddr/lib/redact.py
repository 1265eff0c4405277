"""Takes secrets out of text before it reaches a screen, a file or an error.

Two ways: values that are known to be secret (everything a `${env:...}` reference resolved to), and shapes that
are secret wherever they stand (passwords in URLs, access keys, bearer tokens, private keys).
"""

from __future__ import annotations

import re

MASK = "[redacted]"

_SHAPES = (
    (re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)(?=@)"), r"\1:" + MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), MASK),
    (re.compile(r"(?i)\b(authorization:\s*(?:bearer|basic)\s+)\S+"), r"\1" + MASK),
    (
        re.compile(
            r"(?i)\b((?:aws_)?(?:secret(?:_access)?_key|session_token|password|passwd|pwd|api_?key|access_token))"
            r"(\"?\s*[=:]\s*\"?)([^\s\"',;&]+)"
        ),
        r"\1\2" + MASK,
    ),
    (re.compile(r"\b(?:ghp|gho|ghs|xox[abp]|glpat)[-_][A-Za-z0-9-]{10,}"), MASK),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S), MASK),
)

_USER = re.compile(r"(?<=://)[^/\s@?#]+(?=@)")
_VALUES = re.compile(
    r"(?i)([?&#;](?:[\w.-]*[-_.])?(?:[a-z]*token|(?:api|access|private|secret|signing)?key|sig|signature|password|passwd|pwd|[a-z]*secret|auth)=)[^&#;\s]+"
)

LONGEST_FOREIGN_TEXT = 256


class Redactor:
    """Masks the known values and every secret shape. Values shorter than four characters are not searched."""

    def __init__(self, values: frozenset[str] = frozenset()) -> None:
        self._values = sorted((value for value in values if len(value) >= 4), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, MASK)
        for shape, masked in _SHAPES:
            text = shape.sub(masked, text)
        return text


_SHAPES_ONLY = Redactor()


def foreign(problem: object) -> str:
    """The text of somebody else's error: one line, cut short, secret shapes masked."""
    text = " ".join(_SHAPES_ONLY(str(problem)).split())
    return text if len(text) <= LONGEST_FOREIGN_TEXT else text[: LONGEST_FOREIGN_TEXT - 1] + "…"


def link(url: str) -> str:
    """A link that is kept for people: without who logs in, and without values that by their name let somebody in.

    However few letters they have. Only for links: elsewhere `?key=name` is no secret.
    """
    return _VALUES.sub(r"\1" + MASK, _USER.sub(MASK, _SHAPES_ONLY(url)))


def find_secret(text: str) -> bool:
    """Whether the text has the shape of a secret."""
    return _SHAPES_ONLY(text) != text
