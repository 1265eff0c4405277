"""What a source gave: references, and complaints about what was not understood."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ddr.domain import snapshots
from ddr.lib import redact

_LONGEST = 253  # what Kubernetes allows for a name
_NAME = re.compile(r"[\w.@:/+\-*#${}\[\] ]+")
_DENSE = re.compile(r"[A-Za-z0-9+/_\-=]{32,}")


def is_name(text: str) -> bool:
    """Whether it can be shown: no key of a secret looks like a secret."""
    if not 0 < len(text) <= _LONGEST or not _NAME.fullmatch(text) or redact.find_secret(text):
        return False
    return not any(_looks_random(word) for word in _DENSE.findall(text))


def _looks_random(word: str) -> bool:
    """Capitals, small letters and digits mixed, and changed often: no person calls a thing so."""
    kinds = [("A" if char.isupper() else "a" if char.islower() else "0" if char.isdigit() else "") for char in word]
    changes = sum(one != two for one, two in itertools.pairwise(kinds) if one and two)
    return len(set(filter(None, kinds))) == 3 and changes > len(word) // 4


@dataclass
class Found:
    """Collects; leaves out what does not look like a name, and counts it."""

    references: list[snapshots.Reference] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def add(self, name: str, kind: str, keys: Sequence[str] = (), origin: str = "") -> None:
        shown = tuple(dict.fromkeys(key for key in keys if is_name(key)))
        hidden = len(set(keys)) - len(shown)
        if hidden:
            self.complaints.append(f"{origin}: {hidden} keys do not look like names and are not told")
        if not is_name(name):
            self.complaints.append(f"{origin}: a name that does not look like one is not told")
            return
        self.references.append(snapshots.Reference(name, kind, shown, redact.foreign(origin)))
