"""Which engine and device is taken, and environments with two distributions of faiss."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from ddr.domain import indexes
from ddr.errors import Refused, UnknownName
from ddr.index.engines import picking

NONE = picking.Devices()
FAISS_GPU = picking.Devices(faiss_gpus=2, has_cuvs=True, torch_gpus=2)
TORCH_GPU = picking.Devices(torch_gpus=1)


def wanted(engine: str = "auto", device: str = "auto") -> indexes.Wanted:
    return indexes.Wanted("docs", "home", indexes.Source(("*.npy",)), engine=engine, device=device)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("engine", "device", "here", "name", "on"),
    [
        ("auto", "auto", NONE, "faiss", "cpu"),
        ("auto", "auto", FAISS_GPU, "faiss", "cuda"),
        ("auto", "auto", TORCH_GPU, "torch", "cuda"),
        ("auto", "cpu", FAISS_GPU, "faiss", "cpu"),
        ("auto", "cuda:1", FAISS_GPU, "faiss", "cuda:1"),
        ("auto", "mps", NONE, "torch", "mps"),
        ("torch", "auto", NONE, "torch", "cpu"),
        ("torch", "auto", FAISS_GPU, "torch", "cuda"),
        ("faiss", "auto", TORCH_GPU, "faiss", "cpu"),
        ("faiss", "cuda", FAISS_GPU, "faiss", "cuda"),
    ],
)
def test_rule(engine: str, device: str, here: picking.Devices, name: str, on: str) -> None:
    if name == "torch":
        pytest.importorskip("torch")
    found = picking.pick(wanted(engine, device), lambda: here)
    assert (found.name, found.device, found.is_gpu) == (name, on, on != "cpu")
    assert found.has_cuvs == (here.has_cuvs and found.is_gpu)
    assert found.reasons
    assert found.software["faiss"]
    assert picking.engine_of(found.name, found.device).device == on


@pytest.mark.parametrize(
    ("engine", "device", "here"),
    [("auto", "cuda", NONE), ("faiss", "cuda", TORCH_GPU), ("torch", "cuda:1", TORCH_GPU), ("faiss", "mps", NONE)],
)
def test_a_device_that_is_not_there_is_refused(engine: str, device: str, here: picking.Devices) -> None:
    with pytest.raises(Refused):
        picking.pick(wanted(engine, device), lambda: here)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:1", "tpu"])
def test_a_device_that_nobody_knows(device: str) -> None:
    with pytest.raises((UnknownName, Refused)):
        picking.pick(wanted("faiss", device), lambda: NONE)


def environment(folder: Path, *names: str) -> list[metadata.Distribution]:
    """Distributions as an installer leaves them."""
    for name in names:
        info = folder / f"{name.replace('-', '_')}-1.15.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.15.1\n")
    return list(metadata.distributions(path=[str(folder)]))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ((), 0),
        (("numpy",), 0),
        (("faiss-cpu",), 1),
        (("faiss-cpu", "faiss-gpu-cuvs"), 2),
        (("Faiss_CPU", "faiss-gpu", "faiss-gpu-cu12"), 3),
    ],
)
def test_two_distributions_of_faiss_are_found(names: tuple[str, ...], found: int, tmp_path: Path) -> None:
    installed = picking.distributions(environment(tmp_path, *names))
    assert len(installed) == found
    assert bool(picking.trouble(installed)) == (found > 1)
    if found > 1:
        assert all(one.name in picking.trouble(installed) for one in installed)


def test_this_environment_has_one() -> None:
    assert len(picking.distributions()) == 1
    assert not picking.trouble(picking.distributions())
