"""Evaluating one model version in a process of its own, which changes nothing that is kept of rounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedops.client.device.data_dir import DataDir
from fedops.client.training.round_memory import RoundStore
from fedops.core.contracts.training import EVALUATE, TrainingOrder
from fedops.core.errors import Invalid
from fedops.scalize.flow.project import Project
from fedops.storage.tensors import Tensors, load
from fedops.trainer.device_context import Device, NoReporter
from fedops.trainer.local_round import LocalTrainer, LocalUpdate


class ReadOnlyRounds(RoundStore):
    """What the device keeps of its rounds, beside a training client that may be writing it."""

    def __init__(self, home: DataDir) -> None:
        super().__init__(home.rounds, _say_nothing, tidy=False)

    def save_state(self, run_id: int, round_: int, tensors: Tensors) -> None: ...

    def save_checkpoint(self, task: str, run_id: int, round_: int, tensors: Tensors) -> None: ...


class Remarks(NoReporter):
    """Hears where the model is computed, and why not where it was asked for."""

    def __init__(self) -> None:
        self.accelerator_problem = ""

    def describe(self, **facts: Any) -> None:
        self.accelerator_problem = facts.get("accelerator_problem", self.accelerator_problem)


def _say_nothing(*_: object, **__: object) -> None: ...


def evaluate_model(
    project: Project, home: DataDir, device: str, order: TrainingOrder, file: Path
) -> tuple[LocalUpdate, Remarks]:
    """Evaluate the model in ``file`` on this device's validation data, and what there is to remark.

    Raises:
        Invalid: this device cannot do it, with what to do.
    """
    remarks = Remarks()
    here = Device(device, report=remarks, memory=ReadOnlyRounds(home))
    federated = {spec.name for spec in order.contract.federated}
    tensors = {name: array for name, array in load(file).items() if name in federated}
    update = LocalTrainer(project, here)(order, tensors, EVALUATE)
    if update.header.refused:
        raise Invalid(update.header.refused)
    return update, remarks
