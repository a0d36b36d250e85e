"""Whether the newest model is worse under new code than under the old, on a device's own data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from fedops.core.quality_gate import less_is_better


class Compared(StrEnum):
    """What a comparison of two codes says."""

    FINE = "fine"
    WORSE = "worse"
    UNKNOWN = "unknown"  #: one of them was not measured, though there was a model to measure


def compare_codes(
    metric: str, may_lose: float, before: Mapping[str, float], after: Mapping[str, float]
) -> tuple[Compared, str]:
    """The outcome and, unless it is fine, a sentence with the numbers.

    ``before``, ``after``: the metrics under the old code and the new one; empty: there was no model, or no
    old code.

    >>> compare_codes("accuracy", 0.02, {"accuracy": 0.91}, {"accuracy": 0.6})
    (<Compared.WORSE: 'worse'>, 'the newest model has accuracy 0.6 under it, and 0.91 under the code before')
    >>> compare_codes("loss", 0.02, {"loss": 0.3}, {"loss": 0.31})[0].value
    'fine'
    """
    if not metric or not before or not after:
        return Compared.FINE, ""
    missing = [which for which, found in (("old", before), ("new", after)) if metric not in found]
    if missing:
        known = ", ".join(sorted(after)[:5])
        text = f"no '{metric}' under the {' and the '.join(missing)} code; it has: {known}"
        return Compared.UNKNOWN, text
    lost = before[metric] - after[metric]
    if (-lost if less_is_better(metric) else lost) <= may_lose:
        return Compared.FINE, ""
    text = (
        f"the newest model has {metric} {after[metric]:.4g} under it, "
        f"and {before[metric]:.4g} under the code before"
    )
    return Compared.WORSE, text
