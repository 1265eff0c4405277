"""What the error codes of S3 mean for ddr, with the next move."""

from __future__ import annotations

from dataclasses import dataclass

from ddr.errors import DdrError, Unavailable, Unsupported
from ddr.ports import store


@dataclass(frozen=True)
class Keys:
    """What a person corrects, as hints call it. `folder`: where a folder in the bucket is written."""

    bucket: str
    folder: str
    endpoint: str
    region: str
    section: str


REPOSITORY = Keys(
    "`repository.bucket`", "in `repository.prefix`", "`repository.endpoint`", "`repository.region`", "`repository`"
)

_CREDENTIALS = (
    "check `accessKey` and `secretKey` in ddr.yaml and the AWS_* variables; temporary ones expire: renew them"
)
_REGION = "set {keys.region} to the bucket's region"
_PERMISSIONS = (
    "the credentials are known and not allowed to: ddr needs s3:GetObject, s3:PutObject and s3:DeleteObject on the "
    "keys and s3:ListBucket on the bucket"
)

_PERSON_MUST_ACT = {
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "TokenRefreshRequired": _CREDENTIALS,
    "RequestTimeTooSkewed": "the clock of this machine is wrong: set it (`timedatectl`)",
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "InvalidBucketName": "correct {keys.bucket}",
}
_MAY_PASS = {
    "SlowDown": "the server asks for fewer requests: try again",
    "RequestTimeout": "the connection was too slow: try again",
    "BadDigest": "the bytes were changed on the way and not stored: try again",
    "OperationAborted": "another change of the bucket is under way: try again",
    "ConditionalRequestConflict": "another writer was there at the same time: try again",
}
_FULL = frozenset(
    {"XMinioStorageFull", "InsufficientStorage", "Insufficient Storage", "InsufficientCapacity", "QuotaExceeded"}
    | {"XMinioAdminBucketQuotaExceeded", "UserSizeQuotaExceeded", "BucketSizeQuotaExceeded"}
)
"""MinIO (507, and 400 for a quota), Dell ECS (507), Ceph (403 for a quota), VersityGW (507, 403)."""

_FULL_WORDS = ("no free volumes left", "no writable volumes", "no space left on device", "minimum free d", "disk full")
"""What SeaweedFS and gateways to file systems put into a 500 whose code says nothing."""

_PASSING_STATUS = (408, 409, 425, 429)


def translate(status: int, code: str, text: str, failed: str, bucket: str, keys: Keys = REPOSITORY) -> DdrError:
    """The error of ddr for an error that S3 answered with. `failed` says what could not be done and where."""
    message = f"{failed}: {code}: {text}" if text and text != code else f"{failed}: {code}"
    if code == "NoSuchBucket" or status == 404:
        return store.Unusable(
            f"{failed}: there is no bucket {bucket!r}",
            hint=f"create it (`aws s3 mb s3://{bucket}`), or correct {keys.bucket} and {keys.endpoint}",
        )
    if code in ("NotImplemented", "MethodNotAllowed") or status == 501:
        return Unsupported(message, hint="this server lacks what ddr needs; `ddr doctor` says what: take another store")
    if code in _PERSON_MUST_ACT:
        return store.Unusable(message, hint=_PERSON_MUST_ACT[code].format(keys=keys))
    if status == 507 or code in _FULL or (status >= 500 and any(words in text.lower() for words in _FULL_WORDS)):
        return store.Full(
            message,
            hint="make room where the bucket lies, or raise its quota; `ddr backup prune` gives back what is due",
        )
    if code in _MAY_PASS or status in _PASSING_STATUS or status >= 500:
        return Unavailable(message, hint=_MAY_PASS.get(code, "the server has trouble: try again"))
    if status in (401, 403):
        # An answer to HEAD has no body, so it cannot say which of the two it is.
        return store.Unusable(
            message, hint=_PERMISSIONS if code == "AccessDenied" else f"{_CREDENTIALS}; {_PERMISSIONS}"
        )
    if status in (301, 307):
        return store.Unusable(message, hint=_REGION.format(keys=keys))
    return store.Unusable(message, hint=f"the server refuses the request as such: is it S3, and {keys.section} right?")
