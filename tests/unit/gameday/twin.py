"""A game day on a world in memory: toy faults, and the commands of the response typed inside this process."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ddr.actions import catalog
from ddr.domain import changes, diagnoses, gamedays, incidents, outcomes, planes, records, services, signals
from ddr.errors import ApprovalRequired, DdrError, Interrupted
from ddr.gameday import commands, parse, play, progress, stage, verbs
from ddr.incident import desk
from ddr.lib import decode, digest
from ddr.ports import platform as platforms
from ddr.ports import signal as signal_port
from ddr.ports import verb
from ddr.runbook import approval, engine, shelf
from ddr.runbook import parse as books
from ddr.runbook import progress as run_progress
from tests import recovery

ACTOR = "gameday"
NAME = "gd-1"

SCENARIO = """\
apiVersion: ddr/v1
kind: Scenario
metadata: {name: promoted, owner: team-sorting}
title: A bad model is promoted
story: It is bad.
service: postcode
steady-state-hypothesis: {title: healthy, signals: [golden, scores, wrong-answers, feature-age, errors]}
method:
  - {name: new-code, fault: decoy.code, decoy: true}
  - {name: promotion, fault: model.promote, at: 10m}
invariants: [errors]
expect:
  detect: {signals: [golden], within: 15m}
  diagnose: {plane: model, notNamed: [new-code]}
  affected: {services: [postcode]}
  recover: {runbook: bad-model-promotion, within: 3h, only: [model]}
