"""The work folder of one plan. A stage that is done has a receipt; whoever repeats the command goes on behind the last.

A receipt is written after the files that it names, and names what went in: a stage whose inputs became others is done
again. So there is no log to replay and no state but files: a kill at any moment loses the stage it hit, no more. With a
*depot* (a store that all machines see) what is done is put there too, and fetched from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ddr.domain import indexes
from ddr.errors import Conflict, Damaged, DdrError, InputError, Missing, Unavailable
from ddr.index import codec
from ddr.index.homes import writing
from ddr.lib import digest, openfiles
from ddr.ports import store

PLAN = "plan.json"
LOCK = "lock"
_RECEIPTS = "done"
_IN_DEPOT = re.compile(rf"(\w+://[^/]+(?:/.+)?)/work/([^/]+)/{re.escape(PLAN)}")
_SEGMENT_BYTES = 64 << 20


class Held(DdrError):
    """Another process builds by this plan."""

    exit_code = indexes.EXIT_LOCKED


_ELSEWHERE = "`work:` names another folder for what a build keeps"


@dataclass(frozen=True)
class Receipt:
    """`inputs` is the digest of all that decides the bytes of `files`; `facts` what the stage measured."""

    stage: str
    inputs: str
    files: tuple[indexes.File, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    format: int = indexes.FORMAT

    def file(self, name: str) -> indexes.File:
        return next(file for file in self.files if file.name == name)


@dataclass(frozen=True)
class Stages:
    """Receipts and files of stages. `folder` is this machine's; what `depot` has lies below `prefix` there."""

    folder: Path
    depot: store.Store | None = None
    prefix: str = ""
    what: str = "build works by this plan"
    """That another one does who holds it."""

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """One driver at a time; the kernel lets go of the lock when it dies. Held; Conflict where the folder was
        deleted while the lock was waited for."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(openfiles.locked(self.folder / LOCK, timeout_s=0.2))
            except openfiles.Held as problem:
                raise Held(
                    f"another {self.what}: {problem.message}",
                    hint="wait for its end; what it has done by then is not done again",
                ) from problem
            except Unavailable as problem:
                if self.folder.is_dir() and not isinstance(problem, openfiles.Gone):
                    raise
                what = f"{self.folder} was deleted meanwhile"
                raise Conflict(what, hint="the same command again: it is made anew") from problem
            yield

    def is_held(self) -> bool:
        """Whether somebody works there now. Makes no file. Unavailable where that cannot be asked: it is another
        person's."""
        if self.path(LOCK).exists():
            try:
                with self.held():
                    pass
            except Held:
                return True
            except Conflict:
                pass  # gone just now
        return False

    def path(self, name: str) -> Path:
        return self.folder / name

    def done(self, stage: str, inputs: str, *, is_read: bool = True) -> Receipt | None:
        """The receipt, when the stage was done with these inputs and its files are whole.

        `is_read`: their bytes are read and compared; else their sizes, for what is compared later anyway.
        """
        receipt = self.receipt(stage)
        if receipt is None or receipt.inputs != inputs:
            return None
        is_whole = self.is_whole(receipt) if is_read else all(self._is_there(file) for file in receipt.files)
        return receipt if is_whole else None

    def is_whole(self, receipt: Receipt) -> bool:
        """Whether all its files have the bytes that were written. Reads them."""
        try:
            return all(self.verified(file) for file in receipt.files)
        except (Damaged, Missing):
            return False

    def _is_there(self, file: indexes.File) -> bool:
        try:
            if self.path(file.name).stat().st_size == file.size_bytes:
                return True
        except OSError:
            pass
        return self.depot is not None and self.depot.head(self._key(file, 0)) is not None

    def receipt(self, stage: str) -> Receipt | None:
        """What was signed last for the stage, with whatever inputs."""
        path = self.folder / _RECEIPTS / f"{stage}.json"
        try:
            return codec.decode(Receipt, path.read_bytes(), str(path))
        except (Damaged, InputError):
            return None  # done again: the receipt is worth no more than the stage
        except OSError:
            pass
        if self.depot is None:
            return None
        try:
            content = self.depot.get(f"{self.prefix}{_RECEIPTS}/{stage}.json")
        except Missing:
            return None
        try:
            return codec.decode(Receipt, content, f"{self.depot.name}: {stage}")
        except (Damaged, InputError):
            return None

    def sign(self, receipt: Receipt) -> Receipt:
        """Make it done: its files lie in the folder already."""
        if self.depot is not None:
            for file in receipt.files:
                self._push(file)
        content = codec.encode(receipt)
        writing.make_folder(self.folder / _RECEIPTS, _ELSEWHERE)
        writing.write_bytes(self.folder / _RECEIPTS / f"{receipt.stage}.json", content)
        if self.depot is not None:
            _put(self.depot, f"{self.prefix}{_RECEIPTS}/{receipt.stage}.json", content)
        return receipt

    def discard(self, stage: str) -> None:
        """The stage is to be done again, as its files were found damaged."""
        (self.folder / _RECEIPTS / f"{stage}.json").unlink(missing_ok=True)
        if self.depot is not None:
            self.depot.delete(f"{self.prefix}{_RECEIPTS}/{stage}.json")

    def write(self, name: str, producer: Callable[[Callable[[memoryview], None]], None]) -> indexes.File:
        """A file of the folder, durable and read back."""
        return writing.write(self.path(name), producer)

    def write_bytes(self, name: str, content: bytes | memoryview) -> indexes.File:
        return self.write(name, lambda write: write(memoryview(content)))

    def verified(self, file: indexes.File) -> Path:
        """Where it lies, its bytes compared now; fetched when only the depot has it whole. Damaged, Missing."""
        path = self.path(file.name)
        is_there = path.is_file()
        if is_there and _digest(path) == file.sha256:
            return path
        if is_there and self.depot is None:
            raise Damaged(f"{path} has other bytes than were written", hint="repeat the command: it is made anew")
        self._pull(file)
        return path

    def _key(self, file: indexes.File, number: int) -> str:
        return f"{self.prefix}files/{file.name}/{digest.short(file.sha256, 32)}/{number:06d}"

    def _push(self, file: indexes.File) -> None:
        assert self.depot is not None
        with self.path(file.name).open("rb") as stream:
            number = 0
            while True:
                content = stream.read(_SEGMENT_BYTES)
                if not content and number:
                    return
                _put(self.depot, self._key(file, number), content)
                number += 1

    def _pull(self, file: indexes.File) -> None:
        if self.depot is None:
            raise Missing(f"{self.path(file.name)} is gone", hint="repeat the command: it is made anew")
        depot = self.depot

        def produce(write: Callable[[memoryview], None]) -> None:
            hasher, left, number = hashlib.sha256(), file.size_bytes, 0
            while left or not number:
                content = depot.get(self._key(file, number))
                hasher.update(content)
                write(memoryview(content))
                left -= len(content)
                number += 1
            if digest.PREFIX + hasher.hexdigest() != file.sha256:
                raise Damaged(f"{depot.name}: {file.name} has other bytes than were written", hint="repeat the command")

        self.write(file.name, produce)

    def forget(self) -> None:
        """Delete the folder, and what the depot has of it. Held where somebody works there, Unavailable where it is
        another person's. What a kill leaves of it is one of `left`."""
        with self.held():
            if self.depot is not None:
                for entry in list(self.depot.list(self.prefix)):
                    self.depot.delete(entry.key)
            beside = writing.name_beside(self.folder)
            try:
                self.folder.rename(beside)  # whoever comes now makes it anew, and its files are not deleted
            except OSError as problem:
                what = f"{self.folder} cannot be deleted: {problem.strerror}"
                raise Unavailable(what, hint="look at the folder and its rights") from problem
            shutil.rmtree(beside, ignore_errors=True)


