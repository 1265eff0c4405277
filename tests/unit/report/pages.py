"""Reads an HTML page the way a browser would begin to: are its tags balanced, what would it load, what does it say."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input", "hr", "col"}
_LOADING = {"src", "href", "xlink:href", "srcset", "poster", "data", "action"}


@dataclass
class Page:
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""
    problems: list[str] = field(default_factory=list)

    def loads(self) -> list[str]:
        """Everything outside of the page that it names as a resource or a link."""
        found = []
        for tag, attributes in self.tags:
            for name, value in attributes.items():
                if name in _LOADING and not value.startswith("#"):
                    found.append(f"<{tag} {name}={value}>")
                if name.startswith("on"):
                    found.append(f"<{tag} {name}>: a handler")
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.page.problems.append(f"</{tag}> closes {self._open[-1:] or 'nothing'} at {self.getpos()}")
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.page.text += data

    def close(self) -> None:
        super().close()
        self.page.problems += [f"<{tag}> is never closed" for tag in self._open]


def read(html: str) -> Page:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.page
