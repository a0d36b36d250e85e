"""Class activation maps from the activations ``A`` of a layer and the gradients ``G = dy/dA`` there.

Each map is the positive part of a sum over channels c (Selvaraju 2017; Draelos and Carin 2020;
Chattopadhyay 2018; Fu 2020; Jiang 2021; Wang 2020):

    gradcam      mean(G_c) A_c
    hirescam     G_c * A_c
    gradcam++    [sum a_c relu(G_c)] A_c,  a = G^2 / (2 G^2 + sum(A) G^3)
    xgradcam     [sum(G_c A_c) / sum(A_c)] A_c
    layercam     relu(G_c) * A_c
    elementwise  relu(G_c * A_c)
    scorecam     softmax_c(score of the input masked by A_c) A_c
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from fedops.explain.methods import class_scores, instrumented_model
from fedops.explain.methods.base import Job, Maps, finite

Combine = Callable[[Tensor, Tensor], Tensor]
_TINY = 1e-12


def gradcam(a: Tensor, g: Tensor) -> Tensor:
    return _weighted(g.mean((2, 3)), a)


def hirescam(a: Tensor, g: Tensor) -> Tensor:
    return (g * a).sum(1)


def gradcam_plus_plus(a: Tensor, g: Tensor) -> Tensor:
    bottom = 2 * g**2 + a.sum((2, 3), keepdim=True) * g**3
    alpha = torch.where(bottom.abs() > _TINY, g**2 / bottom, torch.zeros_like(g))
    return _weighted((alpha * functional.relu(g)).sum((2, 3)), a)


def xgradcam(a: Tensor, g: Tensor) -> Tensor:
    total = a.sum((2, 3))
    ratio = (g * a).sum((2, 3)) / total
    return _weighted(torch.where(total.abs() > _TINY, ratio, torch.zeros_like(ratio)), a)


def layercam(a: Tensor, g: Tensor) -> Tensor:
    return (functional.relu(g) * a).sum(1)


def elementwise(a: Tensor, g: Tensor) -> Tensor:
    return functional.relu(g * a).sum(1)


def _weighted(weights: Tensor, a: Tensor) -> Tensor:
    return (weights[:, :, None, None] * a).sum(1)


@dataclass(frozen=True)
class Cam:
    """One forward and one backward pass, whatever the number of channels."""

    name: str
    combine: Combine
    needs_layer: bool = True
    signed: bool = False
    enlarge: Literal["linear", "nearest"] = "linear"
    group: int = 64

    def explain(self, job: Job) -> Maps:
        assert job.layer is not None
        a, g = instrumented_model.activations_and_gradients(
            job.model, job.layer, job.inputs, job.targets
        )
        return Maps(finite(functional.relu(self.combine(a, g))))


@dataclass(frozen=True)
class ScoreCam:
    """One forward pass a channel; needs no gradients."""

    name: str = "scorecam"
    needs_layer: bool = True
    signed: bool = False
    enlarge: Literal["linear", "nearest"] = "linear"
    group: int = 4

    def explain(self, job: Job) -> Maps:
        assert job.layer is not None
        a = instrumented_model.activations(job.model, job.layer, job.inputs)
        weights = torch.stack([self._weights(job, a, row) for row in range(len(a))])
        return Maps(finite(functional.relu(_weighted(weights, a))))

    def _weights(self, job: Job, a: Tensor, row: int) -> Tensor:
        """How well the class survives when only what one channel sees is shown."""
        picture = job.inputs[row : row + 1]
        masks = functional.interpolate(a[row][:, None], size=picture.shape[-2:], mode="bilinear")
        low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
        masks = torch.where(high > low, (masks - low) / (high - low), torch.zeros_like(masks))
        shown = job.absent + (picture - job.absent) * masks.to(picture.dtype)
        rows = class_scores.rows_a_pass(shown)
        with torch.no_grad():
            parts = [class_scores.scores(job.model, part) for part in torch.split(shown, rows)]
        return torch.softmax(torch.cat(parts)[:, job.targets[row]].float(), 0)


CAMS: dict[str, Combine] = {
    "gradcam": gradcam,
    "hirescam": hirescam,
    "gradcam++": gradcam_plus_plus,
    "xgradcam": xgradcam,
    "layercam": layercam,
    "elementwise": elementwise,
}
