"""The `indexes` section of ddr.yaml, and a file of its own with the same keys: what is built from which corpus."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ddr.domain import indexes
from ddr.errors import BadDocument, InputError, Problem
from ddr.lib import decode, digest, located, redact
from ddr.wiring import references

_TEXT_BYTES = 200
_LIKE_A_FILE = re.compile(r"/|\\|\.[A-Za-z][A-Za-z0-9]{0,11}$")
"""A slash, or an ending such as `.txt`; `small-v1.5` has none."""
_LARGEST = (1 << 31) - 1
"""Of a seed, as all engines take it; as MiB, bytes of a vector or rows of a part more than any machine has."""
_LONGEST_NAME_BYTES = 255  # of one file or folder, on Linux
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,4})?")
_BUCKET = "s3://"
_LIKE_A_BUCKET = re.compile(r"\s*(s3:|[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_HOME = re.compile(r"~(?=/|\Z)")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_NO_BUCKETS = ("work", "model")
_SHOWN_CHARACTERS, _DIGITS = 40, 16
_SECTION = "indexes"
NOT_EMBEDDED = "embedded/none-yet/*.npy"
"""Stands for the vectors of texts that were not embedded yet: `wiring/index_embedding` knows the real ones."""


@dataclass(frozen=True)
class S3Entry:
    """For `s3://` in `home` and `vectors`. Without keys the usual AWS chain is asked (environment, profile, role)."""

    endpoint: str = ""
    region: str = ""
    access_key: str = ""
    secret_key: str = field(default="", repr=False)


@dataclass(frozen=True)
class AnomalyEntry:
    not_finite: Literal["reject", "drop"] = "reject"
    zero: indexes.Policy = "reject"
    duplicate: indexes.Policy = "keep"


@dataclass(frozen=True)
class EmbedEntry:
    """Texts to vectors before the build. `corpus`: JSON lines with `id` and `text`; `model`: a folder of a model.

    `pooling` auto is what the model says, `precision` auto fp32 on a CPU and a half one on a GPU. A shard is what a
    kill costs.
    """

    corpus: str = field(metadata={"note": "a path, a pattern or s3://BUCKET/KEY* of files in JSON lines"})
    model: str
    pooling: Literal["auto", "mean", "cls"] = "auto"
    max_tokens: int = 256
    batch_tokens: int = 8192
    prefix: str = ""
    normalise: bool = True
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    rows_per_shard: int = 16384

    def __post_init__(self) -> None:
        for key in ("corpus", "model"):
            _check_path(key, getattr(self, key))
        for name, least in (("max_tokens", 3), ("batch_tokens", 1), ("rows_per_shard", 1)):
            if not least <= getattr(self, name) <= _LARGEST:
                raise ValueError(f"{decode.document_key(name)} is {getattr(self, name)}; {least} to {_LARGEST}")


@dataclass(frozen=True)
class IndexEntry:
    """As it is written; everything but `home` and where vectors come from may be left to ddr."""

    home: str = field(metadata={"note": "a folder, or s3://BUCKET/PREFIX: versions/ and the link `current` lie there"})
    vectors: tuple[str, ...] = ()
    ids: str = ""
    column: str = "vector"
    embed: EmbedEntry | None = None
    metric: indexes.Metric = indexes.Metric.L2
    kind: indexes.Kind | None = None
    recall: float = 0.95
    k: int = 10
    memory_mib: int = 0
    bytes_per_vector: int = 0
    engine: Literal["auto", "faiss", "torch"] = "auto"
    device: str = "auto"
    quality: Literal["fast", "max"] = "fast"
    anomalies: AnomalyEntry = field(default_factory=AnomalyEntry)
    seed: int = 1234
    rows_per_part: int = 0
    queries: str = ""
    embedder: str = ""
    work: str = ""
    s3: S3Entry = field(default_factory=S3Entry)

    def __post_init__(self) -> None:
        if not self.home.strip():
            raise ValueError("home is empty; a folder, or s3://BUCKET/PREFIX")
        for key in ("home", "work", "ids", "queries"):
            _check_path(key, getattr(self, key))
        for text in self.vectors:
            _check_path("vectors", text)
        if bool(self.vectors) == (self.embed is not None):
            raise ValueError("either vectors or embed says where vectors come from; one of them")
        if self.embed is not None and (self.ids or self.embedder):
            raise ValueError("ids and embedder are not given with embed: both are known from it")
        if not 0 < self.recall <= 1:
            raise ValueError(f"recall is {self.recall:g}; a share such as 0.95, at most 1: exact search")
        if not 1 <= self.k <= 1000:
            raise ValueError(f"k is {self.k}; 1 to 1000 neighbours")
        if not _DEVICE.fullmatch(self.device):
            raise ValueError(f"device is {self.device!r}; auto, cpu, cuda, cuda:1 or mps")
        if not 0 <= self.seed <= _LARGEST:
            raise ValueError(f"seed is {self.seed}; 0 to {_LARGEST}")
        for name in ("memory_mib", "bytes_per_vector", "rows_per_part"):
            if not 0 <= getattr(self, name) <= _LARGEST:
                key = decode.document_key(name)
                raise ValueError(f"{key} is {getattr(self, name)}; 1 to {_LARGEST}, or 0, which leaves it to ddr")


def _check_path(key: str, text: str) -> None:
    """ValueError for what no file can be called, and for what is meant to be elsewhere and would be a folder here."""
    is_bucket = text.startswith(_BUCKET) and key not in _NO_BUCKETS
    if _LIKE_A_BUCKET.match(text) and not is_bucket:
        bucket = "" if key in _NO_BUCKETS else ", or s3://BUCKET/KEY"
        raise ValueError(f"{key} is {text!r}; a path on this machine{bucket}")
    if text.startswith("~") or "${" in text:
        named = _VARIABLE.sub(r"${env:\1}", _HOME.sub("${env:HOME}", text))
        better = f"{named}, or " if named != text else ""
        raise ValueError(f"{key} is {text!r}, which no shell fills in here; write {better}the path as it is")
    if "\0" in text:
        raise ValueError(f"{key} is {text!r}; no path has a zero byte in it")
    longest = max(len(os.fsencode(name)) for name in text.split("/"))
    if longest > _LONGEST_NAME_BYTES and not is_bucket:
        raise ValueError(f"{key} has a name of {longest} bytes in it; {_LONGEST_NAME_BYTES} at most")


def wanted(name: str, entry: IndexEntry, base: Path) -> indexes.Wanted:
    """What a build is asked for; relative paths count from `base`."""
    vectors = entry.vectors if entry.embed is None else (NOT_EMBEDDED,)
    return indexes.Wanted(
        name=name,
        home=placed(entry.home, base),
        source=indexes.Source(tuple(placed(one, base) for one in vectors), _ids(entry.ids, base), entry.column),
        metric=entry.metric,
        kind=entry.kind,
        recall=entry.recall,
        k=entry.k,
        memory_mib=entry.memory_mib,
        bytes_per_vector=entry.bytes_per_vector,
        engine=entry.engine,
        device=entry.device,
        quality=entry.quality,
        policies=indexes.Policies(entry.anomalies.not_finite, entry.anomalies.zero, entry.anomalies.duplicate),
        seed=entry.seed,
        rows_per_part=entry.rows_per_part,
        queries=placed(entry.queries, base) if entry.queries else "",
        embedder=_fingerprint(entry.embedder, base),
    )


def placed(text: str, base: Path) -> str:
    return text if text.startswith(_BUCKET) else str(base / text)


def home_place(entry: IndexEntry, base: Path) -> tuple[str, ...]:
    """Equal for two that name one home: through links, by another path or with a slash behind."""
    if not entry.home.startswith(_BUCKET):
        return (os.path.realpath(base / entry.home),)
    bucket, _, prefix = entry.home.removeprefix(_BUCKET).partition("/")
    return entry.s3.endpoint.rstrip("/"), bucket, prefix.strip("/")


def _ids(text: str, base: Path) -> str:
    """A pattern of files, or the name of a column as it is."""
    is_files = text.endswith((".npy", ".json"))
    return placed(text, base) if is_files else text


def work_folder(entry: IndexEntry, base: Path, name: str) -> Path:
    """Where builds go on: beside the versions, on their disk; of a bucket a folder here."""
    if entry.work:
        return base / entry.work
    if entry.home.startswith(_BUCKET):
        return base / ".ddr-work" / name
    return base / entry.home / ".work"


def embedded_folder(entry: IndexEntry, base: Path, name: str) -> Path:
    """Where vectors that were made of texts lie, a folder for each embedder. In a work folder that other indexes may
    have, too, a place of its own: name and home decide, the home as it is seen from there, so that both can be moved
    together."""
    folder = work_folder(entry, base, name)
    if not entry.work and not entry.home.startswith(_BUCKET):
        return folder / "embedded"
    home: tuple[str, ...] = home_place(entry, base)
    if not entry.home.startswith(_BUCKET):
        home = (os.path.relpath(Path(os.path.realpath(base), entry.home), os.path.realpath(folder)),)
    key = digest.of_bytes("\0".join((name, *home)).encode(errors="surrogatepass"))
    shown = re.sub(r"[^\w.-]", "_", name)[:_SHOWN_CHARACTERS]
    return folder / "vectors" / f"{shown}-{digest.short(key, _DIGITS)}"


class NoFingerprint(InputError):
    """What makes the vectors is not known: nothing is built or compared with it, all else goes on."""


def _fingerprint(text: str, base: Path) -> str:
    """As it is; or, where it names a file, that file's short text, or else the digest of its bytes. NoFingerprint
    for what looks like a file and is none: as a fingerprint the name would be the same for every embedder; and for a
    file with nothing in it, which would be no fingerprint at all."""
    if not text or text.startswith(digest.PREFIX):
        return text
    path = base / text
    try:
        if not path.is_file():
            if _LIKE_A_FILE.search(text) or path.exists():
                raise NoFingerprint(
                    f"embedder: {path}: there is no such file",
                    hint="name a file with the fingerprint in it, or write one without slash and ending",
                )
            return text
        content = path.read_bytes()
    except (OSError, ValueError) as problem:
        raise InputError(f"embedder: {path}: {redact.foreign(problem)}", hint="look at its rights") from problem
    if not content.strip():
        raise NoFingerprint(f"embedder: {path} is empty", hint="write the fingerprint of the embedder into it")
    if len(content) <= _TEXT_BYTES:
        with contextlib.suppress(UnicodeDecodeError):
            return content.decode().strip() or digest.of_bytes(content)
    return digest.of_bytes(content)


@dataclass(frozen=True)
class Own:
    """What a file of its own says. `secrets`: what its references resolved to, to be masked wherever it is printed."""

    entry: IndexEntry
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


def read(path: Path, environ: Mapping[str, str]) -> Own:
    """A file with the keys of one index and nothing else. BadDocument with every problem."""
    try:
        node = located.parse_yaml(path.read_text(encoding="utf-8"))
    except located.Malformed as problem:
        raise BadDocument([Problem(str(path), problem.line, "", problem.what)], hint="mend that line") from problem
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise BadDocument(
            [Problem(str(path), line, "", "is no UTF-8 text")],
            hint="write the file as UTF-8, such as with `iconv -t UTF-8`; nothing was started",
        ) from problem
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file", hint="a file with `home:` and `vectors:`") from None
    except OSError as problem:
        raise InputError(f"{path}: cannot be read: {redact.foreign(problem)}", hint="look at its rights") from problem
    resolver = references.Resolver(environ, path.parent)
    node = resolver.resolve(node)
    complaints = resolver.complaints
    entry = None
    if isinstance(node.value, dict) and _SECTION in node.value:
        what = f"only ddr.yaml has it: here the keys stand without `{_SECTION}:` and without the name of the index"
        complaints.append(decode.Complaint(node.key_lines.get(_SECTION, node.line), _SECTION, what))
    else:
        entry = decode.decode(IndexEntry, node, complaints)
    if entry is None or complaints:
        mask = redact.Redactor(frozenset(resolver.values))
        raise BadDocument(
            [Problem(str(path), one.line, one.key, mask(one.what)) for one in complaints],
            hint="mend the lines above; nothing was started",
        )
    return Own(entry, frozenset(resolver.values))


Entries = Mapping[str, IndexEntry]
