"""How long a round's training takes this device, timed on a small chunk of its own data.

Run in a process that ends afterwards: the model that is trained here, the data that is loaded and whatever is
drawn at random are nobody else's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedops.config.loading import to_plain
from fedops.config.schema import Config
from fedops.core.contracts import BenchMeasured
from fedops.core.errors import Invalid
from fedops.core.seeds import client_seed
from fedops.scalize.adapter.protocol import ModelAdapter, TrainContext
from fedops.scalize.flow.datasets import DataSplit, Subset, take
from fedops.trainer.local_round import ClientProject
from fedops.trainer.readiness import explain_missing

#: A chunk has at least so many batches: the time of one says little.
LEAST_BATCHES = 4
#: The chunk grows by this factor until it takes so many times as long as one batch, and so long at all: what
#: else a machine does weighs too much in less. Seconds.
GROWS, LONGER, LEAST_SECONDS = 4, 2.0, 0.5
#: What a data set raises whose examples cannot be taken by their numbers.
_NO_INDEX = (TypeError, KeyError, IndexError, AttributeError, NotImplementedError)

#: Trains on so many examples and says how long it took. Seconds.
Timed = Callable[[int], float]


class NoChunk(Invalid):
    """The data chooses its examples by itself."""


@dataclass(frozen=True)
class Times:
    """Trainings that were timed: on one batch, and the longest one."""

    first: tuple[int, float]
    chunk: tuple[int, float]
    #: How many examples the chunk would have had without the limit of time.
    wanted: int


def measure(project: ClientProject, device: str, fraction: float, limit: float) -> BenchMeasured:
    """Time the training of the app's model on a chunk of this device's data.

    Raises:
        Invalid: there is no data to train on, or no chunk can be taken of it.
    """
    config = project.config
    try:
        data = project.load_data()
    except Invalid as error:
        raise explain_missing(config, error) from None
    if not data.examples:
        raise Invalid(f"this device has no training example of '{data.dataset}'")
    adapter = project.make_adapter(config.random_seed)
    training = ChunkTraining(adapter, data, config, device)
    times = time_chunk(training, data.examples, training.batch, fraction, limit)
    return BenchMeasured(
        examples=data.examples,
        epochs=max(config.num_epochs, 1),
        first_examples=times.first[0],
        first_seconds=times.first[1],
        chunk_examples=times.chunk[0],
        chunk_seconds=times.chunk[1],
        wanted_examples=times.wanted,
    )


def time_chunk(train: Timed, examples: int, batch: int, fraction: float, limit: float) -> Times:
    """Time one batch, after one that is not counted, and then the chunk: within ``limit`` seconds, about.

    The chunk grows while it takes hardly longer than one batch (then most of its time goes into what is done
    once a round, and says nothing of the examples), or hardly any time.
    """
    one = min(batch, examples)
    spent = train(one)  # with what only the first training of a process does
    if spent >= limit:
        return Times((one, spent), (one, spent), _wanted(examples, one, fraction))
    first = chunk = (one, train(one))
    spent += first[1]
    wanted = _wanted(examples, one, fraction)
    while chunk[0] < wanted:
        size = min(wanted, _fitting(chunk, limit - spent, one))
        if size <= chunk[0]:
            break
        chunk = (size, train(size))
        spent += chunk[1]
        if size == wanted < examples and chunk[1] < max(LONGER * first[1], LEAST_SECONDS):
            wanted = min(GROWS * wanted, examples)
    return Times(first, chunk, wanted)


def _wanted(examples: int, batch: int, fraction: float) -> int:
    return min(max(math.ceil(examples * fraction), LEAST_BATCHES * batch), examples)


def _fitting(last: tuple[int, float], seconds: float, batch: int) -> int:
    """How many examples surely fit into the time that is left, in whole batches."""
    if last[1] <= 0:
        return 2**53
    return int(seconds * last[0] / last[1]) // batch * batch


@dataclass(frozen=True)
class ChunkTraining:
    """Trainings on so many of the examples, as a round has them."""

    adapter: ModelAdapter
    data: DataSplit
    config: Config
    device: str

    @property
    def batch(self) -> int:
        """Of the data itself, where it makes its own batches."""
        return int(getattr(self.data.train, "batch_size", None) or self.config.batch_size)

    def __call__(self, examples: int) -> float:
        chunk, context = self._chunk(examples), self.context()
        begin = time.perf_counter()
        self.adapter.train(chunk, context)
        return time.perf_counter() - begin

    def context(self) -> TrainContext:
        """As the first round has it."""
        return TrainContext(
            round=1,
            seed=client_seed(self.config.random_seed, self.device, 1),
            epochs=self.config.num_epochs,
            batch_size=self.config.batch_size,
            learning_rate=self.config.learning_rate,
            settings=to_plain(self.config),
        )

    def _chunk(self, examples: int) -> Any:
        """So many examples, from all over the data: neighbours may be of one class."""
        total = self.data.examples
        if examples >= total:
            return self.data.train
        drawn = np.random.default_rng(self.config.random_seed).permutation(total)[:examples]
        try:
            chunk = take(self.data.train, np.sort(drawn))
            if isinstance(chunk, Subset):
                chunk[0]
        except (Invalid, *_NO_INDEX):
            kind = type(self.data.train).__name__
            raise NoChunk(
                f"no chunk can be taken of the training data, a {kind} that chooses its examples by itself: "
                "the first rounds will show how long they take"
            ) from None
        return chunk
