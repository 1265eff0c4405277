"""The virtual time of a sandbox: a file that only the traffic driver moves."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from ddr.errors import Damaged, Unavailable
from ddr.lib import durable, timetext
from ddr.sandbox import layout


def read(root: Path) -> datetime:
    """Platform time. Unavailable where there is no `clock.json`, Damaged where `clock.json` cannot be read."""
    path = layout.Layout(root).clock
    try:
        return timetext.parse_time(str(json.loads(path.read_text())["now"]))
    except FileNotFoundError:
        raise Unavailable(
            f"{path} is not there: the sandbox has no time",
            hint='write {"now": "<time>"} with the time of the last line of serving/predictions.jsonl, '
            "or `ddr sandbox up` another one",
        ) from None
    except (ValueError, KeyError, TypeError) as problem:
        raise Damaged(
            f"{path} does not say what time it is: {problem}",
            hint='write {"now": "<time>"} with the time of the last line of serving/predictions.jsonl',
        ) from problem


def write(root: Path, now: datetime) -> None:
    durable.replace(layout.Layout(root).clock, json.dumps({"now": timetext.format_time(now)}).encode() + b"\n")


class SandboxClock:
    """`lib.clock.Clock` by which ddr lives beside a sandbox: waiting there means traffic flows meanwhile."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def now(self) -> datetime:
        return read(self._root)

    def sleep(self, seconds: float) -> None:
        from ddr.sandbox import traffic

        traffic.Driver(self._root).advance(seconds)
