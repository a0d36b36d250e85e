"""The models that the clients of a round evaluate, as files: made as the aggregation makes a weighted mean.

So the first one, that of all clients, is to the last bit the round's own model, if that is a plain mean; and
whoever makes them again of the same updates makes the same files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedops.core.contracts import ParameterContract
from fedops.core.contracts.training import ClientMetrics, UpdateHeader
from fedops.engine.global_model import GlobalModel, StoredUpdate
from fedops.engine.scoring.scorer import ModelFile, UpdateFile
from fedops.engine.update_checks import CheckedUpdate
from fedops.storage.tensors import save


def build_coalitions(
    before: GlobalModel, updates: Sequence[UpdateFile], folder: Path, round_: int
) -> list[ModelFile]:
    """The model of all clients, then those without each, in the order of the updates.

    Raises:
        Invalid: the mean of some updates is not finite.
    """
    stored = [_stored(one) for one in updates]
    coalitions = [stored, *(stored[:i] + stored[i + 1 :] for i in range(len(stored)))]
    return [
        _built(before, members, folder / f"coalition-{round_:05}-{number}.safetensors", round_)
        for number, members in enumerate(coalitions)
    ]


def _built(
    before: GlobalModel, members: Sequence[StoredUpdate], path: Path, round_: int
) -> ModelFile:
    """What travels of the model of these clients."""
    made = before.next(path, round_, None, members)
    if made.is_exchanged_whole:
        return ModelFile(path, made.sha256)
    return ModelFile(path, save(made.exchanged(), path, durable=False))


def model_before(path: Path, contract: ParameterContract) -> GlobalModel:
    """The model that a round began with; its file was checked where it came from."""
    return GlobalModel(path, "", contract)


def _stored(one: UpdateFile) -> StoredUpdate:
    header = UpdateHeader(one.device, 0, 0, 0, "")
    checked = CheckedUpdate(header, ClientMetrics(max(one.examples, 1), {}), None, 0)
    return StoredUpdate(checked, 0, one.path)
