"""Real S3 servers for the tests: moto, SeaweedFS and `rclone serve s3`, each started from its pip-installed program.

Every server listens on free loopback ports, keeps its bytes in a temporary folder and is ended by its own pid. The
fixtures live as long as the session of one xdist worker.

rclone is here because it is dishonest: it accepts conditional writes and ignores the condition.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
START_S = 60.0
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class S3Server:
    """Where it listens and who may enter."""

    endpoint: str
    key: str
    secret: str

    def client(self) -> Any:
        """A plain boto3 client, for looking behind ddr's back."""
        import boto3.session
        import botocore.config

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=botocore.config.Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def new_bucket(self) -> str:
        name = f"ddr-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name)
        return name


def free_ports(count: int, *, grpc: bool = False) -> list[int]:
    """Ports that were free a moment ago, below the range the kernel gives to clients.

    With `grpc` the port 10,000 above each is free as well: SeaweedFS takes both.
    """
    found: list[int] = []
    for port in random.sample(range(10_240, 22_500), 2_000):
        if all(_is_free(each) for each in ([port, port + 10_000] if grpc else [port])):
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"no {count} free ports on loopback")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, is_ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """The program from its first answer to the end of the block; killed by pid, and with this process."""
    with log.open("wb") as sink:
        server = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            preexec_fn=_die_with_parent,
        )
    try:
        deadline = time.monotonic() + START_S
        while not is_ready():
            if server.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{command[0]} did not start (exit code {server.returncode}):\n{tail}")
            time.sleep(0.05)
        yield server
    finally:
        server.kill()
        server.wait()


def answers(url: str) -> bool:
    """Whether something speaks HTTP there."""
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _attempted(start: Callable[[], contextlib.AbstractContextManager[S3Server]]) -> Iterator[S3Server]:
    """Start, with other ports when somebody took ours in between."""
    for attempts_left in (2, 1, 0):
        with contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(start())
            except RuntimeError:
                if not attempts_left:
                    raise
                continue
            yield server
            return


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[S3Server]:
    """moto: all bytes in memory, every credential is good. Ready after a second."""
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    command = [str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with running(command, folder / "moto.log", lambda: answers(endpoint)):
        yield S3Server(endpoint, "moto-key", "moto-secret")


@contextlib.contextmanager
def seaweed(folder: Path) -> Iterator[S3Server]:
    """SeaweedFS: a real object store that checks credentials. Its first PUT succeeds after about three seconds."""
    key, secret = "seaweed-key", f"seaweed-{secrets.token_hex(12)}"
    identity = {
        "name": "admin",
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    settings = folder / "s3.json"
    settings.write_text(json.dumps({"identities": [identity]}))
    (folder / "volumes").mkdir(exist_ok=True)
    s3, master, volume, filer = free_ports(4, grpc=True)
    command = [
        *(str(BIN / "weed"), "-logtostderr=true", "server"),
        *(f"-dir={folder / 'volumes'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-master.port={master}", "-master.telemetry=false", "-master.volumeSizeLimitMB=64"),
        *(f"-volume.port={volume}", "-volume.max=400", "-volume.preStopSeconds=0"),
        *(f"-filer.port={filer}", "-s3", f"-s3.port={s3}", f"-s3.config={settings}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
    ]
    server = S3Server(f"http://127.0.0.1:{s3}", key, secret)
    with running(command, folder / "weed.log", lambda: _takes_a_put(server)):
        yield server


def _takes_a_put(server: S3Server) -> bool:
    """It answers before it has a volume to write to, so the answer alone says little."""
    import botocore.exceptions

    if not answers(server.endpoint):
        return False
    client = server.client()
    try:
        client.create_bucket(Bucket="ready")
        client.put_object(Bucket="ready", Key="ready", Body=b"ready")
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
        return False
    return True


@contextlib.contextmanager
def rclone(folder: Path) -> Iterator[S3Server]:
    """`rclone serve s3`: takes `If-None-Match` and `If-Match` and overwrites all the same."""
    (port,) = free_ports(1)
    key, secret = "rclone-key-0001", f"rclone-{secrets.token_hex(12)}"
    (folder / "served").mkdir(exist_ok=True)
    command = [
        *(str(BIN / "rclone"), "serve", "s3", str(folder / "served")),
        *("--config", str(folder / "rclone.conf"), "--cache-dir", str(folder / "cache"), "--vfs-cache-mode", "off"),
        *("--addr", f"127.0.0.1:{port}", "--auth-key", f"{key},{secret}"),
    ]
    endpoint = f"http://127.0.0.1:{port}"
    with running(command, folder / "rclone.log", lambda: answers(endpoint)):
        yield S3Server(endpoint, key, secret)


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from _attempted(lambda: moto(tmp_path_factory.mktemp("moto")))


@pytest.fixture(scope="session")
def seaweed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from _attempted(lambda: seaweed(tmp_path_factory.mktemp("seaweed")))


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    yield from _attempted(lambda: rclone(tmp_path_factory.mktemp("rclone")))
