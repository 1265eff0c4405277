"""The file of a deployment that names the image: a values file, an environment file, a file with one line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ddr.errors import Away, Conflict, Damaged, Refused, Unavailable
from ddr.lib import openfiles, redact, spliced

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
LOCK = ".lock"
UNLOCKED = "stop a deployer who writes the file without its lock, or a GitOps tool that brings it back from git"
_NO_TAG = "pinned"  # stands before a digest where a chart has room for a tag only and the tag is not known


@dataclass(frozen=True)
class Reference:
    """As the file says it: `text`. `name` is '' where it says a tag or a digest alone."""

    text: str
    name: str
    tag: str
    digest: str

    @property
    def image(self) -> str:
        """What to ask the registry for."""
        return self.digest or self.tag

    def pinned(self, to: str) -> str:
        """The same reference to another digest, in the form that the file has."""
        if self.name:
            return f"{self.name}@{to}"
        return to if self.text == self.digest else f"{_NO_TAG}@{to}"


def parse(text: str) -> Reference | None:
    """`host/name:tag@sha256:…` or parts of it; None when it is none."""
    rest, _, digest = text.partition("@")
    if DIGEST.fullmatch(rest):
        rest, digest = "", rest if not digest else "twice"
    if (digest and not DIGEST.fullmatch(digest)) or rest.endswith(":"):
        return None
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag = rest, ""
    if not name and not tag:
        return Reference(text, "", "", digest) if digest else None
    if not tag and "/" not in name and TAG.fullmatch(name):  # a word alone is a tag: the chart says the name elsewhere
        name, tag = "", name
    if tag and not TAG.fullmatch(tag):
        return None
    if name and not re.fullmatch(r"[a-z0-9][A-Za-z0-9._:/-]*", name):
        return None
    return Reference(text, name, "" if tag == _NO_TAG and digest else tag, digest)


@dataclass(frozen=True)
class File:
    """`key` is a path in YAML (`image`, `images.0.digest`), a variable elsewhere, '' for a file with one line."""

    path: Path
    key: str
    repository: str
    lock_timeout_s: float = 5.0

    @property
    def place(self) -> str:
        return f"{self.path}: {self.key}" if self.key else str(self.path)

    def read(self) -> Reference:
        """Away, Unavailable; Damaged when it names no image, Refused when it names another one."""
        return self._parsed(self._spot(self._text()).value)

    def said_in(self, content: bytes) -> Reference:
        """What another content of the file says: one of its past. As `read`."""
        return self._parsed(self._spot(content.decode(errors="replace")).value)

    def swap(self, expect: Reference, to: str) -> None:
        """Name the digest `to` where `expect` stands: of two callers at once, one wins.

        Conflict when something else stands there, and nothing was changed; Unavailable when somebody keeps the lock.
        """
        with openfiles.locked(self.path.resolve().with_name(LOCK), self.lock_timeout_s):
            text = self._text()
            spot = self._spot(text)
            if spot.value != expect.text:
                raise Conflict(
                    f"{self.place} says {spot.value}, not {expect.text}; nothing was changed",
                    expected=expect.text, found=spot.value, hint="someone changed it since the plan: plan again",
                )  # fmt: skip
            try:
                spliced.rewrite(self.path, spot.put(text, expect.pinned(to)).encode())
            except OSError as problem:
                raise Unavailable(
                    f"{self.path} cannot be written: {redact.foreign(problem)}", hint="look at its rights and its disk"
                ) from problem

    def _text(self) -> str:
        try:
            return self.path.read_bytes().decode()
        except (FileNotFoundError, NotADirectoryError):
            raise Away(f"there is no {self.path}", hint="look at `file` in ddr.yaml") from None
        except UnicodeDecodeError as problem:
            raise Damaged(f"{self.path} is no text", hint="look at `file` in ddr.yaml") from problem
        except OSError as problem:
            raise Unavailable(
                f"{self.path} cannot be read: {redact.foreign(problem)}", hint="look at its rights"
            ) from problem

    def _spot(self, text: str) -> spliced.Spot:
        try:
            if not self.key:
                return spliced.in_lines(text)
            if self.path.suffix in (".yaml", ".yml"):
                return spliced.in_yaml(text, self.key.split("."))
            return spliced.in_env(text, self.key)
        except spliced.NoSpot as problem:
            raise Damaged(f"{self.path}: {problem}", hint="look at `file` and `key` in ddr.yaml") from problem

    def _parsed(self, text: str) -> Reference:
        found = parse(text)
        if found is None:
            raise Damaged(f"{self.place} says {redact.foreign(text)!r}, which is no image", hint="correct it by hand")
        if found.name and found.name != self.repository and not found.name.endswith(f"/{self.repository}"):
            raise Refused(
                f"{self.place} names {found.name}, not {self.repository}", hint="correct `repository` or `key`"
            )
        return found
