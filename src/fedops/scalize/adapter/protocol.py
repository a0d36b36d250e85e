"""What FLScalize asks of a framework: a model seen as named arrays that can be trained and evaluated.

One adapter a framework; others are found through the entry-point group ``fedops.adapters``. An adapter
knows nothing of servers, rounds or Flower. It is stateful: it holds one model, kept warm between rounds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from fedops.config.schema import Dataset, Exchange, Resources
from fedops.core.contracts import ParameterContract
from fedops.scalize.adapter.accelerators import Accelerator
from fedops.storage.tensors import Tensors


class Cancelled(Exception):
    """Training was told to stop. Raised by ``TrainContext.check``."""


@dataclass(frozen=True)
class TrainingState:
    """A training as it was at one moment: all that the rest of it depends on."""

    tensors: Tensors
    values: Mapping[str, Any]  #: plain values, as JSON has them


class EpochCheckpoints(Protocol):
    """Where a loop that goes epoch by epoch keeps its state, to go on from there should it be interrupted."""

    @property
    def wanted(self) -> bool:
        """Whether the loop is to keep its state now and to end by ``Cancelled``. It looks once a batch."""
        ...

    def begin(self) -> TrainingState | None:
        """The state to go on from, if there is one. Who calls this promises to heed ``wanted``."""
        ...

    def save(self, state: TrainingState) -> None:
        """Keep the state. Never fails: a full disk costs the epoch, not the training."""
        ...


def _unheard(done: int, total: int) -> None:
    """Nobody wants to know how far the training is."""


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
    #: For loops of adapters that can go on in the midst of a training. None: nothing is kept.
    checkpoints: EpochCheckpoints | None = None
    #: Told the number of epochs that are done, and of all.
    on_epoch: Callable[[int, int], None] = _unheard

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


#: Makes a loader of data that gives one example at a time; the second argument: in random order.
Batch = Callable[[Any, bool], Any]


class TrainLoop(Protocol):
    """A project's own train function, called by its signature with what there is of ``offers.OFFERS``.

    The adapter offers at least "model", "train_data" and "context"; what the context says is added.
    """

    def takes(self, key: str) -> bool:
        """Whether the function asks for this offer, e.g. "proximal_mu" to apply it itself."""
        ...

    def __call__(
        self,
        offers: Mapping[str, Any],
        adopt: Callable[[Any], bool] = ...,
        batch: Batch | None = ...,
    ) -> TrainResult:
        """``adopt`` is told each thing that was returned; true when it was a model, now taken over.

        ``batch`` is called on data for which the function wants a loader.
        """
        ...


class EvaluateLoop(Protocol):
    """A project's own evaluate function. The adapter offers "model", "data" and "context"."""

    def takes(self, key: str) -> bool: ...

    def __call__(self, offers: Mapping[str, Any], batch: Batch | None = ...) -> EvalResult: ...


@dataclass(frozen=True)
class Part:
    """An optimizer or a loss, as the config asks for it."""

    #: A short name ("adam", "mse"), a dotted one, or "" for the adapter's default.
    target: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    #: The class or function that a dotted name led to.
    found: Callable[..., Any] | None = None


@dataclass(frozen=True)
class AdapterOptions:
    """What a project declares beside its model. An adapter is made as ``Adapter(model, options)``."""

    exchange: Exchange = field(default_factory=Exchange)
    resources: Resources = field(default_factory=Resources)
    optimizer: Part | None = None
    loss: Part | None = None
    #: The project's own loops, if it names any.
    train: TrainLoop | None = None
    evaluate: EvaluateLoop | None = None
    #: ``[dataset]``: its ``features`` and ``classes`` size models that have no arrays before data.
    dataset: Dataset = field(default_factory=Dataset)
    #: Gives the training data, for what the config leaves open. Loads it on the first call.
    sample: Callable[[], Any] | None = None


class ModelAdapter(Protocol):
    """A model of one framework, with what the contract says of its arrays.

    An adapter of a model that is one number, the mean of the data, and the check of what it promises:

    >>> import numpy as np
    >>> from fedops.config.schema import Exchange
    >>> from fedops.scalize.adapter import parameter_exchange as exchange
    >>> from fedops.scalize.adapter.protocol import EvalResult, TrainResult
    >>> from fedops.testing import check_adapter
    >>> class Mean:
    ...     contract = exchange.build_contract([exchange.TensorInfo("w", (1,), "float32")], Exchange())
    ...     w = np.zeros(1, np.float32)
    ...     def get_tensors(self):
    ...         return exchange.outgoing(self.contract, {"w": self.w})
    ...     def set_tensors(self, tensors):
    ...         self.w = exchange.incoming(self.contract, tensors, {"w": "float32"}).get("w", self.w)
    ...     def train(self, data, context):
    ...         context.check()
    ...         self.w = self.w + np.float32(context.learning_rate) * (data.mean() - self.w)
    ...         return TrainResult(len(data), {"loss": float(np.mean((data - self.w) ** 2))})
    ...     def evaluate(self, data, context):
    ...         return EvalResult(len(data), {"loss": float(np.mean((data - self.w) ** 2))})
    >>> check_adapter(lambda seed: Mean(), np.arange(16, dtype=np.float32))
    """

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


@runtime_checkable
class OnAccelerator(Protocol):
    """An adapter that knows where its model is computed."""

    @property
    def accelerator(self) -> Accelerator: ...


@runtime_checkable
class GivesGradients(Protocol):
    """An adapter that can tell in which direction the loss falls."""

    def gradient(self, data: Any, context: TrainContext) -> Tensors | None:
        """Of the mean loss on ``data``, by the names of the tensors that are trained. Changes nothing.

        None: the loss is the project's own, and not known.
        """
        ...


@runtime_checkable
class WarmsUp(Protocol):
    """An adapter whose first training would take longer than the others, unless it prepares for that."""

    def warm_up(self) -> None:
        """Do at the start of a device what the first training would do first. The model stays as it is."""
        ...


@runtime_checkable
class KeepsState(Protocol):
    """An adapter with numbers beside the model that go on from round to round on this device.

    They are kept by run and round, so that a repeated round begins with those that it began with before.
    """

    def device_state(self) -> Tensors:
        """As they are now. At first: as a device's first round of a run begins with them."""
        ...

    def set_device_state(self, state: Tensors) -> None:
        """As an earlier round left them."""
        ...
