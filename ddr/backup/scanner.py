"""Finds secret values in what is about to be stored, before it is encrypted, and never says the value.

Two searches: known shapes (`shapes`, in base64 `hidden`) in text, and known values (what `${env:...}` resolved to, what
stands in `.env` files) in every byte, each as it is, percent-encoded, JSON-escaped, in UTF-16, in hex, and in base64 at
all three alignments. What is packed (`packages`), also gzip inside base64 (Helm releases, HTTP bodies), is opened on
the way and searched as well. Where findings overlap, the most telling one stays.
"""

from __future__ import annotations

import bisect
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from ddr.backup import hidden, packages, shapes, sieve, surroundings

SHORTEST_KNOWN_BYTES = 8
"""Shorter known values (a port, `admin`) stand everywhere by chance and are not searched."""

_GZIP_IN_BASE64 = b"H4sI"
_MOST_UNPACKED_BYTES = 256 << 20
_DEEPEST = 3
_MOST_FINDINGS = 1000
_SAMPLE_BYTES = 1024
_WIDE = "UTF-16"
_TEXT_SHARE = 0.7
_TEXT = bytes(range(32, 127)) + b"\t\n\r"
_HIGH = bytes(range(0x80, 0x100))


@dataclass(frozen=True)
class Finding:
    """A secret's place, never its value. `place` is `component/table params`, `component/path of a file`.

    `offset` counts bytes and `line` lines (from 1) of what was scanned under that place; inside something unpacked
    they are those of the package. `fingerprint` is keyed: equal values have equal ones, only for who has the key.
    """

    kind: str
    place: str
    offset: int
    line: int
    length: int
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.place}:{self.line}: {self.kind}, {self.length} bytes, fingerprint {self.fingerprint}"


