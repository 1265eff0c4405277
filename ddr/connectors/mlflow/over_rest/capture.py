"""An MLflow server into a sink, object by object; what cannot be believed to be whole makes the component partial."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ddr.connectors.mlflow import artifacts, locations
from ddr.connectors.mlflow.over_rest import (
    client as clients,
)
from ddr.connectors.mlflow.over_rest import (
    fidelity,
    histories,
    listing,
    others,
    registry,
    served,
    shapes,
    spool,
    tracing,
    tracking,
)
from ddr.errors import Damaged, DdrError, Missing
from ddr.lib import endpoint
from ddr.ports import restorable

TIMEOUT_S = 60.0
_SHOWN = 10


@dataclass(frozen=True)
class Scope:
    """Names of the experiments and models that are looked at; None is all."""

    experiments: frozenset[str] | None = None
    models: frozenset[str] | None = None
    others: bool = True


@dataclass(frozen=True)
class Server:
    """What is captured. `bucket` gives access to S3, for files that lie there. `page` is for tests."""

    at: endpoint.Endpoint
    where: locations.Map
    bucket: Callable[[], artifacts.Bucket]
    page: int = 0
    patience_s: float = clients.PATIENCE_S

    def client(self) -> clients.Client:
        """Unavailable at once where nobody is; later silences are waited out."""
        self.at.ask("GET", "/version")
        return clients.Client(self.at, page=self.page, patience_s=self.patience_s)


@dataclass
class Gathered:
    """What was gathered in the spool, and what is still to be streamed."""

    client: clients.Client
    rows: spool.Spool
    doubts: listing.Doubts = field(default_factory=listing.Doubts)
    absent: list[str] = field(default_factory=list)
    began_ms: int = field(default_factory=lambda: int(time.time() * 1000))

    def __post_init__(self) -> None:
        self.histories = histories.Histories(self.client, self.rows, self.doubts)
        self.traces = tracing.Tracing(self.client, self.rows, self.doubts, self.began_ms)

    def gather(self, scope: Scope, sink: restorable.Sink | None = None) -> None:
        """All but histories and spans."""
        seen = tracking.Tracking(self.client, self.rows, self.doubts, self.began_ms, scope.experiments)
        seen.experiments()
        seen.runs()
        self._try("logged models", seen.logged_models)
        seen.model_inputs()
        self._try("traces", self.traces.traces)
        models = registry.Registry(self.client, self.rows, self.doubts, self.began_ms, scope.models)
        models.models()
        models.versions()
        if scope.others:
            small = others.Others(self.client, self.rows, self.doubts, sink)
            small.all()
            self.absent += small.absent

    def pieces(self, table: str) -> Iterator[Sequence[shapes.Row]]:
        if table == "metric_history":
            return self.histories.pieces()
        if table == "trace_spans":
            return self.traces.span_pieces()
        return self.rows.pieces(table)

    def _try(self, what: str, work: Callable[[], None]) -> None:
        try:
            work()
        except clients.NotOffered:
            self.absent.append(what)


def capture(server: Server, sink: restorable.Sink) -> None:
    """Raises Unavailable, Refused; Damaged at the end, with everything in the sink, when something cannot be whole."""
    with server.client() as client, spool.opened() as rows:
        gathered = Gathered(client, rows)
        sink.fact("fidelity", fidelity.CLASS_B)
        sink.fact("server", _version(client))
        gathered.gather(Scope(), sink)
        for name, shape in shapes.ALL.items():
            sink.table(name, shape.columns, spool.batches(name, gathered.pieces(name)))
        tree = served.ServedTree(client, server.where, rows, server.bucket, sink.warn, gathered.doubts.add)
        sink.tree(served.TREE, tree)
        _facts(gathered, sink)
        for line in fidelity.LINES:
            sink.fact(f"fidelity: {line.what}", f"{line.kept}: {line.how}")
        if gathered.doubts.texts:
            shown = "; ".join(gathered.doubts.texts[:_SHOWN])
            more = len(gathered.doubts.texts) - _SHOWN
            raise Damaged(
                f"not all of the server could be captured: {shown}" + (f"; and {more} more" if more > 0 else ""),
                hint="run it again when the server is quiet; look for a proxy that limits its answers",
            )


def _facts(gathered: Gathered, sink: restorable.Sink) -> None:
    counted = gathered.rows
    held = [
        f"{counted.count(table)} {words}"
        for table, words in (
            ("experiments", "experiments"),
            ("runs", "runs"),
            ("logged_models", "logged models"),
            ("registered_models", "registered models and prompts"),
            ("model_versions", "versions"),
            ("traces", "traces"),
        )
    ]
    sink.fact("counted", f"{', '.join(held)}: each list read from both ends, the same")
    if gathered.absent:
        sink.fact("not offered", ", ".join(gathered.absent))
    if gathered.doubts.texts:
        sink.fact("counted", f"{', '.join(held)}: not all of the lists hold together")


def _version(client: clients.Client) -> str:
    """MLflow's version; a managed one may have no such call, then it must at least list experiments."""
    pieces = []
    try:
        for piece in client.read("/version", {}):
            pieces.append(piece)
    except (Missing, clients.NotOffered):
        return "unknown"
    except DdrError as problem:
        if isinstance(problem, Damaged):
            raise
        client.look(f"{clients.API2}/experiments/search", {"max_results": 1})
        return "unknown"
    said = b"".join(pieces).decode(errors="replace").strip()
    return said if len(said) <= 40 else "unknown"
