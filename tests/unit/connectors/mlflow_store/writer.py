"""A process that logs runs without a pause, each with ten metrics in one transaction, until its input ends."""

from __future__ import annotations

import select
import sys

import sqlalchemy

METRICS = 10


def main(address: str, first: int) -> None:
    engine = sqlalchemy.create_engine(address, connect_args={"timeout": 20} if address.startswith("sqlite") else {})
    number = first
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO experiments (experiment_id, name, workspace) VALUES (900, 'w', 'default')"
        )
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        with engine.begin() as connection:
            connection.exec_driver_sql(
                f"INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage) VALUES ('w{number}', 900, 'active')"
            )
            for step in range(METRICS):
                connection.exec_driver_sql(
                    "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
                    f"VALUES ('m', {step}.5, {number}, 'w{number}', {step}, {'0' if 'sqlite' in address else 'false'})"
                )
        number += 1
    engine.dispose()
    print(number - first, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
