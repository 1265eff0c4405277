"""What one plane has live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ddr.domain import planes
from ddr.lib import digest

# Facts with a meaning to every room; connectors may add their own.
INPUTS_SCHEMA = "inputs_schema"  # digest of the column names and types a model wants / a feature set gives
EMBEDDER = "embedder"  # fingerprint of the embedder an index was built with / a service asks with
RUN = "run"  # training run
FLAVOR = "flavor"
BLOCKED = "blocked"  # why nothing may promote this revision any more


@dataclass(frozen=True)
class Revision:
    """One plane's revision: `name` is what its system calls it, `digest` what its bytes are ('' if unknown)."""

    plane: planes.Plane
    object: str
    name: str
    digest: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)

    def is_same(self, other: Revision) -> bool:
        """The same thing with the same bytes. A side without a digest is compared by name alone."""
        named = (self.plane, self.object, self.name) == (other.plane, other.object, other.name)
        return named and (not self.digest or not other.digest or self.digest == other.digest)

    def __str__(self) -> str:
        bytes_ = f" ({digest.short(self.digest)})" if self.digest else ""
        return f"{self.object}@{self.name}{bytes_}"
