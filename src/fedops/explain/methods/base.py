"""What an explanation method is: from a model and samples to one map a sample.

Others add theirs through the entry-point group ``fedops.explainers``: a callable without arguments
that gives a ``Method``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Job:
    """Samples to explain. The model is in evaluation mode; whoever made the job restores it."""

    model: nn.Module
    inputs: Tensor  #: [samples, channels, height, width] on the model's device
    targets: Tensor  #: the class to explain of every sample
    #: What a pixel is when it is absent: [1, channels, 1, 1]. Black, for pictures on black.
    absent: Tensor
    layer: nn.Module | None = None
    seed: int = 0
    #: Whether a rough answer will do, because it is only compared with another.
    rough: bool = False
    #: Raises ``budget.OutOfTime``. Also asked before every pass through the model.
    check: Callable[[], None] = lambda: None

    def generator(self, salt: int = 0) -> torch.Generator:
        """A source of randomness of its own: the process's is never touched."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + salt) % 2**63)


@dataclass(frozen=True)
class Maps:
    """One raw map a sample, as small as the method computes it."""

    values: Tensor  #: [samples, h, w], float32 on the CPU
    #: |sum of the map - (score - score of nothing)| / max(1, |score - score of nothing|)
    completeness: Tensor | None = None


class Method(Protocol):
    """One way to explain an image classifier.

    A method that takes the brightness of a pixel for its share in the score:

    >>> import torch
    >>> from fedops.explain.methods.base import Job, Maps, finite
    >>> class Brightness:
    ...     name, needs_layer, signed, enlarge, group = "brightness", False, False, "nearest", 64
    ...     def explain(self, job):
    ...         return Maps(finite((job.inputs - job.absent).abs().mean(1)))
    >>> pictures, black = torch.tensor([[[[0.0, 0.5]]]]), torch.zeros(1, 1, 1, 1)
    >>> job = Job(torch.nn.Flatten(), pictures, torch.tensor([1]), black)
    >>> Brightness().explain(job).values.tolist()
    [[[0.0, 0.5]]]
    """

    @property
    def name(self) -> str:
        """What it is called in config, reports and names of files."""
        ...

    @property
    def needs_layer(self) -> bool:
        """Whether it needs a layer with a spatial map."""
        ...

    @property
    def signed(self) -> bool:
        """Whether its maps speak for (positive) and against (negative) the class."""
        ...

    @property
    def enlarge(self) -> Literal["linear", "nearest"]:
        """How a small map becomes as large as the picture."""
        ...

    @property
    def group(self) -> int:
        """How many samples it explains in one call: what is finished when time runs out is kept."""
        ...

    def explain(self, job: Job) -> Maps:
        """Raw maps. They may be flat, and then are all zero, but are never NaN."""
        ...


@dataclass(frozen=True)
class PixelMethod:
    """What methods have in common that look at pixels, and at no layer."""

    name: str
    needs_layer: bool = False
    signed: bool = True
    enlarge: Literal["linear", "nearest"] = "nearest"
    group: int = 4


def finite(maps: Tensor) -> Tensor:
    """The maps on the CPU, a map with a value that is no number being all zero."""
    maps = maps.detach().float().cpu()
    good = torch.isfinite(maps).flatten(1).all(1)
    return torch.where(good[:, None, None], maps, torch.zeros(()))
