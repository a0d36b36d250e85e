"""The quality scores of one method's maps for one model, for the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedops.explain import faithfulness, forward, sanity
from fedops.explain.base import FloatArray, Method
from fedops.explain.budget import OutOfTime
from fedops.explain.faithfulness import Effort
from fedops.explain.maps import MapSet, Subject, as_large_as
from fedops.explain.report import rounded

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
    scores = faithfulness.measure(
        _predictor(subject, targets), pictures, large, effort, subject.seed
    )
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
    scores = sanity.cascade(subject.model, again, found.values[rows], seeds, every_layer)
    measures: dict[str, Any] = {"sanity": round(scores[-1], 6), "sane": scores[-1] <= sanity.SANE}
    if every_layer:
        measures["sanity_by_layer"] = [round(score, 6) for score in scores]
    return measures


def _predictor(subject: Subject, targets: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """p(class to explain) of pictures, in passes of a size that fits."""

    def predict(pictures: Tensor, rows: Tensor) -> Tensor:
        size = forward.rows_a_pass(pictures)
        with torch.no_grad():
            parts = [forward.scores(subject.model, part) for part in torch.split(pictures, size)]
        table = forward.probabilities(torch.cat(parts))
        return forward.of_class(table, targets[rows.to(targets.device)])

    return predict


def _spread_out(rows: Any, count: int) -> list[int]:
    """At most ``count`` of the rows, from all over them: the same ones every time."""
    if len(rows) <= count:
        return [int(row) for row in rows]
    places = np.linspace(0, len(rows) - 1, count).round().astype(int)
    return [int(rows[place]) for place in places]
