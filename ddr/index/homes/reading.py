"""A version that is read while others may take it away."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from ddr.domain import indexes
from ddr.errors import Damaged, Missing, Unavailable
from ddr.index.homes import home


@contextlib.contextmanager
def held(of: home.Home, version: str, told: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """With a lease on it. Where none can be written without one, which is told as is a lease that stays, and what is
    not there any more by then is Missing, never damaged."""
    with contextlib.ExitStack() as leases:
        try:
            leases.enter_context(of.lease(version, told))
        except Missing:
            raise
        except Unavailable as problem:  # whoever cannot read it either hears that from what is read
            told(f"{version} is read without a lease, a gc may take it away meanwhile: {problem.message}")
        try:
            yield
        except (Damaged, Missing) as problem:
            _must_be_there(of, version, problem)
            raise


def proved(
    of: home.Home, version: str, look: Callable[[], indexes.Check], told: Callable[[str], None] = lambda text: None
) -> indexes.Check:
    """What `look` finds in it, while it is held. Missing where it was removed meanwhile: that is no damage."""
    with held(of, version, told):
        found = look()
        if found.findings:
            _must_be_there(of, version)
    return found


def _must_be_there(of: home.Home, version: str, problem: Exception | None = None) -> None:
    if version not in of.versions():
        raise Missing(f"{version} was removed meanwhile", hint="`ddr index list` says what there is") from problem
