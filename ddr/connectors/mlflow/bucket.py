"""Artifacts in S3, by boto3: listed and read, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ddr.connectors.mlflow import artifacts
from ddr.errors import DdrError, Missing, Unavailable, Unsupported
from ddr.lib import redact

_PIECE_BYTES = 4 * 2**20
_GONE = {"NoSuchKey", "NoSuchBucket", "404"}


@dataclass(frozen=True)
class S3:
    """Implements artifacts.Bucket. `client` is boto3's."""

    client: Any

    def listed(self, bucket: str, prefix: str) -> Iterator[artifacts.Object]:
        from botocore import exceptions

        try:
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for found in page.get("Contents", ()):
                    mtime_ns = int(found["LastModified"].timestamp()) * 1_000_000_000
                    yield artifacts.Object(found["Key"], int(found["Size"]), mtime_ns, str(found["ETag"]).strip('"'))
        except (exceptions.ClientError, exceptions.BotoCoreError) as problem:
            raise _ours(problem, f"s3://{bucket}/{prefix}") from problem

    def read(self, bucket: str, key: str) -> Iterator[bytes]:
        from botocore import exceptions

        try:
            body = self.client.get_object(Bucket=bucket, Key=key)["Body"]
            with body:
                while piece := body.read(_PIECE_BYTES):
                    yield piece
        except (exceptions.ClientError, exceptions.BotoCoreError) as problem:
            raise _ours(problem, f"s3://{bucket}/{key}") from problem


def connect(endpoint: str = "") -> S3:
    """With the credentials and the region that the environment gives, as MLflow itself does."""
    try:
        import boto3
    except ImportError as problem:
        raise Unsupported(
            "reading artifacts from S3 needs boto3, which is not installed", hint="pip install 'ddr[s3]'"
        ) from problem
    return S3(boto3.client("s3", endpoint_url=endpoint or None))


def _ours(problem: Exception, where: str) -> DdrError:
    response = getattr(problem, "response", None) or {}
    code = str(response.get("Error", {}).get("Code", ""))
    if code in _GONE:
        return Missing(f"{where} is not there", hint="it was deleted, or the location in MLflow is wrong")
    return Unavailable(f"{where}: {redact.foreign(problem)}", hint="look at the network and the rights in S3")
