"""One record of every kind, and a believable sequence of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ddr.domain import (
    accounts,
    backup_records,
    changes,
    diagnoses,
    gamedays,
    incidents,
    index_records,
    journal_records,
    outcomes,
    planes,
    records,
    releases,
    revisions,
    signals,
)

AT = datetime(2026, 11, 2, 6, 0, tzinfo=UTC)
MODEL = revisions.Revision(planes.Plane.MODEL, "postcode-digit", "2", "sha256:" + "ab" * 32, {"flavor": "sklearn"})
JUDGEMENT = signals.Judgement(
    "golden", planes.Plane.MODEL, signals.State.BAD, AT, 0.43, 0.06, 300, "", "129 of 300 wrong"
)
OUTCOME = outcomes.Outcome(outcomes.Status.OK, "alias moved", ("champion 3 → 2, read back",), {"live": "2"})
CHANGE = changes.Change(planes.Plane.MODEL, "postcode-digit", AT, "2", "3", "ci-bot", "promote", "registry")
DIAGNOSIS = diagnoses.Diagnosis(
    "postcode",
    AT,
    diagnoses.Verdict.CONFIRMED,
    (
        diagnoses.Candidate(
            planes.Plane.MODEL, 0.97, (diagnoses.Evidence("swap", "3 → 2 restores 118 of 120 answers", 50.0),), CHANGE
        ),
        diagnoses.Candidate(None, 0.01),
    ),
    live=(MODEL,),
)
CHECK = gamedays.Check("within", gamedays.Standing.MET, "60m", "25m")

RECORDS: tuple[records.Record, ...] = (
    records.ReleaseRecorded(releases.Release("r-1", "postcode", AT, {planes.Plane.MODEL: MODEL}, known_good=True)),
    records.RevisionMarked("postcode", planes.Plane.MODEL, "postcode-digit", "3", "sha256:" + "cd" * 32, False, "bad"),
    records.ChangeRecorded("postcode", CHANGE),
    records.IncidentDeclared("inc-1", "postcode", "SEV2", "wrong digits", AT, (JUDGEMENT,)),
    records.IncidentMoved("inc-1", incidents.Status.MITIGATING, "rolling back"),
    records.IncidentNoted("inc-1", 'golden: 129 of 300 wrong, "limit" 6 %\nnaïve ☃ \\'),
    records.DiagnosisMade("postcode", DIAGNOSIS, "inc-1"),
    records.RunStarted("run-1", "bad-model-promotion", "runbook", "steps: []", "sha256:00", "postcode", {}, "inc-1"),
    records.RunClaimed("run-1", 4711, "998877", "0a1b", AT + timedelta(minutes=10)),
    records.StepIntended("run-1", "switch", 1, "plane.switch", "run-1/switch", {"to": "2"}, "3 → 2", "2 → 3"),
    records.StepEnded("run-1", "switch", 1, OUTCOME),
    records.UndoIntended("run-1", "switch", 1),
    records.UndoEnded("run-1", "switch", 1, OUTCOME),
    records.ApprovalRequested("run-1", "approve", "sha256:11", ("3 → 2",), ("lead",), 1, True, AT, {"switch": "x"}),
    records.ApprovalDecided("run-1", "sha256:11", True, "looked at it"),
    records.RunPaused("run-1", "waits for approval"),
    records.RunEnded("run-1", "recovered"),
    records.MessagePosted("#team", "inc-1 is over", "run-1/tell", True),
    records.GameDayStarted("gd-1", ("bad-model",), 7, "sha256:22", {"bad-model": {"detect": 25}}),
    records.ScenarioStarted("gd-1", "bad-model", "kind: Scenario", "sha256:22"),
    records.ScenarioReached("gd-1", "bad-model", "detected"),
    records.SignalsJudged("postcode", (JUDGEMENT,) * 7),
    records.PlanesObserved("postcode", "before", (MODEL,)),
    records.CommandEnded(("diagnose", "postcode"), "oncall", 0, 0.8, "CONFIRMED model"),
    records.ImpactMeasured("postcode", accounts.Impact(AT, AT, 40, 100, 3, 100)),
    records.ScenarioScored(
        "gd-1", "bad-model", {"detect": 25}, {"detect": 25}, True, (gamedays.Expectation("detect", 25, 25, (CHECK,)),)
    ),
    records.GameDayEnded("gd-1", True, "sha256:22"),
    backup_records.BackupMade("ab12", AT, "complete", "local:/r", ("registry", "files"), 5 << 20, 2 << 20, 3.5),
    backup_records.BackupVerified("local:/r", "full", True, ("ab12",), 0, 2.5),
    backup_records.BackupDrilled("ab12", True, AT, {"restore": 1.5, "serve": 9.0}, 12.5, 77),
    backup_records.BackupsForgotten(("ab11",), 1 << 20, 0),
    backup_records.BackupCopied("s3://b/p", "ab12", 12, 9 << 20),
    index_records.IndexBuilt("search", "sha256:" + "1" * 64, "ivf-flat", 1000, 10, 0.97, 0.96, 4.5),
    index_records.IndexIntended("search", "/srv/index", "v000001-aa", "v000002-bb"),
    index_records.IndexIntended("search", "/srv/index", removed=("v000001-aa",)),
    index_records.IndexMoved("search", "/srv/index", "v000001-aa", "v000002-bb", "published", "we had to"),
    index_records.IndexChecked("search", "v000002-bb", (0, 1, 2), 10, ("index.faiss: has other bytes",)),
    index_records.IndexRemoved("search", "/srv/index", ("v000001-aa",)),
    backup_records.BackupLocked("s3://b/p", "ab12", "compliance", None, 12, 3),
    backup_records.BackupRestored("ab12", "registry", "sqlite:///new.db", 66, ("table runs",), 4.5),
    journal_records.JournalAdopted(70, "sha256:33", 69, "journal-from-70-ab", "disk fault", (70,), 12),
    journal_records.JournalMended((70,), ("what this machine has seen",), ("journal-event-70-ab",)),
)


def endless() -> Iterator[records.Record]:
    """Incident after incident, each with a run of a few steps, as a busy year would write them."""
    number = 0
    while True:
        number += 1
        incident, run = f"inc-{number}", f"run-{number}"
        yield records.IncidentDeclared(incident, "postcode", "SEV2", "wrong digits", AT, (JUDGEMENT,))
        yield records.DiagnosisMade("postcode", DIAGNOSIS, incident)
        yield records.RunStarted(run, "bad-model", "runbook", "steps: []", "sha256:00", "postcode", {}, incident)
        yield records.RunClaimed(run, 4711, "998877", "0a1b", AT + timedelta(minutes=10))
        for step in ("freeze", "switch", "roll", "block"):
            yield records.StepIntended(run, step, 1, "plane.switch", f"{run}/{step}", {"to": "2"}, "3 → 2", "2 → 3")
            yield records.StepEnded(run, step, 1, OUTCOME)
        for each in range(4):
            yield records.IncidentNoted(incident, f"note {each}: golden bad: 0.32 (limit 0.06), n=300")
        yield records.MessagePosted("#team", f"{incident} is over", f"{run}/tell", delivered=True)
        yield records.RunEnded(run, "recovered")
        yield records.IncidentMoved(incident, incidents.Status.RESOLVED, "answers are right again")
