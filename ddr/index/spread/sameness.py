"""Whether this machine makes the bytes that a plan was made for. A worker asks before it begins."""

from __future__ import annotations

from ddr.domain import indexes
from ddr.errors import Refused, Unavailable
from ddr.index import plans
from ddr.index.engines import library, picking

_WIDTH = "simd"


def ensure(plan: indexes.Plan) -> None:
    """The software of the plan, and sums as wide as those of the machine that trained.

    A processor with wider units is told to use those of the plan. Refused where the software is another one: no other
    try helps. Unavailable where the processor has no such units: another machine may.
    """
    wanted = dict(plan.software)
    width = wanted.pop(_WIDTH, "")
    if width:
        _widen(width)
    here = {"part": plans.PART_CODE, **picking.software(plan.engine, is_gpu=plan.device != "cpu")}
    here.pop(_WIDTH, None)
    others = [
        f"{name} is {here.get(name, 'not here')}, not {wanted[name]}"
        for name in wanted
        if wanted[name] != here.get(name)
    ]
    if others:
        raise Refused(
            f"this machine makes other bytes than the plan: {'; '.join(others)}",
            hint="give all machines the software of the one that made the plan; or plan again with this one",
        )


def _widen(width: str) -> None:
    faiss = library.faiss()
    config = getattr(faiss, "SIMDConfig", None)
    if config is None or str(config.get_level_name()) == width:
        return
    try:
        config.set_level(getattr(faiss, f"SIMDLevel_{width}"))
    except (AttributeError, RuntimeError) as problem:
        raise Unavailable(
            f"this processor cannot sum as the plan does: {width}, it has {config.get_level_name()}",
            hint=f"a machine with {width}; or plan on the oldest one, or with FAISS_SIMD_LEVEL=AVX2",
        ) from problem
