"""lane_pixels v1: the newest scan of each lane goes online. Reads the whole window, keeps the newest in memory."""

from __future__ import annotations

import argparse
import json
import sqlite3
from datetime import datetime

COLUMNS = [f"p{pixel:02d}" for pixel in range(64)]


def main() -> None:
    arguments = argparse.ArgumentParser()
    for name in ("--source", "--online", "--since", "--until"):
        arguments.add_argument(name, required=True)
    told = arguments.parse_args()
    since, until = (datetime.fromisoformat(text).timestamp() for text in (told.since, told.until))

    source = sqlite3.connect(told.source, timeout=10)
    query = " ".join(
        ["SELECT lane, scanned_at,", ", ".join(COLUMNS), "FROM scans WHERE scanned_at > ? AND scanned_at <= ?"]
    )
    newest = {}
    for scan in source.execute(query + " ORDER BY scanned_at", (since, until)):
        newest[scan[0]] = scan
    source.close()

    online = sqlite3.connect(told.online, timeout=10)
    marks = ", ".join("?" * (3 + len(COLUMNS)))
    upsert = " ".join(
        [
            "INSERT OR REPLACE INTO lane_pixels (lane, event_ts, created_ts,",
            ", ".join(COLUMNS),
            ") VALUES (",
            marks,
            ")",
        ]
    )
    with online:
        online.executemany(upsert, [(scan[0], scan[1], until, *scan[2:]) for scan in newest.values()])
    online.close()
    print(json.dumps({"rows": len(newest)}))


if __name__ == "__main__":
    main()
