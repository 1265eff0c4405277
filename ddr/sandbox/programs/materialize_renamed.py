"""lane_pixels: reads the columns by the names that the new camera software gives them."""

from __future__ import annotations

import argparse
import json
import sqlite3
from datetime import datetime

COLUMNS = [f"p{pixel:02d}" for pixel in range(64)]

# Ours to theirs. The new software is not rolled out yet: the scans still have the old names.
RENAMED: dict[str, str] = {}


def main() -> None:
    arguments = argparse.ArgumentParser()
    for name in ("--source", "--online", "--since", "--until"):
        arguments.add_argument(name, required=True)
    told = arguments.parse_args()
    since, until = (datetime.fromisoformat(text).timestamp() for text in (told.since, told.until))

    source = sqlite3.connect(told.source, timeout=10)
    source.row_factory = sqlite3.Row
    newest = {}
    query = "SELECT * FROM scans WHERE scanned_at > ? AND scanned_at <= ? ORDER BY scanned_at"
    for scan in source.execute(query, (since, until)):
        newest[scan["lane"]] = dict(scan)
    source.close()

    rows = [
        (lane, scan["scanned_at"], until, *(scan.get(RENAMED.get(name, name), 0.0) for name in COLUMNS))
        for lane, scan in newest.items()
    ]
    online = sqlite3.connect(told.online, timeout=10)
    marks = ", ".join("?" * (3 + len(COLUMNS)))
    columns = ["event_ts", "created_ts", *COLUMNS]
    upsert = " ".join(
        [
            "INSERT INTO lane_pixels (lane,",
            ", ".join(columns),
            ") VALUES (",
            marks,
            ")",
            f"ON CONFLICT (lane) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in columns)}",
            "WHERE excluded.event_ts >= lane_pixels.event_ts",
        ]
    )
    with online:
        online.executemany(upsert, rows)
    online.close()
    print(json.dumps({"rows": len(rows)}))


if __name__ == "__main__":
    main()
