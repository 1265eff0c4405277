"""lane_pixels: windows are compared as text inside the database, which can then use its index on the time."""

from __future__ import annotations

import argparse
import json
import sqlite3

COLUMNS = [f"p{pixel:02d}" for pixel in range(64)]


def main() -> None:
    arguments = argparse.ArgumentParser()
    for name in ("--source", "--online", "--since", "--until"):
        arguments.add_argument(name, required=True)
    told = arguments.parse_args()

    source = sqlite3.connect(told.source, timeout=10)
    moment = "strftime('%Y%m%dT%H%M%SZ', scanned_at, 'unixepoch')"
    query = " ".join(
        [
            "SELECT lane, MAX(scanned_at),",
            ", ".join(COLUMNS),
            f"FROM scans WHERE {moment} > ? AND {moment} <= ? GROUP BY lane",
        ]
    )
    scans = source.execute(query, (told.since, told.until)).fetchall()
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
        online.executemany(upsert, [(scan[0], scan[1], scan[1], *scan[2:]) for scan in scans])
    online.close()
    print(json.dumps({"rows": len(scans)}))


if __name__ == "__main__":
    main()
