"""Whether a map depends on what the model has learnt: it must not survive random weights (Adebayo 2018).

Layers lose their weights from the last to the first. The score is the size of the mean rank correlation
of the maps before and after: near 0 is good, near 1 means that the map shows the picture, not the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from fedops.explain.base import FloatArray
from fedops.explain.drift import spearman

#: A map may keep at most this rank correlation when all weights are random.
SANE = 0.2


def cascade(
    model: nn.Module,
    explain: Callable[[], FloatArray],
    before: FloatArray,
    seeds: Sequence[int],
    every_layer: bool,
) -> list[float]:
    """Scores after each further layer lost its weights; without ``every_layer`` after all of them.

    A map of a random model may speak for the background or against it by chance: correlations are
    taken with their sign and averaged over the seeds, so that only what is always alike remains.
    """
    found = [_one_cascade(model, explain, before, seed, every_layer) for seed in seeds]
    return [abs(float(value)) for value in np.mean(found, axis=0)]


def correlation(before: FloatArray, after: FloatArray) -> float:
    """The mean Spearman correlation of two sets of maps."""
    pair = (maps.reshape(len(maps), -1) for maps in (before, after))
    return float(spearman(*pair).mean())


def _one_cascade(
    model: nn.Module,
    explain: Callable[[], FloatArray],
    before: FloatArray,
    seed: int,
    every_layer: bool,
) -> list[float]:
    found: list[float] = []
    with restored(model):
        layers = [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]
        generator = torch.Generator().manual_seed(seed % 2**63)
        for number, layer in enumerate(reversed(layers), start=1):
            randomise(layer, generator)
            if every_layer or number == len(layers):
                found.append(correlation(before, explain()))
    return found


def randomise(layer: nn.Module, generator: torch.Generator) -> None:
    """Weights of the same mean size, drawn anew. A scale (of normalisation) goes around 1, as at first."""
    with torch.no_grad():
        for parameter in layer.parameters(recurse=False):
            if not parameter.is_floating_point():
                continue
            size = float(parameter.float().square().mean().sqrt()) or 0.1
            drawn = size * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(drawn.abs() if parameter.ndim == 1 and _is_norm(layer) else drawn)


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """The weights inside may be changed; afterwards they are what they were."""
    kept: list[tuple[Tensor, Tensor]] = [(p, p.detach().clone()) for p in model.parameters()]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in kept:
                parameter.copy_(value)


def _is_norm(layer: nn.Module) -> bool:
    return "Norm" in type(layer).__name__
