"""Which trainings a benchmark times, on a clock that only the trainings move."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from line_model import LineProject, examples

from fedops.config.loading import parse_config
from fedops.core.errors import Invalid
from fedops.scalize.flow.datasets import DataSplit
from fedops.trainer.chunk_bench import measure, time_chunk


@dataclass
class Training:
    """Takes so many seconds an example, and so many in any case; the first one longer."""

    an_example: float
    once: float = 0.0
    importing: float = 5.0
    done: list[int] = field(default_factory=list)

    def __call__(self, examples: int) -> float:
        first = 0.0 if self.done else self.importing
        self.done.append(examples)
        return first + self.once + self.an_example * examples


def test_a_batch_warms_up_another_is_timed_and_then_the_chunk() -> None:
    train = Training(0.01)
    times = time_chunk(train, 60_000, 32, 0.01, 60.0)
    assert train.done == [32, 32, 600]
    assert times.first == (32, pytest.approx(0.32)), "the imports of the warm-up do not count"
    assert times.chunk == (600, pytest.approx(6.0))
    assert times.wanted == 600


def test_a_chunk_has_four_batches_at_least_or_all_there_is() -> None:
    assert time_chunk(Training(0.01), 1_000, 32, 0.01, 60.0).chunk[0] == 128
    assert time_chunk(Training(0.01), 100, 32, 0.01, 60.0).chunk[0] == 100
    few = Training(0.01)
    assert time_chunk(few, 20, 32, 0.01, 60.0).chunk == (20, pytest.approx(0.2))
    assert few.done == [20, 20]


def test_the_chunk_grows_while_it_takes_hardly_longer_than_a_batch() -> None:
    train = Training(0.001, once=1.0)
    times = time_chunk(train, 60_000, 32, 0.01, 60.0)
    assert train.done == [32, 32, 600, 2_400]
    assert times.wanted == times.chunk[0] == 2_400
    all_once = Training(0.0, once=1.0)
    assert time_chunk(all_once, 1_000, 32, 0.01, 60.0).chunk == (1_000, 1.0)


def test_the_chunk_grows_until_its_time_says_something() -> None:
    train = Training(0.0001)
    assert time_chunk(train, 60_000, 32, 0.01, 60.0).chunk == (9_600, pytest.approx(0.96))
    assert train.done == [32, 32, 600, 2_400, 9_600]


def test_a_slow_device_stops_in_time_and_goes_by_what_it_did() -> None:
    train = Training(0.25, importing=0.0)
    times = time_chunk(train, 60_000, 32, 0.01, 60.0)
    assert train.done == [32, 32, 160], "whole batches, in the 44 s that are left"
    assert (times.chunk[0], times.wanted) == (160, 600)
    no_room = Training(0.5, importing=0.0)
    assert time_chunk(no_room, 60_000, 32, 0.01, 60.0).chunk == (32, 16.0)
    slowest = Training(3.0, importing=0.0)
    times = time_chunk(slowest, 60_000, 32, 0.01, 60.0)
    assert slowest.done == [32], "one batch has to do"
    assert (times.first, times.chunk, times.wanted) == ((32, 96.0), (32, 96.0), 600)


# --- real trainings --------------------------------------------------------------------------


@dataclass(frozen=True)
class Project(LineProject):
    """Straight lines, with data that the test names."""

    data: object = None

    def load_data(self) -> DataSplit:
        total = 0 if self.data is None else len(self.data)  # type: ignore[arg-type]
        return DataSplit(self.data, None, "lines", total)


class Stream:
    """Knows how many examples it has, and gives them one after the other only."""

    def __len__(self) -> int:
        return 500


def project(data: object) -> Project:
    config = {"learning_rate": 0.05, "num_epochs": 3, "batch_size": 10}
    return Project(parse_config(config, "the test"), data=data)


def test_a_model_is_trained_over_all_epochs_on_a_chunk() -> None:
    found = measure(project(examples(0, 2_000)), "pi-1", 0.05, 60.0)
    assert (found.examples, found.epochs, found.first_examples) == (2_000, 3, 10)
    assert found.wanted_examples >= 100
    assert 0 < found.first_seconds < 60


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "this device has no training example of 'lines'"),
        (
            Stream(),
            "no chunk can be taken of the training data, a Stream that chooses its examples",
        ),
    ],
)
def test_data_of_which_no_chunk_can_be_taken_is_said(data: object, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        measure(project(data), "pi-1", 0.01, 60.0)
