"""Object Lock and versions of a bucket: what nobody can delete, and how to reach what was hidden.

Where Object Lock is on, versions are kept: a DELETE puts a marker on top, a PUT other bytes, and what was there before
stays until its lock has ended and somebody who may deletes that version by its id. Whoever has the writer's keys can
hide everything and destroy nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ddr.errors import DdrError, Missing, Refused, Unsupported
from ddr.ports import store
from ddr.stores import keys, s3_answers, s3_wire

_NONE_YET = ("ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration")
_UNABLE = (*_NONE_YET, "NotImplemented", "MethodNotAllowed", "InvalidRequest")
_ASKING = "the credentials need s3:GetBucketObjectLockConfiguration and s3:GetBucketVersioning on the bucket"
_EXTENDING = "the credentials need s3:PutObjectRetention and s3:GetObjectRetention on the keys"


def _now() -> datetime:
    """Locks end by the server's clock, which is real time, whatever a sandbox plays."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Locks:
    """The part of an S3Store that speaks of locks and versions. `root` stands before every key."""

    wire: s3_wire.Wire
    name: str
    bucket: str
    root: str
    rule: store.LockRule | None = None
    now: Callable[[], datetime] = _now

    def headers(self, key: str) -> dict[str, Any]:
        """What a PUT of this key says so that it is locked from its first moment on."""
        span = self._span(key)
        if self.rule is None or span is None:
            return {}
        return {"ObjectLockMode": self.rule.mode.upper(), "ObjectLockRetainUntilDate": self.now() + span}

    def check(self) -> None:
        doing = "see whether it has Object Lock"
        try:
            found = self.wire.ask(doing, "get_object_lock_configuration")
            state = str(found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled", ""))
            versioning = str(self.wire.ask(doing, "get_bucket_versioning").get("Status", "off"))
        except s3_wire.Answered as answer:
            if answer.code in _UNABLE or answer.status == 501:
                raise self._unlocked("it has no Object Lock") from answer
            if answer.status == 403:
                raise Refused(f"{self.name}: cannot {doing}: {answer.code}", hint=_ASKING) from answer
            raise self._translated(answer, doing) from answer
        if state != "Enabled":
            raise self._unlocked(f"its Object Lock is {state or 'off'}")
        if versioning != "Enabled":
            raise self._unlocked(f"its versioning is {versioning}")

    def locked(self, key: str) -> store.Lock | None:
        return self._look(key)[1]

    def _look(self, key: str) -> tuple[bool, store.Lock | None]:
        """Whether it is there, and its lock."""
        doing = f"look at the lock of {key!r}"
        try:
            found = self.wire.ask(doing, "head_object", Key=self.root + key)
        except s3_wire.Answered as answer:
            if answer.status == 404 and answer.code != "NoSuchBucket":
                return False, None
            raise self._translated(answer, doing) from answer
        mode, until = found.get("ObjectLockMode"), found.get("ObjectLockRetainUntilDate")
        if mode not in ("COMPLIANCE", "GOVERNANCE") or not isinstance(until, datetime):
            return True, None
        return True, store.Lock("compliance" if mode == "COMPLIANCE" else "governance", until.astimezone(UTC))

    def lock(self, key: str, until: datetime) -> store.Lock:
        doing = f"lock {key!r} until {until:%Y-%m-%d}"
        is_there, found = self._look(key)
        if not is_there:
            raise Missing(f"{self.name} has no {key!r}")
        if found and found.until >= until:
            return found
        mode = found.mode if found else self.rule.mode if self.rule else "governance"
        wanted = store.Lock(mode, until)
        said = {"Mode": wanted.mode.upper(), "RetainUntilDate": wanted.until}
        try:
            self.wire.ask(doing, "put_object_retention", Key=self.root + key, Retention=said)
        except s3_wire.Answered as answer:
            again = self.locked(key) if answer.status == 403 else None
            if again and again.until >= until:
                return again  # somebody else has locked it for longer meanwhile
            if answer.status == 403:
                raise Refused(f"{self.name}: cannot {doing}: {answer.code}", hint=_EXTENDING) from answer
            raise self._translated(answer, doing) from answer
        return wanted

    def versions(self, prefix: str) -> Iterator[store.Version]:
        doing = f"list the versions below {prefix!r}"
        self._check_versioned(doing)
        where: dict[str, str] = {}
        waiting: list[store.Version] = []
        while True:
            try:
                page = self.wire.ask(doing, "list_object_versions", Prefix=self.root + prefix, **where)
            except s3_wire.Answered as answer:
                raise self._translated(answer, doing) from answer
            waiting += [self._version(one, is_marker=False) for one in page.get("Versions", ())]
            waiting += [self._version(one, is_marker=True) for one in page.get("DeleteMarkers", ())]
            waiting.sort(key=lambda one: (one.key, not one.is_newest, -one.at.timestamp(), not one.is_marker))
            last = max((one.key for one in waiting), default="")
            if page.get("IsTruncated") is not True:
                yield from (one for one in waiting if keys.is_key(one.key))
                return
            yield from (one for one in waiting if one.key != last and keys.is_key(one.key))
            waiting = [one for one in waiting if one.key == last]  # the next page may have more of it
            following = {"KeyMarker": str(page.get("NextKeyMarker", ""))}
            if page.get("NextVersionIdMarker"):
                following["VersionIdMarker"] = str(page["NextVersionIdMarker"])
            if following == where or not following["KeyMarker"]:
                raise self.wire.not_s3(doing)
            where = following

    def get_version(self, version: store.Version) -> bytes:
        doing = f"read a version of {version.key!r}"
        try:
            found = self.wire.ask(doing, "get_object", Key=self.root + version.key, VersionId=version.id)
        except s3_wire.Answered as answer:
            if answer.status == 404 and answer.code != "NoSuchBucket":
                raise Missing(f"{self.name} has no such version of {version.key!r}") from answer
            raise self._translated(answer, doing) from answer
        return bytes(found["Body"])

    def bring_back(self, version: store.Version) -> None:
        doing = f"bring {version.key!r} back"
        source = {"Bucket": self.bucket, "Key": self.root + version.key, "VersionId": version.id}
        try:
            self.wire.ask(doing, "copy_object", Key=self.root + version.key, CopySource=source)
        except s3_wire.Answered as answer:
            raise self._translated(answer, doing) from answer
        self.lock_new(version.key)

    def lock_new(self, key: str) -> None:
        """Lock what was copied by the server: some take no lock with a copy."""
        span = self._span(key)
        if span is not None:
            self.lock(key, self.now() + span)

    def _check_versioned(self, doing: str) -> None:
        """An unversioned bucket lists its objects as versions, as if nothing had ever been hidden."""
        try:
            state = self.wire.ask(doing, "get_bucket_versioning").get("Status")
        except s3_wire.Answered as answer:
            if answer.status == 403:
                return  # whether it is versioned may be secret; what it lists is not
            if answer.status != 501 and answer.code not in ("NotImplemented", "MethodNotAllowed"):
                raise self._translated(answer, doing) from answer
            state = None
        if state not in ("Enabled", "Suspended"):
            raise Unsupported(f"{self.name} keeps no versions", hint="what was deleted there is gone; is there a copy?")

    def _span(self, key: str) -> timedelta | None:
        """How long the rule locks this key."""
        spans = self.rule.spans if self.rule else {}
        return next((span for beginning, span in spans.items() if key.startswith(beginning)), None)

    def _version(self, found: dict[str, Any], *, is_marker: bool) -> store.Version:
        return store.Version(
            found["Key"][len(self.root) :],
            str(found["VersionId"]),
            found["LastModified"].astimezone(UTC),
            int(found.get("Size", 0)),
            bool(found.get("IsLatest")),
            is_marker,
        )

    def _unlocked(self, why: str) -> Refused:
        return Refused(
            f"{self.name}: ddr.yaml asks for `lock` and the bucket {self.bucket!r} cannot: {why}",
            hint="make a new bucket with it (`aws s3api create-bucket --object-lock-enabled-for-bucket ...`; that "
            "switches versioning on, too), or switch both on for this one; without `lock` ddr writes unlocked",
        )

    def _translated(self, answer: s3_wire.Answered, doing: str) -> DdrError:
        failed = f"{self.name}: cannot {doing}"
        return s3_answers.translate(answer.status, answer.code, answer.text, failed, self.bucket)
