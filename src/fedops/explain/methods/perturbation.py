"""Explanations from what happens to the score when parts of the picture are absent.

    occlusion    the loss of score under a patch that slides over the picture      (Zeiler 2014)
    kernelshap   Shapley values of the cells of a grid                              (Lundberg 2017)

KernelSHAP minimises the sum over drawn coalitions z of (v(z) - z phi)^2 under sum(phi) = v(all),
with coalition sizes drawn by the Shapley kernel, each with its complement (Covert 2021):

    phi = S^-1 (b - 1 (1' S^-1 b - v(all)) / (1' S^-1 1)),  S = mean(z z'),  b = mean(z v(z))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fedops.explain.methods import class_scores
from fedops.explain.methods.base import Job, Maps, PixelMethod, finite
from fedops.explain.methods.optional_libraries import captum_attr


@dataclass(frozen=True)
class Occlusion(PixelMethod):
    """A patch of a seventh of the picture, moved by half its size."""

    name: str = "occlusion"
    share: int = 7

    def explain(self, job: Job) -> Maps:
        channels, height, width = job.inputs.shape[1:]
        patch = (channels, max(1, height // self.share), max(1, width // self.share))
        method = captum_attr().Occlusion(lambda x: class_scores.scores(job.model, x))
        with torch.no_grad():
            maps = method.attribute(
                job.inputs,
                sliding_window_shapes=patch,
                strides=(channels, max(1, patch[1] // 2), max(1, patch[2] // 2)),
                baselines=job.absent.expand_as(job.inputs),
                target=job.targets,
                perturbations_per_eval=max(
                    1, class_scores.rows_a_pass(job.inputs) // len(job.inputs)
                ),
            )
        return Maps(finite(maps.sum(1)))


@dataclass(frozen=True)
class KernelShap(PixelMethod):
    """Cells of a 7 x 7 grid (fewer on smaller pictures); the same coalitions for every sample."""

    name: str = "kernelshap"
    group: int = 1
    cells: int = 7
    coalitions: int = 1024

    def explain(self, job: Job) -> Maps:
        shape = (min(self.cells, job.inputs.shape[2]), min(self.cells, job.inputs.shape[3]))
        players = shape[0] * shape[1]
        count = 4 * players if job.rough else max(self.coalitions, 8 * players)
        drawn = coalitions(players, count, job.generator())
        maps = [self._one(job, row, drawn, shape) for row in range(len(job.inputs))]
        return Maps(finite(torch.stack(maps)))

    def _one(self, job: Job, row: int, drawn: Tensor, shape: tuple[int, int]) -> Tensor:
        picture, target = job.inputs[row : row + 1], job.targets[row : row + 1]

        def value(some: Tensor) -> Tensor:
            mask: Tensor = functional.interpolate(
                some.view(-1, 1, *shape), size=picture.shape[-2:], mode="nearest"
            )
            mask = mask.to(picture)
            shown = job.absent + (picture - job.absent) * mask
            return class_scores.scores_of_class(
                class_scores.scores(job.model, shown), target.expand(len(some))
            )

        with torch.no_grad():
            found = shapley(value, drawn, class_scores.rows_a_pass(picture))
        return found.view(*shape)


def coalitions(players: int, count: int, generator: torch.Generator) -> Tensor:
    """Coalitions as rows of 0 and 1, each followed by its complement, sizes by the Shapley kernel."""
    if players == 1:
        return torch.empty(0, 1)
    sizes = torch.arange(1, players, dtype=torch.float64)
    chance = 1 / (sizes * (players - sizes))
    drawn = torch.multinomial(chance, (count + 1) // 2, replacement=True, generator=generator) + 1
    order = torch.rand(len(drawn), players, generator=generator).argsort(1).argsort(1)
    half = (order < drawn[:, None]).float()
    return torch.stack([half, 1 - half], 1).view(-1, players)


def shapley(value: Callable[[Tensor], Tensor], drawn: Tensor, rows: int) -> Tensor:
    """Shapley values of the players by KernelSHAP. They sum to the value of all over none."""
    players = drawn.shape[1]
    ends = value(torch.tensor([[0.0] * players, [1.0] * players])).double().cpu()
    none, whole = ends[0], ends[1] - ends[0]
    if players == 1:
        return torch.stack([whole]).float()
    gains = torch.cat([value(part).double().cpu() for part in torch.split(drawn, rows)]) - none
    z = drawn.double()
    s = z.T @ z / len(z) + 1e-9 * torch.eye(players, dtype=torch.float64)
    b = z.T @ gains / len(z)
    solved = torch.linalg.solve(s, torch.stack([b, torch.ones_like(b)], 1))
    excess = (solved[:, 0].sum() - whole) / solved[:, 1].sum()
    phi: Tensor = solved[:, 0] - excess * solved[:, 1]
    return phi.float()
