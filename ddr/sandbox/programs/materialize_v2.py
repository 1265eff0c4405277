"""lane_pixels v2: the database picks the newest scan of each lane; an older scan never replaces a newer one."""

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
        [
            "SELECT lane, MAX(scanned_at),",
            ", ".join(COLUMNS),
            "FROM scans WHERE scanned_at > ? AND scanned_at <= ? GROUP BY lane",
        ]
    )
    scans = source.execute(query, (since, until)).fetchall()
    source.close()

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
        online.executemany(upsert, [(scan[0], scan[1], until, *scan[2:]) for scan in scans])
    online.close()
    print(json.dumps({"rows": len(scans)}))


if __name__ == "__main__":
    main()
