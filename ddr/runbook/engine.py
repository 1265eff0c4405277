"""Runs procedures: start, resume, undo, preview. Every effect has a durable intent before it and a result behind it.

Promise: each effect at least once, at most once where the target offers compare-and-set or an idempotency key; after
any crash `resume` or `undo` brings the run to a defined end. Verbs run in the calling thread; see `deadline` for how
a step's time limit is kept. Asking `Tools.stop` once pauses behind the step at work (Ctrl-C once); a KeyboardInterrupt
pauses at once, and resume then looks whether the step's effect is there (Ctrl-C twice).
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ddr.domain import records, runbooks
from ddr.errors import ApprovalRequired, BadDocument, DdrError, InputError, Interrupted, Problem, Refused, UnknownName
from ddr.journal import run_view, views
from ddr.ports import platform, verb
from ddr.runbook import (
    check,
    claim,
    gates,
    history,
    layers,
    parse,
    perform,
    preview,
    procedure,
    progress,
    standing,
    stepping,
    undo,
    work,
)


@dataclass(frozen=True)
class Finish:
    """How a run ended: recovered, contained, failed, undone or injected."""

    run: str
    status: str
    why: str = ""


class Engine:
    """`report` is told what happens as it happens; `stop` pauses between two steps."""

    def __init__(
        self,
        on: platform.Platform,
        catalog: verb.Catalog,
        *,
        report: progress.Report = progress.nowhere,
        stop: work.Stop | None = None,
        tools: work.Tools | None = None,
    ) -> None:
        self._tools = tools or work.Tools(on, catalog, report, stop or work.Stop())

    def preview(
        self, document: parse.Document, service: str, parameters: Mapping[str, str] | None = None, *, incident: str = ""
    ) -> preview.Preview:
        """What `start` would do. Writes nothing anywhere. Raises BadDocument."""
        on = self._tools.platform
        found = on.service(service)
        values = check.require(document, self._tools.catalog, found, parameters or {})
        what = procedure.of_runbook(document)
        preview.require_sensible(on, self._tools.catalog, what, found, values)
        belongs = incident_of(on, service, incident)
        return preview.preview(on, self._tools.catalog, what, found, values, belongs)

    def start(
        self,
        document: parse.Document,
        service: str,
        parameters: Mapping[str, str] | None = None,
        *,
        incident: str = "",
        run: str = "",
        beside: bool = False,
        or_else: str = "",
        break_glass: str = "",
    ) -> Finish:
        """Check the runbook whole, freeze it and run it. It belongs to `incident`, else to the service's open one.

        Raises BadDocument, InputError and UnknownName (nothing was started), Interrupted when another run of the
        service has no end yet, Refused while a process works on that (neither with `beside`, nor where that only waits
        for its proof), ApprovalRequired and Interrupted when the run is paused, Conflict where it stopped to ask,
        Unavailable when the journal cannot be written. `or_else` is what the caller offers beside resume and undo.
        """
        found = self._tools.platform.service(service)
        values = check.require(document, self._tools.catalog, found, parameters or {})
        what = procedure.of_runbook(document)
        preview.require_sensible(self._tools.platform, self._tools.catalog, what, found, values)
        belongs = incident_of(self._tools.platform, service, incident)
        if not beside:
            self._require_alone(service, "", or_else)
        name = self._begin(what, service, values, belongs, document.path, run)
        if not beside:
            self._require_alone(service, name, or_else)
        attached = bool(belongs and not incident)
        return self._drive(self._follow(name), break_glass, take_over=False, resumed=False, attached=attached)

    def start_steps(
        self,
        title: str,
        steps: Sequence[runbooks.Step],
        service: str,
        *,
        incident: str = "",
        run: str = "",
        source: str = "",
    ) -> Finish:
        """Run a plain list of actions, such as faults. It ends as `injected`, and `undo` takes all of it back.

        Raises BadDocument where a verb or its inputs do not fit; nothing was started then.
        """
        found = self._tools.platform.service(service)
        what = procedure.of_steps(title, steps)
        wrong = [
            Problem(title, 1, f"steps[{at}].{'.'.join(keys)}", problem)
            for at, keys, problem in check.steps_problems(steps, self._tools.catalog, found)
        ]
        if wrong:
            raise BadDocument(wrong, hint="nothing was started")
        name = self._begin(what, service, {}, incident, source, run)
        return self._drive(self._follow(name), "", take_over=False, resumed=False)

    def resume(self, run: str, *, take_over: bool = False, break_glass: str = "") -> Finish:
        """Go on where the run stands. A run that has its end is left as it is.

        Raises Missing, Refused when a living process works on it (unless `take_over`) or an undo has begun, and
        what `start` raises.
        """
        follower = self._follow(run)
        seen = follower.read()
        if history.is_undoing(seen):
            raise Refused(f"run {run} is being taken back", hint=f"`{seen.undo_command}` goes on with that")
        if seen.end is not None:
            return self._ended_before(seen)
        return self._drive(follower, break_glass, take_over=take_over, resumed=True)

    def undo(
        self, run: str, *, take_over: bool = False, only: Sequence[str] = (), break_glass: str = "", asks: bool = True
    ) -> Finish:
        """Take back what the run changed, newest first; also of a run that has ended. Repeatable.

        With `only`, of a run that has ended just these steps, such as the fallback or a freeze: the run keeps its end.
        Where it brings back what was marked bad, one of the service's approvers has to agree; not to taking back what
        was cut off, nor what failed in this process (`asks` is False).

        Raises UnknownName, Refused when a living process works on it (unless `take_over`), something newer lies on what
        it changed, or it was denied; ApprovalRequired; InputError where `only` names a step that changed nothing.
        """
        follower = self._follow(run)
        seen = follower.read()
        if only:
            return self._undo_only(follower, tuple(dict.fromkeys(only)), take_over=take_over)
        if seen.end is not None and seen.end.status == "undone":
            return self._ended_before(seen)
        layers.require_on_top(self._tools.platform.journal, self._tools.catalog, seen)
        asks = asks and not seen.is_undoing and (seen.is_paused or standing.got_to_its_end(seen))
        mine = self._claim(follower, take_over=take_over, resumed=True)
        with self._paused_on_failure(mine):
            if not asks or self._is_agreed(mine, break_glass):
                status, why = undo.undo(mine)
                return self._end(mine, status, why)
            place = stepping.position(mine.procedure, history.outcomes_of(mine.seen()))
            if not isinstance(place, stepping.Ending):
                raise Refused(f"run {run} is not taken back: it was denied; nothing was changed")
            self._end(mine, place.status, place.why)
        raise Refused(f"run {run} is not taken back: it was denied; it stays {place.status}")

    def _is_agreed(self, mine: work.Work, break_glass: str) -> bool:
        try:
            return gates.ask_undo(mine)
        except ApprovalRequired:
            if not break_glass:
                raise
            gates.break_glass(mine, break_glass)
            return True

    def _undo_only(self, follower: history.Follower, only: tuple[str, ...], *, take_over: bool) -> Finish:
        """Nothing of it is a pause or an end of the run: cut off, it is just called again."""
        seen = follower.read()
        acted = {step.name for step in seen.steps.values() if step.intended is not None}
        wrong = [name for name in only if name not in acted]
        if wrong:
            there = ", ".join(step.name for step in seen.to_undo) or "nothing"
            raise InputError(
                f"run {seen.id}: {', '.join(wrong)} changed nothing there; nothing was taken back",
                hint=f"what can be taken back: {there}",
            )
        if seen.end is None:
            raise Refused(
                f"run {seen.id} has no end yet; a single step is taken back of a run that has",
                hint=f"`ddr runbook resume {seen.id}` goes on, `ddr runbook undo {seen.id}` takes all of it back",
            )
        layers.require_on_top(self._tools.platform.journal, self._tools.catalog, seen)
        mine = self._claim(follower, take_over=take_over, resumed=True, only=only)
        bad = gates.undo_needs(mine, only)
        if bad:
            raise Refused(
                f"run {seen.id}: {'; '.join(bad)}: somebody has to agree to that; nothing was taken back",
                hint=f"`{seen.undo_command}` takes all of it back and asks",
            )
        status, why = undo.undo(mine, only)
        self._tools.report(progress.RunEnded(mine.run, status, why))
        return Finish(mine.run, status, why)

    def _ended_before(self, seen: run_view.Run) -> Finish:
        """Tell of a run that has its end; nothing is done."""
        assert seen.end is not None
        self._tools.report(_began(seen, work.frozen(seen.started), resumed=True))
        self._tools.report(progress.RunEnded(seen.id, seen.end.status, seen.end.why, before=True))
        return Finish(seen.id, seen.end.status, seen.end.why)

    def _begin(
        self,
        what: procedure.Procedure,
        service: str,
        parameters: Mapping[str, str],
        incident: str,
        source: str,
        run: str,
    ) -> str:
        on = self._tools.platform
        taken = views.fold(on.journal.events()).runs
        name = run or new_name(on.clock.now().strftime("%m%d"), taken)
        if name in taken:
            raise Refused(f"run {name} exists", hint=f"`ddr runbook resume {name}`")
        on.journal.append(
            records.RunStarted(
                name, what.title, what.purpose, what.document, what.digest, service, parameters, incident, source
            )
        )
        return name

    def _require_alone(self, service: str, run: str, or_else: str) -> None:
        """Of two runbooks started at once for a service the one that the journal has first goes on."""
        journal = self._tools.platform.journal
        for name, seen in views.fold(journal.events()).runs.items():
            if name == run:
                return
            is_runbook = seen.started.purpose == "runbook" and seen.started.service == service
            if is_runbook and seen.end is None and not standing.only_waits_for_proof(seen):
                if run:
                    journal.append(records.RunEnded(run, "failed", f"run {name} of {service} was first"))
                held = seen.claim
                at_work = held is not None and not history.is_released(seen)
                if held is not None and at_work and claim.is_alive(held.record, self._tools.platform.clock.now()):
                    raise Refused(
                        f"run {name} ({seen.started.title}) of {service} is worked on by {held.actor} on {held.host}",
                        hint="let it end" + (f"; {or_else}" if or_else else ""),
                    )
                raise Interrupted(
                    f"run {name} ({seen.started.title}) of {service} has no end yet",
                    hint=standing.ways_on(seen) + (f"; {or_else}" if or_else else ""),
                )

    def _follow(self, run: str) -> history.Follower:
        return history.Follower(self._tools.platform.journal, run)

    def _drive(
        self, follower: history.Follower, break_glass: str, *, take_over: bool, resumed: bool, attached: bool = False
    ) -> Finish:
        mine = self._claim(follower, take_over=take_over, resumed=resumed, attached=attached)
        with self._paused_on_failure(mine):
            while True:
                place = stepping.position(mine.procedure, history.outcomes_of(mine.seen()))
                if isinstance(place, stepping.Ending):
                    return self._end(mine, place.status, place.why)
                if self._tools.stop.asked:
                    raise Interrupted(f"run {mine.run} was asked to stop before step {place.name!r}")
                try:
                    perform.perform(mine, place)
                except ApprovalRequired:
                    if not break_glass:
                        raise
                    gates.break_glass(mine, break_glass)
                outcome = history.outcomes_of(mine.seen()).get(place.name)
                if outcome is not None and stepping.awaits_proof(mine.procedure, place, outcome):
                    raise Interrupted(
                        f"run {mine.run}: {place.name} cannot be judged yet: {outcome.summary}",
                        hint=f"`ddr runbook resume {mine.run}` judges again; nothing was taken back or contained",
                    )

    def _claim(
        self,
        follower: history.Follower,
        *,
        take_over: bool,
        resumed: bool,
        only: tuple[str, ...] = (),
        attached: bool = False,
    ) -> work.Work:
        mine = work.Work(self._tools, follower, take_over=take_over, only=only)
        self._tools.report(_began(mine.seen(), mine.procedure, resumed=resumed, only=only, attached=attached))
        return mine

    def _end(self, mine: work.Work, status: str, why: str) -> Finish:
        mine.check_fence()
        mine.append(records.RunEnded(mine.run, status, why))  # type: ignore[arg-type]
        self._tools.report(progress.RunEnded(mine.run, status, why))
        return Finish(mine.run, status, why)

    @contextlib.contextmanager
    def _paused_on_failure(self, mine: work.Work) -> Iterator[None]:
        """Whatever stops the run leaves it paused, with the reason; a killed process leaves it interrupted."""
        try:
            yield
        except work.TakenOver:
            raise
        except KeyboardInterrupt:
            self._pause(mine, "stopped from the keyboard; the step at work may or may not have taken effect")
            raise
        except DdrError as problem:
            self._pause(mine, problem.message)
            if not problem.hint:
                problem.hint = f"`ddr runbook resume {mine.run}` goes on, `{mine.seen().undo_command}` takes it back"
            raise
        except Exception as problem:
            self._pause(mine, f"a defect in ddr or in a verb: {type(problem).__name__}: {problem}")
            raise

    def _pause(self, mine: work.Work, why: str) -> None:
        with contextlib.suppress(DdrError):  # the journal itself may be what failed
            mine.check_fence()
            mine.append(records.RunPaused(mine.run, why))
            self._tools.report(progress.RunPaused(mine.run, why))


def incident_of(on: platform.Platform, service: str, named: str) -> str:
    """The incident `named`, else the service's single open one, else ''. Raises UnknownName."""
    board = views.fold(on.journal.events())
    open_ = [incident.id for incident in board.open_incidents(service)]
    if not named:
        return open_[0] if len(open_) == 1 else ""
    found = board.incidents.get(named)
    if found is None or found.service != service:
        what = f"there is no incident {named!r}" if found is None else f"incident {named} is one of {found.service}"
        raise UnknownName(f"{what}; nothing was started", hint=f"open for {service}: {', '.join(open_) or 'none'}")
    return named


