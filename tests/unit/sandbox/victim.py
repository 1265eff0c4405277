"""A process that does what it is told on stdin in forked children, which are killed at a given step.

Orders are JSON lines {"root", "fault", "inputs", "key", "settled", "do", "at", "recorded", "inside"}; the answer is
{"killed": bool}. With `inside` the training child of the child is armed instead of the child itself.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]
_SITE = """
import os, sys
sys.path.insert(0, {repository!r})
from tests.unit.sandbox import killer
killer.arm(int(os.environ["SANDBOX_KILL_AT"]), with_parent=True)
"""


def main() -> None:
    import numpy

    from ddr.sandbox import faults

    assert numpy
    assert faults
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _obey(order)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"killed": os.WIFSIGNALED(status), "exit": os.waitstatus_to_exitcode(status)}), flush=True)


def _obey(order: dict[str, Any]) -> None:
    from ddr.sandbox import faults
    from tests.unit.sandbox import killer, worlds

    root = Path(order["root"])
    fault = faults.catalog(root)[order["fault"]]
    call = worlds.call(order["inputs"], order["key"])
    if order["inside"]:
        site = Path(order["inside"])
        (site / "sitecustomize.py").write_text(_SITE.format(repository=str(REPOSITORY)))
        os.environ.update(PYTHONPATH=str(site), SANDBOX_KILL_AT=str(order["at"]))
    else:
        armed = killer.arm(order["at"])
        if order["recorded"]:
            killer.replay_training(armed, Path(order["recorded"]))
    try:
        getattr(fault, order["do"])(call, order["settled"])
    except BaseException:  # noqa: BLE001 - a forked child must not go on as its parent
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
