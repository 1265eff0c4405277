"""Telling people, and moving the incident on. Neither ever stands in the way of a recovery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ddr.actions import kinds
from ddr.domain import incidents, outcomes, records
from ddr.errors import DdrError
from ddr.incident import desk
from ddr.ports import verb


@dataclass(frozen=True)
class PostInputs:
    channel: str
    text: str


class Post(kinds.Action):
    """Posts once: the step's key goes with the message. What could not be posted is recorded too."""

    name = "comms.post"
    may_fail = True
    Inputs = PostInputs

    def prepare(self, call: verb.Call) -> verb.Prepared:
        wanted = self.inputs(call)
        text = " ".join(wanted.text.split())
        return verb.Prepared(
            will=f"post to {wanted.channel}: {text}",
            touches=(wanted.channel,),
            undo="nothing: a message cannot be unsaid",
            settled={"channel": wanted.channel, "text": text},
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        channel, text = settled["channel"], settled["text"]
        try:
            self.on.notifier.post(channel, text, call.key)
        except DdrError as problem:
            self.on.journal.append(records.MessagePosted(channel, text, call.key, False, problem.message))
            return kinds.failed(f"not posted to {channel}: {problem.message}")
        self.on.journal.append(records.MessagePosted(channel, text, call.key, True))
        return kinds.ok(f"posted to {channel}")

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        for event in self.on.journal.events():
            record = event.record
            if isinstance(record, records.MessagePosted) and record.key == call.key and record.delivered:
                return verb.Seen.DONE
        return verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        return kinds.skipped("a message cannot be unsaid")


@dataclass(frozen=True)
class MoveInputs:
    status: incidents.Status


class Move(kinds.Action):
    """Moves the run's incident; a run without an incident goes on without it."""

    name = "incident.move"
    may_fail = True
    Inputs = MoveInputs

    def prepare(self, call: verb.Call) -> verb.Prepared:
        status = self.inputs(call).status
        if not call.incident:
            return verb.Prepared(
                f"nothing: no incident to call {status}", settled={"incident": "", "status": status.value}
            )
        return verb.Prepared(
            will=f"call incident {call.incident} {status}",
            touches=(f"incident {call.incident}",),
            undo="nothing: an incident's record only grows",
            settled={"incident": call.incident, "status": status.value},
        )

    def act(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        if not settled["incident"]:
            return kinds.skipped("the run belongs to no incident")
        moved = desk.move(
            self.on.journal, settled["incident"], incidents.Status(settled["status"]), f"run {call.run}, {call.step}"
        )
        return kinds.ok(f"incident {moved.id} is {moved.status}")

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        if not settled["incident"]:
            return verb.Seen.NOT_DONE
        now = desk.find(self.on.journal, settled["incident"]).status
        return verb.Seen.DONE if now is incidents.Status(settled["status"]) else verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        return kinds.skipped("an incident's record only grows")
