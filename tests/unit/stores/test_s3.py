"""The S3 store: one bucket for many, long listings, and what it says when it may not or cannot."""

from __future__ import annotations

import base64
import hashlib
import random
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent import futures
from datetime import UTC, datetime

import pytest

from ddr.errors import DdrError, InputError, Unavailable, Unsupported
from ddr.lib import clock as clocks
from ddr.ports import store
from ddr.stores import retrying, s3, s3_answers
from tests import servers
from tests.unit.stores import conftest, lossy


def every_use(tried: store.Store) -> list[Callable[[], object]]:
    return [
        lambda: tried.get("a/b"),
        lambda: tried.get("a/b", 1, 2),
        lambda: tried.get("a/b", 0, 0),
        lambda: tried.head("a/b"),
        lambda: list(tried.list("a/")),
        lambda: tried.create("a/b", b"x"),
        lambda: tried.swap("a/b", b"x", "0123456789abcdef"),
        lambda: tried.delete("a/b"),
    ]


def raised(use: Callable[[], object]) -> DdrError:
    with pytest.raises(DdrError) as caught:
        use()
    return caught.value


def all_text(problem: DdrError) -> str:
    return "".join(traceback.format_exception(problem)) + problem.message + problem.hint + repr(problem)


@pytest.mark.parametrize("kind", ["moto", "seaweed"])
def test_stores_in_one_bucket_do_not_see_each_other(kind: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue(f"{kind}_server")
    bucket = request.getfixturevalue(f"{kind}_bucket")
    client = server.client()
    for key in ("isolation/t/of-a-person", "isolation/t/with space", "isolation/t/.hidden", "isolation/t/ümlaut"):
        client.put_object(Bucket=bucket, Key=key, Body=b"theirs")
    prefixes = ("isolation/t", "isolation/te", "isolation/team", "isolation/team/a", "isolation/team-a")
    stores = {prefix: conftest.s3_store(server, bucket, prefix) for prefix in prefixes}
    for prefix, tried in stores.items():
        tried.create("mine/key", prefix.encode())
        assert tried.name == f"s3://{bucket}/{prefix}"
    for prefix, tried in stores.items():
        assert tried.get("mine/key") == prefix.encode()
        below = {f"{other[len(prefix) + 1 :]}/mine/key" for other in prefixes if other.startswith(f"{prefix}/")}
        theirs = {"of-a-person"} if prefix == "isolation/t" else set()
        assert [entry.key for entry in tried.list("")] == sorted({"mine/key", *below, *theirs})
        assert [entry.key for entry in tried.list("mine")] == ["mine/key"]
    stores["isolation/team"].delete("mine/key")
    assert stores["isolation/team-a"].head("mine/key")
    assert client.get_object(Bucket=bucket, Key="isolation/t/.hidden")["Body"].read() == b"theirs"


def test_listings_longer_than_a_page(seaweed_server: servers.S3Server, seaweed_bucket: str) -> None:
    tried = conftest.s3_store(seaweed_server, seaweed_bucket, "pages")
    expected = [f"journal/{number:06d}" for number in range(1_030)] + [f"journal/s/{number}" for number in range(5)]
    with futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: tried.create(key, b""), expected))
    assert [entry.key for entry in tried.list("")] == expected
    assert [entry.key for entry in tried.list("journal/", after="journal/000007")] == expected[8:]
    assert [entry.key for entry in tried.list("journal/", after="journal/001020")] == expected[1021:]
    assert [entry.key for entry in tried.list("journal/s/")] == expected[1030:]


def test_listings_of_many_small_pages(moto_server: servers.S3Server, moto_bucket: str) -> None:
    expected = sorted([*(f"journal/{number:03d}" for number in range(20)), "journal-1", "journal/s/1", "k"])
    with lossy.Lossy(moto_server.endpoint).running() as network:
        tried = s3.S3Store(moto_bucket, "small-pages", network.endpoint, None, "key", "secret")
        for key in expected:
            tried.create(key, b"")
        for network.page_keys in (1, 2, 7, 23):
            assert [entry.key for entry in tried.list("")] == expected
        network.page_keys = 7
        for at, key in enumerate(expected, start=1):
            assert [entry.key for entry in tried.list("", after=key)] == expected[at:]


