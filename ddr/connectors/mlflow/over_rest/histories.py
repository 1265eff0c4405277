"""Every point of every metric, the slow part: for many runs in one call where the server can, checked against what
the runs themselves say is the last point.

`get-history-bulk` answers for 100 runs and one metric at a time and stops silently after 25,000 points; an answer of
that size is asked for again in halves. Servers without it are asked for one metric of one run at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ddr.connectors.mlflow.over_rest import client as clients
from ddr.connectors.mlflow.over_rest import listing, shapes, spool
from ddr.errors import DdrError

RUNS_A_CALL = 100
MOST_POINTS = 25_000
_BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
_PAGE = 25_000

Points = dict[str, list[shapes.Row]]
"""Run to rows of metric_history."""


@dataclass
class Histories:
    client: clients.Client
    rows: spool.Spool
    doubts: listing.Doubts
    has_bulk: bool = True
    points: int = 0
    gone: set[str] = field(default_factory=set)

    def pieces(self) -> Iterator[Sequence[shapes.Row]]:
        """Rows of metric_history, sorted by run and key; the runs of one call at a time."""
        if self.has_bulk:
            self._try_bulk()
        groups = self._groups()
        work = self._group if self.has_bulk else self._one_by_one
        for found in self.client.each(groups, work):
            found = sorted(found, key=lambda row: (row[0], row[1], row[2], row[3], str(row[4])))
            self.points += len(found)
            yield found

    def _groups(self) -> Iterator[dict[str, dict[str, shapes.Row]]]:
        """Runs with their last points, some at a time."""
        held: dict[str, dict[str, shapes.Row]] = {}
        for piece in self.rows.pieces("run_metrics"):
            for row in piece:
                run, key = str(row[0]), str(row[1])
                if run not in held and len(held) == RUNS_A_CALL:
                    yield held
                    held = {}
                held.setdefault(run, {})[key] = row
        if held:
            yield held

    def _try_bulk(self) -> None:
        first = self.rows.ask("SELECT run_id, key FROM run_metrics LIMIT 1")
        if first:
            try:
                self._bulk([str(first[0][0])], str(first[0][1]))
            except DdrError:
                self.has_bulk = False

    def _group(self, last: Mapping[str, Mapping[str, shapes.Row]]) -> list[shapes.Row]:
        by_key: dict[str, list[str]] = defaultdict(list)
        for run, keys in last.items():
            for key in keys:
                by_key[key].append(run)
        found: list[shapes.Row] = []
        for key, runs in by_key.items():
            given = self._split(runs, key)
            for run in runs:
                found += self._believed(run, key, given.get(run, []), last[run][key])
        return found

    def _split(self, runs: Sequence[str], key: str) -> Points:
        found = self._bulk(runs, key)
        if sum(map(len, found.values())) < self.client.page(MOST_POINTS):
            return found
        if len(runs) == 1:
            return {runs[0]: self._paged(runs[0], key)}
        half = len(runs) // 2
        return {**self._split(runs[:half], key), **self._split(runs[half:], key)}

    def _bulk(self, runs: Sequence[str], key: str) -> Points:
        query = [("run_id", run) for run in runs]
        query += [("metric_key", key), ("max_results", str(self.client.page(MOST_POINTS)))]
        said = self.client.get(_BULK, query)
        found: Points = {}
        for point in said.get("metrics", ()):
            found.setdefault(str(point["run_id"]), []).append(_row(str(point["run_id"]), key, point))
        return found

    def _one_by_one(self, last: Mapping[str, Mapping[str, shapes.Row]]) -> list[shapes.Row]:
        found: list[shapes.Row] = []
        for run, keys in last.items():
            for key, point in keys.items():
                found += self._believed(run, key, self._paged(run, key), point)
        return found

    def _paged(self, run: str, key: str) -> list[shapes.Row]:
        size = str(self.client.page(_PAGE))

        def ask(token: str) -> Mapping[str, Any]:
            query = {"run_id": run, "metric_key": key, "max_results": size, **({"page_token": token} if token else {})}
            return self.client.get(f"{clients.API2}/metrics/get-history", query)

        return [_row(run, key, point) for page in self.client.pages(ask, "metrics") for point in page]

    def _believed(self, run: str, key: str, found: list[shapes.Row], last: shapes.Row) -> list[shapes.Row]:
        """The points, when the one that the run calls its last is among them."""
        if _has(found, last):
            return found
        again = self._paged(run, key)
        if _has(again, last):
            return again
        self.doubts.add(
            f"metric {key!r} of run {run}: its {len(again)} points lack the one that the run calls its last "
            f"(step {last[4]}): the server gives less than it has"
        )
        return again


def _row(run: str, key: str, point: Mapping[str, Any]) -> shapes.Row:
    return run, key, int(point.get("step") or 0), int(point.get("timestamp") or 0), float(point.get("value") or 0.0)


def _has(found: Sequence[shapes.Row], last: shapes.Row) -> bool:
    _, _, value, timestamp, step = last
    return any(
        row[2] == step and row[3] == timestamp and (row[4] == value or (shapes.is_nan(row[4]) and shapes.is_nan(value)))
        for row in found
    )
