"""Whether a map can be trusted: the quality scores of one method's maps for one model.

Faithfulness is of ``faithfulness``. Sanity: a map must not survive random weights (Adebayo 2018). Layers
lose their weights from the last to the first. The score is the size of the mean rank correlation of the
maps before and after: near 0 is good, near 1 means that the map shows the picture, not the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fedops.explain.methods import class_scores
from fedops.explain.methods.attribution_maps import MapSet, Subject, as_large_as
from fedops.explain.methods.base import FloatArray, Method
from fedops.explain.methods.rounding import rounded
from fedops.explain.methods.time_budget import OutOfTime
from fedops.explain.quality import faithfulness
from fedops.explain.quality.drift import spearman
from fedops.explain.quality.faithfulness import Effort

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


#: Methods that take many samples at once are quick enough to be repeated for every layer.
_QUICK, _FEW = 32, 4


@dataclass(frozen=True)
class Quality:
    """Measures by name, and whether there was time for all of them."""

    measures: dict[str, Any]
    complete: bool = True


def quality(subject: Subject, method: Method, found: MapSet, effort: Effort) -> Quality:
    """Faithfulness and sanity on some of the explained samples, completeness on all of them."""
    measures: dict[str, Any] = {"samples": 0}
    known = found.incomplete[np.isfinite(found.incomplete)]
    if known.size:
        measures["completeness_error"] = round(float(known.max()), 7)
    rows = _spread_out(np.flatnonzero(found.done & ~found.flat), effort.samples)
    if not rows:
        return Quality(measures)
    measures["samples"] = len(rows)
    parts = (_faithful, _sane)
    for part in parts:
        try:
            measures |= part(subject, method, found, rows, effort)
        except OutOfTime:
            return Quality(measures, complete=False)
    return Quality(measures)


def _faithful(
    subject: Subject, method: Method, found: MapSet, rows: list[int], effort: Effort
) -> Mapping[str, Any]:
    pictures = subject.inputs[rows]
    targets = torch.as_tensor(found.targets[rows], device=pictures.device)
    size = (pictures.shape[2], pictures.shape[3])
    large = as_large_as(found.values[rows], size, method.enlarge)
    predict, check = _predictor(subject, targets), subject.budget.check
    scores = faithfulness.measure(predict, pictures, large, effort, subject.seed, check)
    return rounded(scores)


def _sane(
    subject: Subject, method: Method, found: MapSet, rows: list[int], effort: Effort
) -> Mapping[str, Any]:
    def again() -> FloatArray:
        job = subject.job(rows, found.targets, rough=True)
        return np.asarray(method.explain(job).values.numpy(), dtype=np.float32)

    quick = method.group >= _QUICK
    rows = rows if quick else rows[:_FEW]
    seeds = [subject.seed + number for number in range(effort.random_models if quick else 1)]
    every_layer = effort.cascade and quick
    scores = cascade(subject.model, again, found.values[rows], seeds, every_layer)
    measures: dict[str, Any] = {"sanity": round(scores[-1], 6), "sane": scores[-1] <= SANE}
    if every_layer:
        measures["sanity_by_layer"] = [round(score, 6) for score in scores]
    return measures


def _predictor(subject: Subject, targets: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """p(class to explain) of pictures, in passes of a size that fits."""

    def predict(pictures: Tensor, rows: Tensor) -> Tensor:
        size = class_scores.rows_a_pass(pictures)
        with torch.no_grad():
            parts = [
                class_scores.scores(subject.model, part) for part in torch.split(pictures, size)
            ]
        table = class_scores.probabilities(torch.cat(parts))
        return class_scores.scores_of_class(table, targets[rows.to(targets.device)])

    return predict


def _spread_out(rows: Any, count: int) -> list[int]:
    """At most ``count`` of the rows, from all over them: the same ones every time."""
    if len(rows) <= count:
        return [int(row) for row in rows]
    places = np.linspace(0, len(rows) - 1, count).round().astype(int)
    return [int(rows[place]) for place in places]