def looks_binary(content: bytes, start: int = 0, stop: int | None = None) -> bool:
    """Whether less than 70 % of four samples is printable ASCII or part of UTF-8 text; zeros count for neither.

    Random bytes are 38 % printable, floats less, an MLflow pickle or protobuf full of names more than 80 %.
    """
    stop = len(content) if stop is None else stop
    step = max((stop - start) // 4, _SAMPLE_BYTES)
    sample = b"".join(content[at : min(at + _SAMPLE_BYTES, stop)] for at in range(start, stop, step)).replace(
        b"\0", b""
    )
    odd = sample.translate(None, _TEXT)
    if not sample or len(odd) <= len(sample) * (1 - _TEXT_SHARE):
        return False
    wide = len(odd) - len(odd.translate(None, _HIGH))
    if wide < len(odd) * 0.9:
        return True
    letters = sample.decode("utf-8", "ignore").encode()
    return len(sample) - len(letters) > len(sample) // 20


@dataclass
class _Package:
    """Something packed whose end has not come yet."""

    inner: Scanner
    form: str
    unpack: packages.Unpacking
    base64: bool
    at: int
    left: bytes = b""
    size_bytes: int = 0

    def feed(self, text: bytes) -> bool:
        """Whether more can follow."""
        more = True
        if self.base64:
            end = _AFTER_BASE64.search(text)
            run = self.left + (text[: end.start()] if end else text)
            run = run.translate(bytes.maketrans(b"-_", b"+/"), b"\r\n")
            whole = len(run) - len(run) % 4
            text, self.left, more = hidden.decoded(run[:whole]), run[whole:], end is None
        try:
            for part, plain in self.unpack.feed(text):
                self.size_bytes += len(plain)
                self.inner.feed(part, plain)
                if self.size_bytes >= _MOST_UNPACKED_BYTES and self.form != _WIDE:
                    return False
        except packages.Broken:
            return False
        return more and not self.unpack.done


@dataclass(frozen=True)
class _Seen:
    kind: str
    begin: int
    end: int
    line: int
    fingerprint: str


_GENERAL = ("docker-auth", "authorization", "kubeconfig-key", "password-in-url", "password", "secret")


def _rank(kind: str) -> int:
    """What is known by name tells most, then what is known by its own shape, last what only its surroundings tell."""
    if kind.startswith("known value "):
        return 0
    plain = kind.removesuffix("-in-base64")
    return 2 + _GENERAL.index(plain) if plain in _GENERAL else 1


_AFTER_BASE64 = re.compile(rb"[^A-Za-z0-9+/_\r\n-]")


class Scanner:
    """Fed with pieces in order; pieces of one place that follow each other are one text.

    `known` are values by a name for people (`env MLFLOW_PASSWORD`). `key` makes the fingerprints. `allow` are
    fingerprints, places, or beginnings of places that end in `*`: what is found there is counted in `allowed` and
    else left out. Not for several threads at once.
    """

    def __init__(self, known: Mapping[str, str], key: bytes, allow: Sequence[str] = ()) -> None:
        self.not_searched = tuple(name for name, value in known.items() if len(value.encode()) < SHORTEST_KNOWN_BYTES)
        self.allowed = 0
        self._known = _known_forms(known)
        self._key, self._allow = hashlib.blake2b(key, digest_size=32).digest(), tuple(allow)
        self._windows = sieve.by_width(self._known)
        self._found: dict[tuple[str, str, str], Finding] = {}
        self._depth = 0
        self._begin("")

    def _begin(self, place: str) -> None:
        self._place, self._tail, self._offset, self._done, self._lines = place, b"", 0, 0, 0
        self._held: bytes | None = None
        self._is_first = True
        self._behind = (b"", 0)
        self._packages: list[_Package] = []
        self._pending: list[_Seen] = []

    def feed(self, place: str, content: bytes) -> None:
        """The next piece of `place`. A secret across two pieces is found when the second one comes, or at the end."""
        if place != self._place:
            self._end()
            self._begin(place)
        if self._held is not None and self._is_first and len(self._held) < packages.SNIFF_BYTES:
            content = self._held + content  # too short to tell what it is
        elif self._held is not None:
            self._take(self._held, is_last=False)
        self._held = content  # looked at when it is known whether more follows: most places are one piece

    def finish(self) -> tuple[Finding, ...]:
        """All that was found, in the order of places. The scanner can go on after it."""
        self._end()
        self._begin("")
        return self.findings

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(sorted(self._found.values(), key=lambda one: (one.place, one.offset)))

    def _end(self) -> None:
        if self._held is not None:
            self._take(self._held, is_last=True)
        for package in list(self._packages):
            self._close(package)
        self._settle(None)

    def _take(self, content: bytes, *, is_last: bool) -> None:
        if self._is_first:
            self._is_first = False
            packed = packages.begun(content) if self._depth < _DEEPEST else None
            if packed is not None:
                self._packages.append(self._package(*packed, 0, base64=False))
        for package in list(self._packages):
            if not package.feed(content):
                self._close(package)
        self._look(content, is_last=is_last)

    def _look(self, content: bytes, *, is_last: bool) -> None:
        """Anchors are looked at once: as soon as LOOK_AHEAD bytes behind them are there, or nothing more comes."""
        text = self._tail + content if self._tail else content
        base = self._offset
        start = self._done - base
        stop = len(text) if is_last else max(len(text) - shapes.LOOK_AHEAD, start)
        if self._windows:
            self._look_for_known(text, base, start, stop)
        if stop > start and not looks_binary(text, start, stop):
            self._look_for_shapes(text, base, start, stop)
        if self._pending and not is_last:
            self._settle(base + stop - shapes.LOOK_BACK)
        if not is_last:
            self._count_lines()
            keep = max(stop - shapes.LOOK_BACK, 0)
            self._behind = (text, keep)
            self._tail, self._offset, self._done = text[keep:], base + keep, base + stop

    def _count_lines(self) -> None:
        """Those of the piece before: put off until they are asked for or the next piece comes."""
        text, stop = self._behind
        self._lines += sieve.count(text, ord("\n"), stop)
        self._behind = (b"", 0)

    def _look_for_known(self, text: bytes, base: int, start: int, stop: int) -> None:
        for windows in self._windows:
            for at, literal in windows.find(text):
                if start <= at < stop:
                    name, form = self._known[literal]
                    self._report(f"known value {name}{form}", text, base, (at, at + len(literal)))

    def _look_for_shapes(self, text: bytes, base: int, start: int, stop: int) -> None:
        anchors, grams = _compiled()
        for at in grams.find(text, start, stop):
            word = text[at : at + 3]
            for anchor in anchors.get(word, ()):
                span = anchor.look(text, at)
                if span:
                    self._report(anchor.kind, text, base, span)
            if word == b"H4s" and text.startswith(_GZIP_IN_BASE64, at):
                self._open(text, base, at)
        at = text.find(b"@", start, stop)
        while at >= 0:
            span = shapes.AT_SIGN.find(text, at)
            if span:
                self._report(shapes.AT_SIGN.kind, text, base, span)
            at = text.find(b"@", at + 1, stop)

    def _open(self, text: bytes, base: int, at: int) -> None:
        if self._depth >= _DEEPEST:
            return
        package = self._package("gzip", packages.gzip(), base + at, base64=True)
        self._packages.append(package)
        if not package.feed(text[at:]):
            self._close(package)

    def _package(self, form: str, unpack: packages.Unpacking, at: int, *, base64: bool) -> _Package:
        inner = Scanner.__new__(Scanner)
        inner.__dict__.update(self.__dict__)
        inner._found, inner._depth = {}, self._depth + 1
        inner._begin("")
        return _Package(inner, form, unpack, base64, at)

    def _close(self, package: _Package) -> None:
        self._packages.remove(package)
        form = f" in {package.form}" + ("+base64" if package.base64 else "")
        self._count_lines()
        for finding in package.inner.finish():
            self._keep(finding.kind + form, package.at, self._lines + 1, finding.length, finding.fingerprint)

    def _report(self, kind: str, text: bytes, base: int, span: shapes.Span) -> None:
        value = text[span[0] : span[1]]
        self._count_lines()
        line = self._lines + text.count(b"\n", 0, span[0]) + 1
        self._pending.append(_Seen(kind, base + span[0], base + span[1], line, self.fingerprint(value)))

    def _settle(self, before: int | None) -> None:
        """Keeps what was seen before that offset: of those that overlap the most telling one, each secret once."""
        ripe, self._pending = self._pending, []
        while before is not None and (open_ := [seen for seen in ripe if seen.begin < before < seen.end]):
            before = min(seen.begin for seen in open_)
        if before is not None:
            self._pending = [seen for seen in ripe if seen.end > before]
            ripe = [seen for seen in ripe if seen.end <= before]
        begins: list[int] = []
        ends: list[int] = []
        kept: list[_Seen] = []
        for seen in sorted(set(ripe), key=lambda one: (_rank(one.kind), one.begin - one.end, one.begin)):
            at = bisect.bisect_left(begins, seen.end)
            if not at or ends[at - 1] <= seen.begin:
                at = bisect.bisect_left(begins, seen.begin)
                begins.insert(at, seen.begin)
                ends.insert(at, seen.end)
                kept.append(seen)
        for seen in sorted(kept, key=lambda one: one.begin):
            self._keep(seen.kind, seen.begin, seen.line, seen.end - seen.begin, seen.fingerprint)

    def fingerprint(self, value: bytes) -> str:
        """16 hex digits of a keyed BLAKE2b: no confirmation of a guess without the key."""
        return hashlib.blake2b(value, key=self._key, digest_size=8).hexdigest()

    def _keep(self, kind: str, offset: int, line: int, length: int, fingerprint: str) -> None:
        if self._is_allowed(fingerprint):
            self.allowed += 1
        elif len(self._found) < _MOST_FINDINGS:
            finding = Finding(kind, self._place, offset, line, length, fingerprint)
            self._found.setdefault((self._place, kind, fingerprint), finding)

    def _is_allowed(self, fingerprint: str) -> bool:
        return any(
            entry in (fingerprint, self._place) or (entry.endswith("*") and self._place.startswith(entry[:-1]))
            for entry in (self._allow if self._depth == 0 else ())
        )


@functools.cache
def _compiled() -> tuple[Mapping[bytes, Sequence[shapes.Anchor | hidden.Hidden]], sieve.Finder]:
    """The anchors by the words that the sieve stops at, and the sieve: 0.1 s, once a process."""
    anchors: dict[bytes, list[shapes.Anchor | hidden.Hidden]] = {}
    every: tuple[shapes.Anchor | hidden.Hidden, ...] = (*shapes.anchors(), *surroundings.anchors(), *hidden.anchors())
    for anchor in every:
        for word in anchor.words():
            anchors.setdefault(word, []).append(anchor)
    return anchors, sieve.finder((*anchors, _GZIP_IN_BASE64[:3]))


def worth_knowing(values: Mapping[str, str]) -> dict[str, str]:
    """Of variables and their values those to search for: secret by name or by shape, long enough, no ordinary word."""
    return {
        name: secret
        for name, value in values.items()
        for secret in shapes.worth_knowing(name.partition(" ")[0], value)
        if len(secret.encode("utf-8", "surrogateescape")) >= SHORTEST_KNOWN_BYTES
    }


def _known_forms(known: Mapping[str, str]) -> dict[bytes, tuple[str, str]]:
    """Every spelling that is searched: literal -> (name, form). The plain one wins where two are the same."""
    forms: dict[bytes, tuple[str, str]] = {}
    for name, text in known.items():
        value = text.encode()
        if len(value) < SHORTEST_KNOWN_BYTES:
            continue
        forms.setdefault(value, (name, ""))
        for spelled in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], text.replace("/", "\\/")):
            forms.setdefault(spelled.encode(), (name, " in JSON"))
        for spelled in (quote(text), quote(text, safe=""), quote_plus(text)):
            forms.setdefault(spelled.encode(), (name, " percent-encoded"))
            forms.setdefault(_lower_percents(spelled).encode(), (name, " percent-encoded"))
        forms.setdefault("".join(f"%{byte:02X}" for byte in value).encode(), (name, " percent-encoded"))
        forms.setdefault("".join(f"%{byte:02x}" for byte in value).encode(), (name, " percent-encoded"))
        for codec in ("utf-16-le", "utf-16-be"):
            forms.setdefault(text.encode(codec, "replace"), (name, " in UTF-16"))
        forms.setdefault(value.hex().encode(), (name, " in hex"))
        forms.setdefault(value.hex().upper().encode(), (name, " in hex"))
        for _, letters in hidden.base64_forms(value):
            forms.setdefault(letters, (name, " in base64"))
            forms.setdefault(letters.translate(bytes.maketrans(b"+/", b"-_")), (name, " in base64"))
    return forms


def _lower_percents(text: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), text)


_SECRET_NAME = re.compile(
    r"(?i)(?:pass(?:word|wd|phrase)|_pass|pwd|token|secret|(?:api|access|account|encryption|auth)[_-]?key)$"
)


def pairs(keys: Iterable[str | None], values: Iterable[str | None]) -> bytes:
    """`key=value` lines of a table of names and values (params, tags), those whose name speaks of a secret.

    In a table the name and the value lie in different columns; the assignment is only seen when they are put together.
    """
    lines = (
        f'{key}="{value}"'
        for key, value in zip(keys, values, strict=True)
        if key and value and _SECRET_NAME.search(key)
    )
    return "\n".join(lines).encode("utf-8", "surrogateescape")
