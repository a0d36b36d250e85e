"""Whether a map points at what the model uses, measured by taking pixels away and bringing them back.

    deletion    the most important pixels go first; area under the curve of p(class), lower is better
    insertion   they come first into an emptied picture; area under the curve, higher is better
    ROAD        (LeRF - MoRF) / 2 at 20, 40, 60 and 80 % removed, filled in from the neighbours

A removed pixel becomes a strongly blurred one: a black hole would be a feature of its own. Each area
stands beside the area of random orders, the same for every round.
(Petsiuk 2018; Rong 2022)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: p(class) of every picture: pictures [n, c, h, w] and the row of the sample each belongs to [n].
Predict = Callable[[Tensor, Tensor], Tensor]
ROAD_SHARES = (0.2, 0.4, 0.6, 0.8)
_FLOATS = 2_000_000  #: of pictures that are made at once


@dataclass(frozen=True)
class Effort:
    """How thoroughly the quality of maps is measured."""

    samples: int = 16
    steps: int = 20
    random_orders: int = 5
    random_models: int = 5
    #: Whether weights are randomised layer by layer, or all at once only.
    cascade: bool = True
    #: Whether every model is measured, or the last one only.
    every_model: bool = True


#: Beside training, every round; and where there is time.
LIGHT = Effort(
    samples=4, steps=6, random_orders=1, random_models=3, cascade=False, every_model=False
)
FULL = Effort()


def measured(models: Sequence[str], effort: Effort | None) -> Sequence[str]:
    """The models whose explanations are measured."""
    if effort is None:
        return ()
    return models if effort.every_model else models[-1:]


def ranked(maps: Tensor) -> Tensor:
    """The pixels of each map, most important first: [samples, pixels]. Ties keep the pixels' order."""
    return maps.flatten(1).argsort(dim=1, descending=True, stable=True)


def shuffled(samples: int, pixels: int, seed: int) -> Tensor:
    """A random order of the pixels for every sample."""
    generator = torch.Generator().manual_seed(seed % 2**63)
    return torch.rand(samples, pixels, generator=generator).argsort(1)


def blurred(pictures: Tensor) -> Tensor:
    """The pictures with hardly a shape left: a Gaussian blur of a fifth of the picture's size."""
    result = pictures.float()
    for axis in (2, 3):
        result = _blurred_along(result, axis)
    return result.to(pictures.dtype)


def first(order: Tensor, count: int, size: tuple[int, int]) -> Tensor:
    """The first ``count`` pixels of each order, marked: [samples, 1, height, width]."""
    marks = torch.zeros(order.shape, dtype=torch.bool).scatter_(1, order[:, :count], True)
    return marks.view(-1, 1, *size)


