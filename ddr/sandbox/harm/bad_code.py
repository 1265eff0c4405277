"""`code.bad-release`: a code release that answers wrongly for some requests, and is quick and green for all of them.

1.4.1 turns labels that it takes for lying on their side. Many stand upright and are dark at the left; the rest is
answered as before, so no health check and no smoke test on one parcel sees it.
"""

from __future__ import annotations

from pathlib import Path

from ddr.sandbox import loading, process, programs_text
from ddr.sandbox.harm import release


def deploy(root: Path) -> release.DeployRelease:
    deploying = release.Deploying(
        channel=loading.code_channel,
        successor=release.next_patch,
        summary="labels on their side are turned",
        about="a code release that answers wrongly for a part of the requests; pods, latency and errors stay green",
        files=lambda settled: {"app.py": programs_text.read("app_turned.py")},
        take_effect=process.roll,
        restore=process.roll,
        is_effective=lambda root, live: process.loaded_name(root, "code") in ("", live),
    )
    return release.DeployRelease(root, "code.bad-release", deploying)
