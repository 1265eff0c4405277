"""The screen of a run as text: at most 24 lines of 80 columns while it moves, as many as it takes at the end.

Pure; the terminal is somebody else's.

Where I am, what this will do, what it touches, how to undo it, the next key.
"""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import dataclass, field

from ddr.domain import outcomes, runbooks
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
_PLAN_LINES = 10


@dataclass(frozen=True)
class View:
    """What the screen shows; moved on by `after`.

    `effects` are (step, what it did, what its undo would do), oldest first, of all that is not taken back.
    """

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
    incident: str = ""
    changed: bool = False
    effects: tuple[tuple[str, str, str], ...] = ()
    containment: str = ""
    only: tuple[str, ...] = ()
    undo: str = ""
    plan: str = ""
    loud: tuple[str, ...] = field(default=())


def after(view: View, event: progress.Event) -> View:
    """The view one event later."""
    change = dataclasses.replace
    match event:
        case progress.RunBegan():
            past = tuple((done.step, done.outcome.status, done.outcome.summary) for done in event.done)
            changed = any(done.changed for done in event.done)
            effects = tuple(
                (done.step, done.outcome.summary, done.undo)
                for done in event.done
                if done.changed and _can_be_undone(done.outcome, done.undo)
            )
            return View(
                event.run,
                event.title,
                event.service,
                len(event.steps),
                past=past,
                incident=event.incident,
                changed=changed,
                effects=effects,
                containment=event.containment,
                only=event.only,
                undo=event.undo,
                plan=event.plan,
                loud=(f"belongs to {event.incident}, the open incident of {event.service}",) if event.attached else (),
            )
        case progress.StepBegan():
            return change(view, now=event, waiting=None, notice="")
        case progress.StepEnded():
            told = ("found done; " if event.adopted else "") + event.outcome.summary
            past = tuple(row for row in view.past if row[0] != event.step)  # a validation is judged again
            changed = view.changed or (view.now is not None and view.now.kind == "action")
            row = (event.step, event.outcome.status, told)
            effects = view.effects
            if view.now is not None and view.now.kind == "action" and _can_be_undone(event.outcome, view.now.undo):
                effects = (*effects, (event.step, event.outcome.summary, view.now.undo))
            return change(view, now=None, notice="", past=(*past, row), changed=changed, effects=effects)
        case progress.Retrying():
            again = f"attempt {event.attempt} of {event.of} in {timetext.format_duration(event.wait_s)}"
            return change(view, notice=f"{event.why}; {again}")
        case progress.ApprovalAsked():
            return change(view, waiting=event, plan=event.request.plan_digest)
        case progress.GlassBroken():
            return change(view, loud=(*view.loud, f"GLASS BROKEN by {event.actor}: {event.why}"), waiting=None)
        case progress.UndoBegan():
            return change(view, undoing=event, total=event.total, now=None, takes_back=True)
        case progress.UndoEnded():
            row = (event.step, event.outcome.status, event.outcome.summary)
            is_left = event.outcome.status is outcomes.Status.FAILED
            effects = tuple(entry for entry in view.effects if is_left or entry[0] != event.step)
            return change(view, undoing=None, past=(*view.past, row), effects=effects)
        case progress.RunPaused():
            return change(view, end=f"paused: {event.why}", now=None)
        case progress.RunEnded():
            before = " (it had ended before; nothing was done now)" if event.before else ""
            return change(view, end=event.status + before + (f": {event.why}" if event.why else ""), now=None)


def _can_be_undone(outcome: outcomes.Outcome, undo: str) -> bool:
    return outcome.status is not outcomes.Status.SKIPPED and bool(undo) and not undo.startswith("nothing")


def final(view: View) -> str:
    """What stays on the terminal: every step, and a plan that waits for approval word for word."""
    head = [f"run {view.run}  {view.title}  service {view.service}", *(_wrapped("", said) for said in view.loud)]
    past = [_wrapped(f"  {_MARKS[status]} ", f"{step}: {told}") for step, status, told in view.past]
    here = ["", *_whole_approval(view.waiting)] if view.waiting is not None else ["", _wrapped("  ", _told_once(view))]
    return "\n".join([*head, *past, *here, *_what_undo_would_do(view), "", *_next_keys(view)])


def _what_undo_would_do(view: View) -> list[str]:
    """After an end that is no recovery: everything that would come back or go, before somebody types it."""
    if _ended(view) not in ("contained", "failed") or view.takes_back or not view.effects:
        return []
    lines = ["", f"this stays as it is; {_undo(view)} would, newest first:"]
    return lines + [_wrapped("  - ", f"{step}: {undo} (now: {did})") for step, did, undo in reversed(view.effects)]