@pytest.mark.parametrize("kind", ["moto", "seaweed"])
def test_what_the_bucket_holds_is_what_was_written(kind: str, request: pytest.FixtureRequest) -> None:
    """Seen by a client that knows nothing of ddr."""
    server = request.getfixturevalue(f"{kind}_server")
    bucket = request.getfixturevalue(f"{kind}_bucket")
    entry = conftest.s3_store(server, bucket, "seen").create("k", b"bytes")
    found = server.client().get_object(Bucket=bucket, Key="seen/k")
    assert found["Body"].read() == b"bytes"
    assert found["ETag"] == f'"{entry.version}"'
    assert len(found["Metadata"]["ddr-write"]) == 32


def test_bytes_changed_on_the_way_are_not_stored(seaweed_server: servers.S3Server, seaweed_bucket: str) -> None:
    """What the Content-MD5 is good for; the network here only changes the body."""
    client = seaweed_server.client()
    wrong = base64.b64encode(hashlib.md5(b"other bytes").digest()).decode()
    with pytest.raises(client.exceptions.ClientError, match="BadDigest"):
        client.put_object(Bucket=seaweed_bucket, Key="changed", Body=b"bytes", ContentMD5=wrong)
    tried = conftest.s3_store(seaweed_server, seaweed_bucket, "sent")
    tried.create("k", b"bytes")
    assert tried.get("k") == b"bytes"


def test_no_bucket_is_not_an_empty_bucket(moto_server: servers.S3Server) -> None:
    tried = conftest.s3_store(moto_server, "ddr-nobody-made-this", "p")
    for use in every_use(tried):
        problem = raised(use)
        assert isinstance(problem, store.Unusable), problem
        assert "there is no bucket 'ddr-nobody-made-this'" in problem.message
        assert "aws s3 mb s3://ddr-nobody-made-this" in problem.hint


def test_no_bucket_on_a_server_that_makes_one_at_the_first_write(seaweed_server: servers.S3Server) -> None:
    tried = conftest.s3_store(seaweed_server, "ddr-not-there-yet", "p")
    for use in every_use(tried)[:5]:
        assert isinstance(raised(use), store.Unusable)


@pytest.mark.parametrize("wrong", ["secret", "key"])
def test_wrong_credentials(seaweed_server: servers.S3Server, seaweed_bucket: str, wrong: str) -> None:
    key = "nobody-known" if wrong == "key" else seaweed_server.key
    secret = seaweed_server.secret if wrong == "key" else "wrong-SECRET-0123456789/abcdef"
    tried = s3.S3Store(seaweed_bucket, "", seaweed_server.endpoint, None, key, secret)
    for use in every_use(tried):
        problem = raised(use)
        assert isinstance(problem, store.Unusable), problem
        assert "`accessKey` and `secretKey`" in problem.hint
        assert f"s3://{seaweed_bucket}" in problem.message
        assert secret not in all_text(problem)


def test_nobody_listens() -> None:
    (port,) = servers.free_ports(1)
    secret = "SECRET-0123456789/abcdef"
    tried = s3.S3Store("bucket", "p", f"http://127.0.0.1:{port}", None, "key", secret, attempts=1)
    for use in every_use(tried):
        problem = raised(use)
        assert isinstance(problem, Unavailable)
        assert not isinstance(problem, store.Unusable), "it may come back"
        assert f"http://127.0.0.1:{port}" in problem.message
        assert "reachable" in problem.hint
        assert secret not in all_text(problem)


def test_no_such_host() -> None:
    tried = s3.S3Store("bucket", "p", "http://nowhere.invalid", None, "key", "secret", attempts=1)
    problem = raised(lambda: tried.get("k"))
    assert isinstance(problem, Unavailable)
    assert "nowhere.invalid" in problem.message


@pytest.mark.usefixtures("no_aws")
def test_no_credentials() -> None:
    tried = s3.S3Store("bucket", region="eu-central-1")
    for use in every_use(tried):
        problem = raised(use)
        assert isinstance(problem, store.Unusable)
        assert "credentials" in problem.message
        assert "AWS_ACCESS_KEY_ID" in problem.hint


