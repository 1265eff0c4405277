"""Messages into a file of JSON lines, once per key: the notifier that always works."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from ddr.errors import Unavailable
from ddr.lib import redact


class MessageFile:
    """Implements Notifier. Each line is {"key", "channel", "text"}; a chat bridge may follow the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def post(self, channel: str, text: str, key: str) -> None:
        line = json.dumps({"key": key, "channel": channel, "text": text}, ensure_ascii=False)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                if any(self._has_key(written, key) for written in file):
                    return
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as problem:
            raise Unavailable(
                f"{self._path}: message not written: {redact.foreign(problem)}",
                hint="post it by hand; the recovery goes on without it",
            ) from problem

    @staticmethod
    def _has_key(line: bytes, key: str) -> bool:
        try:
            return bool(json.loads(line).get("key") == key)
        except (ValueError, AttributeError):
            return False  # a torn line of an earlier crash
