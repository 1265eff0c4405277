"""What the verbs have in common: two kinds, typed inputs, and reaching a plane by the port a verb needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ddr.domain import outcomes, planes, services
from ddr.errors import InputError, Unsupported
from ddr.lib import decode, located, template
from ddr.ports import platform as platforms
from ddr.ports import verb


class Kind:
    """A verb on one platform. `Inputs` is the frozen dataclass its inputs are decoded into."""

    name: str
    changes: bool
    gives: tuple[str, ...] = ()
    waits = False
    may_fail = False
    again = False
    Inputs: ClassVar[type[Any]]

    def __init__(self, on: platforms.Platform) -> None:
        self.on = on

    def problems(self, inputs: Mapping[str, Any], service: services.Service) -> Sequence[str]:
        """Inputs that do not fit, then what the service's connectors cannot do. Unfilled templates are let pass."""
        complaints: list[decode.Complaint] = []
        read = decode.decode(self.Inputs, located.of_value(dict(inputs)), complaints)
        if read is not None and not _is_open(inputs):
            return tuple(self.lacks(read, service))
        told = [_text(complaint) for complaint in complaints if not _is_open(inputs.get(_top(complaint.key)))]
        if not told and not complaints:
            told = list(self.lacks(read, service))
        return tuple(told)

    def shape_problems(self, inputs: Mapping[str, Any]) -> Sequence[str]:
        """Inputs that fit no service."""
        complaints: list[decode.Complaint] = []
        decode.decode(self.Inputs, located.of_value(dict(inputs)), complaints)
        return tuple(_text(complaint) for complaint in complaints if not _is_open(inputs.get(_top(complaint.key))))

    def lacks(self, inputs: Any, service: services.Service) -> Sequence[str]:
        """What the service cannot do. Asked without touching any system; unfilled templates may stand in texts."""
        del inputs, service
        return ()

    def inputs(self, call: verb.Call) -> Any:
        """Raises InputError with everything wrong."""
        complaints: list[decode.Complaint] = []
        read = decode.decode(self.Inputs, located.of_value(dict(call.inputs)), complaints)
        if read is None:
            raise InputError(f"{self.name}: " + "; ".join(_text(complaint) for complaint in complaints))
        return read


class Probe(Kind):
    """Only looks. Its `prepare` decides nothing; subclasses say in `will` what they look at."""

    changes = False

    def prepare(self, call: verb.Call) -> verb.Prepared:
        return verb.Prepared(will=self.will(self.inputs(call), call))

    def will(self, inputs: Any, call: verb.Call) -> str:
        """One line."""
        raise NotImplementedError

    def observe(self, call: verb.Call, settled: Mapping[str, str]) -> verb.Seen:
        del call, settled
        return verb.Seen.NOT_DONE

    def undo(self, call: verb.Call, settled: Mapping[str, str]) -> outcomes.Outcome:
        del call, settled
        return skipped("it changed nothing")


class Action(Kind):
    """Changes the world, by what it was settled on alone."""

    changes = True


def _is_open(value: Any) -> bool:
    """Whether a template that was not filled yet stands in it."""
    if isinstance(value, str):
        return any(True for _ in template.names(value))
    if isinstance(value, Mapping):
        return any(_is_open(child) for child in value.values())
    return isinstance(value, list | tuple) and any(_is_open(child) for child in value)


def _top(key: str) -> str:
    return key.split(".")[0].split("[")[0]


def _text(complaint: decode.Complaint) -> str:
    return f"{complaint.key}: {complaint.what}" if complaint.key else complaint.what


def ok(summary: str, *evidence: str, **values: str) -> outcomes.Outcome:
    return outcomes.Outcome(outcomes.Status.OK, summary, evidence, values)


def failed(summary: str, *evidence: str) -> outcomes.Outcome:
    return outcomes.Outcome(outcomes.Status.FAILED, summary, evidence)


def skipped(summary: str) -> outcomes.Outcome:
    return outcomes.Outcome(outcomes.Status.SKIPPED, summary)


def undone(summary: str) -> outcomes.Outcome:
    return outcomes.Outcome(outcomes.Status.UNDONE, summary)


def lacks_port(
    on: platforms.Platform, service: services.Service, plane: planes.Plane, port: type[Any], cannot: str
) -> Sequence[str]:
    """Why a plane cannot be used for this: it is not there, or its connector lacks the port."""
    made = on.planes.get(service.name, {}).get(plane)
    if made is None:
        have = ", ".join(service.planes) or "none"
        return (f"plane: service {service.name} has no {plane} plane; it has: {have}",)
    if not isinstance(made, port):
        return (f"plane: the connector {service.planes.get(plane, '?')} of the {plane} plane {cannot}",)
    return ()


def reach(on: platforms.Platform, service: str, plane: planes.Plane, port: type[Any], cannot: str) -> Any:
    """The plane by the port that is needed. Raises Unsupported."""
    made = on.plane(service, plane)
    if not isinstance(made, port):
        raise Unsupported(f"{service}: the {plane} plane {cannot}")
    return made