@dataclass(frozen=True)
class Work(Stages):
    """Those of one plan."""

    plan: indexes.Plan = field(kw_only=True)


def _digest(path: Path) -> str:
    """ "" where the disk cannot read it: it is made anew as what is damaged. Unavailable where it may not be read."""
    try:
        return digest.of_file(path)
    except OSError as problem:
        if problem.errno in writing.BAD_SECTOR:
            return ""
        what = f"{path} cannot be read: {problem.strerror}"
        raise Unavailable(what, hint="look at the folder and its rights") from problem


def _put(depot: store.Store, key: str, content: bytes) -> None:
    """Write it whatever is there: equal inputs made equal bytes, or the stage was done again."""
    try:
        depot.create(key, content)
    except store.Exists:
        there = depot.head(key)
        if depot.get(key) != content:
            depot.swap(key, content, there.version if there else "")


def prefix(key: str) -> str:
    """Below which a depot has what is done by the plan of `key`."""
    return f"work/{key}/"


def uri_of(home: str, key: str) -> str:
    """That of plan.json in the depot of a home."""
    return f"{home.rstrip('/')}/{prefix(key)}{PLAN}"


def parts_of(uri: str) -> tuple[str, str]:
    """The home and the key of which `uri_of` made it. InputError."""
    found = _IN_DEPOT.fullmatch(uri)
    if found is None:
        shape = uri_of("s3://BUCKET/…", "KEY")
        raise InputError(f"{uri} is no {PLAN} of a depot", hint=f"{shape}, as `ddr index prepare` tells it")
    return found[1], found[2]


