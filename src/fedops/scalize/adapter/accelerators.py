"""Where a model is computed: what was asked for, what there is, and one sentence when the two differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from fedops.config.schema import Resources

MIB = 1 << 20
#: Names the CUDA devices that a process may use; the training client's has what its owner chose.
VISIBLE = "CUDA_VISIBLE_DEVICES"
_ADVICE = "see 'accelerator' in [limits] of device.toml, or in [resources] of the config"


class Hardware(Protocol):
    """What a framework sees of a machine's accelerators."""

    @property
    def name(self) -> str:
        """The framework, as people call it."""
        ...

    def cuda_devices(self) -> int:
        """How many CUDA devices this process can use."""
        ...

    def has_mps(self) -> bool:
        """Whether Apple's GPU can be used."""
        ...

    def memory_of(self, kind: str, index: int) -> int:
        """Bytes of an accelerator's memory."""
        ...

    def limit_memory(self, kind: str, index: int, share: float) -> None:
        """From now on this process takes no more than this share of the accelerator's memory."""
        ...


@dataclass(frozen=True)
class CpuOnly:
    """The ``Hardware`` of a framework that computes on the CPU."""

    name: str

    def cuda_devices(self) -> int:
        return 0

    def has_mps(self) -> bool:
        return False

    def memory_of(self, kind: str, index: int) -> int:
        return 0

    def limit_memory(self, kind: str, index: int, share: float) -> None: ...


@dataclass(frozen=True)
class Accelerator:
    """Where a model is computed."""

    kind: Literal["cpu", "cuda", "mps"]
    #: As this process counts.
    index: int = 0
    #: What people call it: ``cuda:1``, as the machine counts.
    name: str = "cpu"
    #: Why it is not what was asked for; "": it is.
    problem: str = ""


def choose_accelerator(
    wanted: Resources, hardware: Hardware, environment: Mapping[str, str]
) -> Accelerator:
    """What is used of what there is. What is not there is the CPU, with the reason."""
    asked = wanted.accelerator
    if asked in ("auto", "cuda"):
        found = hardware.cuda_devices()
        if found:
            return Accelerator("cuda", 0, "cuda:0" if asked == "auto" else asked)
        return Accelerator("cpu", problem="" if asked == "auto" else _missing(asked, hardware))
    if asked == "mps" and hardware.has_mps():
        return Accelerator("mps", 0, "mps")
    if asked.startswith("cuda:"):
        index = _index_here(int(asked.removeprefix("cuda:")), environment)
        if index < hardware.cuda_devices():
            return Accelerator("cuda", index, asked)
    return Accelerator("cpu", problem="" if asked == "cpu" else _missing(asked, hardware))


def _index_here(index: int, environment: Mapping[str, str]) -> int:
    """As this process counts: who sees one device only calls it 0."""
    visible = environment.get(VISIBLE)
    return 0 if visible is not None and len(visible.split(",")) == 1 else index


def _missing(asked: str, hardware: Hardware) -> str:
    if asked == "mps":
        sees = "no Apple GPU"
    else:
        count = hardware.cuda_devices()
        sees = "no CUDA device" if count == 0 else f"CUDA devices 0 to {count - 1} only"
    return f"the CPU is used instead of the accelerator '{asked}': {hardware.name} sees {sees}; {_ADVICE}"


def bound_memory(accelerator: Accelerator, wanted: Resources, hardware: Hardware) -> None:
    """Take no more of the accelerator's memory than was said, all tasks of this process together."""
    limit = wanted.accelerator_memory_mb
    if limit is None or accelerator.kind == "cpu":
        return
    total = hardware.memory_of(accelerator.kind, accelerator.index)
    share = min(1.0, limit * MIB / total)
    hardware.limit_memory(accelerator.kind, accelerator.index, share)
