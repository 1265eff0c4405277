"""What one plane has live."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ddr.domain import planes
from ddr.errors import Conflict
from ddr.lib import digest

# Facts with a meaning to every room; connectors may add their own.
INPUTS_SCHEMA = "inputs_schema"  # digest of the column names and types a model wants / a feature set gives
EMBEDDER = "embedder"  # fingerprint of the embedder an index was built with / a service asks with
RUN = "run"  # training run
FLAVOR = "flavor"
PYTHON = "python"  # version of Python a model was made with / a release runs on
REQUIREMENTS = "requirements"  # digest of the file that lists the packages
PACKAGES = "packages"  # those of it that are pinned, as `packages_of` writes them: a model's can be held to a release's
COMMIT = "commit"
DATA = "data"  # the data a model was trained on, `name@digest` each
BACKUP = "backup"  # the snapshot of the repository that holds what this revision needs
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


def is_held(pointed: Revision, held: Revision) -> bool:
    """Whether a server that holds `held` holds what its plane points at: the name, and the bytes where both are known.

    A server may call the object otherwise than its registry does.
    """
    return pointed.name == held.name and (not pointed.digest or not held.digest or pointed.digest == held.digest)


_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*==\s*([A-Za-z0-9][A-Za-z0-9.!+_-]*)")


def packages_of(requirements: str) -> str:
    """The packages that a requirements file pins, for `PACKAGES`: `name==version` by name, with commas between.

    Names as package indexes compare them: lower case, `-` for `_` and `.`. What is not pinned with == is left out.
    """
    found = {}
    for line in requirements.splitlines():
        pin = _PIN.match(line.strip())
        if pin:
            found[re.sub(r"[-_.]+", "-", pin[1]).lower()] = pin[2]
    return ",".join(f"{name}=={found[name]}" for name in sorted(found))


def versions_of(packages: str) -> dict[str, str]:
    """`PACKAGES` read back: versions by the names of packages."""
    return dict(pin.split("==", 1) for pin in packages.split(",") if "==" in pin)


_NUMBERS = {"integer", "int", "long", "bigint", "smallint", "tinyint", "float", "double", "real", "numeric", "decimal"}
_TEXTS = {"string", "str", "object", "text", "varchar", "char"}


def schema_digest(columns: Iterable[tuple[str, str]]) -> str:
    """Digest of column names and types for `INPUTS_SCHEMA`, comparable between systems.

    A model says `float` where a table says `REAL`: every number is `number`, every text `text`, any other type its
    own lower-case name; the order of the columns does not count.
    """
    return digest.of_value(sorted([name, _plain_type(kind)] for name, kind in columns))


def _plain_type(kind: str) -> str:
    plain = kind.strip().lower().partition("(")[0].rstrip("0123456789")
    if plain in _NUMBERS:
        return "number"
    return "text" if plain in _TEXTS else plain


def must_move(*, live: Revision, to: Revision, expect: Revision) -> bool:
    """Whether a switch has anything to do: False when `to` is live. Conflict when it is neither `to` nor `expect`."""
    if live.is_same(to):
        return False
    if live.is_same(expect):
        return True
    raise Conflict(
        f"{live.plane} is at {live}, not at {expect} as planned; nothing was changed",
        expected=str(expect),
        found=str(live),
        hint="someone moved it since the plan: look with `ddr changes`, then plan again",
    )


def must_be(found: Revision, wanted: Revision) -> Revision:
    """`found` when it is `wanted`. Conflict when it is another, or has other bytes."""
    if found.is_same(wanted):
        return found
    raise Conflict(
        f"{found.plane}: {found} is there, not {wanted} as planned",
        expected=str(wanted),
        found=str(found),
        hint="someone changed it since the plan: look with `ddr changes`, then plan again",
    )