def name_of(plan: indexes.Plan) -> str:
    """That of its work folder."""
    return digest.short(codec.key(plan), 16)


def is_begun(folder: Path, plan: indexes.Plan) -> bool:
    """Whether there is a work folder of this plan on this machine."""
    return (folder / name_of(plan) / PLAN).is_file()


def all_of(folder: Path, depot: store.Store | None = None) -> tuple[Work, ...]:
    """Those whose plan is the one that they were made for."""
    found = ((path.parent, _plan_of(path.parent)) for path in sorted(folder.glob(f"*/{PLAN}")))
    return tuple(Work(one, depot, prefix(one.name), plan=plan) for one, plan in found if plan is not None)


def unread(folder: Path) -> tuple[Path, ...]:
    """Work folders whose plan is not to be known: damaged, of a newer ddr, or not what they are named by."""
    return tuple(path.parent for path in sorted(folder.glob(f"[!.]*/{PLAN}")) if _plan_of(path.parent) is None)


def left(folder: Path) -> tuple[Stages, ...]:
    """Those of which a process that is no more had begun to delete the files."""
    found = (path for path in sorted(folder.glob(".*.tmp/")) if writing.is_left(path))
    return tuple(Stages(path) for path in found)


def _plan_of(folder: Path) -> indexes.Plan | None:
    """None where it cannot be read, is that of another ddr, or is not what the folder is named by."""
    try:
        plan = codec.decode(indexes.Plan, (folder / PLAN).read_bytes(), str(folder / PLAN))
    except (Damaged, InputError, OSError):
        return None
    return plan if name_of(plan) == folder.name else None


def of(folder: Path, plan: indexes.Plan, depot: store.Store | None = None) -> Work:
    """The work of `plan` below `folder`, as it lies there. Touches nothing."""
    key = name_of(plan)
    return Work(folder / key, depot, prefix(key), plan=plan)


def opened(folder: Path, plan: indexes.Plan, depot: store.Store | None = None) -> Work:
    """As `of`: made, or gone on with. A damaged file of the plan is written again; Full, Unavailable where it cannot
    be."""
    work = of(folder, plan, depot)
    writing.make_folder(work.folder, _ELSEWHERE)
    content = codec.encode(plan)
    if _plan_of(work.folder) is None:
        work.write_bytes(PLAN, content)
    if depot is not None:
        _put(depot, f"{work.prefix}{PLAN}", content)
    return work
