"""An index whose parts are made elsewhere: what opens its plan there, and with whose credentials."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from ddr.domain import indexes as nouns
from ddr.errors import Refused
from ddr.index import codec, plans, stages
from ddr.index import work as works
from ddr.index.spread import ray_driver, rays
from ddr.lib import digest
from ddr.wiring import index_settings, indexes

_ADDRESS = "RAY_ADDRESS"


def place(index: indexes.Index, plan: nouns.Plan) -> str:
    """plan.json as workers on other machines are told it."""
    key = digest.short(codec.key(plan), 16)
    if index.depot is not None:
        return works.uri_of(index.wanted.home, key)
    return str((index.work_folder / key / works.PLAN).absolute())


def call(index: indexes.Index, plan: nouns.Plan) -> tuple[str, ...]:
    """What makes a part on another machine, as words; the number of the part comes last. Without credentials."""
    s3 = index.entry.s3
    endpoint = ("--endpoint", s3.endpoint) if s3.endpoint else ()
    region = ("--region", s3.region) if s3.region else ()
    return ("ddr", "index", "worker", "--plan", place(index, plan), *endpoint, *region, "--part")


def opener(index: indexes.Index, plan: nouns.Plan, folder: Path) -> ray_driver.Open:
    """Opens the plan in another process. It has no credentials in it: it travels through Ray.

    `folder`: where that process keeps what it fetches from the depot.
    """
    access = index_settings.S3Entry(endpoint=index.entry.s3.endpoint, region=index.entry.s3.region)
    return functools.partial(indexes.of_plan, place(index, plan), s3=access, folder=folder)


def on_ray(index: indexes.Index, bench: stages.Bench, environ: Mapping[str, str]) -> rays.Spread:
    """Makes parts on the cluster of RAY_ADDRESS, or on one that is started here. Refused where credentials would have
    to travel."""
    address, s3 = environ.get(_ADDRESS, ""), index.entry.s3
    keys = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key} if s3.access_key else {}
    if address and keys:
        raise Refused(
            f"the keys that index {index.name} has in its settings are not sent to Ray",
            hint="give its nodes a role or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and leave them out here",
        )
    here = plans.machine(index.wanted)
    cluster = ray_driver.Cluster(address, here.threads, here.memory_mib, keys)
    folder = indexes.WORKER_FOLDER if address else index.work_folder.absolute()
    return rays.spread(bench, opener(index, bench.plan, folder), cluster)
