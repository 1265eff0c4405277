"""What the parts of one restore share: both sides' rows, the server that is written to, what is which."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddr.connectors.mlflow.over_rest import client as clients
from ddr.connectors.mlflow.over_rest import mapping, spool
from ddr.connectors.mlflow.over_rest import scheme as schemes
from ddr.ports import restorable

MOST_TAGS = MOST_PARAMS = 100
MOST_METRICS = 1000
_MOST_BYTES = 700_000  # of the million that a batch may have


def _quiet(what: str, done: int, of: int) -> None:
    """Tells nobody."""


@dataclass
class Job:
    """`rows` are the chosen ones of the snapshot, `there` those of the target before anything was written."""

    source: restorable.Source
    options: restorable.RestoreOptions
    client: clients.Client
    rows: spool.Spool
    there: spool.Spool
    known: mapping.Map
    scheme: schemes.Scheme
    progress: restorable.Progress = _quiet

    @property
    def is_update(self) -> bool:
        return self.options.policy == "update"

    def experiments(self) -> Iterator[tuple[str, schemes.Decision]]:
        """Ids in the snapshot of those that are written to."""
        for identity, name in self.rows.ask("SELECT experiment_id, name FROM experiments ORDER BY experiment_id"):
            decision = self.scheme.experiments[str(name)]
            if decision.does != "leave":
                yield str(identity), decision

    def run_together(self, what: str, todo: Sequence[Any], work: Callable[[Any], object]) -> None:
        """Several at once, telling how far it is."""
        for done, _ in enumerate(self.client.each(todo, work), 1):
            if done % 20 == 0 or done == len(todo):
                self.progress(what, done, len(todo))


def pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """As the API takes tags and params."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def portions(items: Sequence[Mapping[str, Any]], most: int) -> Iterator[Sequence[Mapping[str, Any]]]:
    """As many as one call takes, by number and by size."""
    held: list[Mapping[str, Any]] = []
    size = 0
    for item in items:
        length = len(json.dumps(item))
        if held and (len(held) >= most or size + length > _MOST_BYTES):
            yield held
            held, size = [], 0
        held.append(item)
        size += length
    if held:
        yield held
