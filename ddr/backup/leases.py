"""One prune at a time, and none where the clocks do not agree.

The lease protects work and not data: two prunes at once do no harm, since each looks again before it deletes.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from ddr.backup import graves, layout
from ddr.backup import repository as repositories
from ddr.errors import Conflict, Missing, Refused
from ddr.lib import timetext
from ddr.ports import store

SKEW = timedelta(minutes=10)
"""So far the clocks of those who write may be apart."""

SPAN = timedelta(minutes=30)


@dataclass(frozen=True)
class Lease:
    """As stored, in JSON."""

    owner: str
    until: datetime
    epoch: int


def take(at: store.Store, owner: str, now: datetime) -> Lease:
    """Raises Refused while somebody else prunes, Full where there is no room for it."""
    found = at.head(layout.LEASE)
    held = _held(at) if found is not None else None
    if held is not None and held.owner and held.until > now:
        raise _taken(at, held, now)
    lease = Lease(f"{owner} ({secrets.token_hex(4)})", now + SPAN, held.epoch + 1 if held else 1)
    content = msgspec.json.encode(lease)
    try:
        if found is None:
            at.create(layout.LEASE, content)
        else:
            at.swap(layout.LEASE, content, found.version)
    except Conflict:
        if _held(at) == lease:
            return lease  # the answer to our own first try got lost
        raise Refused(f"somebody else began to prune {at.name} just now", hint="wait for it") from None
    return lease


def take_if_room(at: store.Store, owner: str, now: datetime) -> Lease | None:
    """None on a full disk. The old lease, which nobody holds, is deleted then: its room is what a tombstone needs."""
    try:
        return take(at, owner, now)
    except store.Full:
        at.delete(layout.LEASE)
        return None


def renew(at: store.Store, lease: Lease, now: datetime) -> Lease:
    """The same for a span from now on; the lease as it is when half of it is left, or where a disk has no room.

    Raises Refused where somebody else has it meanwhile: this one was away for too long.
    """
    if lease.until - now > SPAN / 2:
        return lease
    found = at.head(layout.LEASE)
    if found is None or _held(at) != lease:
        held = _held(at) if found is not None else None
        raise _taken(at, held, now) if held is not None and held.owner and held.until > now else _lost(at)
    longer = Lease(lease.owner, now + SPAN, lease.epoch)
    try:
        at.swap(layout.LEASE, msgspec.json.encode(longer), found.version)
    except store.Full:
        return lease
    except Conflict:
        if _held(at) != longer:  # else the answer to our own first try got lost
            raise _lost(at) from None
    return longer


@dataclass
class Tenure:
    """A lease while somebody works under it; without one, on a full disk, nothing is asked."""

    store: store.Store
    lease: Lease | None
    moment: Callable[[], datetime]

    def renew(self) -> None:
        """To be called often: it costs nothing while more than half of the span is left. Refused."""
        if self.lease is not None:
            self.lease = renew(self.store, self.lease, self.moment())

    def end(self, *, is_full: bool = False) -> None:
        give_back(self.store, self.lease, is_full=is_full)


def nothing() -> None:
    """Renews nothing: for who only looks."""


def give_back(at: store.Store, lease: Lease | None, *, is_full: bool = False) -> None:
    """Others may prune at once. On a full disk nothing is written for that: the lease is deleted."""
    found = at.head(layout.LEASE) if lease is not None else None
    if lease is None or found is None or _held(at) != lease:
        return
    if not is_full:
        with contextlib.suppress(Conflict, store.Full):
            at.swap(layout.LEASE, msgspec.json.encode(Lease("", lease.until, lease.epoch)), found.version)
            return
    at.delete(layout.LEASE)


def check_names(repository: repositories.Repository, now: datetime) -> None:
    """Refused where something is dated in the future, unless the store knows that it was not written then."""
    dated = [(head.key, head.at) for head in repository.all_heads()]
    dated += [(stone.key, stone.at) for stone in graves.read(repository)]
    for key, at in dated:
        if at - now <= SKEW:
            continue
        written = _written_at(repository.store, key)
        if written is not None and written - now <= SKEW:
            continue  # it was another machine's clock, and is known to be; retention lets nothing be pushed out by it
        ahead = timetext.format_duration(at - now)
        raise Refused(
            f"{repository.store.name}: {key} is from {ahead} in the future: a clock is wrong; nothing is deleted",
            hint="correct the clock of this machine; if it is right, another one wrote that with a wrong clock: "
            "`ddr backup list` says which host, and prune works again when that time has come",
        )


def check_store_clock(at: store.Store, now: datetime) -> None:
    """Hold our clock against the store's, which has just written the lease. Raises Refused."""
    written = _written_at(at, layout.LEASE)
    if written is None or abs(written - now) <= SKEW:
        return
    apart = timetext.format_duration(abs(written - now))
    raise Refused(
        f"the clock of this machine is {apart} {'behind' if written > now else 'ahead of'} that of {at.name}; "
        "nothing is deleted",
        hint="correct the clock (`timedatectl`); `ddr backup run` works meanwhile, and loses nothing",
    )


def _written_at(at: store.Store, key: str) -> datetime | None:
    return at.written_at(key) if isinstance(at, store.Dated) else None


def _lost(at: store.Store) -> Refused:
    return Refused(
        f"the lease to prune {at.name} was taken by somebody else: this prune was away for longer than {SPAN}",
        hint="nothing is lost; `ddr backup prune` again when the other one is done",
    )


def _held(at: store.Store) -> Lease | None:
    """What is in the lease; nothing where it is damaged: it protects no data."""
    try:
        return msgspec.json.decode(at.get(layout.LEASE), type=Lease)
    except (msgspec.MsgspecError, Missing):
        return None


def _taken(at: store.Store, held: Lease, now: datetime) -> Refused:
    if held.until - now > SPAN + SKEW:
        ahead = timetext.format_duration(held.until - now)
        return Refused(
            f"{held.owner} took the lease to prune {at.name} until {ahead} from now, longer than any: a clock is wrong",
            hint=f"correct the clock of this machine; if it is right and nobody prunes, delete {layout.LEASE} by hand",
        )
    return Refused(
        f"{held.owner} prunes {at.name} until {held.until:%H:%M:%S} UTC at the latest",
        hint="wait for it; a prune that was killed gives its lease up at that time",
    )
