"""What FLScalize asks of a framework: a model seen as named arrays that can be trained and evaluated.

One adapter a framework; others are found through the entry-point group ``fedops.adapters``. An adapter
knows nothing of servers, rounds or Flower. It is stateful: it holds one model, kept warm between rounds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fedops.config import Exchange, Resources, Step
from fedops.core.contracts import ParameterContract
from fedops.tensors import Tensors


class Cancelled(Exception):
    """Training was told to stop. Raised by ``TrainContext.check``."""


@dataclass(frozen=True)
class TrainContext:
    """What one local training may depend on beside model and data."""

    round: int
    seed: int  #: of this (run, device, round); every source of randomness is seeded from it
    epochs: int
    batch_size: int
    learning_rate: float
    #: The weight of FedProx's proximal term (Li et al. 2020, eq. 2); 0 for none.
    proximal_mu: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)  #: the effective config, plain values
    cancelled: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise ``Cancelled`` when the run was stopped. Loops call it once a batch."""
        if self.cancelled.is_set():
            raise Cancelled


@dataclass(frozen=True)
class TrainResult:
    examples: int  #: how many examples the model was trained on: its weight in the mean
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class EvalResult:
    examples: int
    metrics: dict[str, float] = field(default_factory=dict)  #: "loss" (mean an example), "accuracy"


@dataclass(frozen=True)
class AdapterOptions:
    """What a project declares beside its model. An adapter is made as ``Adapter(model, options)``."""

    exchange: Exchange = field(default_factory=Exchange)
    resources: Resources = field(default_factory=Resources)
    optimizer: Step | None = None
    loss: Step | None = None
    #: The project's own loops, if it names any. Called with what the adapter has to offer, by the
    #: names of ``steps.OFFERS`` ("model", "train_data", "epochs", ...); they take what they ask for
    #: and answer in one of the five ways that ``results`` understands.
    train: Callable[[Mapping[str, Any]], TrainResult] | None = None
    evaluate: Callable[[Mapping[str, Any]], EvalResult] | None = None


class ModelAdapter(Protocol):
    """A model of one framework, with what the contract says of its arrays."""

    @property
    def contract(self) -> ParameterContract:
        """Names, shapes, dtypes, order and exchange rule of every tensor of the model."""
        ...

    def get_tensors(self) -> Tensors:
        """Copies of *all* tensors of the contract, local ones included, in its order."""
        ...

    def set_tensors(self, tensors: Tensors) -> None:
        """Replace the tensors named; others stay. ``Invalid`` when name, shape or dtype differ."""
        ...

    def train(self, data: Any, context: TrainContext) -> TrainResult:
        """Train in place on ``data`` (whatever the project's data step gives for training)."""
        ...

    def evaluate(self, data: Any, context: TrainContext) -> EvalResult:
        """Evaluate. Changes nothing: neither weights nor buffers, mode or random state."""
        ...
