"""One scenario: steady state → faults → detected → response → undone → steady state again.

The faults and decoys, and the waiting between them, are one run of the engine: each has a durable intent and an undo
before its effect. Whatever happens after the run began, it is taken back before this file lets go.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from ddr.diagnose import watch
from ddr.domain import accounts, gamedays, incidents, outcomes, records, runbooks, signals
from ddr.errors import DdrError, Missing
from ddr.gameday import fold, parse, progress, respond, rules, score, stage, verbs
from ddr.lib import timetext
from ddr.runbook import engine
from ddr.runbook import progress as run_progress

SETTLE_AT_MOST = timedelta(hours=3)
"""How long the steady state may take to come back, once a whole window of traffic came after the undo."""

USUAL = timedelta(hours=2)
"""What is usual is counted over so long before the known-good release, as the signals do."""

QUIET_STEP = timedelta(minutes=30)
"""Looks are this far apart where only the end of the wait matters."""

HOLD_STEP = "hold"

MOST_REQUESTS = 1_000_000


class NotRun(DdrError):
    """The scenario could not be played; the message says why."""


class Scene:
    """Plays one scenario. `stopped` when a person stopped it, `is_clean` when the platform is as before."""

    def __init__(self, on: stage.Stage, source: parse.Source, gameday: str) -> None:
        self._on = on
        self._source = source
        self._scenario = source.scenario
        self._gameday = gameday
        self._service = on.platform.service(self._scenario.service)
        self._lookout = stage.Lookout(on, self._service)
        self._run = f"{gameday}-{self._scenario.name}"
        self._started: datetime | None = None
        self._told: set[str] = set()
        self.stopped = False
        self.is_clean = False

    def play(self) -> gamedays.Played:
        """Everything, and the score. What goes wrong is in the result, not raised; defects are raised, undone first."""
        before = self._on.state_digest()
        self._on.record(records.ScenarioStarted(self._gameday, self._scenario.name, self._source.text, before))
        with self._always_undone():
            self._reach_steady()
            self._inject()
            self._watch_and_respond()
        try:
            self._settle()
        except KeyboardInterrupt:
            self.stopped = True
        after = self._on.state_digest()
        self.is_clean = self.is_clean and after == before
        self._measure_impact()
        played = self._score(before, after)
        self._close_incident()
        return played

    def _reached(self, phase: str, why: str = "") -> None:
        self._on.record(records.ScenarioReached(self._gameday, self._scenario.name, phase, why))  # type: ignore[arg-type]

    def _phase(self, what: str) -> None:
        self._on.report(progress.PhaseBegan(what, self._on.now()))

    def _moment(self, moment: str, what: str) -> None:
        self._on.report(progress.Reached(moment, self._on.now(), what))

    @contextlib.contextmanager
    def _always_undone(self) -> Iterator[None]:
        """Every way out of the block ends with the faults undone; a second Ctrl-C leaves that to `ddr runbook undo`."""
        try:
            yield
        except NotRun as problem:
            self._reached("not-run", problem.message)
        except KeyboardInterrupt:
            self.stopped = True
            self._reached("broken-off", gamedays.STOPPED)
        except DdrError as problem:
            self._reached("broken-off", self._on.redact(problem.message))
        finally:
            self._end_response()
            self._undo()

    def _reach_steady(self) -> None:
        """Wait for it as long as the warm-up lasts; an earlier game day may have left its traces in the windows."""
        self._phase("waiting for the steady state")
        wanted = self._scenario.steady_state.signals
        self._let_traces_pass()
        until = self._on.now() + self._scenario.warm_up
        found = self._lookout.look()
        while not rules.is_steady(found, wanted) and self._on.now() < until:
            found = self._lookout.pass_time(until)
        if not rules.is_steady(found, wanted):
            raise NotRun("the steady state is not there: " + "; ".join(rules.not_ok(found, wanted)))
        self._reached("steady")
        self._on.observe(self._service.name, "start")

    def _let_traces_pass(self) -> None:
        """Wait until a whole window of traffic lies behind the last step anybody took or undid.

        What was answered wrongly just before shows only when the right answers become known.
        """
        steps = (records.StepEnded, records.UndoEnded)
        acted = [event.at for event in self._on.platform.journal.events() if isinstance(event.record, steps)]
        fresh = max(acted, default=datetime.min.replace(tzinfo=UTC)) + self._window
        while self._on.now() < fresh:
            self._lookout.pass_time(fresh, step=QUIET_STEP)

    @property
    def _window(self) -> timedelta:
        return max(spec.window for spec in self._service.signals)

    def _inject(self) -> None:
        self._phase("decoys and the fault")
        self._started = self._on.now()
        verbs_ = {**self._on.faults, **verbs.build(self._on.platform, self._watch)}
        made = engine.Engine(self._on.platform, verbs_, report=self._injected)
        ended = made.start_steps(
            self._scenario.name, self._steps(), self._service.name, run=self._run, source=self._source.path
        )
        if ended.status != "injected":
            raise NotRun(f"the faults were not injected: {ended.why}")

    def _steps(self) -> list[runbooks.Step]:
        """Hold, then every injection at its time, with watching in between."""
        steps = [runbooks.Step(HOLD_STEP, action=verbs.HOLD)]
        at = min(injection.at for injection in self._scenario.method)
        for index, injection in enumerate(sorted(self._scenario.method, key=lambda entry: entry.at)):
            if injection.at > at:
                span = timetext.format_duration(injection.at - at)
                steps.append(runbooks.Step(f"watch-{index}", probe=verbs.WATCH, inputs={"for": span}))
                at = injection.at
            steps.append(runbooks.Step(injection.name, action=injection.fault, inputs=injection.inputs))
        return steps

    def _injected(self, event: run_progress.Event) -> None:
        """Told by the engine: once an injection is in force, look at the planes."""
        if not isinstance(event, run_progress.StepEnded):
            return
        injection = next((entry for entry in self._scenario.method if entry.name == event.step), None)
        if injection is None or event.outcome.status is not outcomes.Status.OK:
            return
        self._on.observe(self._service.name, score.after_injection(injection.name))
        told = event.outcome.summary
        self._on.report(progress.Injected(injection.name, told, self._on.now(), injection.decoy))
        if not injection.decoy:
            self._moment("first bad", injection.name)

    def _watch(self, until: datetime) -> outcomes.Outcome:
        """Between injections. A steady state that breaks before the fault spoils the scenario."""
        while self._on.now() < until:
            self._lookout.pass_time(until)
        broken = self._detection(self._scenario.steady_state.signals, self._started or until)
        if broken is not None and not self._fault_is_in():
            return outcomes.Outcome(
                outcomes.Status.FAILED, f"the steady state broke before the fault: {broken.judgement}"
            )
        return outcomes.Outcome(outcomes.Status.OK, f"it is {timetext.format_clock(until)}")

    def _fault_is_in(self) -> bool:
        return self._account().times.first_bad is not None

    def _detection(self, names: tuple[str, ...], since: datetime) -> rules.Detection | None:
        return rules.find_detection(self._lookout.series(), self._service, names, since)

    def _watch_and_respond(self) -> None:
        first_bad = self._account().times.first_bad
        assert first_bad is not None
        give_up = first_bad.at + self._scenario.give_up_after
        self._phase("watching")
        found = None
        while found is None and self._on.now() < give_up:
            self._lookout.pass_time(give_up)
            found = self._detection(self._scenario.expect.detect.signals, first_bad.at)
        if found is None:
            return
        self._reached("detected", str(found.judgement))
        self._moment("detected", str(found.judgement))
        self._respond(found.judgement, give_up)

    def _respond(self, symptom: signals.Judgement, give_up: datetime) -> None:
        self._phase("responding")
        self._on.observe(self._service.name, score.BEFORE_RESPONSE)
        responder = respond.Responder(
            self._on, self._service, self._scenario, self._lookout.pass_time, self._tell_moments
        )
        try:
            responder.respond(symptom, give_up)
        finally:
            self._on.observe(self._service.name, score.AFTER_RESPONSE)
        self._lookout.look()

    def _tell_moments(self) -> None:
        """Report those of the last three times that a command has brought."""
        for moment, stamp in self._account().times.moments[2:]:
            if stamp is not None and moment not in self._told:
                self._told.add(moment)
                self._on.report(progress.Reached(moment, stamp.at, ""))

    def _end_response(self) -> None:
        """A runbook that was cut off is taken back first, by its own command: faults go last, as they came first."""
        account = self._account()
        for run in account.runs:
            if run.purpose == "runbook" and run.status in ("running", "paused"):
                with contextlib.suppress(DdrError):
                    self._on.type(self._service.owners.oncall, ["runbook", "undo", run.id])

    def _close_incident(self) -> None:
        """What the response left open ends with the scenario, or the next one would inherit it."""
        account = self._account()
        if account.incident and account.incident_status != incidents.Status.RESOLVED.value:
            words = ["incident", "resolve", account.incident, "--why", f"the scenario {self._scenario.name} is over"]
            with contextlib.suppress(DdrError):
                self._on.type(self._service.owners.oncall, words)

    def _undo(self) -> None:
        """Take the faults back and return the planes; also when the run was cut off in its middle."""
        self._phase("undoing the faults")
        verbs_ = {**self._on.faults, **verbs.build(self._on.platform)}
        try:
            ended = engine.Engine(self._on.platform, verbs_).undo(self._run)
        except Missing:
            self.is_clean = True  # the run had not begun
            return
        except DdrError as problem:
            self._reached("broken-off", f"the faults could not be undone: {problem.message}")
            return
        if ended.status != "undone":
            self._reached("broken-off", f"the faults could not be undone: {ended.why}")
            return
        self.is_clean = True
        self._reached("undone", ended.why)
        self._on.report(progress.Undone(ended.why, self._on.now()))

    def _settle(self) -> None:
        """Traffic until the steady state is back, judged by nothing from before everything was undone."""
        if self._account().times.first_bad is None or not self.is_clean or self.stopped:
            return
        self._phase("waiting until the steady state is back")
        wanted = self._scenario.steady_state.signals
        fresh = self._on.now() + self._window
        found = self._lookout.look()
        while self._on.now() < fresh:
            found = self._lookout.pass_time(fresh, step=QUIET_STEP)
        until = fresh + SETTLE_AT_MOST
        while not rules.is_steady(found, wanted) and self._on.now() < until:
            found = self._lookout.pass_time(until)
        if rules.is_steady(found, wanted):
            self._reached("steady-again")
        self._on.observe(self._service.name, "end")

    def _measure_impact(self) -> None:
        """Wrong answers from the first bad moment until it was contained (or undone), and what is usual."""
        log = self._on.platform.request_logs.get(self._service.name)
        times = self._account().times
        if log is None or times.first_bad is None:
            return
        since = times.first_bad.at
        good = watch.last_good(self._on.platform, self._service.name)
        quiet = good.at if good and good.at < since else since
        until = times.contained.at if times.contained else self._last_undo()
        try:
            during = log.logged(since, until, MOST_REQUESTS)
            usual = log.logged(quiet - USUAL, quiet, MOST_REQUESTS)
        except DdrError:
            return
        if not during:
            return  # no truth is known yet: that is not the same as no wrong answer
        self._on.record(
            records.ImpactMeasured(
                self._service.name,
                accounts.Impact(
                    since,
                    until,
                    sum(entry.answer != entry.truth for entry in during),
                    len(during),
                    sum(entry.answer != entry.truth for entry in usual),
                    len(usual),
                ),
            )
        )

    def _last_undo(self) -> datetime:
        undone = [entry.at for entry in self._account().happenings if entry.kind is accounts.Kind.UNDO]
        return max(undone, default=self._on.now())

    def _account(self) -> accounts.Account:
        account = self._played().account
        assert account is not None
        return account

    def _played(self) -> gamedays.Played:
        """The scenario so far, as the journal tells it."""
        day = fold.gameday(self._on.platform.journal.events(), self._gameday, self._on.platform.services)
        return next(entry for entry in reversed(day.played) if entry.name == self._scenario.name)

    def _score(self, before: str, after: str) -> gamedays.Played:
        so_far = self._played()
        ran = so_far.account if so_far.account and so_far.account.times.first_bad else None
        expectations = score.score(self._scenario, self._service, ran)
        whole = gamedays.Played(
            so_far.name,
            expectations=expectations,
            invariants=so_far.invariants,
            steady=so_far.steady,
            state_before=before,
            state_after=after,
            why_not="" if so_far.why_not == fold.CUT_OFF else so_far.why_not,
        )
        self._on.record(
            records.ScenarioScored(
                self._gameday,
                self._scenario.name,
                {expectation.name: expectation.points for expectation in expectations},
                {expectation.name: expectation.possible for expectation in expectations},
                whole.passed,
                expectations,
                after,
            )
        )
        played = self._played()
        self._on.report(progress.Scored(played))
        return played
