"""Lists that are believed only when they hold together: read from both ends, page after page, and compared.

The API has no count. A server or a proxy that stops early says nothing; read in the opposite order it stops at the
other end, and what only one of the two readings has gives it away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_ROUNDS = 3

Said = Mapping[str, Any]
Pages = Callable[[bool], Iterator[Sequence[Said]]]
"""The pages of a list; with True in the opposite order."""


@dataclass
class Doubts:
    """What makes a capture less than whole. `texts` go into the problem of the component."""

    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if text not in self.texts:
            self.texts.append(text)


def both_ends(
    what: str,
    pages: Pages,
    identity: Callable[[Said], str],
    take: Callable[[Sequence[Said]], None],
    doubts: Doubts,
    born: Callable[[Said], int] = lambda said: 0,
    began_ms: int = 0,
) -> int:
    """Everything of the list into `take`, each at least once; how many there are.

    What came to be after `began_ms` may be in one reading alone. A difference that stays is a doubt.
    """
    known: set[str] = set()
    missing = 0
    for _ in range(_ROUNDS):
        seen: list[set[str]] = []
        for is_reversed in (False, True):
            ids: set[str] = set()
            for page in pages(is_reversed):
                fresh = [said for said in page if identity(said) not in known]
                if fresh:
                    take(fresh)
                known |= {identity(said) for said in page}
                ids |= {identity(said) for said in page if not began_ms or born(said) < began_ms}
            seen.append(ids)
        missing = len(seen[0] ^ seen[1])
        if not missing:
            return len(known)
    doubts.add(
        f"{what}: the server gives {len(seen[0])} from one end and {len(seen[1])} from the other, {missing} in one of "
        f"them only; {len(known)} were captured, and nobody knows how many there are"
    )
    return len(known)
