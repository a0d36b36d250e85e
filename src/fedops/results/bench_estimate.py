"""From a timed chunk to the seconds of a round.

    rate  = (t - t1) / (n - n1)         seconds an example, over all epochs
    once  = t - rate * n                what is done once a round, whatever the number of examples
    round = once + rate * N + 2 * download

``t1`` on ``n1`` examples is a training on one batch, ``t`` on ``n`` examples that on the chunk, ``N`` is the
number of examples that the device has. An upload is taken to be as fast as the download.
"""

from __future__ import annotations

from fedops.core.contracts import BenchMeasured


def round_seconds(measured: BenchMeasured) -> float:
    """How long a round would take the device."""
    return training_seconds(measured) + 2 * (measured.download_seconds or 0.0)


def training_seconds(measured: BenchMeasured) -> float:
    """How long the training of a round would take it."""
    chunk, seconds = measured.chunk_examples, measured.chunk_seconds
    more, longer = chunk - measured.first_examples, seconds - measured.first_seconds
    rate = seconds / chunk
    if (
        more > 0 and longer > 0
    ):  # else the two cannot be told apart, and all of it counts as the rate
        rate = min(rate, longer / more)
    return seconds - rate * chunk + rate * measured.examples


def notes(measured: BenchMeasured) -> list[str]:
    """What whoever reads the estimate should know."""
    found = []
    if measured.chunk_examples < measured.wanted_examples:
        found.append(
            f"the limit of time ended it at {measured.chunk_examples} of "
            f"{measured.wanted_examples} examples"
        )
    if measured.download_seconds is None:
        found.append("without transfer: the task has no model version yet")
    return found
