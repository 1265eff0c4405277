"""The error tree. Every error says what failed, where, and the next move, and owns its exit code.

    DdrError                 1   something failed
    ├─ Missing               1   a thing that a system or a record names does not exist
    │  └─ UnknownName       64   a name that was typed does not exist; nothing was started
    ├─ Refused               1   it could be done and ddr will not: the reason is in the message
    ├─ Damaged               2   bytes do not match their digest, a chain is broken, a finding was made
    ├─ Conflict              3   the world is not as the plan expected; nothing was changed
    ├─ ApprovalRequired      4   a person must approve first; the run is paused
    ├─ Interrupted           5   an earlier run was cut off and has no end yet
    ├─ InputError           64   bad usage, bad file; nothing was started
    │  ├─ BadDocument       64   a YAML file with its problems, each with a line
    │  └─ Unsupported       64   the connector cannot do what was asked
    └─ Unavailable          69   a system does not answer; trying again may help
       └─ Away              69   and a Missing: the place where ddr.yaml has a whole system is empty

Exit code 0 is success, 2 also stands for "done, with findings" (a check that is not met), 70 for a defect in
ddr itself and 130 for an interrupt from the keyboard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_FINDING = 2
EXIT_CONFLICT = 3
EXIT_APPROVAL = 4
EXIT_INTERRUPTED = 5
EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69
EXIT_DEFECT = 70
EXIT_SIGINT = 130


class DdrError(Exception):
    """Something failed. `message` says what and where, `hint` the next move."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Missing(DdrError):
    """A thing that was named does not exist."""


class Refused(DdrError):
    """It could be done, and doing it would make things worse."""


class Damaged(DdrError):
    """Bytes do not match their digest, or a chain is broken."""

    exit_code = EXIT_FINDING


class Conflict(DdrError):
    """The world is not as the plan expected. Nothing was changed."""

    exit_code = EXIT_CONFLICT

    def __init__(self, message: str, *, expected: str = "", found: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.expected = expected
        self.found = found


class ApprovalRequired(DdrError):
    """A person must approve before the run goes on."""

    exit_code = EXIT_APPROVAL


class Interrupted(DdrError):
    """An earlier run was cut off and has no end yet."""

    exit_code = EXIT_INTERRUPTED


class InputError(DdrError):
    """Bad usage or a bad file. Nothing was started."""

    exit_code = EXIT_USAGE


class UnknownName(Missing, InputError):
    """A name that somebody typed does not exist: a service, a runbook, a run, an incident, a scenario, a snapshot."""


class Unsupported(InputError):
    """The connector does not implement what was asked of it."""


class Unavailable(DdrError):
    """A system does not answer. Temporary: trying again may help."""

    exit_code = EXIT_UNAVAILABLE


class Away(Unavailable, Missing):
    """The file or folder that is a whole system is not there: a disk is not mounted, a path is wrong, it is gone.

    Who looks for one thing in a system knows nothing of the thing then: it is unknown, not missing.
    """


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a document: `path:line: key: what is wrong, what is allowed`."""

    path: str
    line: int
    key: str
    what: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}"
        return f"{where}: {self.key}: {self.what}" if self.key else f"{where}: {self.what}"


class BadDocument(InputError):
    """A document with every problem that was found in it."""

    def __init__(self, problems: Sequence[Problem], *, hint: str = "") -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{self.problems[0].path}: {count} problem{'s' if count != 1 else ''}"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]), hint=hint)