def test_a_profile_that_is_not_there(no_aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "night-shift")
    problem = raised(lambda: s3.S3Store("bucket").get("k"))
    assert isinstance(problem, InputError)
    assert "night-shift" in problem.message


def test_credentials_from_the_usual_places(
    no_aws: None, monkeypatch: pytest.MonkeyPatch, moto_server: servers.S3Server, moto_bucket: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-env")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "from-env")
    tried = s3.S3Store(moto_bucket, "usual", moto_server.endpoint)
    tried.create("k", b"x")
    assert tried.get("k") == b"x"


HTML = b"<html><body>It works!</body></html>"


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "403 Forbidden", "404 Not Found"])
def test_a_server_that_is_not_s3(status: str) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(HTML)}\r\nConnection: close\r\n\r\n"
    with lossy.answering(head.encode() + HTML) as endpoint:
        tried = s3.S3Store("bucket", "p", endpoint, None, "key", "secret", attempts=1)
        uses = every_use(tried)
        for use in uses if status != "200 OK" else [*uses[3:5], *uses[5:7]]:
            problem = raised(use)
            assert isinstance(problem, store.Unusable), (problem, type(problem))
            assert problem.hint


ANSWERS = [
    (403, "AccessDenied", store.Unusable, "s3:ListBucket"),
    (403, "403", store.Unusable, "`accessKey`"),
    (403, "SignatureDoesNotMatch", store.Unusable, "`accessKey`"),
    (400, "ExpiredToken", store.Unusable, "renew"),
    (403, "RequestTimeTooSkewed", store.Unusable, "timedatectl"),
    (301, "PermanentRedirect", store.Unusable, "region"),
    (301, "301", store.Unusable, "region"),
    (400, "AuthorizationHeaderMalformed", store.Unusable, "region"),
    (404, "NoSuchBucket", store.Unusable, "aws s3 mb"),
    (409, "ConditionalRequestConflict", Unavailable, "try again"),
    (409, "OperationAborted", Unavailable, "try again"),
    (429, "TooManyRequests", Unavailable, "try again"),
    (503, "SlowDown", Unavailable, "fewer"),
    (500, "InternalError", Unavailable, "try again"),
    (400, "BadDigest", Unavailable, "not stored"),
    (501, "NotImplemented", Unsupported, "another store"),
    (400, "SomethingNew", store.Unusable, "repository"),
    (507, "XMinioStorageFull", store.Full, "make room"),
    (507, "507", store.Full, "make room"),
    (507, "Insufficient Storage", store.Full, "make room"),
    (500, "InsufficientStorage", store.Full, "make room"),
    (403, "QuotaExceeded", store.Full, "quota"),
    (400, "XMinioAdminBucketQuotaExceeded", store.Full, "quota"),
]
FULL_TEXTS = [
    "assign volume: rpc error: code = Unknown desc = No free volumes left!",
    "No writable volumes and no free volumes left",
    "write /data/1.dat: no space left on device",
    "Storage backend has reached its minimum free drive threshold. Please delete a few objects to proceed.",
]


@pytest.mark.parametrize("text", FULL_TEXTS)
def test_a_full_store_says_so_in_its_words_where_its_code_says_nothing(text: str) -> None:
    for status, kind in ((500, store.Full), (503, store.Full), (403, store.Unusable)):
        problem = s3_answers.translate(status, "InternalError", text, "s3://b: cannot write 'k'", "b")
        assert type(problem) is kind, (status, text)


def test_a_server_that_answers_507_is_full_and_not_asked_for_two_minutes() -> None:
    body = b"<Error><Code>XMinioStorageFull</Code><Message>Storage backend has reached its minimum</Message></Error>"
    head = "HTTP/1.1 507 Insufficient Storage\r\nContent-Type: application/xml\r\n"
    head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with lossy.answering(head.encode() + body) as endpoint:
        tried = s3.S3Store("bucket", "p", endpoint, None, "key", "secret", attempts=1)
        clock = clocks.ManualClock(datetime(2026, 11, 21, tzinfo=UTC))
        began = clock.now()
        patient = retrying.Retrying(tried, clock, random.Random(1))
        with pytest.raises(store.Full, match="XMinioStorageFull"):
            patient.create("k", b"bytes")
        assert clock.now() == began