def _told_once(view: View) -> str:
    """The end, without what stands in the row of a step just above."""
    end = view.end
    for _, _, told in view.past:
        end = end.replace(f": {told}", "") if told else end
    return end


def _wrapped(label: str, text: str) -> str:
    """All of the text, its further lines under its first one. A command is never broken: it has to be pasted."""
    lines = textwrap.wrap(
        " ".join(text.split()), WIDTH - len(label), break_long_words=False, break_on_hyphens=False
    ) or [""]
    return f"{label}{lines[0]}" + "".join(f"\n{' ' * len(label)}{line}" for line in lines[1:])


def _whole_approval(asked: progress.ApprovalAsked) -> list[str]:
    request = asked.request
    lines = [_wrapped("asked anew: ", asked.why), ""] if asked.why else []
    lines.append(f"waits for approval of plan {digest.short(request.plan_digest)}, which will:")
    lines += [_wrapped("  - ", line) for line in request.summary]
    lines += [f"  who      {', '.join(request.approvers)}"]
    return [*lines, f"  until    {timetext.format_clock(request.expires)}", f"  approve  {asked.command}"]


def render(view: View) -> str:
    """While it moves: at most HEIGHT lines, none longer than WIDTH."""
    head = [_cut(f"run {view.run}  {view.title}  service {view.service}"), *map(_cut, view.loud[-1:])]
    here = _here(view)
    foot = ["", *map(_cut, _next_keys(view))]
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
    lines = ["", *_entry("anew", asked.why)]
    lines.append(_cut(f"waits for approval of plan {digest.short(request.plan_digest)}, which will:"))
    rows = [_cut(f"  - {line}") for line in request.summary]
    lines += (
        rows if len(rows) <= _PLAN_LINES else [*rows[: _PLAN_LINES - 1], f"  ... {len(rows) - _PLAN_LINES + 1} more"]
    )
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


def _next_keys(view: View) -> list[str]:
    """What to type now; at most two lines."""
    undo, resume = _undo(view), f"ddr runbook resume {view.run}"
    if view.waiting is not None:
        return [f"then: {undo if view.waiting.request.step == runbooks.UNDO else resume}"]
    if not view.end:
        return ["Ctrl-C once: finish this step and pause. Twice: pause now. Both can be resumed."]
    if view.end.startswith("paused"):
        if view.takes_back:
            return [f"next: {undo}"]
        return [f"next: {resume}   or   {undo}"]
    return _after_the_end(view, undo)


def _undo(view: View) -> str:
    return view.undo or _one_step(view)


def _one_step(view: View) -> str:
    """The command that knows `--only`."""
    return f"ddr runbook undo {view.run}"


def _ended(view: View) -> str:
    """The status alone."""
    return view.end.partition(":")[0].partition(" ")[0]


def _after_the_end(view: View, undo: str) -> list[str]:
    ended = _ended(view)
    look = f"next: ddr diagnose {view.service}"
    if view.only:
        left = ", ".join(step for step, _, _ in reversed(view.effects))
        rest = f"the rest of the run stays as it is: {left}" if left else "nothing else of the run is left to take back"
        return [f"next: ddr status {view.service}", f"({rest})"]
    if ended == "undone":
        still_open = [f"next: ddr incident show {view.incident}"] if view.incident else []
        return ["everything this run changed is taken back", *still_open]
    if view.takes_back:
        return [f"what is named above is left; then again: {undo}"]
    if ended == "injected":
        return [f"next: {undo} takes it back"]
    if ended == "switched":
        return [f"next: ddr status {view.service}   nobody waited for proof that it helped", f"({undo} takes it back)"]
    if ended == "recovered":
        close = f"ddr incident resolve {view.incident}" if view.incident else f"ddr status {view.service}"
        return [f"next: {close}", f"({undo} would bring the bad state back)"]
    if ended == "contained":
        return [f"{look}   the cause is still there", *_lifting(view, undo)]
    if not view.changed:
        return [look, "(nothing was changed)"]
    one = "" if undo == _one_step(view) else f"ddr runbook undo {view.run} "
    return [look, f"({undo} takes back what was changed; {one}--only STEP one of it)"]


def _lifting(view: View, undo: str) -> list[str]:
    """How the fallback alone goes off, and that undo does more than that where it does."""
    names = [step for step, _, _ in view.effects]
    what = next((did for step, did, _ in view.effects if step == view.containment), "")
    what = "the fallback" if "fallback" in what else view.containment
    if view.containment not in names:
        return [f"({undo} takes back what was changed)"]
    if names == [view.containment]:
        return [f"({undo} takes {what} off again)"]
    return [f"{what} alone off: {_one_step(view)} --only {view.containment}", f"({undo} takes back all of the above)"]


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 4] + " ..."
