"""What surrounds a client's rounds on a device: being told to stop, saying what it does, remembering rounds.

``trainer.local_round`` is given one ``Device``. The defaults suit a plain Flower node, where there is
nothing around; the training client gives its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from fedops.config.schema import Config
from fedops.core.states import ProcessStatus
from fedops.scalize.adapter.protocol import EpochCheckpoints, ModelAdapter
from fedops.scalize.flow.datasets import DataSplit
from fedops.storage.tensors import Tensors


class Reporter(Protocol):
    """Where a client says what it does. Never blocks, never fails."""

    def working(self, status: ProcessStatus, task: str, run_id: int, round_: int) -> None:
        """``training`` or ``evaluating``, from now on."""
        ...

    def idle(self) -> None:
        """The work in hand is done with. Said by who called the client, not by the client."""
        ...

    def epoch(self, done: int, total: int) -> None:
        """So many of the local epochs are done."""
        ...

    def event(self, name: str, text: str, **data: Any) -> None:
        """Something worth keeping happened. ``data`` may hold ``run_id`` and ``round``."""
        ...

    def describe(self, **facts: Any) -> None:
        """What this client is and has, from now on: fields of ``core.contracts.ProcessReport``."""
        ...

    def metric(self, name: str, value: float, run_id: int, round_: int) -> None:
        """One number of one round."""
        ...


class RoundMemory(Protocol):
    """What a device keeps between rounds. Saving never fails: a full disk becomes an event."""

    def load_state(self, run_id: int, round_: int) -> Tensors | None:
        """What was saved in the last round of this run *before* ``round_``, so that a repeated round
        starts from the right state; None when there is none."""
        ...

    def save_state(self, run_id: int, round_: int, tensors: Tensors) -> None:
        """Keep what the device itself needs in its next round of this run (tensors that stay local)."""
        ...

    def save_checkpoint(self, task: str, run_id: int, round_: int, tensors: Tensors) -> None:
        """Keep the model as it is after this round. The one before stays valid until this one is."""
        ...

    def load_checkpoint(self, task: str) -> list[Tensors]:
        """The readable checkpoints of the task, newest first."""
        ...

    def newest_checkpoint(self, fits: Callable[[Tensors], bool]) -> Tensors | None:
        """The newest readable checkpoint of any task that fits; None when there is none."""
        ...


@dataclass(frozen=True)
class RoundMoment:
    """A model at one moment of a run."""

    run_id: int
    round: int
    adapter: ModelAdapter
    tensors: Tensors  #: all of the model's, as they are now; never changed later


class Explanations(Protocol):
    """Explains the models of the rounds, beside them. Only ``prepare`` may fail or take time."""

    def prepare(self, config: Config, adapter: ModelAdapter, data: DataSplit) -> None:
        """Before any training: check what ``[xai]`` of the config asks for.

        Raises:
            Invalid: it cannot be done, with what to do.
        """
        ...

    def try_out(self, config: Config, adapter: ModelAdapter, data: DataSplit) -> None:
        """The same check before a round is asked for. What is at work is left at it.

        Raises:
            Invalid: it cannot be done, with what to do.
        """
        ...

    def received(self, moment: RoundMoment) -> None:
        """The model that a round's training begins with."""
        ...

    def trained(self, moment: RoundMoment) -> None:
        """The model that it ends with."""
        ...

    def idle(self) -> None:
        """The result is written: what was seen may be explained now. Said by who called the client."""
        ...


class EpochStore(Protocol):
    """Keeps trainings that are not done yet."""

    def open(self, work_key: str, about: str) -> EpochCheckpoints | None:
        """Of one piece of work. What was kept for another ``about`` (seed, epochs, ...) does not fit it.
        None: nothing is kept."""
        ...


class NoReporter:
    """Says nothing to nobody."""

    def working(self, status: ProcessStatus, task: str, run_id: int, round_: int) -> None: ...

    def idle(self) -> None: ...

    def epoch(self, done: int, total: int) -> None: ...

    def event(self, name: str, text: str, **data: Any) -> None: ...

    def describe(self, **facts: Any) -> None: ...

    def metric(self, name: str, value: float, run_id: int, round_: int) -> None: ...


class NullRoundState:
    """Keeps nothing."""

    def load_state(self, run_id: int, round_: int) -> Tensors | None:
        return None

    def save_state(self, run_id: int, round_: int, tensors: Tensors) -> None: ...

    def save_checkpoint(self, task: str, run_id: int, round_: int, tensors: Tensors) -> None: ...

    def load_checkpoint(self, task: str) -> list[Tensors]:
        return []

    def newest_checkpoint(self, fits: Callable[[Tensors], bool]) -> Tensors | None:
        return None


class NoEpochs:
    """Keeps no training that is not done."""

    def open(self, work_key: str, about: str) -> EpochCheckpoints | None:
        return None


class NoExplanations:
    """Explains nothing."""

    def prepare(self, config: Config, adapter: ModelAdapter, data: DataSplit) -> None: ...

    def try_out(self, config: Config, adapter: ModelAdapter, data: DataSplit) -> None: ...

    def received(self, moment: RoundMoment) -> None: ...

    def trained(self, moment: RoundMoment) -> None: ...

    def idle(self) -> None: ...


@dataclass
class Device:
    """The device a client runs on."""

    name: str
    report: Reporter = field(default_factory=NoReporter)
    memory: RoundMemory = field(default_factory=NullRoundState)
    explanations: Explanations = field(default_factory=NoExplanations)
    epochs: EpochStore = field(default_factory=NoEpochs)
    #: Identifies the piece of work in hand over tries; "" where nobody says. Set before each.
    work_key: str = ""
    #: Set when the work in hand is to be abandoned: hand it to ``TrainContext.cancelled``. It is
    #: replaced before each piece of work, so read it anew in each call.
    cancelled: threading.Event = field(default_factory=threading.Event)
