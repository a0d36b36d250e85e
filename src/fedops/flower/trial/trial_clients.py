"""The clients of a trial: each with its part of the app's data, and the app's own ClientApp if it has one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from flwr.app import Context, Message, RecordDict

from fedops.core.errors import FedOpsError, Invalid
from fedops.flower.client_app import ClientHandler, Handler, answer_by
from fedops.flower.codec.compat import has_functions
from fedops.flower.codec.context_state import ContextMemory
from fedops.flower.components import load_client_app
from fedops.flower.flower_table import FlowerTable
from fedops.flower.run_config import changes_of
from fedops.scalize.adapter.protocol import TrainContext
from fedops.scalize.flow.datasets import DataSplit, Indices, count, take
from fedops.scalize.flow.manifest import make_importable
from fedops.scalize.flow.project import Project
from fedops.scalize.flow.signature_binding import StepCall
from fedops.storage.tensors import Tensors
from fedops.trainer.device_context import Device

#: What is raised by data that cannot be cut; it is used as it is.
_UNCUT = (FedOpsError, TypeError, ValueError, IndexError, KeyError, AttributeError)


@dataclass(frozen=True)
class PartOfProject(Project):
    """A project whose data is one client's part, and no more of it than a trial needs."""

    #: On how many examples it trains, and evaluates, at most. 0: on all.
    most: int = 0

    @classmethod
    def of_client(
        cls, app_dir: Path, index: int, clients: int, overrides: Sequence[str], most: int
    ) -> Self:
        """The part of client ``index``, from 0. Raises ``Invalid`` as ``Project.open`` does."""
        part = (f"dataset.partition.of={clients}", f"dataset.partition.index={index}")
        return dataclasses.replace(cls.open(app_dir, [*overrides, *part]), most=most)

    def _split(self, call: StepCall) -> DataSplit:
        split = super()._split(call)
        if not self.most:
            return split
        train, examples = _at_most(split.train, split.examples, self.most)
        held_out = split.validation
        if held_out is not None:
            held_out, _ = _at_most(held_out, count(held_out, call.label), self.most)
        return dataclasses.replace(split, train=train, examples=examples, validation=held_out)


def _at_most(data: Any, total: int, most: int) -> tuple[Any, int]:
    """The data, or ``most`` of its examples, evenly spread, where it can be cut; and how many they are."""
    if data is None or total <= most:
        return data, total
    try:
        return take(data, _spread(total, most)), most
    except _UNCUT:
        return data, total


def _spread(total: int, most: int) -> Indices:
    return np.unique(np.linspace(0, total - 1, most).round().astype(np.int64))


class TrialNode:
    """A client as a node: its state stays over the rounds, as on a device."""

    def __init__(self, project: PartOfProject, index: int, clients: int) -> None:
        self.project, self.name = project, f"client-{index}"
        self._device = Device(self.name)
        self._handler = ClientHandler(project, self._device)
        self._app: Handler | None = None
        named: dict[str, Any] = {"partition-id": index, "num-partitions": clients}
        config = dict(FlowerTable.of(project.app_dir).config)
        config |= changes_of(project.config, config)
        self._context = Context(1, index + 1, named, RecordDict(), config)

    def __call__(self, message: Message) -> Message:
        """The reply to a message. What goes wrong in training is raised."""
        if self._app is None:
            self._app = self._loaded()
        answer_by(self._handler)
        self._device.memory = ContextMemory(self._context.state)
        reply = self._app(message, self._context)
        if not isinstance(reply, Message):
            raise Invalid(f"the ClientApp answered with a {type(reply).__name__}, and no Message")
        return reply

    def judge(self, model: Tensors, seed: int) -> tuple[int, dict[str, float]]:
        """How many examples a model was evaluated on here, and its metrics, finite or not."""
        adapter = self.project.make_adapter(seed)
        adapter.set_tensors(model)
        data = self.project.load_data()
        held_out = data.validation if data.validation is not None else data.train
        found = adapter.evaluate(held_out, self._context_of(seed))
        return found.examples, {name: float(value) for name, value in found.metrics.items()}

    def _context_of(self, seed: int) -> TrainContext:
        config = self.project.config
        return TrainContext(1, seed, config.num_epochs, config.batch_size, config.learning_rate)

    def _loaded(self) -> Handler:
        named = FlowerTable.of(self.project.app_dir).clientapp
        if not named:
            return self._handler
        make_importable(self.project.manifest)
        found = load_client_app(named, self.project.manifest.folders)
        return found if has_functions(found) else self._handler
