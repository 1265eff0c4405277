"""Traces into the spool; their spans, the largest part of many servers, are passed on as they come."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ddr.connectors.mlflow.over_rest import client as clients
from ddr.connectors.mlflow.over_rest import listing, shapes, spool
from ddr.lib import timetext

SIZES = "mlflow.trace.sizeStats"
_INFOS_PAGE, _SPANS_A_CALL = 200, 20
_KEPT_ELSEWHERE = ("trace_location", "trace_metadata", "tags", "assessments")


@dataclass
class Tracing:
    client: clients.Client
    rows: spool.Spool
    doubts: listing.Doubts
    began_ms: int

    def traces(self) -> None:
        """Of every experiment."""
        for _ in self.client.each(sorted(map(str, self.rows.keys("experiments"))), self._of):
            pass

    def span_pieces(self) -> Iterator[Sequence[shapes.Row]]:
        """Rows of trace_spans by trace; checked against how many spans a trace says it has."""
        yield from self.client.each(self._groups(), self._spans)

    def _groups(self) -> Iterator[list[str]]:
        for piece in self.rows.pieces("traces"):
            ids = [str(row[0]) for row in piece]
            yield from (ids[at : at + _SPANS_A_CALL] for at in range(0, len(ids), _SPANS_A_CALL))

    def _of(self, experiment: str) -> None:
        place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}

        def pages(is_reversed: bool) -> Iterator[Sequence[listing.Said]]:
            def ask(token: str) -> Mapping[str, Any]:
                body = {
                    "locations": [place],
                    "max_results": self.client.page(_INFOS_PAGE),
                    "order_by": ["timestamp_ms DESC" if is_reversed else "timestamp_ms ASC"],
                    **({"page_token": token} if token else {}),
                }
                return self.client.look(f"{clients.API3}/traces/search", body)

            return self.client.pages(ask, "traces")

        def take(said: Sequence[listing.Said]) -> None:
            self._take(experiment, said)

        listing.both_ends(
            f"traces of experiment {experiment}",
            pages,
            lambda said: str(said["trace_id"]),
            take,
            self.doubts,
            lambda said: milliseconds(str(said.get("request_time") or "")),
            self.began_ms,
        )

    def _take(self, experiment: str, said: Sequence[listing.Said]) -> None:
        rows = (shapes.row("traces", one, _KEPT_ELSEWHERE, experiment_id=experiment) for one in said)
        self.rows.add("traces", rows)
        for table, part in (("trace_tags", "tags"), ("trace_metadata", "trace_metadata")):
            self.rows.add(
                table, ((one["trace_id"], key, value) for one in said for key, value in (one.get(part) or {}).items())
            )
        self.rows.add(
            "trace_assessments",
            (
                (one["trace_id"], str(given["assessment_id"]), shapes.text(given))
                for one in said
                for given in one.get("assessments", ())
            ),
        )

    def _spans(self, traces: Sequence[str]) -> list[shapes.Row]:
        said = self.client.get(f"{clients.API3}/traces/batchGet", [("trace_ids", one) for one in traces])
        found: list[shapes.Row] = []
        counted: dict[str, int] = {}
        for trace in said.get("traces", ()):
            identity = str(trace["trace_info"]["trace_id"])
            rows = [(identity, str(span["span_id"]), shapes.text(span)) for span in trace.get("spans", ())]
            counted[identity] = len(rows)
            found += rows
        self._check(traces, counted)
        return sorted(found)

    def _check(self, traces: Sequence[str], counted: Mapping[str, int]) -> None:
        marks = ", ".join("?" * len(traces))
        query = f"SELECT trace_id, value FROM trace_metadata WHERE key = '{SIZES}' AND trace_id IN ({marks})"  # noqa: S608
        for identity, sizes in self.rows.ask(query, list(traces)):
            try:
                expected = int(json.loads(str(sizes))["num_spans"])
            except (ValueError, KeyError, TypeError):
                continue
            if counted.get(str(identity), 0) != expected and self._is_stored_here(str(identity)):
                self.doubts.add(
                    f"trace {identity} has {expected} spans, the server gives {counted.get(str(identity), 0)}"
                )

    def _is_stored_here(self, trace: str) -> bool:
        """Spans that lie among the artifacts are files and no rows."""
        query = "SELECT value FROM trace_tags WHERE trace_id = ? AND key = 'mlflow.trace.spansLocation'"
        return self.rows.ask(query, [trace]) == [("TRACKING_STORE",)]


def milliseconds(text: str) -> int:
    """0 where it is no time."""
    try:
        return int(timetext.parse_time(text).timestamp() * 1000)
    except ValueError:
        return 0
