"""Whether an app's code can do its part of a round here: it loads model and data, evaluates, trains a batch.

Run in a process that ends afterwards. Nothing is kept of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from fedops.core.contracts import ParameterContract
from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import ModelAdapter
from fedops.scalize.flow.datasets import DataSplit
from fedops.storage.tensors import Tensors
from fedops.trainer.chunk_bench import ChunkTraining, NoChunk
from fedops.trainer.local_round import ClientProject
from fedops.trainer.readiness import explain_missing


@dataclass(frozen=True)
class TriedCommit:
    """How it went."""

    fingerprint: str
    #: Of the newest model; empty if there is none, or none that fits, or nothing to evaluate it on.
    metrics: Mapping[str, float] = field(default_factory=dict)
    #: On how many examples it was trained; 0 also where the data does not let a batch be taken.
    trained: int = 0


def try_commit(
    project: ClientProject, device: str, model: Tensors | None, *, trains: bool
) -> TriedCommit:
    """Do it, in the order of a round.

    Raises:
        Invalid: it cannot be done, with what to do. Whatever else the app raises is raised too.
    """
    try:
        data = project.load_data()
    except Invalid as error:
        raise explain_missing(project.config, error) from None
    adapter = project.make_adapter(project.config.random_seed)
    training = ChunkTraining(adapter, data, project.config, device)
    takes = model is not None and fits(model, adapter.contract)
    if takes and model is not None:
        adapter.set_tensors({**adapter.get_tensors(), **model})
    metrics = _evaluated(adapter, data, training)
    # A command has been run up to its first step, and trains on all of its data or on none.
    examples = min(training.batch, data.examples) if trains and not project.config.script else 0
    if examples:
        try:
            training(examples)
        except NoChunk:
            examples = 0
    return TriedCommit(adapter.contract.fingerprint, metrics if takes else {}, examples)


def fits(model: Tensors, contract: ParameterContract) -> bool:
    """Whether a model is one of this contract: its tensors that travel, and no others."""
    wanted = {spec.name: (spec.shape, spec.dtype) for spec in contract.federated}
    return wanted == {name: (array.shape, str(array.dtype)) for name, array in model.items()}


def _evaluated(adapter: ModelAdapter, data: DataSplit, training: ChunkTraining) -> dict[str, float]:
    if data.validation is None:
        return {}
    result = adapter.evaluate(data.validation, training.context())
    found = {name: float(value) for name, value in result.metrics.items()}
    return {name: value for name, value in found.items() if math.isfinite(value)}
