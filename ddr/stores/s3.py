"""Keys and bytes in a bucket: AWS S3 and whatever speaks its language."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from ddr.errors import Conflict, DdrError, InputError, Missing, Unavailable
from ddr.ports import store
from ddr.stores import keys, order, s3_answers, s3_lock, s3_wire

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}")
_LONGEST_PREFIX = 400  # S3 takes 1024 bytes, a key has 512
_MARK = "ddr-write"
_MOST_UNSETTLED = 1_000


class S3Store:
    """A bucket, or the part of it below `prefix`; what else is there is left alone and not listed.

    Create is a PUT with `If-None-Match: *`, swap a PUT with `If-Match`, a version is an ETag, so bytes that return
    have their old version back. Servers exist that accept these conditions and ignore them: `probe` finds out.

    When the answer to a write is lost, its effect is unknown. Every write therefore carries a random mark in the
    object's metadata (`x-amz-meta-ddr-write`), and a condition that fails, or a lost answer, is settled by reading
    the mark back: ours means that the write was done, by us. The bytes would prove nothing there: of two writers
    with the same bytes one has won and the other has not. A write that stays unsettled raises Unavailable, and
    this object keeps its mark: the same write repeated (as Retrying does) is recognised. One case is left: when
    somebody replaced our bytes before we could look, the swap is a Conflict although it had its effect for a
    moment.

    Listings come in byte order also from servers that sort otherwise (`order`); Damaged where there is no order.

    With `lock` what the rule names is locked by the request that writes it (`s3_lock`). Hints name keys as `called` has
    them. With `of_others` keys are read and listed as they are, whatever signs they have; ours keep the key rule.

    Without `access_key` and `secret_key` credentials come from botocore's usual chain (environment, files, role).
    With `endpoint` buckets are addressed by path. A request waits `connect_timeout_s` for a connection and
    `read_timeout_s` for an answer and is sent at most `attempts` times.
    """

    is_shared = True

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        endpoint: str | None = None,
        region: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        *,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float = 30.0,
        attempts: int = 3,
        lock: store.LockRule | None = None,
        called: s3_answers.Keys = s3_answers.REPOSITORY,
        of_others: bool = False,
    ) -> None:
        """Asks nothing of the server yet. Raises InputError where an argument cannot be right."""
        prefix = prefix.strip("/")
        if not _BUCKET.fullmatch(bucket):
            raise InputError(
                f"{bucket!r} is not the name of a bucket",
                hint=f"correct {called.bucket}; a folder in it is written {called.folder}",
            )
        if prefix and (not keys.is_key(prefix) or len(prefix) > _LONGEST_PREFIX):
            raise InputError(
                f"{prefix!r} is not a prefix",
                hint=f"`a/b` of letters, digits, `.`, `_`, `-`, at most {_LONGEST_PREFIX}",
            )
        if endpoint:
            s3_wire.check_endpoint(endpoint)
        if bool(access_key) != bool(secret_key):
            raise InputError(
                "S3 needs both access key and secret key, or neither of them", hint=f"see {called.section}"
            )
        self._bucket, self._called, self._of_others = bucket, called, of_others
        self._root = f"{prefix}/" if prefix else ""
        self.name = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        self._unsettled: dict[tuple[str, str, bytes], str] = {}
        access = s3_wire.Access(
            bucket=bucket,
            endpoint=endpoint or "",
            region=region or ("us-east-1" if endpoint else ""),
            access_key=access_key or "",
            secret_key=secret_key or "",
            connect_timeout_s=connect_timeout_s,
            read_timeout_s=read_timeout_s,
            attempts=attempts,
            keys=called,
        )
        self._wire = s3_wire.Wire(access, self.name)
        self._locks = s3_lock.Locks(self._wire, self.name, bucket, self._root, lock)
        self.rule = lock

    def get(self, key: str, start: int = 0, size: int | None = None) -> bytes:
        self._check_read(key)
        keys.check_range(start, size)
        if size == 0:  # a Range cannot say so
            if self.head(key) is None:
                raise Missing(f"{self.name} has no {key!r}")
            return b""
        is_part = start > 0 or size is not None
        extra = {"Range": f"bytes={start}-{'' if size is None else start + size - 1}"} if is_part else {}
        doing = f"read {key!r}"
        try:
            response = self._wire.ask(doing, "get_object", Key=self._root + key, **extra)
        except s3_wire.Answered as answer:
            if answer.status == 416:
                return b""  # it ends before `start`
            self._check_bucket(answer, doing)
            raise Missing(f"{self.name} has no {key!r}") from answer
        content = bytes(response["Body"])
        if is_part and "ContentRange" not in response:  # a server that does not know ranges sends everything
            return content[start:] if size is None else content[start : start + size]
        return content

    def head(self, key: str) -> store.Entry | None:
        self._check_read(key)
        return self._look(key)[0]

    def list(self, prefix: str, after: str = "") -> Iterator[store.Entry]:
        if not self._of_others:
            keys.check_beginning(prefix)
            keys.check_beginning(after)
        start = order.start(prefix, after)
        if start is None:
            return iter(())
        return (entry for entry in order.by_bytes(self._pages(prefix, start), prefix) if entry.key > after)

    def create(self, key: str, content: bytes) -> store.Entry:
        keys.check(key)
        written, found = self._put(key, content, "", IfNoneMatch="*")
        if written:
            return written
        raise store.Exists(
            f"{self.name} has {key!r} already" if found else f"{self.name} had {key!r}, or keys below it",
            found=found.version if found else "",
        )

    def swap(self, key: str, content: bytes, expect: str) -> store.Entry:
        keys.check(key)
        if not expect.isascii() or not expect.isprintable() or '"' in expect:
            raise InputError(f"{expect!r} is not a version of S3", hint="take it from head, list, create or swap")
        written, found = self._put(key, content, expect, IfMatch=f'"{expect}"')
        if written:
            return written
        version = found.version if found else ""
        raise Conflict(
            f"{self.name}: {key!r} is at version {version or 'none'}, not {expect}", expected=expect, found=version
        )

    def delete(self, key: str) -> None:
        keys.check(key)
        doing = f"delete {key!r}"
        try:
            self._wire.ask(doing, "delete_object", Key=self._root + key)
        except s3_wire.Answered as answer:
            if answer.code != "NoSuchKey":
                raise self._translated(answer, doing) from answer

    def written_at(self, key: str) -> datetime | None:
        """By the server's clock, to the second."""
        keys.check(key)
        doing = f"look at {key!r}"
        try:
            response = self._wire.ask(doing, "head_object", Key=self._root + key)
        except s3_wire.Answered as answer:
            self._check_bucket(answer, doing)
            return None
        written = response.get("LastModified")
        return written.astimezone(UTC) if isinstance(written, datetime) else None

    def copies_from(self, other: store.Store) -> bool:
        return isinstance(other, S3Store) and self._wire.is_beside(other._wire)

    def copy_from(self, other: store.Store, entry: store.Entry) -> bool:
        """The word of the server: the same ETag, an MD5 unless the bucket encrypts with keys of its own."""
        assert isinstance(other, S3Store)
        keys.check(entry.key)
        doing = f"copy {entry.key!r} from {other.name}"
        try:
            self._wire.ask(
                doing,
                "copy_object",
                Key=self._root + entry.key,
                CopySource={"Bucket": other._bucket, "Key": other._root + entry.key},
                CopySourceIfMatch=f'"{entry.version}"',
                IfNoneMatch="*",
            )
        except s3_wire.Answered as answer:
            if answer.status == 412 and self.head(entry.key) is not None:
                raise store.Exists(f"{self.name} has {entry.key!r} already") from answer
            if answer.status in (404, 412) and answer.code != "NoSuchBucket":
                raise Missing(f"{other.name} has no {entry.key!r} as it was") from answer
            raise self._translated(answer, doing) from answer
        made = self.head(entry.key)
        if made is None or (made.size_bytes, made.version) != (entry.size_bytes, entry.version):
            self.delete(entry.key)
            return False
        self._locks.lock_new(entry.key)
        return True

    def check_lock(self) -> None:
        self._locks.check()

    def locked(self, key: str) -> store.Lock | None:
        keys.check(key)
        return self._locks.locked(key)

    def lock(self, key: str, until: datetime) -> store.Lock:
        keys.check(key)
        return self._locks.lock(key, until)

    def versions(self, prefix: str) -> Iterator[store.Version]:
        keys.check_beginning(prefix)
        return self._locks.versions(prefix)

    def get_version(self, version: store.Version) -> bytes:
        keys.check(version.key)
        return self._locks.get_version(version)

    def bring_back(self, version: store.Version) -> None:
        keys.check(version.key)
        self._locks.bring_back(version)

    def _check_read(self, key: str) -> None:
        if not self._of_others:
            keys.check(key)

    def _put(
        self, key: str, content: bytes, expect: str, **condition: str
    ) -> tuple[store.Entry | None, store.Entry | None]:
        """What we have written; or None, and what stands in its place."""
        md5 = hashlib.md5(content, usedforsecurity=False).digest()
        attempt = (key, expect, md5)
        mark = self._unsettled.pop(attempt, "") or secrets.token_hex(16)
        arguments = {
            "Body": content,
            "ContentMD5": base64.b64encode(md5).decode(),  # guards the way there, and Object Lock asks for it
            "Metadata": {_MARK: mark},
            **self._locks.headers(key),
            **condition,
        }
        try:
            return self._put_marked(key, expect, mark, arguments)
        except Unavailable:
            if len(self._unsettled) >= _MOST_UNSETTLED:
                self._unsettled.clear()
            self._unsettled[attempt] = mark
            raise

    def _put_marked(
        self, key: str, expect: str, mark: str, arguments: dict[str, Any]
    ) -> tuple[store.Entry | None, store.Entry | None]:
        doing = f"write {key!r}"
        unsure: DdrError | None = None
        try:
            response = self._wire.ask(doing, "put_object", Key=self._root + key, **arguments)
        except s3_wire.Answered as answer:
            # 412: the condition did not hold. If-Match on an absent key gives 404 on some servers. 409: two writers
            # met; on some servers all but the winner get it, on others nobody has won.
            if answer.status not in (404, 409, 412) or answer.code == "NoSuchBucket":
                raise self._translated(answer, doing) from answer
            if answer.status == 409:
                unsure = self._translated(answer, doing)
        except s3_wire.Silent as problem:
            if not problem.was_sent:
                raise
            unsure = problem
        else:
            return store.Entry(key, len(arguments["Body"]), self._etag(response, doing)), None
        found, its_mark = self._look(key)
        if its_mark == mark:
            return found, None
        if unsure and (isinstance(unsure, s3_wire.Silent) or expect == (found.version if found else "")):
            raise unsure
        return None, found

    def _look(self, key: str) -> tuple[store.Entry | None, str]:
        """What is there, and the mark of its writer; None and '' when nothing is."""
        doing = f"look at {key!r}"
        try:
            response = self._wire.ask(doing, "head_object", Key=self._root + key)
        except s3_wire.Answered as answer:
            self._check_bucket(answer, doing)
            return None, ""
        marks = {name.lower(): str(value) for name, value in response.get("Metadata", {}).items()}
        entry = store.Entry(key, int(response.get("ContentLength", 0)), self._etag(response, doing))
        return entry, marks.get(_MARK, "")

    def _check_bucket(self, answer: s3_wire.Answered, doing: str) -> None:
        """Return when the answer means that there is no such key, raise otherwise.

        An answer to HEAD has no room to say whether key or bucket is missing, so the bucket is asked for: no bucket
        must never look like an empty one.
        """
        if answer.code == "NoSuchKey":
            return
        if answer.status != 404 or answer.code == "NoSuchBucket":
            raise self._translated(answer, doing) from answer
        try:
            self._wire.ask(doing, "head_bucket")
        except s3_wire.Answered as problem:
            raise self._translated(problem, doing) from problem

    def _pages(self, prefix: str, start: str) -> Iterator[store.Entry]:
        doing = f"list {prefix!r}"
        where = {"StartAfter": self._root + start} if start else {}
        while True:
            try:
                page = self._wire.ask(doing, "list_objects_v2", Prefix=self._root + prefix, **where)
            except s3_wire.Answered as answer:
                raise self._translated(answer, doing) from answer
            for found in page.get("Contents", ()):
                key = found["Key"][len(self._root) :]
                if self._of_others or keys.is_key(key):
                    # rclone leaves the ETag out of what writers have damaged; no swap takes the version ''.
                    yield store.Entry(key, int(found["Size"]), str(found.get("ETag", "")).strip('"'))
            if page.get("IsTruncated") is False:
                return
            token = page.get("NextContinuationToken")
            if not token or token == where.get("ContinuationToken"):
                raise self._wire.not_s3(doing)
            where = {"ContinuationToken": token}

    def _etag(self, response: dict[str, Any], doing: str) -> str:
        etag = str(response.get("ETag", "")).strip('"')
        if not etag:
            raise self._wire.not_s3(doing)
        return etag

    def _translated(self, answer: s3_wire.Answered, doing: str) -> DdrError:
        failed = f"{self.name}: cannot {doing}"
        return s3_answers.translate(answer.status, answer.code, answer.text, failed, self._bucket, self._called)
