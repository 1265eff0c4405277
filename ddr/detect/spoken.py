"""How a detector says what it found: one judgement a signal, always with n and a threshold or with a reason."""

from __future__ import annotations

from datetime import datetime

from ddr.domain import services, signals


def unknown(spec: services.SignalSpec, at: datetime, why: str, n: int = 0) -> signals.Judgement:
    """Nothing can be said, and why. Never taken for healthy."""
    return signals.Judgement(
        spec.name, spec.plane, signals.State.UNKNOWN, at, threshold=spec.limit, n=n, unit=spec.unit, why=why
    )


def decided(
    spec: services.SignalSpec,
    at: datetime,
    *,
    bad: bool,
    value: float,
    threshold: float,
    n: int,
    why: str = "",
) -> signals.Judgement:
    """`threshold` is the value from which on the signal is bad, at this n."""
    state = signals.State.BAD if bad else signals.State.OK
    return signals.Judgement(spec.name, spec.plane, state, at, value, threshold, n, spec.unit, why)


def percent(rate: float) -> str:
    """`3.4 %`; two digits where there are two to tell."""
    return f"{100 * rate:.1f} %" if rate >= 0.001 or rate == 0 else f"{100 * rate:.2g} %"
