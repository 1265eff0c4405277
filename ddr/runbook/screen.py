"""The live screen of a run as text: at most 24 lines of 80 columns. Pure; the terminal is somebody else's.

Where I am, what this will do, what it touches, how to undo it, the next key.
"""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import dataclass, field

from ddr.domain import outcomes
from ddr.lib import digest, timetext
from ddr.runbook import progress

HEIGHT = 24
WIDTH = 80

_MARKS = {
    outcomes.Status.OK: "ok  ",
    outcomes.Status.FAILED: "FAIL",
    outcomes.Status.SKIPPED: "skip",
    outcomes.Status.UNDONE: "back",
    outcomes.Status.INCONCLUSIVE: "??  ",
}
_PAST_LINES = 7


@dataclass(frozen=True)
class View:
    """What the screen shows; made by `begin` and moved on by `after`."""

    run: str = ""
    title: str = ""
    service: str = ""
    total: int = 0
    now: progress.StepBegan | None = None
    undoing: progress.UndoBegan | None = None
    past: tuple[tuple[str, outcomes.Status, str], ...] = ()
    waiting: progress.ApprovalAsked | None = None
    notice: str = ""
    end: str = ""
    takes_back: bool = False
    loud: tuple[str, ...] = field(default=())


def after(view: View, event: progress.Event) -> View:
    """The view one event later."""
    change = dataclasses.replace
    match event:
        case progress.RunBegan():
            return View(event.run, event.title, event.service, len(event.steps))
        case progress.StepBegan():
            return change(view, now=event, waiting=None, notice="")
        case progress.StepEnded():
            told = ("found done; " if event.adopted else "") + event.outcome.summary
            return change(view, now=None, notice="", past=(*view.past, (event.step, event.outcome.status, told)))
        case progress.Retrying():
            again = f"attempt {event.attempt} of {event.of} in {timetext.format_duration(event.wait_s)}"
            return change(view, notice=f"{event.why}; {again}")
        case progress.ApprovalAsked():
            return change(view, waiting=event)
        case progress.GlassBroken():
            return change(view, loud=(*view.loud, f"GLASS BROKEN by {event.actor}: {event.why}"), waiting=None)
        case progress.UndoBegan():
            return change(view, undoing=event, total=event.total, now=None, takes_back=True)
        case progress.UndoEnded():
            row = (event.step, event.outcome.status, event.outcome.summary)
            return change(view, undoing=None, past=(*view.past, row))
        case progress.RunPaused():
            return change(view, end=f"paused: {event.why}", now=None)
        case progress.RunEnded():
            return change(view, end=event.status + (f": {event.why}" if event.why else ""), now=None)


def render(view: View) -> str:
    """At most HEIGHT lines, none longer than WIDTH."""
    head = [_cut(f"run {view.run}  {view.title}  service {view.service}"), *map(_cut, view.loud[-1:])]
    here = _here(view)
    foot = ["", _cut(_next_key(view))]
    room = HEIGHT - len(head) - len(here) - len(foot)
    return "\n".join([*head, *_past(view, min(room, _PAST_LINES + 1)), *here, *foot])


def _past(view: View, room: int) -> list[str]:
    rows = [_cut(f"  {_MARKS[status]} {step}: {told}") for step, status, told in view.past]
    if len(rows) <= room:
        return rows
    return [_cut(f"  ... {len(rows) - room + 1} earlier"), *rows[len(rows) - room + 1 :]] if room > 0 else []


def _here(view: View) -> list[str]:
    if view.waiting is not None:
        return _approval(view.waiting)
    if view.undoing is not None:
        undo = view.undoing
        return ["", _cut(f"undo {undo.position}/{undo.total}  {undo.step}"), *_entry("takes back", undo.will)]
    if view.now is None:
        return ["", *_wrap(view.end, 3)] if view.end else []
    step = view.now
    lines = ["", _cut(f"step {step.position}/{step.total}  {step.step}  ({step.kind} {step.verb})")]
    lines += _entry("why", step.why) + _entry("will do", step.will)
    lines += _entry("touches", ", ".join(step.touches)) + _entry("undo", step.undo)
    return lines + _entry("trouble", view.notice)


def _approval(asked: progress.ApprovalAsked) -> list[str]:
    request = asked.request
    lines = ["", _cut(f"waits for approval of plan {digest.short(request.plan_digest)}, which will:")]
    rows = [_cut(f"  - {line}") for line in request.summary]
    lines += rows if len(rows) <= 7 else [*rows[:6], f"  ... {len(rows) - 6} more"]
    lines += _entry("who", ", ".join(request.approvers))
    return [*lines, *_entry("until", timetext.format_clock(request.expires)), _cut(f"  approve  {asked.command}")]


def _entry(label: str, text: str) -> list[str]:
    """A label and up to two lines of text; nothing where there is no text."""
    if not text:
        return []
    lines = _wrap(text, 2, indent=11)
    return [f"  {label:<8} {lines[0].lstrip()}", *lines[1:]]


def _wrap(text: str, most: int, indent: int = 2) -> list[str]:
    space = " " * indent
    return textwrap.wrap(
        " ".join(text.split()),
        WIDTH,
        initial_indent=space,
        subsequent_indent=space,
        max_lines=most,
        placeholder=" ...",
    )


def _next_key(view: View) -> str:
    if view.waiting is not None:
        return f"then: ddr runbook resume {view.run}"
    if view.end.startswith("paused"):
        return f"next: ddr runbook resume {view.run}   or   ddr runbook undo {view.run}"
    if view.end.startswith("undone"):
        return "everything this run changed is taken back"
    if view.end and view.takes_back:
        return f"what is named above is left; then again: ddr runbook undo {view.run}"
    if view.end:
        return f"next: ddr runbook undo {view.run} takes all of it back"
    return "Ctrl-C once: finish this step and pause. Twice: pause now. Both can be resumed."


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 4] + " ..."
