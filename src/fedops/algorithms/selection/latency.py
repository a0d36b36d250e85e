"""How long a round takes a device, and what that costs it in a selection.

    penalty = min(1, T / t)^a

``t`` is what was measured in real rounds, else what a benchmark on the device has it; ``T`` is the time
within which most of the preferred devices are done. Who has no time yet is not penalised. Lai et al. 2021.
"""

from __future__ import annotations

import numpy as np

from fedops.algorithms.selection.outcome import Numbers
from fedops.algorithms.selection.pool import Pool


def seconds_of(pool: Pool) -> Numbers:
    """Seconds of a round of each candidate; NaN where nothing is known."""
    mean, last, bench = (
        pool.column(name) for name in ("round_seconds", "last_seconds", "bench_seconds")
    )
    measured = np.where(np.isnan(mean), last, mean)
    return np.where(np.isnan(measured), bench, measured)


def percentile(seconds: Numbers, percent: float) -> float:
    """Within how many seconds this share of those with a known time is done; infinite if nobody has one."""
    known = seconds[~np.isnan(seconds)]
    return float(np.percentile(known, percent)) if len(known) else float("inf")


def penalty(seconds: Numbers, preferred: float, exponent: float) -> Numbers:
    """The factor of each candidate: 1 up to the preferred time, less the slower it is."""
    slower = ~np.isnan(seconds) & (seconds > preferred)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = (preferred / seconds) ** exponent
    return np.where(slower, factor, 1.0)
