"""A dry run reads and cannot write."""

from __future__ import annotations

import pytest

from ddr.errors import Missing, Refused
from ddr.ports import store
from ddr.stores import dry_run


def test_reads_pass_and_writes_do_not(plain: store.Store) -> None:
    entry = plain.create("a/kept", b"kept")
    tried = dry_run.DryRun(plain)
    assert isinstance(tried, store.Store)
    assert (tried.name, tried.is_shared) == (f"{plain.name} (dry run)", plain.is_shared)
    assert (tried.get("a/kept"), tried.get("a/kept", 1, 2)) == (b"kept", b"ep")
    assert tried.head("a/kept") == entry
    assert list(tried.list("a/")) == [entry]
    assert list(tried.list("a/", after="a/kept")) == []
    with pytest.raises(Missing):
        tried.get("absent")
    for use, what in (
        (lambda: tried.create("new", b"12345"), "would create 'new' .5 bytes"),
        (lambda: tried.create("a/kept", b""), "would create 'a/kept'"),
        (lambda: tried.swap("a/kept", b"new", entry.version), f"would replace 'a/kept' at version {entry.version}"),
        (lambda: tried.swap("a/kept", b"new", "stale"), "would replace"),
        (lambda: tried.delete("a/kept"), "would delete 'a/kept'"),
        (lambda: tried.delete("absent"), "would delete"),
    ):
        with pytest.raises(Refused, match=what) as caught:
            use()
        assert "dry run" in caught.value.hint
    assert list(plain.list("")) == [entry]
