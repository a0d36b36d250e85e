"""What a model is computed on, by what was asked for and what there is."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field

import pytest

from fedops.config.schema import Resources
from fedops.scalize.adapter.accelerators import (
    MIB,
    Accelerator,
    CpuOnly,
    bound_memory,
    choose_accelerator,
)


@dataclass
class Machine:
    """A machine with accelerators that is none."""

    cuda: int = 0
    mps: bool = False
    name: str = "PyTorch"
    limits: list[tuple[str, int, float]] = field(default_factory=list)

    def cuda_devices(self) -> int:
        return self.cuda

    def has_mps(self) -> bool:
        return self.mps

    def memory_of(self, kind: str, index: int) -> int:
        return 8_000 * MIB

    def limit_memory(self, kind: str, index: int, share: float) -> None:
        self.limits.append((kind, index, share))


def chosen(asked: str, machine: Machine, visible: str | None = None) -> Accelerator:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    return choose_accelerator(Resources(accelerator=asked), machine, environment)


@pytest.mark.parametrize(
    ("asked", "machine", "visible", "used"),
    [
        ("auto", Machine(), None, Accelerator("cpu")),
        ("auto", Machine(cuda=2), None, Accelerator("cuda", 0, "cuda:0")),
        ("auto", Machine(mps=True), None, Accelerator("cpu")),
        ("cpu", Machine(cuda=2, mps=True), None, Accelerator("cpu")),
        ("cuda", Machine(cuda=1), None, Accelerator("cuda", 0, "cuda")),
        ("cuda:1", Machine(cuda=2), None, Accelerator("cuda", 1, "cuda:1")),
        # As the training client sees it: the one that its owner chose, and no other.
        ("cuda:1", Machine(cuda=1), "1", Accelerator("cuda", 0, "cuda:1")),
        ("cuda:1", Machine(cuda=2), "4,7", Accelerator("cuda", 1, "cuda:1")),
        ("mps", Machine(mps=True), None, Accelerator("mps", 0, "mps")),
    ],
)
def test_what_is_there_is_used(
    asked: str, machine: Machine, visible: str | None, used: Accelerator
) -> None:
    assert chosen(asked, machine, visible) == used


@pytest.mark.parametrize(
    ("asked", "machine", "visible", "said"),
    [
        ("cuda", Machine(), None, "'cuda': PyTorch sees no CUDA device"),
        ("cuda:1", Machine(), "1", "'cuda:1': PyTorch sees no CUDA device"),
        ("cuda:3", Machine(cuda=2), None, "'cuda:3': PyTorch sees CUDA devices 0 to 1 only"),
        ("mps", Machine(cuda=2), None, "'mps': PyTorch sees no Apple GPU"),
    ],
)
def test_what_is_not_there_is_the_cpu_with_a_sentence(
    asked: str, machine: Machine, visible: str | None, said: str
) -> None:
    used = chosen(asked, machine, visible)
    assert (used.kind, used.name) == ("cpu", "cpu")
    assert used.problem.startswith("the CPU is used instead of the accelerator " + said)
    assert "device.toml" in used.problem


def test_a_framework_of_the_cpu_says_so() -> None:
    hardware = CpuOnly("scikit-learn")
    used = choose_accelerator(Resources(accelerator="cuda"), hardware, {})
    assert "scikit-learn sees no CUDA device" in used.problem
    assert choose_accelerator(Resources(), hardware, {}).problem == ""


def test_the_memory_of_an_accelerator_is_bounded() -> None:
    machine = Machine(cuda=2)
    used = chosen("cuda:1", machine)
    bound_memory(used, Resources(accelerator_memory_mb=2_000), machine)
    bound_memory(used, Resources(accelerator_memory_mb=9_000), machine)
    assert machine.limits == [("cuda", 1, 0.25), ("cuda", 1, 1.0)]
    for resources, on in (
        (Resources(), used),
        (Resources(accelerator_memory_mb=10), Accelerator("cpu")),
    ):
        bound_memory(on, resources, machine)
    assert len(machine.limits) == 2


def test_pytorch_can_be_told_so() -> None:
    torch = pytest.importorskip("torch")
    cuda = inspect.signature(torch.cuda.set_per_process_memory_fraction).bind(0.25, 1)
    assert cuda.arguments == {"fraction": 0.25, "device": 1}
    mps = inspect.signature(torch.mps.set_per_process_memory_fraction).bind(0.25)
    assert list(mps.arguments.values()) == [0.25]