@pytest.mark.parametrize(("status", "code", "kind", "hint"), ANSWERS)
def test_each_answer_has_its_next_move(status: int, code: str, kind: type[DdrError], hint: str) -> None:
    problem = s3_answers.translate(status, code, "their words", "s3://b: cannot read 'k'", "b")
    assert type(problem) is kind
    assert problem.message.startswith("s3://b: cannot read 'k'")
    assert hint in problem.hint
    called = s3_answers.Keys(*["the key of an index"] * 5)
    other = s3_answers.translate(status, code, "their words", "s3://b: cannot read 'k'", "b", called)
    assert "repository" not in other.hint
    assert ("the key of an index" in other.hint) == ("repository" in problem.hint)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"bucket": ""}, "is not the name of a bucket"),
        ({"bucket": "bucket/folder"}, "is not the name of a bucket"),
        ({"bucket": "b c"}, "is not the name of a bucket"),
        ({"bucket": "bucket", "prefix": "a//b"}, "is not a prefix"),
        ({"bucket": "bucket", "prefix": "../b"}, "is not a prefix"),
        ({"bucket": "bucket", "prefix": "/".join(["p" * 100] * 5)}, "is not a prefix"),
        ({"bucket": "bucket", "endpoint": "localhost:9000"}, "is not an endpoint"),
        ({"bucket": "bucket", "endpoint": "ftp://host"}, "is not an endpoint"),
        ({"bucket": "bucket", "endpoint": "http://"}, "is not an endpoint"),
        ({"bucket": "bucket", "endpoint": "http://host:99999"}, "is not an endpoint"),
        ({"bucket": "bucket", "endpoint": "http://me:SECRET-0123@host"}, "is not an endpoint"),
        ({"bucket": "bucket", "access_key": "key"}, "both access key and secret key"),
        ({"bucket": "bucket", "secret_key": "SECRET-0123"}, "both access key and secret key"),
        ({"bucket": "bucket", "endpoint": "http://host", "region": "not a region!"}, "region"),
    ],
)
def test_arguments_that_cannot_be_right(arguments: dict[str, str], what: str) -> None:
    def use() -> object:
        settings = {"access_key": "k", "secret_key": "s"} if "region" in arguments else {}
        return s3.S3Store(**arguments, **settings).get("k")  # type: ignore[arg-type]

    problem = raised(use)
    assert isinstance(problem, InputError)
    assert what in problem.message.lower() or what in problem.message
    assert "SECRET-0123" not in all_text(problem)


def test_a_slash_around_the_prefix_is_no_matter() -> None:
    assert s3.S3Store("bucket", "/team/a/").name == "s3://bucket/team/a"
    assert s3.S3Store("bucket", "/").name == "s3://bucket"


def test_a_version_that_is_none(moto_server: servers.S3Server, moto_bucket: str) -> None:
    tried = conftest.s3_store(moto_server, moto_bucket, "versions")
    for version in ('"quoted"', "two\nlines", "ä"):
        with pytest.raises(InputError, match="is not a version"):
            tried.swap("k", b"x", version)


def test_without_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    for use in every_use(s3.S3Store("bucket", "", "http://127.0.0.1:1", None, "key", "secret")):
        problem = raised(use)
        assert isinstance(problem, InputError)
        assert "pip install 'ddr[s3]'" in problem.hint


def test_nothing_slow_is_imported_before_it_is_needed() -> None:
    program = (
        "import sys\n"
        "from ddr.stores import dry_run, local, memory, probe, retrying, s3\n"
        "s3.S3Store('bucket', 'p', 'http://127.0.0.1:1', None, 'key', 'secret')\n"
        "slow = {'boto3', 'botocore', 'urllib3', 'msgspec', 'numpy', 'yaml', 'rich'}\n"
        "print(sorted(slow & {name.partition('.')[0] for name in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