def curve(predict: Predict, pictures: Tensor, fill: Tensor, order: Tensor, steps: int) -> Tensor:
    """p(class) while the first pixels of ``order`` become ``fill``: [samples, steps + 1]."""
    samples, pixels = order.shape
    steps = min(steps, pixels)
    counts = [round(pixels * step / steps) for step in range(steps + 1)]
    together = max(1, _FLOATS // pictures.numel())
    found = []
    for start in range(0, len(counts), together):
        part = counts[start : start + together]
        marks = torch.cat([first(order, count, _size(pictures)) for count in part])
        shown = torch.where(marks.to(pictures.device), _times(fill, part), _times(pictures, part))
        chances = predict(shown, torch.arange(samples).repeat(len(part)))
        found.append(chances.float().cpu().view(len(part), samples))
    return torch.cat(found).T


def area(curves: Tensor) -> Tensor:
    """The mean height of each curve (trapezoids)."""
    return torch.trapezoid(curves, dim=1) / (curves.shape[1] - 1)


def deletion_and_insertion(
    predict: Predict, pictures: Tensor, fill: Tensor, order: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Both areas of every sample."""
    deletion = area(curve(predict, pictures, fill, order, steps))
    insertion = area(curve(predict, fill, pictures, order, steps))
    return deletion, insertion


def road(
    predict: Predict,
    pictures: Tensor,
    order: Tensor,
    seed: int,
    check: Callable[[], None] = lambda: None,
) -> Tensor:
    """How much more the class loses with the most than with the least relevant pixels removed.

    ``check`` is called often, and may raise when the time is over.
    """
    gains = []
    for shares in (ROAD_SHARES,) if pictures.numel() * 8 <= _FLOATS else zip(ROAD_SHARES):
        counts = [max(1, round(order.shape[1] * share)) for share in shares]
        most = [first(order, count, _size(pictures)) for count in counts]
        least = [first(order.flip(1), count, _size(pictures)) for count in counts]
        several = [*most, *least]
        shown = filled_in(_times(pictures, several), torch.cat(several), seed, check)
        chances = predict(shown, torch.arange(len(pictures)).repeat(len(several)))
        parts = chances.float().cpu().view(2, len(counts), -1)
        gains.append((parts[1] - parts[0]) / 2)
    return torch.cat(gains).mean(0)


def measure(
    predict: Predict,
    pictures: Tensor,
    maps: Tensor,
    effort: Effort,
    seed: int,
    check: Callable[[], None] = lambda: None,
) -> Mapping[str, float]:
    """The mean of every measure over the samples. ``maps`` are as large as the pictures."""
    fill = blurred(pictures)
    order = ranked(maps)
    deletion, insertion = deletion_and_insertion(predict, pictures, fill, order, effort.steps)
    chance = [
        deletion_and_insertion(
            predict,
            pictures,
            fill,
            shuffled(len(order), order.shape[1], seed + number),
            effort.steps,
        )
        for number in range(effort.random_orders)
    ]
    found = {
        "deletion": deletion,
        "deletion_random": torch.stack([pair[0] for pair in chance]).mean(0),
        "insertion": insertion,
        "insertion_random": torch.stack([pair[1] for pair in chance]).mean(0),
        "road": road(predict, pictures, order, seed, check),
    }
    return {name: float(values.mean()) for name, values in found.items()}


def _blurred_along(pictures: Tensor, axis: int) -> Tensor:
    size = pictures.shape[axis]
    place = torch.arange(size, dtype=torch.float32, device=pictures.device)
    weights = torch.exp(-((place[:, None] - place[None, :]) ** 2) / (2 * (size / 5) ** 2))
    weights = weights / weights.sum(1, keepdim=True)
    moved = torch.movedim(pictures, axis, -1) @ weights.T
    return torch.movedim(moved, -1, axis)


def _size(pictures: Tensor) -> tuple[int, int]:
    return pictures.shape[2], pictures.shape[3]


def _times(pictures: Tensor, several: Sized) -> Tensor:
    return pictures.repeat(len(several), 1, 1, 1)


NOISE = 0.01
_ROUNDS = 300
_ENOUGH = 1e-8  #: of the squared residual: far below the noise
_NEAR, _FAR = 1 / 6, 1 / 12


def filled_in(
    pictures: Tensor, gone: Tensor, seed: int, check: Callable[[], None] = lambda: None
) -> Tensor:
    """The pictures with the pixels marked in ``gone`` [samples, 1, height, width] filled in."""
    gone = gone.to(pictures.device, torch.float32)
    if bool(gone.flatten(1).all(1).any()):
        raise ValueError("at least one pixel must stay")
    known = pictures.float() * (1 - gone)
    solved = _solved(gone, known, check)
    generator = torch.Generator().manual_seed(seed % 2**63)
    spread = NOISE * (pictures.amax() - pictures.amin()).float()
    noise = spread * torch.randn(pictures.shape[1:], generator=generator).to(solved)
    return (known + gone * (solved + noise)).to(pictures.dtype)


def _solved(gone: Tensor, known: Tensor, check: Callable[[], None]) -> Tensor:
    """Conjugate gradients on the removed pixels: degree * x - sum(neighbours) = 0."""
    degree = _neighbours(torch.ones_like(gone))

    def apply(x: Tensor) -> Tensor:
        return gone * (degree * x - _neighbours(x))

    residual = gone * _neighbours(known)
    x = torch.zeros_like(known)
    direction, power = residual, _dot(residual, residual)
    enough = _ENOUGH * power.amax().clamp(min=1e-30)
    for _ in range(_ROUNDS):
        check()  # on large pictures each of these takes a while
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
