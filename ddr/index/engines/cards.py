"""How much memory of a GPU is free, before anything of a build is put there.

Asked of torch, which numbers the GPUs as the build does, else of the driver's own program; never by making GPU
resources of faiss, which take 1.5 GiB for as long as the process lives.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

from ddr.index.engines import library

_MIB = 1 << 20
_ASKED = ("nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits")
_WAIT_S = 20.0

Run = Callable[[Sequence[str]], str]


def free_mib(device: str) -> int | None:
    """Of `cuda` or `cuda:1`; None where nobody says, and for devices that are no such GPU."""
    if device.partition(":")[0] != "cuda":
        return None
    if any(True for _ in metadata.distributions(name="torch")):
        torch = library.torch()
        if torch.cuda.is_available():
            free, _ = torch.cuda.mem_get_info(torch.device(device))
            return int(free) // _MIB
    return of_driver(device, os.environ)


def of_driver(device: str, environ: Mapping[str, str], run: Run | None = None) -> int | None:
    """As nvidia-smi says it, which counts all GPUs of the machine; a process may see but some, and renumber them."""
    number = int(device.partition(":")[2] or 0)
    seen = environ.get("CUDA_VISIBLE_DEVICES")
    if seen is not None:
        names = seen.split(",")
        if number >= len(names) or not names[number].strip():
            return None
        named = names[number].strip()
    else:
        named = str(number)
    try:
        said = (run or _run)([*_ASKED, f"--id={named}"])
        return int(said.strip().splitlines()[0])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def _run(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_WAIT_S).stdout
