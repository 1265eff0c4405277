"""DVC remotes in S3: which objects are there, asked with the credentials of the environment alone.

A few keys are asked for one by one, many of one folder (`files/md5/ab/`) by listing it: a thousand an answer.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ddr.connectors.files import dvc
from ddr.lib import redact

_AT_ONCE = 16
_FEW = 4
_PIECE_BYTES = 1 << 20
_READ_TIMEOUT_S = 30
_MOST_LIST_BYTES = 256 * 2**20
"""A folder's list larger than this is not read: a million files are about 100 MiB."""


def anywhere(remote: dvc.Remote) -> dvc.LookUp | None:
    """Implements LookUps for folders of this machine and buckets."""
    if not remote.address.startswith("s3://"):
        return dvc.local_only(remote)
    client, trouble = _client(remote)
    parts = urlsplit(remote.address)
    prefix = parts.path.strip("/")
    return S3Objects(
        client, parts.netloc.rpartition("@")[2], f"{prefix}/" if prefix else "", [trouble][: bool(trouble)]
    )


def _client(remote: dvc.Remote) -> tuple[Any, str]:
    """boto3's client, and why there is none."""
    try:
        import boto3.session
        import botocore.config
        import botocore.exceptions
    except ImportError:
        return None, "s3:// was not asked: boto3 is not installed (pip install 'ddr[s3]')"
    config = botocore.config.Config(
        max_pool_connections=_AT_ONCE,
        read_timeout=_READ_TIMEOUT_S,
        retries={"total_max_attempts": 3},
        s3={"addressing_style": "path" if remote.endpoint else "auto"},
    )
    region = remote.region or ("us-east-1" if remote.endpoint else None)
    try:
        made = boto3.session.Session().client(
            "s3", endpoint_url=remote.endpoint or None, region_name=region, config=config
        )
    except (botocore.exceptions.BotoCoreError, ValueError) as problem:
        return None, f"s3:// was not asked: {redact.foreign(problem)}"
    return made, ""


@dataclass
class S3Objects:
    """Implements LookUp. What was answered is remembered; after the first failure that concerns all nothing more is
    asked, and everything is unknown."""

    client: Any
    bucket: str
    prefix: str
    troubles: list[str] = field(default_factory=list)
    requests: int = 0
    _known: dict[str, bool | None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def trouble(self) -> str:
        return self.troubles[0] if self.troubles else ""

    def which(self, keys: Sequence[str]) -> Mapping[str, bool | None]:
        if keys and not self.requests:
            with self._watched("list it") as ask:  # an answer to HEAD does not tell a lost bucket from a lost object
                if ask:
                    self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
        todo: dict[str, set[str]] = {}
        for key in keys:
            if key not in self._known:
                todo.setdefault(key.rpartition("/")[0], set()).add(key)
        with futures.ThreadPoolExecutor(_AT_ONCE, "ddr-dvc") as pool:
            jobs = []
            for folder, those in todo.items():
                jobs += [pool.submit(self._listed, folder, those)] if len(those) > _FEW else []
                jobs += [pool.submit(self._headed, key) for key in those] if len(those) <= _FEW else []
            for job in jobs:
                self._known |= job.result()
        return {key: self._known[key] for key in keys}

    def read(self, key: str) -> bytes | None:
        with self._watched(f"read {key}") as ask:
            if ask:
                found = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)
                with contextlib.closing(found["Body"]) as body:
                    return bytes(body.read()) if int(found["ContentLength"]) <= _MOST_LIST_BYTES else None
        return None

    def pieces(self, key: str) -> Iterator[bytes] | None:
        """Implements Streaming. A connection that breaks midway ends it early: whoever reads holds it to its hash."""
        with self._watched(f"read {key}") as ask:
            if ask:
                body = self.client.get_object(Bucket=self.bucket, Key=self.prefix + key)["Body"]
                return self._streamed(key, body)
        return None

    def _streamed(self, key: str, body: Any) -> Iterator[bytes]:
        with self._watched(f"read {key}"), contextlib.closing(body):
            yield from body.iter_chunks(_PIECE_BYTES)

    def _headed(self, key: str) -> dict[str, bool | None]:
        found: bool | None = None
        with self._watched(f"look for {key}") as ask:
            if ask:
                found = False
                self.client.head_object(Bucket=self.bucket, Key=self.prefix + key)
                found = True
        return {key: None if self.troubles and not found else found}

    def _listed(self, folder: str, keys: set[str]) -> dict[str, bool | None]:
        there: set[str] = set()
        is_whole = False
        with self._watched(f"list {folder}") as ask:
            if ask:
                pages = self.client.get_paginator("list_objects_v2")
                for page in pages.paginate(Bucket=self.bucket, Prefix=f"{self.prefix}{folder}/"):
                    there.update(one["Key"][len(self.prefix) :] for one in page.get("Contents", ()))
                is_whole = True
        return {key: True if key in there else False if is_whole else None for key in keys}

    @contextlib.contextmanager
    def _watched(self, doing: str) -> Iterator[bool]:
        """False where asking is no use any more. An object that is not there is no trouble."""
        import botocore.exceptions

        if self.troubles:
            yield False
            return
        with self._lock:
            self.requests += 1
        try:
            yield True
        except botocore.exceptions.ClientError as problem:
            code = str(problem.response.get("Error", {}).get("Code", ""))
            if code not in ("404", "NoSuchKey"):
                self._troubled(doing, problem)
        except botocore.exceptions.BotoCoreError as problem:
            self._troubled(doing, problem)

    def _troubled(self, doing: str, problem: Exception) -> None:
        with self._lock:
            if not self.troubles:
                where = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
                self.troubles.append(f"{where} was not asked to the end: cannot {doing}: {redact.foreign(problem)}")
