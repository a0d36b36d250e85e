"""The registry as rich tables: aliases and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType

from fedops.console.format import coloured, moment, number, table, table_of, version_name
from fedops.core import contracts as c

#: A comparison shows the tensors that differ most.
_TENSORS = 20


def aliases_table(aliases: Sequence[c.AliasRead]) -> RenderableType:
    if not aliases:
        return "No alias yet: a completed run makes 'latest', 'fedops model promote' others."
    result = table("ALIAS", "VERSION", "SINCE", "BEFORE")
    for alias in aliases:
        before = ", ".join(_moves_before(alias))
        result.add_row(alias.name, version_name(alias.version), moment(alias.moved_at), before)
    return result


def serving_table(task: str, found: Sequence[c.ServingRead]) -> RenderableType:
    """Device by device: the version that is wanted, the one that is there, and how that goes."""
    if not found:
        return (
            f"No device serves the model of '{task}': its owner writes a folder into [serving] of"
            " device.toml."
        )
    titles = ("DEVICE", "ALIAS", "DESIRED", "ACTUAL", "SYNC", "HEALTH", "SINCE", "WHY")
    rows = [
        (
            one.device,
            one.alias,
            version_name(one.desired),
            version_name(one.actual),
            "yes" if one.synced else "no",
            coloured(one.health),
            moment(one.since),
            one.why,
        )
        for one in found
    ]
    return table_of(titles, rows, optional=("WHY",))


def _moves_before(alias: c.AliasRead) -> list[str]:
    """Where it pointed before, the newest first, and what of that was rolled back."""
    now = next((m for m in alias.moves if m.undone_at is None), None)
    return [
        version_name(m.version) + (" (rolled back)" if m.undone_at is not None else "")
        for m in alias.moves
        if m is not now
    ]


def comparison_view(found: c.ModelComparison) -> list[RenderableType]:
    """Metrics, the config keys that differ, and the tensors that differ most."""
    first, second = version_name(found.first), version_name(found.second)
    if found.identical:
        return [f"{first} and {second} of {found.task} are the same model, byte for byte."]
    metrics = table("METRIC", first, second, right=(first, second))
    for name, metric in found.metrics.items():
        metrics.add_row(name, number(metric.first), number(metric.second))
    config = table("CONFIG", first, second)
    for key, values in found.config.items():
        config.add_row(key, _shown(values.first), _shown(values.second))
    tensors = table("TENSOR", "SHAPE", "DISTANCE", "RELATIVE", "LARGEST")
    for tensor in sorted(found.tensors, key=lambda t: -(t.relative or 0.0))[:_TENSORS]:
        tensors.add_row(
            tensor.name,
            _shapes(tensor),
            *(number(value, 6) for value in (tensor.distance, tensor.relative, tensor.largest)),
        )
    more = len(found.tensors) - _TENSORS
    return [metrics, config, tensors, *([f"and {more} tensors more"] if more > 0 else [])]


def _shapes(tensor: c.TensorDifference) -> str:
    if tensor.first == tensor.second:
        return str(tensor.first)
    return " / ".join("absent" if s is None else str(s) for s in (tensor.first, tensor.second))


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)
