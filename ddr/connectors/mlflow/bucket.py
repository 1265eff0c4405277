"""Artifacts in S3, by boto3: listed, read, and put back."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ddr.connectors.mlflow import artifacts
from ddr.errors import Conflict, DdrError, Missing, Unavailable, Unsupported
from ddr.lib import redact

_PIECE_BYTES = 4 * 2**20
_PART_BYTES = 16 * 2**20
"""S3 takes 10,000 parts of at least 5 MiB: objects of up to 156 GiB."""

_GONE = {"NoSuchKey", "NoSuchBucket", "404"}
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412"}


@dataclass(frozen=True)
class S3:
    """Implements objects.Shelf. `client` is boto3's."""

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

    def put(self, bucket: str, key: str, pieces: Iterator[bytes], *, replace: bool) -> None:
        from botocore import exceptions

        where = {"Bucket": bucket, "Key": key}
        condition = {} if replace else {"IfNoneMatch": "*"}
        parts = _parts(pieces)
        first, second = next(parts, b""), next(parts, b"")
        try:
            if not second:
                self.client.put_object(**where, **condition, Body=first)
            else:
                self._put_parts(where, condition, itertools.chain([first, second], parts))
        except (exceptions.ClientError, exceptions.BotoCoreError) as problem:
            if _code(problem) in _TAKEN:
                raise Conflict(
                    f"s3://{bucket}/{key} was made by somebody else just now",
                    hint="plan again: it says what is there",
                ) from problem
            raise _ours(problem, f"s3://{bucket}/{key}") from problem

    def _put_parts(self, where: dict[str, str], condition: dict[str, str], parts: Iterator[bytes]) -> None:
        upload = self.client.create_multipart_upload(**where)["UploadId"]
        try:
            made = [
                {
                    "PartNumber": number,
                    "ETag": self.client.upload_part(**where, UploadId=upload, PartNumber=number, Body=part)["ETag"],
                }
                for number, part in enumerate(parts, 1)
            ]
            self.client.complete_multipart_upload(
                **where, **condition, UploadId=upload, MultipartUpload={"Parts": made}
            )
        except BaseException:
            with contextlib.suppress(Exception):  # what is not ended costs money and is seen by nobody
                self.client.abort_multipart_upload(**where, UploadId=upload)
            raise


def _parts(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in parts of equal size, the last one aside."""
    part = bytearray()
    for piece in pieces:
        part += piece
        while len(part) >= _PART_BYTES:
            yield bytes(part[:_PART_BYTES])
            del part[:_PART_BYTES]
    if part:
        yield bytes(part)


def connect(endpoint: str = "") -> S3:
    """With the credentials and the region that the environment gives, as MLflow itself does."""
    try:
        import boto3
    except ImportError as problem:
        raise Unsupported(
            "reading artifacts from S3 needs boto3, which is not installed", hint="pip install 'ddr[s3]'"
        ) from problem
    return S3(boto3.session.Session().client("s3", endpoint_url=endpoint or None))


def _code(problem: Exception) -> str:
    response = getattr(problem, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _ours(problem: Exception, where: str) -> DdrError:
    if _code(problem) in _GONE:
        return Missing(f"{where} is not there", hint="it was deleted, or the location in MLflow is wrong")
    return Unavailable(f"{where}: {redact.foreign(problem)}", hint="look at the network and the rights in S3")
