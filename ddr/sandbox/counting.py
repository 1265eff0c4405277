"""What the server counts about itself, as Prometheus text."""

from __future__ import annotations

import threading
from bisect import bisect_left

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Counters:
    """Requests by code, and how long they took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._codes: dict[int, int] = {200: 0, 500: 0}
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0

    def count(self, code: int, took_s: float) -> None:
        with self._lock:
            self._codes[code] = self._codes.get(code, 0) + 1
            self._buckets[bisect_left(BUCKETS_S, took_s)] += 1
            self._sum_s += took_s

    def text(self, model: str, version: str, digest: str) -> str:
        with self._lock:
            codes, buckets, sum_s = dict(self._codes), list(self._buckets), self._sum_s
        lines = ["# TYPE http_requests_total counter"]
        lines += [f'http_requests_total{{code="{code}"}} {count}' for code, count in sorted(codes.items())]
        lines.append("# TYPE http_request_seconds histogram")
        total = 0
        for limit, count in zip((*BUCKETS_S, None), buckets, strict=True):
            total += count
            name = "+Inf" if limit is None else str(limit)
            lines.append(f'http_request_seconds_bucket{{le="{name}"}} {total}')
        lines += [f"http_request_seconds_sum {sum_s:.6f}", f"http_request_seconds_count {total}"]
        lines += ["# TYPE model_info gauge"]
        lines += [f'model_info{{name="{model}",version="{version}",digest="{digest}"}} 1', "# TYPE up gauge", "up 1"]
        return "\n".join(lines) + "\n"
