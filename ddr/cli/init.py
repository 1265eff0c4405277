"""`ddr init`: a first ddr.yaml."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ddr.cli import output
from ddr.cli import session as sessions


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--path", default=".ddr", show_default=True, help="Repository folder (for one machine).")
@click.option("--bucket", default="", help="Repository bucket (for a team) instead of a folder.")
@click.option("--prefix", default="", help="Part of the bucket to use.")
@click.option("--endpoint", default="", help="S3 endpoint that is not AWS.")
@click.option("--region", default="", help="S3 region.")
@sessions.json_option
@sessions.pass_session
def command(
    session: sessions.Session, folder: Path, path: str, bucket: str, prefix: str, endpoint: str, region: str
) -> int:
    """Write a commented ddr.yaml and try its repository.

    Credentials of a bucket come from ${env:DDR_S3_ACCESS_KEY} and ${env:DDR_S3_SECRET_KEY} where these are set,
    else from the usual AWS chain. A bucket that ignores conditional writes is refused and nothing is written.

    Exit codes: 0 written, 1 there is one already, 2 the store is not fit, or a journal that
    this machine has seen there is gone, 69 it does not answer.
    """
    from ddr.wiring import initial

    repository = {"type": "local", "path": path}
    if bucket:
        repository = {"type": "s3", "bucket": bucket, "prefix": prefix, "endpoint": endpoint, "region": region}
    made = initial.write(folder, repository, os.environ)
    above = initial.above(folder)
    if above is not None:
        session.notice(
            f"{click.style('mind:', fg='yellow', bold=True)} {above} stands above; in here {made.path} is used"
        )
    if made.missing:
        session.show(made, lambda: f"wrote {made.path}\n{output.mark('bad')} {made.missing}\n  next: {made.hint}")
        return 2
    session.show(made, lambda: _text(made.path, made.store))
    return 0


def _text(path: str, store: str) -> str:
    return (
        f"wrote {path}; {store} keeps its conditional writes\n"
        "  next: name your connectors and services in it, then `ddr doctor`\n"
        "        or `ddr sandbox up demo` for a platform to try this on"
    )
