"""Game days made from a seed, the way a real one would look, for what only draws them."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ddr.domain import accounts, changes, diagnoses, gamedays, planes, revisions, signals

BEGIN = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
STEP = timedelta(minutes=5)
Plane = planes.Plane
Kind = accounts.Kind


@dataclass(frozen=True)
class Shape:
    """How a signal behaves: quiet, and while the fault is in force."""

    name: str
    plane: planes.Plane | None
    detector: str
    unit: str
    limit: float
    quiet: float
    hurt: float
    noise: float
    n: int


MODEL_SIGNALS = (
    Shape("golden", Plane.MODEL, "share", "", 0.06, 0.027, 0.43, 0.0, 300),
    Shape("wrong-answers", None, "shift", "", 0.061, 0.03, 0.41, 0.01, 590),
    Shape("scores", None, "distribution", "", 0.1, 0.018, 0.94, 0.006, 600),
    Shape("feature-age", Plane.FEATURES, "ceiling", "s", 2700, 880, 880, 120, 120),
    Shape("feature-zeros", Plane.FEATURES, "columns", "", 0.09, 0.04, 0.04, 0.01, 120),
    Shape("errors", Plane.INFRA, "share", "", 0.01, 0.0, 0.0, 0.0, 600),
    Shape("latency-p95", Plane.INFRA, "ceiling", "s", 0.5, 0.011, 0.012, 0.002, 600),
)


def game_day(seed: int = 1, *, scenarios: int = 2, hostile: str = "", outcome: str = "passed") -> gamedays.GameDay:
    """`outcome` is passed, missed or broken-off; `hostile` text is put wherever text from outside may stand."""
    chance = random.Random(seed)
    played = [_played(chance, at, hostile, outcome) for at in range(scenarios)]
    return gamedays.GameDay(
        id="gd-7f3a91",
        at=BEGIN,
        wall=datetime(2026, 11, 21, 3, 13, tzinfo=UTC),
        actor="oncall-ml",
        host="laptop" + hostile,
        played=tuple(played),
        head=gamedays.Head(412, "sha256:" + f"{chance.getrandbits(256):064x}"),
        wall_s=41.7,
        ended=outcome != "broken-off",
        facts={"ddr": "0.1.0", "seed": str(seed)},
    )


def _series(chance: random.Random, shape: Shape, begin: datetime, steps: int, bad: range) -> accounts.Series:
    judgements = []
    level = shape.quiet
    for step in range(steps):
        aim = shape.hurt if step in bad else shape.quiet
        level += (aim - level) * (1.0 if shape.name == "golden" else 0.35)
        value = max(0.0, level + chance.gauss(0, shape.noise))
        n = max(1, int(chance.gauss(shape.n, shape.n * 0.03))) if shape.name != "golden" else shape.n
        limit = shape.limit if shape.detector in ("share", "ceiling") else shape.limit * (1 + 3 / math.sqrt(n))
        state = signals.State.BAD if value > limit else signals.State.OK
        judgements.append(
            signals.Judgement(shape.name, shape.plane, state, begin + step * STEP, value, limit, n, shape.unit)
        )
    return accounts.Series(shape.name, shape.plane, tuple(judgements), shape.detector)


def _revision(plane: planes.Plane, name: str) -> revisions.Revision:
    names = {Plane.MODEL: "postcode-digit", Plane.CODE: "serving", Plane.FEATURES: "lane_pixels", Plane.INDEX: "index"}
    letters = random.Random(f"{plane}{name}").getrandbits(256)
    return revisions.Revision(plane, names.get(plane, "serving.yaml"), name, f"sha256:{letters:064x}")


def _view(moment: str, at: datetime, model: str, code: str) -> accounts.View:
    return accounts.View(
        moment,
        at,
        (
            _revision(Plane.CODE, code),
            _revision(Plane.MODEL, model),
            _revision(Plane.FEATURES, "v2"),
            _revision(Plane.INDEX, "v1"),
            _revision(Plane.CONFIG, "c1"),
        ),
    )


def _happenings(at: datetime, hostile: str) -> tuple[accounts.Happening, ...]:
    minutes = timedelta(minutes=1)

    def make(kind: Kind, minute: float, title: str, plane: planes.Plane | None = None, **rest: object):  # type: ignore[no-untyped-def]
        return accounts.Happening(kind, at + minute * minutes, title + hostile, plane, **rest)  # type: ignore[arg-type]

    return (
        make(Kind.DECOY, -20, "code 1.4.0 → 1.4.1", Plane.CODE, actor="ci-bot", detail="log one line less", seq=41),
        make(Kind.DECOY, -10, "log level debug", Plane.CONFIG, actor="ci-bot", seq=55),
        make(Kind.FAULT, 0, "champion → 4 (labels flipped)", Plane.MODEL, actor="trainer", seq=61),
        make(Kind.SIGNAL, 5, "golden", Plane.MODEL, until=at + 45 * minutes, detail="0.43 (limit 0.06), n=300", seq=66),
        make(Kind.SIGNAL, 30, "wrong-answers", None, until=at + 80 * minutes, detail="0.41 (limit 0.07), n=590"),
        make(Kind.INCIDENT, 10, "INC-0001 declared SEV2", actor="oncall-ml", seq=70),
        make(Kind.INCIDENT, 10, "diagnosed: model CONFIRMED", actor="oncall-ml", seq=71),
        make(Kind.COMMS, 10, "#inc-postcode told", actor="oncall-ml", seq=75),
        make(Kind.ACTION, 10, "promotions frozen", Plane.MODEL, actor="oncall-ml", seq=79),
        make(Kind.APPROVAL, 10, "approved by head-of-sorting", actor="head-of-sorting", seq=84),
        make(Kind.ACTION, 15, "champion 4 → 2", Plane.MODEL, actor="oncall-ml", seq=88),
        make(Kind.ACTION, 15, "server rolled", None, actor="oncall-ml", seq=90),
        make(Kind.INCIDENT, 80, "INC-0001 resolved", actor="oncall-ml", seq=120),
        make(Kind.UNDO, 85, "fault undone", Plane.MODEL, actor="gameday", seq=131),
        make(Kind.UNDO, 85, "decoy undone", Plane.CODE, actor="gameday", seq=133),
        make(Kind.UNDO, 85, "decoy undone", Plane.CONFIG, actor="gameday", seq=135),
    )


def _commands(at: datetime, hostile: str) -> tuple[accounts.Command, ...]:
    def make(minute: float, wall: float, actor: str, text: str, output: str, code: int = 0) -> accounts.Command:
        stamp = accounts.Stamp(at + timedelta(minutes=minute), 9.0 + wall, 70)
        return accounts.Command(stamp, actor, tuple(text.split()), code, 0.61, output + hostile)

    return (
        make(10, 0.6, "oncall-ml", "incident declare postcode --severity SEV2 --title golden", "INC-0001 declared"),
        make(10, 2.2, "oncall-ml", "diagnose postcode --incident INC-0001", "CONFIRMED model:postcode-digit 2 → 4"),
        make(10, 3.0, "oncall-ml", "runbook run bad-model-promotion --service postcode", "waits for approval", 4),
        make(10, 3.7, "head-of-sorting", "runbook approve run-51c2", "approved plan 9f31c0ffee12"),
        make(80, 6.1, "oncall-ml", "runbook resume run-51c2", "recovered\nsignals.hold ok 3 of 3"),
        make(80, 6.6, "oncall-ml", "incident resolve INC-0001", "INC-0001 resolved"),
    )


def _diagnosis(at: datetime, hostile: str) -> diagnoses.Diagnosis:
    change = changes.Change(Plane.MODEL, "postcode-digit" + hostile, at, "2", "4", "trainer", "nightly retraining")
    evidence = (
        diagnoses.Evidence("swap", "model 2 restores 118 of 121 wrong answers (97.5 %), n=300" + hostile, 100.0),
        diagnoses.Evidence("golden", "wrong 43.0 % (limit 6.0 %), n=300", 50.0),
        diagnoses.Evidence("co-timing", "changed 4m before the onset", 2.0),
    )
    innocent = (diagnoses.Evidence("swap", "code 1.4.0 restores 2 of 121 (1.7 %), n=300", 0.1),)
    return diagnoses.Diagnosis(
        "postcode",
        at + timedelta(minutes=10),
        diagnoses.Verdict.CONFIRMED,
        (
            diagnoses.Candidate(Plane.MODEL, 0.991, evidence, change),
            diagnoses.Candidate(None, 0.005),
            diagnoses.Candidate(Plane.CODE, 0.003, innocent),
            diagnoses.Candidate(Plane.FEATURES, 0.001),
        ),
        onset_from=at - timedelta(minutes=1),
        onset_to=at + timedelta(minutes=5),
        ruled_out=("features: age p95 14m (limit 45m), n=120", "infra: errors 0 of 600"),
        not_checked=("index: no recall probe is configured",),
        impaired=("postcode",),
        exposed=("sorting-hub", "returns-desk"),
        next_command="ddr runbook run bad-model-promotion --service postcode --incident INC-0001",
    )


def _expectations(outcome: str) -> tuple[gamedays.Expectation, ...]:
    met, missed = gamedays.Standing.MET, gamedays.Standing.MISSED
    late = missed if outcome == "missed" else met
    none = outcome == "broken-off"
    checks = {
        "detect": (
            gamedays.Check("a signal goes bad", met, "golden, wrong-answers; any one is enough", "golden bad: 0.43"),
            gamedays.Check("in time after the first bad", late, "at most 30m", "10m"),
        ),
        "diagnose": (
            gamedays.Check("the plane is found", met, "model at rank 1", "CONFIRMED: model 99.1%"),
            gamedays.Check("the decoy new-code is not blamed", met, "not the culprit", "the culprit is model 2 → 4"),
        ),
        "affected": (gamedays.Check("exactly these", met, "postcode, returns-desk, sorting-hub", "impaired postcode"),),
        "recover": (
            gamedays.Check("the recovery is proved", met, "the run ends recovered", "recovered"),
            gamedays.Check("no other plane is touched", met, "only model", "changed: postcode-digit@2"),
        ),
    }
    possible = {"detect": 25, "diagnose": 30, "affected": 15, "recover": 30}
    made = []
    for name, points in possible.items():
        listed = () if none and name != "detect" else checks[name]
        got = points if listed and all(check.standing is met for check in listed) else 0
        made.append(gamedays.Expectation(name, got, points, listed))
    return tuple(made)


def _played(chance: random.Random, at: int, hostile: str, outcome: str) -> gamedays.Played:
    begin = BEGIN + at * timedelta(hours=6)
    fault = begin + timedelta(hours=1)
    series = tuple(_series(chance, shape, begin, 44, range(13, 16 + 5)) for shape in MODEL_SIGNALS)
    steady = tuple(one.judgements[0] for one in series)
    minutes = timedelta(minutes=1)
    after = () if outcome == "broken-off" else tuple(one.judgements[-1] for one in series)
    account = accounts.Account(
        service="postcode" + hostile,
        since=begin,
        until=begin + 44 * STEP,
        times=accounts.Times(
            accounts.Stamp(fault, 6.4, 61),
            accounts.Stamp(fault + 10 * minutes, 7.1, 69),
            accounts.Stamp(fault + 10 * minutes, 9.9, 71),
            None if outcome == "broken-off" else accounts.Stamp(fault + 15 * minutes, 13.2, 90),
            None if outcome == "broken-off" else accounts.Stamp(fault + 80 * minutes, 15.1, 118),
        ),
        customers="parcel hubs: a wrong digit is a parcel on the wrong truck" + hostile,
        impact=accounts.Impact(fault, fault + 15 * minutes, 62, 151, 18, 590),
        diagnosis=_diagnosis(fault, hostile),
        series=series,
        happenings=_happenings(fault, hostile),
        commands=_commands(fault, hostile),
        views=(
            _view("start", begin, "2", "1.4.0"),
            _view("before the response", fault + 10 * minutes, "4", "1.4.1"),
            _view("after the response", fault + 80 * minutes, "2", "1.4.1"),
            _view("end", begin + 40 * STEP, "2", "1.4.0"),
        ),
        incident="INC-0001",
        incident_status="resolved",
        runs=(
            accounts.Run("run-0aa1", "bad-model-promotion", "faults", "undone"),
            accounts.Run("run-51c2", "bad-model-promotion", "runbook", "recovered"),
        ),
    )
    digest = "sha256:" + f"{chance.getrandbits(256):064x}"
    return gamedays.Played(
        name=("bad-model-promotion", "stale-online-features", "null-features")[at % 3],
        title="A new model version answers fast, healthy and wrong" + hostile,
        story="The nightly retraining reads a label file that was joined the wrong way round. "
        "The job is green, the promotion is green, the pods are green." + hostile,
        account=account,
        expectations=_expectations(outcome),
        invariants=(
            gamedays.Invariant("errors", 44),
            gamedays.Invariant("latency-p95", 44, series[-1].judgements[:1] if outcome == "missed" else ()),
        ),
        steady=gamedays.Steady(steady, after),
        state_before=digest,
        state_after="" if outcome == "broken-off" else digest,
        fault_run="run-0aa1",
        response_run="run-51c2",
        why_not="broken off: interrupted from the keyboard" if outcome == "broken-off" else "",
        wall_s=19.4,
    )
