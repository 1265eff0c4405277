"""Which address of a server says that it is at another site."""

from __future__ import annotations

import pytest

from ddr.lib import endpoint


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", True), ("https://s3.eu-central-1.amazonaws.com", True), ("https://storage.example.com:9000", True),
        ("http://8.8.8.8:9000", True), ("https://[2606:4700::1111]", True),
        ("http://127.0.0.1:9000", False), ("http://localhost:8333", False), ("http://[::1]:9000", False),
        ("127.0.0.1:9000", False), ("http://a.localhost", False), ("http://0.0.0.0:9000", False),
        ("http://10.1.2.3:9000", None), ("http://192.168.0.4", None), ("http://172.16.0.9", None),
        ("http://169.254.1.1", None), ("http://[fd00::1]:9000", None), ("http://minio:9000", None),
        ("http://minio.ml.svc.cluster.local", None), ("http://store.lan", None), ("http://s3.corp.internal", None),
        ("http://100.64.0.1", None),
    ],
)  # fmt: skip
def test_where_a_server_is(url: str, expected: bool | None) -> None:
    assert endpoint.is_elsewhere(url) is expected
