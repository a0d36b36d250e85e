"""Removing pixels without leaving a hole: each becomes the weighted mean of its neighbours.

The mean is over all eight neighbours, removed ones included, so that a linear system is solved
(Rong 2022): direct neighbours weigh 1/6, diagonal ones 1/12. With weights normalised inside the
picture it is symmetric and positive definite, and conjugate gradients solve all samples at once.
A little noise keeps the fill from being smoother than any picture.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

NOISE = 0.01
_ROUNDS = 300
_ENOUGH = 1e-8  #: of the squared residual: far below the noise
_NEAR, _FAR = 1 / 6, 1 / 12


def filled_in(pictures: Tensor, gone: Tensor, seed: int) -> Tensor:
    """The pictures with the pixels marked in ``gone`` [samples, 1, height, width] filled in."""
    gone = gone.to(pictures.device, torch.float32)
    if bool(gone.flatten(1).all(1).any()):
        raise ValueError("at least one pixel must stay")
    known = pictures.float() * (1 - gone)
    solved = _solved(gone, known)
    generator = torch.Generator().manual_seed(seed % 2**63)
    spread = NOISE * (pictures.amax() - pictures.amin()).float()
    noise = spread * torch.randn(pictures.shape[1:], generator=generator).to(solved)
    return (known + gone * (solved + noise)).to(pictures.dtype)


def _solved(gone: Tensor, known: Tensor) -> Tensor:
    """Conjugate gradients on the removed pixels: degree * x - sum(neighbours) = 0."""
    degree = _neighbours(torch.ones_like(gone))

    def apply(x: Tensor) -> Tensor:
        return gone * (degree * x - _neighbours(x))

    residual = gone * _neighbours(known)
    x = torch.zeros_like(known)
    direction, power = residual, _dot(residual, residual)
    enough = _ENOUGH * power.amax().clamp(min=1e-30)
    for _ in range(_ROUNDS):
        if bool((power <= enough).all()):
            break
        image = apply(direction)
        step = power / _dot(direction, image).clamp(min=1e-30)
        x, residual = x + step * direction, residual - step * image
        before, power = power, _dot(residual, residual)
        direction = residual + power / before.clamp(min=1e-30) * direction
    return x


def _neighbours(x: Tensor) -> Tensor:
    """The weighted sum of the eight neighbours, nothing being outside the picture."""
    weights = torch.tensor(
        [[_FAR, _NEAR, _FAR], [_NEAR, 0.0, _NEAR], [_FAR, _NEAR, _FAR]], device=x.device
    )
    flat = x.reshape(-1, 1, *x.shape[2:])
    return functional.conv2d(flat, weights[None, None], padding=1).view(x.shape)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((2, 3), keepdim=True)