scoring: {detect: 25, diagnose: 30, affected: 15, recover: 30}
"""


def source(text: str = SCENARIO) -> parse.Source:
    return parse.read_text(text, "promoted.yaml")


class _Fault:
    changes = True

    def __init__(self, world: recovery.World) -> None:
        self.world = world

    def problems(self, inputs: Mapping[str, Any], service: services.Service) -> Sequence[str]:
        return [f"takes no input {name!r}" for name in inputs]


class Promote(_Fault):
    """Version 3 is bad and live."""

    name = "model.promote"

    def prepare(self, call: verb.Call) -> verb.Prepared:
        return verb.Prepared("promote 3", undo="delete 3", settled={"was": self.world.model.live})

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        self.world.promote()
        return outcomes.Outcome(outcomes.Status.OK, "3 is champion")

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        return verb.Seen.DONE if "3" in self.world.model.contents else verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        self.world.model.contents.pop("3", None)
        self.world.model.marks.pop("3", None)
        if self.world.model.live == "3":
            self.world.model.live = settled["was"]
        self.world.server.roll()
        return outcomes.Outcome(outcomes.Status.UNDONE, "3 is gone")


class NewCode(_Fault):
    """An innocent release."""

    name = "decoy.code"

    def prepare(self, call: verb.Call) -> verb.Prepared:
        return verb.Prepared("release 1.4.1", undo="back to 1.4.0", settled={"was": self.world.code.live})

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        self.world.code.contents["1.4.1"] = b"app, one log line less"
        self.world.code.live = "1.4.1"
        self.world.code.facts = {**self.world.code.facts, "1.4.1": {}}
        self.world.server.roll()
        return outcomes.Outcome(outcomes.Status.OK, "1.4.1 is live")

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        return verb.Seen.DONE if self.world.code.live == "1.4.1" else verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        self.world.code.contents.pop("1.4.1", None)
        self.world.code.live = settled["was"]
        self.world.server.roll()
        return outcomes.Outcome(outcomes.Status.UNDONE, "1.4.0 is live")


@dataclass
class Infra:
    """Implements Signal: the infrastructure, which is green unless told otherwise."""

    world: recovery.World
    bad_from: datetime | None = None
    series: Mapping[str, signal_port.SampleKind] = field(default_factory=lambda: {"errors": "share"})

    def read(self, series: str, since: datetime, until: datetime) -> signals.Reading:
        is_bad = self.bad_from is not None and until >= self.bad_from
        return signals.Reading(series, since, until, signals.Share(90 if is_bad else 0, 600))


def model_to_blame(on: platforms.Platform) -> diagnoses.Diagnosis:
    change = changes.Change(planes.Plane.MODEL, "digit", on.clock.now(), "2", "3", "trainer")
    return diagnoses.Diagnosis(
        "postcode",
        on.clock.now(),
        diagnoses.Verdict.CONFIRMED,
        (diagnoses.Candidate(planes.Plane.MODEL, 0.98, (diagnoses.Evidence("swap", "it does", 100.0),), change),),
        impaired=("postcode (golden 0.5, limit 0.06, n=600)",),
        next_command="ddr runbook run bad-model-promotion --service postcode",
    )


@dataclass
class Twin:
    """A world with its game day. `diagnose` says what `ddr diagnose` finds; `before` is called before each command."""

    world: recovery.World = field(default_factory=recovery.World)
    diagnose: Callable[[platforms.Platform], diagnoses.Diagnosis] = model_to_blame
    before: Callable[[Sequence[str]], None] = lambda _words: None
    told: list[progress.Event] = field(default_factory=list)
    infra: Infra = field(init=False)

    def __post_init__(self) -> None:
        self.infra = Infra(self.world)

    def platform(self, actor: str = ACTOR) -> platforms.Platform:
        made = self.world.platform(actor)
        entry = made.services["postcode"]
        hour = timedelta(hours=1)
        errors = services.SignalSpec("errors", "infra", "errors", "share", planes.Plane.INFRA, 0.01, hour, hour, 50)
        specs = tuple(errors if spec.name == "errors" else spec for spec in entry.signals)
        sources = {"postcode": {**made.sources["postcode"], "infra": self.infra}}
        return dataclasses.replace(
            made, services={"postcode": dataclasses.replace(entry, signals=specs)}, sources=sources
        )

    def faults(self) -> verb.Catalog:
        return {made.name: made for made in (Promote(self.world), NewCode(self.world))}

    def stage(self) -> stage.Stage:
        return stage.Stage(self.platform(), self.faults(), self.digest, self.type, report=self.told.append)

    def state(self) -> object:
        """All but the clock, the journal and what people were told."""
        found = {
            plane: (at.live, sorted(at.marks), at.frozen_why, sorted(at.contents.items()))
            for plane, at in self.world.planes.items()
        }
        return (found, self.world.features.rows_from, self.world.server.memory, self.world.server.fallback_on)

    def digest(self) -> str:
        return digest.of_value(repr(self.state()))

    def play(self, *texts: str, name: str = NAME) -> gamedays.GameDay:
        return play.play([source(text) for text in texts or (SCENARIO,)], self.stage(), gameday=name)

    def type(self, words: Sequence[str], actor: str) -> commands.CommandResult:
        """What `ddr WORDS --json` does, in this process."""
        self.before(words)
        on = self.platform(actor)
        try:
            code, found = self._run(on, list(words))
        except DdrError as problem:
            code, found = problem.exit_code, {"error": {"kind": type(problem).__name__, "message": problem.message}}
        finally:
            self.world.journal.actor = ACTOR
        return commands.CommandResult(code, json.dumps(decode.encode(found)), "", 0.25)

    def _run(self, on: platforms.Platform, words: list[str]) -> tuple[int, Any]:
        match words:
            case ["incident", "declare", service, *_]:
                return 0, desk.declare(on.journal, service, "SEV2", words[-1], at=on.clock.now())
            case ["incident", "resolve", incident, *_]:
                return 0, desk.move(on.journal, incident, incidents.Status.RESOLVED, words[-1])
            case ["diagnose", service, "--incident", incident]:
                found = self.diagnose(on)
                on.journal.append(records.DiagnosisMade(service, found, incident))
                return 2 if found.verdict is diagnoses.Verdict.INCONCLUSIVE else 0, found
            case ["runbook", "run", name, *rest]:
                incident = rest[rest.index("--incident") + 1]
                book = books.read(shelf.find(name))
                return self._engine(on, lambda made: made.start(book, "postcode", incident=incident))
            case ["runbook", "resume", run]:
                return self._engine(on, lambda made: made.resume(run))
            case ["runbook", "undo", run]:
                return self._engine(on, lambda made: made.undo(run))
            case ["runbook", "approve", run, "--plan", plan]:
                return 0, approval.decide(on, run, plan=plan)
        raise AssertionError(words)

    def _engine(
        self, on: platforms.Platform, call: Callable[[engine.Engine], engine.Finish]
    ) -> tuple[int, Mapping[str, str]]:
        seen: list[run_progress.Event] = []
        made = engine.Engine(on, catalog.build(on), report=seen.append)
        try:
            ended = call(made)
        except (ApprovalRequired, Interrupted) as pause:
            run = next(event.run for event in seen if isinstance(event, run_progress.RunBegan))
            asked = [event.request.plan_digest for event in seen if isinstance(event, run_progress.ApprovalAsked)]
            return pause.exit_code, {"run": run, "status": "waiting", "plan_digest": asked[-1] if asked else ""}
        code = 1 if ended.status == "failed" else 0
        return code, {"run": ended.run, "status": ended.status, "why": ended.why}

    def undo(self, run: str) -> str:
        """`ddr runbook undo RUN` in a new process; agreed to by an approver where it asks."""
        started = next(entry for entry in self.world.journal.of_kind(records.RunStarted) if entry.run == run)

        def once() -> str:
            on = self.platform()
            faults = {**self.faults(), **verbs.build(on)}
            return engine.Engine(on, catalog.build(on) if started.purpose == "runbook" else faults).undo(run).status

        try:
            return once()
        except ApprovalRequired:
            asked = self.world.journal.of_kind(records.ApprovalRequested)[-1]
            self.type(["runbook", "approve", run, "--plan", asked.plan_digest], asked.approvers[0])
            return once()


def standings(played: gamedays.Played) -> dict[str, gamedays.Standing]:
    return {expectation.name: expectation.standing for expectation in played.expectations}
