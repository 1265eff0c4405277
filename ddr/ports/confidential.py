"""What a connector implements that comes by secret values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class KnowsSecrets(Protocol):
    """A connector that comes by values which must be in no snapshot: the search looks for them everywhere."""

    def secret_values(self) -> Mapping[str, str]:
        """Values by a name for people. They are kept in memory, and no one tells them."""
        ...
