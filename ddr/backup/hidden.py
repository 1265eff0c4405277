"""Shapes of secrets in base64: at all three alignments, also where the lines are wrapped.

Four letters stand for three bytes, so a name has three spellings, of which only the middle letters are determined by it
alone. A line may end in the midst of one: each spelling is looked for by two words of three letters that do not
overlap, of which the line's end can cut only one.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ddr.backup import shapes

_LOST = (0, 2, 3)
"""Letters at the front of a spelling that also depend on the bytes before it."""

_BEFORE_LETTERS = 24  # 18 bytes: what stands before a name says whether it is a list of tokens
_SHORT_REACH = 720  # letters that a name with its value, and a URL up to its host, are in
_LINE_ENDS = b"\r\n"
_URLSAFE = bytes.maketrans(b"-_", b"+/")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/_\r\n-]")


def base64_forms(literal: bytes) -> tuple[tuple[int, bytes], ...]:
    """(bytes of its 4-letter group that stand before it, its base64 letters), for all three alignments.

    Only the letters that it determines alone: 2 are lost at the front of the second, 3 of the third alignment.
    """
    forms = []
    for before, lost in enumerate(_LOST):
        letters = base64.b64encode(b"\0" * before + literal)
        forms.append((before, letters[lost : (before + len(literal)) * 8 // 6]))
    return tuple(forms)


def decoded(letters: bytes) -> bytes:
    """The bytes behind the base64 letters at the beginning, line ends left out; an odd letter at the end is left."""
    end = _NOT_BASE64.search(letters)
    run = (letters[: end.start()] if end else letters).translate(_URLSAFE, _LINE_ENDS)
    run = run[:-1] if len(run) % 4 == 1 else run
    return binascii.a2b_base64(run + b"=" * (-len(run) % 4))


def _letters_before(text: bytes, at: int, count: int) -> bytes:
    """That many base64 letters up to `at`; A where there are none."""
    run = text[max(0, at - count - 4) : at].translate(None, _LINE_ENDS)[-count:]
    odd = max((match.end() for match in _NOT_BASE64.finditer(run)), default=0)
    return b"A" * (count - len(run) + odd) + run[odd:]


@dataclass(frozen=True)
class Hidden:
    """`literal` are the letters of a spelling of `inner.literal`, `gram` where the sieve's three begin in them."""

    kind: str
    literal: bytes
    gram: int
    before: int
    inner: shapes.Anchor
    reach: int

    def words(self) -> tuple[bytes, ...]:
        return (self.literal[self.gram : self.gram + 3],)

    def look(self, text: bytes, at: int) -> shapes.Span | None:
        """The span of the secret whose word stands at `at`."""
        begin = self._begin(text, at)
        if begin < 0:
            return None
        lead = _BEFORE_LETTERS + _LOST[self.before]
        inner = decoded(_letters_before(text, begin, lead) + text[begin : begin + self.reach])
        start = _BEFORE_LETTERS // 4 * 3 + self.before
        if not self.inner.stands_at(inner, start):
            return None
        span = self.inner.find(inner, start)
        return None if span is None else (begin, min(begin + -(-(span[1] - start) * 4 // 3), len(text)))

    def _begin(self, text: bytes, at: int) -> int:
        """Where the literal begins, -1 where it does not stand here."""
        begin = at - self.gram
        if begin >= 0 and text.startswith(self.literal, begin):
            return begin
        if text.find(b"\n", max(begin - 4, 0), at + len(self.literal) - self.gram + 4) < 0:
            return -1
        behind, ahead = self.literal[: self.gram], self.literal[self.gram :]
        following = text[at : at + len(ahead) + 4]
        if not following.translate(None, _LINE_ENDS).startswith(ahead):
            return -1
        before = text[max(0, at - len(behind) - 4) : at]
        if not before.translate(None, _LINE_ENDS).endswith(behind):
            return -1
        begin = at
        for _ in behind:
            begin -= 1
            while text[begin] in _LINE_ENDS:
                begin -= 1
        return begin


_CAMEL = {b"apikey": (b"apiKey", b"ApiKey"), b"accesskey": (b"accessKey", b"AccessKey"),
          b"secretkey": (b"secretKey", b"SecretKey")}  # fmt: skip
_SCHEMES = (b"postgres", b"mysql", b"amqp", b"mongodb", b"redis", b"http")


@functools.cache
def anchors() -> tuple[Hidden, ...]:
    """Every shape that base64 may hide. `shapes.anchors` are the plain ones."""
    wanted: list[tuple[shapes.Anchor, int]] = []
    for anchor in shapes.tokens():
        spelled = (anchor.literal, anchor.literal.capitalize()) if anchor.any_case else (anchor.literal,)
        wanted += [(_of(anchor.kind, literal, anchor), shapes.LOOK_AHEAD) for literal in spelled]
    for name in shapes.names():
        for literal in dict.fromkeys((name.lower(), name.upper(), name.capitalize(), *_CAMEL.get(name, ()))):
            find = shapes.assigned(name)
            wanted.append((shapes.Anchor(shapes.kind_of(name), literal, find), _SHORT_REACH))
    for sign in (b"://", *_SCHEMES):
        wanted.append((shapes.Anchor("password-in-url", sign, shapes.url_from), _SHORT_REACH))
    forms = [
        (anchor, reach, before, letters)
        for anchor, reach in wanted
        for before, letters in base64_forms(anchor.literal)
        if len(letters) >= 3
    ]
    shared = Counter(word for *_, letters in forms for word in {letters[at : at + 3] for at in _places(letters)})
    return tuple(
        Hidden(f"{anchor.kind}-in-base64", letters, gram, before, anchor, reach)
        for anchor, reach, before, letters in forms
        for gram in _grams(letters, shared)
    )


def _of(kind: str, literal: bytes, anchor: shapes.Anchor) -> shapes.Anchor:
    return shapes.Anchor(kind, literal, anchor.find)


_SMALL = re.compile(rb"[a-z]*[aeiou][a-z]*")  # plain text is full of them
_HEX = re.compile(rb"[0-9a-f]+")  # and digests of these


def _places(letters: bytes) -> range:
    return range(len(letters) - 2)


def _grams(letters: bytes, shared: Counter[bytes]) -> Iterable[int]:
    """The two best words that do not overlap: such as text seldom has, then such as other spellings have as well."""

    def rank(at: int) -> tuple[int, ...]:
        word = letters[at : at + 3]
        return (
            _SMALL.fullmatch(word) is None,
            _HEX.fullmatch(word) is None,
            _oddity(word) >= 6,
            shared[word],
            _oddity(word),
        )

    pairs = [(one, two) for one in _places(letters) for two in _places(letters) if two - one >= 3]
    if not pairs:
        return (max(_places(letters), key=rank),)
    best = max(pairs, key=lambda pair: [sum(marks) for marks in zip(*map(rank, pair), strict=True)])
    return [at for at in best if rank(at)[0]] or (max(_places(letters), key=rank),)


def _oddity(letters: bytes) -> int:
    """How seldom words and hex digits have these letters in a row: capitals in the middle are best."""
    return sum(3 if 65 <= byte < 91 else 1 if 103 <= byte < 123 else 0 for byte in letters[1:]) * 2 + (letters[0] > 64)
