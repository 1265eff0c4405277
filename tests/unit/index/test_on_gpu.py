"""What must hold on a GPU: run on one where there is one, and the same checks on the CPU, small, everywhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu, gpu_checks
from ddr.index.embedders import batching, fingerprint, model
from ddr.index.engines import picking
from tests.unit.index import tinybert

pytest.importorskip("torch")

ELSEWHERE = (gpu_checks.torch_recall, gpu_checks.torch_short_of_memory, gpu_checks.faiss_recall, gpu_checks.faiss_plain)
"""On the CPU `test_engines_torch` has the like, or faiss is compared with itself."""


def line(check: gpu_checks.Check, device: str) -> gpu_checks.Line:
    (found,) = gpu_checks.lines(gpu_checks.Bench.of(device, gpu_checks.SMALL, 1), [check])
    print(found)
    return found


@pytest.mark.parametrize(
    "check",
    [pytest.param(check, marks=pytest.mark.long if check in ELSEWHERE else ()) for check in gpu_checks.ALL],
    ids=[check.__name__ for check in gpu_checks.ALL],
)
def test_on_the_cpu(check: gpu_checks.Check) -> None:
    assert line(check, "cpu").verdict in ("ok", "skipped")


@pytest.mark.gpu
@pytest.mark.parametrize("check", gpu_checks.ALL, ids=lambda check: check.__name__)
def test_on_a_gpu(check: gpu_checks.Check) -> None:
    if not gpu.here():
        pytest.skip("needs a GPU that torch or faiss sees")
    found = line(check, "cuda")
    if found.verdict == "skipped":
        pytest.skip(found.said)
    assert found.verdict == "ok", found.said


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["auto", "fp32", "fp16", "bf16"])
def test_texts_have_the_vectors_that_they_have_on_the_cpu(precision: model.Precision, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="the extra `embed` is not installed")
    if not picking.devices(with_torch=True).torch_gpus:
        pytest.skip("needs a GPU that torch sees")
    texts = tinybert.sentences(300)
    on_cpu = model.Settings(tinybert.make(tmp_path / "model"), device="cpu", max_tokens=40)
    on_gpu = dataclasses.replace(on_cpu, device="cuda", precision=precision)
    wanted, found = (
        batching.embedded(made, made.tokens(texts), batching.Budget(600))
        for made in (model.Model(on_cpu, 1), model.Model(on_gpu, 1))
    )
    compared = fingerprint.compare(wanted, found, len(texts))
    print(compared.sentence)
    assert compared.is_same


def test_a_check_that_fails_is_told_and_the_others_are_made() -> None:
    def wrong(bench: gpu_checks.Bench) -> str:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def absent(bench: gpu_checks.Bench) -> str:
        raise gpu_checks.Absent("not here")

    bench = gpu_checks.Bench.of("cpu", gpu_checks.SMALL, 1)
    found = list(gpu_checks.lines(bench, [wrong, absent, gpu_checks.memory_model]))
    assert [one.verdict for one in found] == ["BAD", "skipped", "skipped"]
    assert "illegal memory" in found[0].said


def test_without_a_gpu_it_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    if gpu.here():
        pytest.skip("this machine has a GPU")
    assert gpu.main([]) == gpu.EXIT_NO_GPU == 69
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "no GPU here" in said


@pytest.mark.long
def test_the_script_on_the_cpu_from_end_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--device", "cpu", "--small", "--rounds", "1"]) == 0
    said = capsys.readouterr().out
    assert "torch recall" in said
    assert "of faiss on the CPU" in said
    assert "BAD" not in said


def test_speeds_are_measured_on_the_same_rows_and_end_in_a_table(tmp_path: Path) -> None:
    found = gpu.measured(gpu.Speed(rows=4000, dimension=16, lists=16, code_bytes=4, shards=2), "cpu", 1, tmp_path)
    names = [one.name for one in found]
    assert names[0] == "torch on cpu"
    assert "faiss on the CPU" in names
    assert all(one.seconds > 0 for one in found)
    assert np.isfinite([one.recall for one in found]).all()
    table = gpu.table(found)
    assert len(table.splitlines()) == len(found) + 1
