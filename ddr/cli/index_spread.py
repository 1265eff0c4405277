"""`ddr index prepare | manifests`, and `build --on ray`: parts that other machines make."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

import click

from ddr.cli import index_progress, index_proof
from ddr.cli import session as sessions
from ddr.report import words

if TYPE_CHECKING:
    from ddr.index import stages
    from ddr.index.spread import rays
    from ddr.wiring import indexes as wirings


def spread(on: str, index: wirings.Index, bench: stages.Bench) -> rays.Spread | None:
    """Who makes the parts; None: this process, one by one."""
    if on == "here":
        return None
    from ddr.wiring import index_spread

    return index_spread.on_ray(index, bench, os.environ)


@click.command(short_help="Do what comes before the parts.")
@click.argument("name", required=False)
@index_progress.events_option
@sessions.json_option
@sessions.pass_session
def prepare(session: sessions.Session, name: str | None, events: bool) -> int:
    """Do what comes before the parts: look at every row, choose queries, train. Workers need it; a build does it by
    itself.

    Exit codes: 0 done, 1 cannot be built here, 3 the corpus changed meanwhile, 15 another build works by this plan, 64
    usage, or rows that the corpus should not have, 69 a system is away.
    """
    from ddr.index import build as builds
    from ddr.wiring import index_spread

    index = index_proof.opened(session, name)
    with index_progress.telling(session, is_json=events) as tell:
        index = index.embedded(tell)
        bench = index.bench(index.plan(is_measured=False), tell)
        with bench.work.held():
            builds.prepare(bench)
    where, parts = index_spread.place(index, bench.plan), len(bench.plan.parts)
    which = "0" if parts == 1 else f"0 … {parts - 1}"
    document = {"plan": where, "parts": parts}
    call = shlex.join(index_spread.call(index, bench.plan))
    if index.entry.s3.access_key:
        session.notice(
            "the keys of the settings are not told to workers: give them a role, or AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY"
        )
    session.show(
        document,
        lambda: (
            f"ready for {words.plural(parts, 'worker')}: {call} {which}\nthen: ddr index build {index.called} --publish"
        ),
    )
    return 0


@click.command(short_help="Print a Kubernetes Indexed Job that makes the parts.")
@click.argument("name", required=False)
@click.option("--image", default="", help="With ddr in it; ddr:cpu or ddr:gpu without.")
@click.option("--namespace", default="default", show_default=True)
@click.option("--parallelism", type=click.IntRange(min=0), default=0, help="Pods at once; 0: 8.")
@click.option("--cpu", type=float, default=2.0, show_default=True, help="Processors of a pod.")
@click.option("--memory", default="", metavar="2Gi", help="Of a pod; by default what the plan expects and a quarter.")
@click.option("--user", type=int, default=10001, show_default=True, help="User id of the pods.")
@click.option("--pvc", default="", metavar="CLAIM", help="Has corpus and work folder, where they are not in a bucket.")
@click.option("--mount", default="", metavar="PATH", help="Where that claim is mounted: here, and so in the pods.")
@click.option("--secret", default="", help="A Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.")
@click.option("--service-account", default="", help="Of the pods; with a role it needs no --secret.")
@sessions.json_option
@sessions.pass_session
def manifests(
    session: sessions.Session,
    name: str | None,
    image: str,
    namespace: str,
    parallelism: int,
    cpu: float,
    memory: str,
    user: int,
    pvc: str,
    mount: str,
    secret: str,
    service_account: str,
) -> int:
    """Print a Kubernetes Indexed Job that makes the parts, one pod each. Starts nothing; the first lines say what to
    do before and after.

    Pods see the same files as this machine: corpus and home in a bucket, or on a claim (ReadWriteMany) that is mounted
    at the same path. Credentials are a Secret or the service account's role, never written here.

    Exit codes: 0 printed, 1 nothing was prepared or it does not fit, 64 usage, 69 a system is away.
    """
    from ddr.errors import Missing
    from ddr.index import codec, stages
    from ddr.index.spread import kubernetes
    from ddr.wiring import index_spread

    index = index_proof.opened(session, name)
    plan = index.plan(is_measured=False)
    left = index.left_of(plan)
    if left is None:  # another moment has other memory free, and so another plan
        raise Missing(f"the plan of index {index.called} is not written down", hint=f"ddr index prepare {index.called}")
    where, s3 = index_spread.place(index, plan), index.entry.s3
    asked = kubernetes.Asked(
        image,
        namespace,
        parallelism,
        cpu,
        memory,
        user,
        pvc,
        mount,
        secret,
        service_account,
        s3.endpoint,
        s3.region,
    )
    text = kubernetes.manifest(plan, codec.key(plan), where, index.called, asked)
    if left.work.receipt(stages.TRAIN) is None:
        session.notice(f"not trained yet; before the Job: ddr index prepare {index.called}")
    if s3.access_key and not (secret or service_account):
        session.notice("the keys of the settings are not written into manifests; name a Secret that has them: --secret")
    mounted = kubernetes.mount_of(plan, where, asked)
    if mounted and not mount:
        session.notice(kubernetes.taken(mounted))
    session.show({"manifest": text, "plan": where}, lambda: text.rstrip("\n"))
    return 0
