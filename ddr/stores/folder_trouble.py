"""What the operating system says about a folder, with the next move."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

from ddr.errors import Unavailable
from ddr.lib import redact
from ddr.ports import store

_PERSON_MUST_ACT = {
    errno.EROFS: "the file system is read-only, as after a disk error: look at `dmesg` and `mount`",
    errno.EACCES: "this user may not: compare `ls -ld {root}` with `id`, and run ddr as the folder's owner",
    errno.EPERM: "this user may not: compare `ls -ld {root}` with `id` and look at `lsattr -d {root}`",
    errno.ENAMETOOLONG: "{root} is too long a path: move the store nearer to the top",
    errno.ENOTDIR: "something on the way is a file: look at {root}",
    errno.ENOLCK: "this file system has no locks: put the store on a local disk, or take S3",
    errno.EOPNOTSUPP: "this file system has no links or locks: put the store on a local disk, or take S3",
    errno.ELOOP: "a symbolic link stands where ddr keeps a file of its own: look at `ls -la {root}`",
}
_FULL = {
    errno.ENOSPC: "the disk is full: make room (`df -h {root}; df -i {root}`); what was there before is intact",
    errno.EDQUOT: "this user's quota is used up: make room; what was there before is intact",
    errno.EFBIG: "the file would be larger than allowed here: look at `ulimit -f`; what was there before is intact",
}
_MAY_PASS = {
    errno.EIO: "the disk reports errors: look at `dmesg`, and copy {root} to another disk",
    errno.EMFILE: "too many open files: look at `ulimit -n`",
}
_OTHERWISE = "try again; if it stays so, look at {root} by hand"


def translate(problem: OSError, name: str, root: Path, doing: str) -> Unavailable:
    """The error of ddr for an error of the operating system, met while `doing` something to the store `name`."""
    code = problem.errno or 0
    what = redact.foreign(problem.strerror or problem)
    if code in _PERSON_MUST_ACT:
        return store.Unusable(f"{name}: cannot {doing}: {what}", hint=_PERSON_MUST_ACT[code].format(root=root))
    if code in _FULL:
        return store.Full(f"{name}: cannot {doing}: {what}", hint=_FULL[code].format(root=root))
    return Unavailable(f"{name}: cannot {doing}: {what}", hint=_MAY_PASS.get(code, _OTHERWISE).format(root=root))


def check(name: str, root: Path) -> None:
    """Raise Absent where the store's folder is not and cannot be, Unusable where it is none.

    An unmounted disk must not look like no bytes.
    """
    try:
        if stat.S_ISDIR(root.stat().st_mode):
            return
    except (FileNotFoundError, NotADirectoryError):
        if root.is_symlink():
            what, hint = f"{root.readlink()}, where {root} points,", "is its disk mounted?"
        elif root.parent.is_dir():
            return  # nothing was written yet
        else:
            what, hint = f"the folder {root.parent}", f"is its disk mounted? if it is new: `mkdir -p {root.parent}`"
        raise store.Absent(f"{name}: {what} is not there", hint=hint) from None
    raise store.Unusable(f"{name}: {root} is not a folder", hint="name a folder, or move that file away")
