"""Which engine and which device, and what is installed to choose from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ddr.domain import indexes
from ddr.errors import Refused, UnknownName
from ddr.index.engines import cagra, engine, faiss_engine, library, torch_engine

DISTRIBUTIONS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cu13")
"""All of them bring a module `faiss`: of two at once the one that was unpacked last wins, file by file."""


@dataclass(frozen=True)
class Picked:
    """`software`: versions that decide the bytes."""

    name: str
    device: str
    is_gpu: bool
    has_cuvs: bool
    reasons: tuple[str, ...]
    software: Mapping[str, str]


@dataclass(frozen=True)
class Installed:
    """A distribution of faiss, and how many of its files are as it brought them (0 of 0: its list is gone)."""

    name: str
    version: str


def distributions(found: Iterable[metadata.Distribution] | None = None) -> tuple[Installed, ...]:
    """The faiss distributions in this environment. None, or two and more, is a finding."""
    names = {}
    for one in metadata.distributions() if found is None else found:
        name = re.sub(r"[-_.]+", "-", str(one.metadata["Name"] or "")).lower()
        if name in DISTRIBUTIONS or name.startswith("faiss-gpu-cu"):
            names[name] = one.version
    return tuple(Installed(name, names[name]) for name in sorted(names))


def trouble(installed: tuple[Installed, ...]) -> str:
    """What is wrong with these, in a sentence; "" where nothing is."""
    if len(installed) < 2:
        return ""
    told = " and ".join(f"{one.name} {one.version}" for one in installed)
    return f"{told} are installed at once: both bring the module faiss, and their files overwrite each other"


@dataclass(frozen=True)
class Devices:
    """What can be used here: GPUs that faiss sees, CUDA devices that torch sees."""

    faiss_gpus: int = 0
    has_cuvs: bool = False
    torch_gpus: int = 0


def devices(*, with_torch: bool) -> Devices:
    """Never by making GPU resources: they take memory of the GPU for as long as the process lives."""
    faiss = library.faiss()
    seen = int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0
    gpus = 0
    if with_torch:
        torch = library.torch()
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Devices(seen, seen > 0 and cagra.is_there(), gpus)


def pick(wanted: indexes.Wanted, look: Callable[[], Devices] | None = None) -> Picked:
    """faiss on its GPU, else torch on a GPU that faiss does not see, else faiss on the CPU; or what was asked for.

    Refused where the device is not there.
    """
    here = look() if look else devices(with_torch=wanted.engine == "torch" or _may_have_gpu(wanted))
    name, device, why = _decided(wanted, here)
    is_gpu = device != "cpu"
    return Picked(
        name, device, is_gpu, has_cuvs=here.has_cuvs and is_gpu, reasons=(why,), software=software(name, is_gpu=is_gpu)
    )


def _decided(wanted: indexes.Wanted, here: Devices) -> tuple[str, str, str]:
    device = wanted.device
    if wanted.engine == "torch":
        device = ("cuda" if here.torch_gpus else "cpu") if device == "auto" else device
        _check_gpu("torch", device, here.torch_gpus)
        slow = "; on a CPU it takes several times as long as faiss" if device == "cpu" else ""
        return "torch", device, f"engine torch on {device}: asked for{slow}"
    if wanted.engine == "faiss":
        device = ("cuda" if here.faiss_gpus else "cpu") if device == "auto" else device
        _check_gpu("faiss", device, here.faiss_gpus)
        return "faiss", device, f"engine faiss on {device}: asked for"
    if device == "mps":
        return "torch", device, "engine torch on mps: faiss knows no such device"
    if device == "cpu":
        return "faiss", device, "engine faiss: the device asked for is the CPU"
    if here.faiss_gpus:
        device = "cuda" if device == "auto" else device
        _check_gpu("faiss", device, here.faiss_gpus)
        return "faiss", device, f"engine faiss on {device}: its build sees {here.faiss_gpus} GPU"
    if here.torch_gpus:
        device = "cuda" if device == "auto" else device
        _check_gpu("torch", device, here.torch_gpus)
        return "torch", device, f"engine torch on {device}: this faiss has no GPU, torch sees {here.torch_gpus}"
    _check_gpu("faiss", "cpu" if device == "auto" else device, 0)
    return "faiss", "cpu", "engine faiss on the CPU: no GPU here"


def _check_gpu(name: str, device: str, seen: int) -> None:
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and not number.isdigit()) or (number and kind != "cuda"):
        raise UnknownName(f"there is no device {device}", hint="auto, cpu, cuda, cuda:1 or mps")
    if kind == "mps" and name == "faiss":
        raise Refused("faiss does not run on mps", hint="engine torch does")
    if kind == "cuda" and int(number or 0) >= seen:
        raise Refused(f"{name} sees {seen} GPUs, device {device} is not among them", hint="take device auto or cpu")


def _may_have_gpu(wanted: indexes.Wanted) -> bool:
    """torch takes a second to load, so it is asked only where a GPU can be."""
    if wanted.engine == "faiss" or wanted.device in ("cpu", "mps"):
        return False
    has_torch = any(True for _ in metadata.distributions(name="torch"))
    return has_torch and (wanted.device.startswith("cuda") or Path("/dev/nvidiactl").exists())


def software(name: str, *, is_gpu: bool) -> dict[str, str]:
    """Versions of what is installed here that decide the bytes."""
    faiss = library.faiss()
    installed = distributions()
    brought = "+".join(one.name for one in installed) or "faiss"
    found = {"faiss": f"{brought} {faiss.__version__}"}
    if hasattr(faiss, "SIMDConfig"):
        found["simd"] = str(faiss.SIMDConfig.get_level_name())  # sums of other widths round otherwise
    if name == "torch":
        torch = library.torch()
        found["torch"] = str(torch.__version__)
        if is_gpu:
            found["cuda"] = str(torch.version.cuda or "")
    return found


def engine_of(name: str, device: str) -> engine.Engine:
    """The engine of a plan."""
    if name == "faiss":
        return faiss_engine.FaissEngine(device)
    if name == "torch":
        return torch_engine.TorchEngine(device)
    raise UnknownName(f"there is no engine {name}", hint="faiss or torch")
