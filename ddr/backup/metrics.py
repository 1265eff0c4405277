"""Prometheus metrics of the backups as a textfile for node_exporter, and alert rules for when they stay away.

Alerts ask for absence, never only for failure: a cron that no longer runs fails nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ddr.lib import durable


@dataclass(frozen=True)
class ComponentFacts:
    """The newest backup of one component. None is left out of the file: an absent series is unknown, zero is not."""

    name: str
    last_success_at: datetime | None = None
    duration_s: float | None = None
    size_bytes: int | None = None
    rows: int | None = None
    is_complete: bool | None = None


@dataclass(frozen=True)
class Facts:
    """`last_verified_at` and `last_drill_at` are the times of the newest that passed. `rpo_s` and `rto_s` are measured,
    the objectives come by service. `score` is the number of points of 3-2-1-1-0 that are met, of 5."""

    components: Sequence[ComponentFacts]
    last_verified_at: datetime | None = None
    last_drill_at: datetime | None = None
    added_bytes: int | None = None
    rpo_s: float | None = None
    rto_s: float | None = None
    score: int | None = None
    rpo_objective_s: Mapping[str, float] = field(default_factory=dict)
    rto_objective_s: Mapping[str, float] = field(default_factory=dict)


_Samples = Sequence[tuple[Mapping[str, str], float | None]]


def text(facts: Facts) -> str:
    """The exposition format (version 0.0.4): HELP, TYPE and samples of each series that has a value."""
    parts = facts.components

    def each(name: str) -> _Samples:
        return [({"component": part.name}, _number(getattr(part, name))) for part in parts]

    def one(value: object) -> _Samples:
        return [({}, _number(value))]

    def by_service(values: Mapping[str, float]) -> _Samples:
        return [({"service": name}, value) for name, value in values.items()]

    series: tuple[tuple[str, str, _Samples], ...] = (
        ("last_success_timestamp_seconds", "When the newest complete backup was taken.", each("last_success_at")),
        ("last_verified_timestamp_seconds", "When the newest verified backup was taken.", one(facts.last_verified_at)),
        ("last_drill_timestamp_seconds", "When a restore drill passed last.", one(facts.last_drill_at)),
        ("duration_seconds", "How long the newest backup took.", each("duration_s")),
        ("size_bytes", "What a restore of the newest backup would write.", each("size_bytes")),
        ("added_bytes", "What the newest backup added to the repository.", one(facts.added_bytes)),
        ("rows", "Rows in the newest backup.", each("rows")),
        ("status", "1 when the newest backup is complete, 0 when it is partial.", each("is_complete")),
        ("rpo_seconds", "Age of the newest verified backup when this was written.", one(facts.rpo_s)),
        ("rto_seconds", "p95 of the measured restore drills.", one(facts.rto_s)),
        ("rpo_objective_seconds", "How much may be lost.", by_service(facts.rpo_objective_s)),
        ("rto_objective_seconds", "How long a recovery may take.", by_service(facts.rto_objective_s)),
        ("score", "Points of 3-2-1-1-0 that are met, of 5.", one(facts.score)),
    )
    lines: list[str] = []
    for name, told, samples in series:
        known = [(labels, value) for labels, value in samples if value is not None]
        if known:
            lines += [f"# HELP ddr_backup_{name} {_help(told)}", f"# TYPE ddr_backup_{name} gauge"]
            lines += [f"ddr_backup_{name}{_labels(labels)} {_written(value)}" for labels, value in known]
    return "\n".join(lines) + "\n"


def write(path: Path, facts: Facts) -> None:
    """Replace the file in one step: node_exporter never reads half of it. Its name must end in `.prom`.

    The file beside it, while it is written, ends in `.tmp` and is not read. OSError as it comes.
    """
    durable.replace(path, text(facts).encode())
    path.chmod(0o644)  # node_exporter is another user


def _number(value: object) -> float | None:
    if isinstance(value, datetime):
        return value.timestamp()
    return float(value) if isinstance(value, bool | int | float) else None


def _help(told: str) -> str:
    return told.replace("\\", r"\\").replace("\n", r"\n")


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    told = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + told + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _written(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(value)


def alert_rules(backup_every_s: int, drill_every_s: int, verify_every_s: int | None = None) -> str:
    """Prometheus rules as YAML. Missed is a backup after two intervals and an hour (at most a third interval), a drill
    after two and a day. `verify_every_s` is how often everything is read back, with each backup where it is None.

    Two intervals: one run may fail and be repeated without a call at night.
    `absent` sees the whole machine or the collector gone.
    """
    backup_s, drill_s = 2 * backup_every_s + min(3600, backup_every_s), 2 * drill_every_s + 86400
    verify_s = 2 * max(verify_every_s or 0, backup_every_s) + min(3600, backup_every_s)
    patience_min = max(1, min(15, backup_every_s // 240))
    rules = (
        (
            "DdrBackupMissing",
            f"time() - ddr_backup_last_success_timestamp_seconds > {backup_s}",
            "No complete backup of {{ $labels.component }} for {{ $value | humanizeDuration }}",
            "ddr backup run",
        ),
        (
            "DdrBackupNotVerified",
            f"time() - ddr_backup_last_verified_timestamp_seconds > {verify_s}",
            "The newest verified backup is {{ $value | humanizeDuration }} old",
            "ddr backup verify",
        ),
        (
            "DdrDrillMissing",
            f"time() - ddr_backup_last_drill_timestamp_seconds > {drill_s}",
            "No restore was rehearsed for {{ $value | humanizeDuration }}",
            "ddr backup drill",
        ),
        (
            "DdrBackupUnheard",
            " or ".join(
                f"absent(ddr_backup_last_{what}_timestamp_seconds)" for what in ("success", "verified", "drill")
            ),
            "ddr says nothing about backups, verification or drills: they never ran or the collector is gone",
            "ddr status",
        ),
        (
            "DdrBackupPartial",
            "ddr_backup_status == 0",
            "The newest backup of {{ $labels.component }} is partial",
            "ddr backup show",
        ),
        (
            "DdrScoreLow",
            "ddr_backup_score < 5",
            "3-2-1-1-0 is met in {{ $value }} of 5 points",
            "ddr status",
        ),
    )
    lines = ["groups:", "  - name: ddr-backup", "    rules:"]
    for name, expression, summary, command in rules:
        severity = "warning" if name in ("DdrScoreLow", "DdrBackupPartial") else "critical"
        lines += [
            f"      - alert: {name}",
            f"        expr: {expression}",
            f"        for: {patience_min}m",
            "        labels:",
            f"          severity: {severity}",
            "        annotations:",
            f'          summary: "{summary}"',
            f'          runbook: "{command}"',
        ]
    return "\n".join(lines) + "\n"
