"""One request to S3 and what comes back. The only file that imports botocore, the engine inside boto3."""

from __future__ import annotations

import contextlib
import threading
import urllib.parse
from dataclasses import dataclass
from typing import Any, NoReturn

from ddr.errors import InputError, Unavailable
from ddr.lib import redact
from ddr.ports import store
from ddr.stores import s3_answers

_CONNECTIONS = 32
_NO_CREDENTIALS = (
    "give `accessKey` and `secretKey` in ddr.yaml as `${env:...}`, or what the AWS tools read: "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, a role"
)


@dataclass(frozen=True)
class Access:
    """How to reach a bucket. Times in seconds, `attempts` counts the first one."""

    bucket: str
    endpoint: str
    region: str
    access_key: str
    secret_key: str
    connect_timeout_s: float
    read_timeout_s: float
    attempts: int
    keys: s3_answers.Keys = s3_answers.REPOSITORY


class Answered(Exception):
    """The server answered with an error. To be translated by who asked: a 404 means many things."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text


class Silent(Unavailable):
    """The server did not answer. `was_sent`: it may have received the request all the same."""

    def __init__(self, message: str, *, hint: str, was_sent: bool) -> None:
        super().__init__(message, hint=hint)
        self.was_sent = was_sent


class Unreached(Silent, store.Unreached):
    """Nobody took the connection."""


class Wire:
    """A bucket's client, made at the first request and safe between threads."""

    def __init__(self, access: Access, name: str) -> None:
        self._access = access
        self._name = name
        self._clean = redact.Redactor(frozenset({access.secret_key}))
        self._client: Any = None
        self._making = threading.Lock()

    @property
    def server(self) -> str:
        """Where the requests go, for people."""
        return self._access.endpoint or f"AWS S3 ({self._access.region or 'default region'})"

    def is_beside(self, other: Wire) -> bool:
        """Whether both speak to one server with one login."""
        mine, its = self._access, other._access
        return (mine.endpoint, mine.region, mine.access_key) == (its.endpoint, its.region, its.access_key)

    def ask(self, doing: str, operation: str, **arguments: Any) -> dict[str, Any]:
        """The response of one S3 operation, its body read into `Body`.

        Raises Answered; Silent, Unusable and InputError speak of `doing`.
        """
        self._check_installed()
        import botocore.exceptions
        import botocore.parsers

        try:
            response: dict[str, Any] = getattr(self._connected(), operation)(Bucket=self._access.bucket, **arguments)
            if "Body" in response:
                with contextlib.closing(response["Body"]) as body:
                    response["Body"] = body.read()
        except botocore.exceptions.ClientError as problem:
            answer = problem.response
            status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            code = str(answer.get("Error", {}).get("Code", status))
            text = redact.foreign(self._clean(str(answer.get("Error", {}).get("Message", "")) or str(problem)))
            raise Answered(status, code, text) from problem
        except botocore.parsers.ResponseParserError as problem:
            raise self.not_s3(doing) from problem
        except botocore.exceptions.BotoCoreError as problem:
            self._translate(problem, doing)
        return response

    def not_s3(self, doing: str) -> store.Unusable:
        """For an answer that no S3 server gives."""
        return store.Unusable(
            f"{self._name}: cannot {doing}: {self.server} does not answer as S3 does",
            hint=f"is another program listening there? correct {self._access.keys.endpoint}",
        )

    def _connected(self) -> Any:
        with self._making:
            if self._client is None:
                self._client = self._connect()
        return self._client

    def _check_installed(self) -> None:
        try:
            import botocore.session  # noqa: F401
        except ModuleNotFoundError as problem:
            raise InputError(
                f"{self._name} needs boto3: it is not installed", hint="pip install 'ddr[s3]'"
            ) from problem

    def _connect(self) -> Any:
        import botocore.config
        import botocore.session

        access = self._access
        config = botocore.config.Config(
            connect_timeout=access.connect_timeout_s,
            read_timeout=access.read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": access.attempts},
            max_pool_connections=_CONNECTIONS,
            user_agent_extra="ddr",
            # By default botocore adds checksum headers that not every server takes (Backblaze B2 refuses them), and
            # checks a range against the checksum of the whole, which fails on rclone. We send Content-MD5 instead.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if access.endpoint else "auto"},
        )
        return botocore.session.Session().create_client(
            "s3",
            region_name=access.region or None,
            endpoint_url=access.endpoint or None,
            aws_access_key_id=access.access_key or None,
            aws_secret_access_key=access.secret_key or None,
            config=config,
        )

    def _translate(self, problem: Exception, doing: str) -> NoReturn:
        from botocore import exceptions as theirs

        text = redact.foreign(self._clean(str(problem)))
        message = f"{self._name}: cannot {doing}: {text}"
        without_credentials = (
            theirs.NoCredentialsError,
            theirs.PartialCredentialsError,
            theirs.CredentialRetrievalError,
            theirs.NoAuthTokenError,
            theirs.TokenRetrievalError,
            theirs.SSOError,
        )
        if isinstance(problem, without_credentials):
            raise store.Unusable(message, hint=_NO_CREDENTIALS) from problem
        if isinstance(problem, theirs.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(problem):
            hint = f"name the authority's file in AWS_CA_BUNDLE, or correct {self._access.keys.endpoint}"
            raise store.Unusable(message, hint=hint) from problem
        if isinstance(problem, (theirs.ConnectionError, theirs.HTTPClientError, theirs.ResponseStreamingError)):
            unsent = (
                theirs.EndpointConnectionError,
                theirs.ConnectTimeoutError,
                theirs.ProxyConnectionError,
                theirs.SSLError,
            )
            hint = f"is {self.server} up, and reachable from here?"
            if isinstance(problem, (theirs.EndpointConnectionError, theirs.ConnectTimeoutError)):
                raise Unreached(message, hint=hint, was_sent=False) from problem
            raise Silent(message, hint=hint, was_sent=not isinstance(problem, unsent)) from problem
        if isinstance(problem, theirs.IncompleteReadError):
            raise Silent(message, hint="the connection broke off; try again", was_sent=True) from problem
        raise InputError(message, hint=f"look at {self._access.keys.section} and at the AWS_* variables") from problem


def check_endpoint(endpoint: str) -> None:
    """Raise InputError unless it is `http(s)://host[:port]`. A password in it would end up in every message."""
    try:
        parts = urllib.parse.urlsplit(endpoint)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or "@" in endpoint or parts.query or parts.fragment or any(sign.isspace() for sign in endpoint):
        shown = redact.foreign(endpoint.rpartition("@")[2])
        raise InputError(
            f"{shown!r} is not an endpoint of S3",
            hint="`https://host` or `http://host:port`, without a user or password",
        )
