"""The files of a git commit: read without a checkout, and checked out into a new folder beside the live one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddr.errors import Missing, Unavailable
from ddr.lib import git

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._/-]*")


@dataclass(frozen=True)
class Written:
    """A commit that touched some paths. `before` is the one that did so before it, '' for the first."""

    commit: str
    before: str
    author: str
    at: str
    summary: str


@dataclass(frozen=True)
class Repository:
    """git is asked at `folder`, which may lie below the top; paths are relative to it. Raises Unavailable."""

    folder: Path

    def commit(self, name: str) -> str:
        """The whole id of a commit, a tag or a branch. Missing."""
        problem = Missing(f"{self.folder} has no commit {name!r}", hint="look with `git log`; fetch what others pushed")
        if not _NAME.fullmatch(name):
            raise problem
        try:
            return git.Asker(self.folder).text(
                "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
            )
        except git.Silent as silent:
            if self._is_there():
                raise problem from silent
            raise self._unavailable(silent) from silent

    def head(self) -> str:
        return self._text("rev-parse", "--verify", "HEAD")

    def below_top(self) -> str:
        """Where `folder` lies below the top of the repository, '' when it is the top."""
        return self._text("rev-parse", "--show-prefix").rstrip("/")

    def paths(self, commit: str = "") -> Sequence[str]:
        """Every file below `folder`: of a commit, or those of the index."""
        words = ("ls-tree", "-r", "-z", "--name-only", commit) if commit else ("ls-files", "-z")
        return [path.decode(errors="surrogateescape") for path in self._bytes(*words).split(b"\0") if path]

    def read(self, commit: str, path: str) -> bytes:
        return self._bytes("cat-file", "blob", f"{commit}:./{path}")

    def log(self, patterns: Sequence[str], most: int = 500) -> Sequence[Written]:
        """The newest commits that touched such paths, oldest first."""
        said = self._text("log", f"--max-count={most}", "--format=%H%x1f%an%x1f%cI%x1f%s%x1e", "HEAD", "--", *patterns)
        found: list[Written] = []
        for record in reversed([record.strip() for record in said.split("\x1e")]):
            if record.count("\x1f") == 3:
                commit, author, at, summary = record.split("\x1f")
                found.append(Written(commit, found[-1].commit if found else "", author, at, summary))
        return found

    def check_out(self, commit: str, into: Path) -> None:
        """A new worktree with the commit detached; `into` must not be there."""
        self._text("worktree", "add", "--quiet", "--detach", "--force", str(into), commit)

    def drop(self, folder: Path) -> None:
        """A worktree that was made by `check_out` and is not finished."""
        self._text("worktree", "remove", "--force", "--force", str(folder))

    def _is_there(self) -> bool:
        try:
            return bool(git.Asker(self.folder)("rev-parse", "--git-dir"))
        except git.Silent:
            return False

    def _bytes(self, *words: str) -> bytes:
        try:
            return git.Asker(self.folder)(*words)
        except git.Silent as silent:
            raise self._unavailable(silent) from silent

    def _text(self, *words: str) -> str:
        return self._bytes(*words).decode(errors="replace").strip()

    def _unavailable(self, silent: git.Silent) -> Unavailable:
        return Unavailable(f"{self.folder}: {silent}", hint="look at the folder with git, and at its rights")
