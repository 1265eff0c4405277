"""Fixtures for the whole suite. Real servers are in `tests/servers.py`; more may be named here."""

from __future__ import annotations

pytest_plugins = ("tests.servers", "tests.sandboxes", "tests.postgres", "tests.mysql")
