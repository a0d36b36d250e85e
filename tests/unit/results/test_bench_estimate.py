"""From a timed chunk to the seconds of a round."""

from __future__ import annotations

from typing import Any

import pytest

from fedops.core.contracts import BenchMeasured
from fedops.results.bench_estimate import notes, round_seconds, training_seconds


def measured(first: tuple[int, float], chunk: tuple[int, float], **more: Any) -> BenchMeasured:
    known = {"examples": 10_000, "epochs": 1, "wanted_examples": chunk[0], **more}
    return BenchMeasured(
        first_examples=first[0],
        first_seconds=first[1],
        chunk_examples=chunk[0],
        chunk_seconds=chunk[1],
        **known,
    )


def test_what_is_done_once_a_round_does_not_count_for_each_example() -> None:
    """Two seconds to compile, and a millisecond an example."""
    found = measured((100, 2.1), (500, 2.5))
    assert training_seconds(found) == pytest.approx(2.0 + 10.0)


def test_without_such_it_is_seconds_an_example_times_examples() -> None:
    assert training_seconds(measured((32, 0.32), (100, 1.0))) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("first", "chunk"),
    [
        ((32, 0.5), (32, 0.5)),
        ((32, 0.5), (100, 0.4)),
        ((32, 0.0), (32, 0.0)),
        ((32, 0.1), (100, 2.0)),
    ],
    ids=["only one batch", "a hiccup in the first", "no time at all", "the first was faster"],
)
def test_times_that_cannot_be_told_apart_count_for_each_example(
    first: tuple[int, float], chunk: tuple[int, float]
) -> None:
    found = measured(first, chunk)
    assert training_seconds(found) == pytest.approx(chunk[1] / chunk[0] * 10_000)


def test_who_timed_all_of_its_data_knows_it_exactly() -> None:
    assert training_seconds(measured((32, 0.4), (10_000, 7.25))) == pytest.approx(7.25)


def test_the_model_travels_twice() -> None:
    found = measured((32, 0.32), (100, 1.0), model_bytes=4_000_000, download_seconds=3.0)
    assert round_seconds(found) == pytest.approx(106.0)
    assert round_seconds(measured((32, 0.32), (100, 1.0))) == pytest.approx(100.0)


def test_what_to_know_of_an_estimate() -> None:
    whole = measured((32, 0.3), (100, 1.0), model_bytes=1, download_seconds=0.1)
    assert notes(whole) == []
    cut = whole.model_copy(update={"wanted_examples": 400, "download_seconds": None})
    assert notes(cut) == [
        "the limit of time ended it at 100 of 400 examples",
        "without transfer: the task has no model version yet",
    ]


def test_what_a_device_sends_is_read_as_it_was_measured() -> None:
    found = measured((32, 0.3), (100, 1.0), model_bytes=4, download_seconds=0.5)
    assert BenchMeasured.from_values(found.values()) == found
    assert "download-seconds" not in measured((1, 1.0), (1, 1.0)).values()
    with pytest.raises(ValueError, match="examples"):
        BenchMeasured.from_values({**found.values(), "examples": -1})
