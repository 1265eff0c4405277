"""What git says of a folder: commit, branch, remotes, what is not committed. It is asked; nothing is changed.

The real program is run, with everything off that a repository could make it start: hooks, file system monitors, lazy
fetches, prompts. It takes no lock, so it stands in nobody's way.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from ddr.lib import redact

TIMEOUT_S = 30.0

_SAFE = (
    "--no-optional-locks", "--no-pager",
    "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false",
    "-c", "protocol.allow=never", "-c", "credential.helper=", "-c", "core.quotePath=false",
)  # fmt: skip
_ENVIRONMENT = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}


@dataclass(frozen=True)
class WorkTree:
    """`why` is why nothing is known: no repository, no git, no answer; '' when all is known.

    `changed` are the files below the folder that the commit does not have as they are, relative to the folder;
    `is_pushed` is None where no remote is known.
    """

    why: str = ""
    top: Path | None = None
    commit: str = ""
    branch: str = ""
    remotes: Mapping[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    is_pushed: bool | None = None


class Silent(Exception):
    """git gave no answer, for the reason it says."""


def _any(_path: str) -> bool:
    return True


def look(
    folder: Path, *, counts: Callable[[str], bool] = _any, program: str = "git", timeout_s: float = TIMEOUT_S
) -> WorkTree:
    """Never raises for what git does or lacks: it says so in `why`.

    Of what is not committed only paths (relative to `folder`) that `counts` says yes to are told.
    """
    ask = Asker(folder, program, timeout_s)
    try:
        top = Path(os.fsdecode(ask("rev-parse", "--show-toplevel").removesuffix(b"\n")))
        changed = _changed(ask("status", "--porcelain=v1", "-z", "--untracked-files=all", "--", "."), folder, top)
        changed = tuple(path for path in changed if counts(path))
        remotes = {name: plain_url(ask.text("remote", "get-url", name)) for name in ask.text("remote").split()}
        try:
            commit = ask.text("rev-parse", "--verify", "HEAD")
        except Silent:
            return WorkTree("", top, "", "", remotes, changed)
        ahead = ask.text("rev-list", "--max-count=1", "HEAD", "--not", "--remotes") if remotes else ""
        branch = ask.text("rev-parse", "--abbrev-ref", "HEAD")
    except Silent as problem:
        return WorkTree(str(problem))
    return WorkTree("", top, commit, branch, remotes, changed, not ahead if remotes else None)


@dataclass(frozen=True)
class Asker:
    """Runs git in a folder: what it prints. Raises Silent."""

    folder: Path
    program: str = "git"
    timeout_s: float = TIMEOUT_S

    def __call__(self, *words: str) -> bytes:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        try:
            done = subprocess.run(
                [self.program, *_SAFE, *words], cwd=self.folder, env={**kept, **_ENVIRONMENT}, timeout=self.timeout_s,
                check=False, capture_output=True, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except FileNotFoundError:
            raise Silent("git is not installed" if self.folder.is_dir() else "there is no such folder") from None
        except subprocess.TimeoutExpired:
            raise Silent(f"git did not answer within {self.timeout_s:g} s") from None
        except OSError as problem:
            raise Silent(f"git cannot be run: {redact.foreign(problem)}") from None
        if done.returncode:
            raise Silent(_complaint(done.stderr.decode(errors="replace")))
        return done.stdout

    def text(self, *words: str) -> str:
        return self(*words).decode(errors="replace").strip()


def _complaint(said: str) -> str:
    if "not a git repository" in said:
        return "no git repository"
    if "dubious ownership" in said:
        return "git refuses a repository of another user (`git config --global --add safe.directory FOLDER` allows it)"
    return f"git refuses: {redact.foreign(said)}"


def _changed(said: bytes, folder: Path, top: Path) -> tuple[str, ...]:
    """Paths of `status -z`, which are relative to the top; of a renamed one the new name."""
    fields = iter(said.split(b"\0"))
    below = os.path.relpath(folder.resolve(), top.resolve())
    paths = []
    for one in fields:
        if not one:
            continue
        if one[:1] in b"RC" or one[1:2] in b"RC":
            next(fields, None)
        paths.append(os.path.relpath(os.fsdecode(one[3:]), below))
    return tuple(paths)


def plain_url(url: str) -> str:
    """A remote's address without who logs in and without what may be a token."""
    parts = urlsplit(url)
    if not parts.scheme or not parts.netloc:
        return redact.foreign(url)
    user, _, host = parts.netloc.rpartition("@")
    keeps_user = parts.scheme in ("ssh", "git+ssh") and user and ":" not in user
    return urlunsplit((parts.scheme, f"{user}@{host}" if keeps_user else host, parts.path, "", ""))


def facts(found: WorkTree) -> dict[str, str]:
    """As a snapshot keeps them."""
    if found.why:
        return {"git": found.why}
    said = {
        "git.commit": found.commit or "none yet",
        "git.branch": found.branch,
        "git.clean": "no" if found.changed else "yes",
        "git.uncommitted": str(len(found.changed)) if found.changed else "",
        "git.pushed": {True: "yes", False: "no", None: "no remote"}[found.is_pushed],
        **{f"git.remote.{name}": url for name, url in found.remotes.items()},
    }
    return {name: value for name, value in said.items() if value}


def warnings(found: WorkTree, folder: Path, most: int = 10) -> Sequence[str]:
    """What a person should hear who believes that all of it is in git."""
    said = []
    if found.changed:
        names = ", ".join(redact.foreign(ascii(name)[1:-1]) for name in found.changed[:most])
        more = f" and {len(found.changed) - most} more" if len(found.changed) > most else ""
        said.append(f"{folder} has {len(found.changed)} files that are not committed: {names}{more}")
    if found.is_pushed is False:
        said.append(f"{folder}: commit {found.commit[:12]} is on no remote: the snapshot has the files, no history")
    return said
