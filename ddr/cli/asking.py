"""Asking for a secret: unseen at a terminal, else one line of standard input."""

from __future__ import annotations

import getpass
import sys


def secret(what: str, *, twice: bool = False) -> str:
    """What was typed. `twice`: at a terminal it is asked for again and has to be the same. Raises InputError."""
    from ddr.errors import InputError

    hint = f"type it at a terminal, or pipe it in as one line: `... < FILE-WITH-THE-{what.rpartition(' ')[2].upper()}`"
    try:
        given = _line(f"{what}: ")
        again = _line(f"{what}, again: ") if twice and sys.stdin.isatty() else given
    except (EOFError, UnicodeDecodeError):
        raise InputError(f"no {what} was given", hint=hint) from None
    if not given:
        raise InputError(f"no {what} was given", hint=hint)
    if given != again:
        raise InputError(f"the {what} was typed in two different ways", hint="nothing was changed; try again")
    return given


def _line(asked: str) -> str:
    """From a pipe nothing is echoed, so getpass, which would warn that it cannot hide it, is not needed."""
    if sys.stdin.isatty():
        return getpass.getpass(asked, stream=sys.stderr)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\r\n")
