"""Explanations from the gradient of the score by the pixels.

    saliency               max over colours of |dy/dx|                       (Simonyan 2014)
    smoothgrad             the mean of the gradients at noisy copies of x    (Smilkov 2017)
    integrated_gradients   (x - x0) * mean of dy/dx on the way from x0 to x  (Sundararajan 2017)

Integrated Gradients are complete: their sum is y(x) - y(x0). What is missing is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedops.explain.methods import class_scores
from fedops.explain.methods.base import Job, Maps, PixelMethod, finite
from fedops.explain.methods.optional_libraries import captum_attr


@dataclass(frozen=True)
class Saliency(PixelMethod):
    name: str = "saliency"
    signed: bool = False
    group: int = 64

    def explain(self, job: Job) -> Maps:
        method = captum_attr().Saliency(lambda x: class_scores.scores(job.model, x))
        gradient = method.attribute(_leaf(job.inputs), target=job.targets, abs=True)
        return Maps(finite(gradient.amax(1)))


@dataclass(frozen=True)
class SmoothGrad(PixelMethod):
    """Noise of a tenth of the picture's range; copies of one sample share no noise with others."""

    name: str = "smoothgrad"
    signed: bool = False
    group: int = 8
    copies: int = 25
    noise: float = 0.1

    def explain(self, job: Job) -> Maps:
        method = captum_attr().Saliency(lambda x: class_scores.scores(job.model, x))
        total = torch.zeros_like(job.inputs)
        copies = 5 if job.rough else self.copies
        for copy in range(copies):
            noisy = _leaf(job.inputs + self._noise(job, copy))
            total += method.attribute(noisy, target=job.targets, abs=False).detach()
        return Maps(finite((total / copies).abs().amax(1)))

    def _noise(self, job: Job, copy: int) -> Tensor:
        low, high = job.inputs.amin((1, 2, 3)), job.inputs.amax((1, 2, 3))
        draw = torch.randn(job.inputs.shape[1:], generator=job.generator(copy)).to(job.inputs)
        return draw * (self.noise * (high - low))[:, None, None, None]


@dataclass(frozen=True)
class IntegratedGradients(PixelMethod):
    """Steps are doubled for the samples that are not yet complete."""

    name: str = "integrated_gradients"
    steps: int = 128
    most_steps: int = 1024
    tolerance: float = 1e-3

    def explain(self, job: Job) -> Maps:
        inputs, absent = job.inputs, job.absent.expand_as(job.inputs)
        maps = torch.zeros_like(inputs)
        missing = torch.full((len(inputs),), float("inf"), device=inputs.device)
        steps, most = (32, 32) if job.rough else (self.steps, self.most_steps)
        while bool((missing > self.tolerance).any()) and steps <= most:
            rows = (missing > self.tolerance).nonzero()[:, 0]
            targets = job.targets[rows]
            maps[rows] = self._integrate(job, inputs[rows], absent[rows], targets, steps)
            missing[rows] = _incomplete(job, maps[rows], inputs[rows], absent[rows], targets)
            steps *= 2
        return Maps(finite(maps.sum(1)), missing.float().cpu())

    def _integrate(
        self, job: Job, inputs: Tensor, absent: Tensor, targets: Tensor, steps: int
    ) -> Tensor:
        method = captum_attr().IntegratedGradients(lambda x: class_scores.scores(job.model, x))
        result: Tensor = method.attribute(
            inputs,
            absent,
            target=targets,
            n_steps=steps,
            internal_batch_size=max(len(inputs), class_scores.rows_a_pass(inputs)),
        )
        return result.detach().to(inputs.dtype)


def _incomplete(job: Job, maps: Tensor, inputs: Tensor, absent: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        table = class_scores.scores(job.model, torch.cat([inputs, absent])).double()
    gain = class_scores.scores_of_class(table, targets.repeat(2)).view(2, -1)
    difference = gain[0] - gain[1]
    found = maps.double().sum((1, 2, 3))
    return ((found - difference).abs() / difference.abs().clamp(min=1)).to(torch.float32)


def _leaf(inputs: Tensor) -> Tensor:
    return inputs.detach().clone().requires_grad_(True)
