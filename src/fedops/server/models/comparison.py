"""Two versions side by side: their metrics, their configs, and how far apart their tensors are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedops.core.contracts import (
    ConfigDifference,
    MetricDifference,
    ModelComparison,
    ModelVersionRead,
    TensorDifference,
)
from fedops.storage.tensors import TensorFile

#: Values of a tensor that are in memory at a time.
_PIECE = 1 << 20


def compare_versions(
    first: ModelVersionRead, second: ModelVersionRead, files: tuple[Path, Path]
) -> ModelComparison:
    """What differs between two versions. ``files``: their models."""
    tensors = _tensors(TensorFile(files[0]), TensorFile(files[1]))
    known = [t.distance for t in tensors if t.distance is not None]
    return ModelComparison(
        task=first.task,
        first=first.version,
        second=second.version,
        identical=first.sha256 == second.sha256,
        metrics=_metrics(first.metrics, second.metrics),
        config=config_differences(
            first.lineage.get("config") or {}, second.lineage.get("config") or {}
        ),
        tensors=tensors,
        distance=_finite(math.hypot(*known)) if known else None,
    )


def _metrics(
    first: Mapping[str, float], second: Mapping[str, float]
) -> dict[str, MetricDifference]:
    return {
        name: MetricDifference(first=first.get(name), second=second.get(name))
        for name in sorted({*first, *second})
    }


def config_differences(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, ConfigDifference]:
    """Only the keys that differ."""
    one, other = dict(_flat(first)), dict(_flat(second))
    return {
        key: ConfigDifference(first=one.get(key), second=other.get(key))
        for key in sorted({*one, *other})
        if one.get(key) != other.get(key)
    }


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _tensors(first: TensorFile, second: TensorFile) -> list[TensorDifference]:
    names = [*first, *(name for name in second if name not in first)]
    return [_tensor(name, first, second) for name in names]


def _tensor(name: str, first: TensorFile, second: TensorFile) -> TensorDifference:
    shapes = [list(file.shape(name)) if name in file else None for file in (first, second)]
    made = TensorDifference(name=name, first=shapes[0], second=shapes[1])
    if shapes[0] is None or shapes[0] != shapes[1]:
        return made
    squares = norm = largest = 0.0
    for start in range(0, math.prod(shapes[0]), _PIECE):
        stop = min(start + _PIECE, math.prod(shapes[0]))
        a = first.piece(name, start, stop).astype(np.float64)
        b = second.piece(name, start, stop).astype(np.float64)
        apart = np.abs(b - a)
        squares, norm = squares + float(apart @ apart), norm + float(a @ a)
        largest = max(largest, float(apart.max()))
    distance = math.sqrt(squares)
    relative = distance / math.sqrt(norm) if norm else None
    return made.model_copy(
        update={
            "distance": _finite(distance),
            "relative": None if relative is None else _finite(relative),
            "largest": _finite(largest),
        }
    )


def _finite(value: float) -> float | None:
    """JSON has no other numbers."""
    return value if math.isfinite(value) else None