def _began(
    seen: run_view.Run,
    what: procedure.Procedure,
    *,
    resumed: bool,
    only: tuple[str, ...] = (),
    attached: bool = False,
) -> progress.RunBegan:
    return progress.RunBegan(
        seen.id,
        what.title,
        seen.started.service,
        tuple(step.name for step in what.steps),
        resumed,
        seen.started.incident,
        tuple(_done(step) for step in seen.steps.values() if step.ended is not None),
        what.containment,
        only,
        attached,
        seen.undo_command,
        _plan_of(seen, what),
    )


def _plan_of(seen: run_view.Run, what: procedure.Procedure) -> str:
    """The digest of the plan that is carried out: as it was shown, else as it was asked for; '' where there is none."""
    shown = (str(step.inputs[runbooks.PLAN]) for step in what.steps if runbooks.PLAN in step.inputs)
    asked = (one.request.plan_digest for one in reversed(seen.approvals) if one.request.step != runbooks.UNDO)
    return next(asked, "") or next(shown, "")


def _done(step: run_view.Step) -> progress.Done:
    assert step.ended is not None
    last = step.undo_ended if step.undone and step.undo_ended is not None else step.ended
    return progress.Done(step.name, last.outcome, step.has_effect, step.intended.undo if step.intended else "")


def new_name(day: str, taken: Mapping[str, object]) -> str:
    """`run-1102-7f3a`: the day and four random digits, so that two engineers without a store do not collide."""
    while True:
        name = f"run-{day}-{secrets.token_hex(2)}"
        if name not in taken:
            return name
