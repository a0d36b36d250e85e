"""How long a round takes a device, and what that costs it in a selection.

    penalty = min(1, T / t)^a

``t`` is what was measured in real rounds, else what a benchmark on the device has it; ``T`` is the time
within which most of the preferred devices are done. Who has no time yet is not penalised. Lai et al. 2021.
"""

from __future__ import annotations

import numpy as np

from fedops.algorithms.selection.outcome import Numbers
from fedops.algorithms.selection.pool import Pool
from fedops.core.contracts import Candidate


def seconds_of(pool: Pool) -> Numbers:
    """Seconds of a round of each candidate; NaN where nothing is known."""
    return np.array(list(map(_seconds_of, pool.candidates)), dtype=np.float64)


def _seconds_of(one: Candidate) -> float | None:
    return one.bench_seconds if by_benchmark(one) else _measured(one)


def _measured(one: Candidate) -> float | None:
    return one.last_seconds if one.round_seconds is None else one.round_seconds


def by_benchmark(one: Candidate) -> bool:
    """Whether all that is known of its seconds is what a benchmark has them."""
    return _measured(one) is None and one.bench_seconds is not None


def seconds_parts(pool: Pool, seconds: Numbers) -> dict[str, Numbers]:
    """The seconds that a decision was made by: those that were measured in rounds, those of benchmarks."""
    estimated = np.array(list(map(by_benchmark, pool.candidates)), dtype=np.bool_)
    return {
        "seconds": np.where(estimated, np.nan, seconds),
        "bench_seconds": np.where(estimated, seconds, np.nan),
    }


def seconds_text(one: Candidate, seconds: float) -> str:
    """``12.5 s a round``, and whether it is a benchmark's word."""
    return f"{seconds:.3g} s a round{' by its benchmark' if by_benchmark(one) else ''}"


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
