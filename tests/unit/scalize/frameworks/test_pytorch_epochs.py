"""A training that was interrupted ends with the very bits of one that was not."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from fedops.scalize.adapter.protocol import (
    AdapterOptions,
    Cancelled,
    Part,
    TrainContext,
    TrainingState,
    TrainResult,
)
from fedops.scalize.frameworks.pytorch import PyTorchAdapter
from fedops.scalize.frameworks.training_state import CannotKeep, as_numpy, decode, encode
from fedops.storage.tensors import Tensors, pack, unpack

CONTEXT = TrainContext(round=1, seed=11, epochs=4, batch_size=8, learning_rate=0.01)
X = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(np.int64)


class Stopped(BaseException):
    """The process is killed."""


@dataclass
class Memory:
    """Keeps states as a device does: packed. Stops a training at its n-th state, or at a batch."""

    stop_at_save: int | None = None
    stop_at_batch: int | None = None
    packed: tuple[bytes, dict[str, Any]] | None = None
    saves: int = 0
    begun: int = 0
    _asked: int = 0

    @property
    def wanted(self) -> bool:
        self._asked += 1
        return self._asked == self.stop_at_batch

    def begin(self) -> TrainingState | None:
        self.begun += 1
        if self.packed is None:
            return None
        return TrainingState(unpack(self.packed[0]), self.packed[1])

    def save(self, state: TrainingState) -> None:
        self.saves += 1
        self.packed = (pack(state.tensors), copy.deepcopy(dict(state.values)))
        if self.saves == self.stop_at_save:
            raise Stopped


class Noisy(Dataset[Any]):
    """Draws from every global source of randomness, as augmentations do."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        noise = torch.randn(6) * 0.1 + float(np.random.rand())
        return torch.from_numpy(X[index]) + noise, int(Y[index])


def model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2)
    )


def adapter(optimizer: str = "adam", **kwargs: Any) -> PyTorchAdapter:
    return PyTorchAdapter(model(), AdapterOptions(optimizer=Part(optimizer, kwargs)))


def train(
    memory: Memory | None, data: Any, optimizer: str = "adam", **kwargs: Any
) -> tuple[TrainResult, Tensors, bytes]:
    """In a fresh process, as far as that matters: result, tensors and where the generators are."""
    torch.manual_seed(99)
    np.random.seed(99)
    trained = adapter(optimizer, **kwargs)
    result = trained.train(data, replace(CONTEXT, checkpoints=memory))
    return result, trained.get_tensors(), torch.get_rng_state().numpy().tobytes()


def same(
    one: tuple[TrainResult, Tensors, bytes], other: tuple[TrainResult, Tensors, bytes]
) -> bool:
    return (
        one[0] == other[0]
        and {k: a.tobytes() for k, a in one[1].items()}
        == {k: a.tobytes() for k, a in other[1].items()}
        and one[2] == other[2]
    )


def loader() -> DataLoader[Any]:
    return DataLoader(
        TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=8, shuffle=True
    )


DATA = {"arrays": lambda: (X, Y), "data set": Noisy, "own loader": loader}
OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("adam", {}),
    ("sgd", {"momentum": 0.9}),
    ("adamw", {"amsgrad": True}),
    ("rmsprop", {}),
    ("adagrad", {}),
]


@pytest.mark.parametrize("kind", list(DATA))
@pytest.mark.parametrize("stop", [{"stop_at_save": 1}, {"stop_at_save": 3}])
def test_killed_between_epochs(kind: str, stop: dict[str, int]) -> None:
    undisturbed = train(None, DATA[kind]())
    memory = Memory(**stop)
    with pytest.raises(Stopped):
        train(memory, DATA[kind]())
    again = train(memory, DATA[kind]())
    assert same(again, undisturbed)
    assert memory.begun == 2
    assert memory.saves == 3  # after the last epoch there is nothing to go on with


@pytest.mark.parametrize("kind", list(DATA))
@pytest.mark.parametrize("batch", [1, 5, 7, 10])
def test_paused_in_the_midst_of_an_epoch(kind: str, batch: int) -> None:
    undisturbed = train(None, DATA[kind]())
    memory = Memory(stop_at_batch=batch)
    with pytest.raises(Cancelled):
        train(memory, DATA[kind]())
    memory.stop_at_batch = batch + 4
    with pytest.raises(Cancelled):
        train(memory, DATA[kind]())
    assert same(train(memory, DATA[kind]()), undisturbed)


@pytest.mark.parametrize(("name", "kwargs"), OPTIMIZERS, ids=[name for name, _ in OPTIMIZERS])
def test_every_optimizer_goes_on(name: str, kwargs: dict[str, Any]) -> None:
    undisturbed = train(None, (X, Y), name, **kwargs)
    memory = Memory(stop_at_save=2)
    with pytest.raises(Stopped):
        train(memory, (X, Y), name, **kwargs)
    assert same(train(memory, (X, Y), name, **kwargs), undisturbed)


def test_keeping_changes_nothing() -> None:
    assert same(train(Memory(), (X, Y)), train(None, (X, Y)))


def test_fedprox_pulls_towards_the_received_model_still() -> None:
    def run(memory: Memory | None) -> Tensors:
        trained = adapter()
        trained.train((X, Y), replace(CONTEXT, proximal_mu=0.5, checkpoints=memory))
        return trained.get_tensors()

    undisturbed, memory = run(None), Memory(stop_at_save=2)
    with pytest.raises(Stopped):
        run(memory)
    again = run(memory)
    assert all(again[name].tobytes() == array.tobytes() for name, array in undisturbed.items())


def test_what_does_not_fit_is_not_used() -> None:
    memory = Memory(stop_at_save=2)
    with pytest.raises(Stopped):
        train(memory, (X, Y))
    assert memory.packed is not None
    tensors = unpack(memory.packed[0])
    wrong = {
        k: np.zeros(3, np.float32) if "weights/model/0.weight" in k else v
        for k, v in tensors.items()
    }
    memory.packed = (pack(wrong), memory.packed[1])
    memory.stop_at_save = None
    assert same(train(memory, (X, Y)), train(None, (X, Y)))


def test_how_far_it_is() -> None:
    heard: list[tuple[int, int]] = []
    context = replace(CONTEXT, on_epoch=lambda done, total: heard.append((done, total)))
    adapter().train((X, Y), context)
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


# --- values ------------------------------------------------------------------------------------


@dataclass
class Odd:
    value: int = 3
    more: list[int] = field(default_factory=list)


def test_nested_values_come_back_as_they_are() -> None:
    value = {
        "plain": [1, 2.5, None, True, "text"],
        3: {"array": np.arange(4, dtype=np.uint32), "tuple": (1, [np.float32(0.1)])},
    }
    tensors: Tensors = {}
    encoded = encode(value, "v", tensors, as_numpy)
    back = decode(encoded, unpack(pack(tensors)), lambda array: array)
    assert back["plain"] == value["plain"]
    assert back[3]["tuple"] == (1, [np.float32(0.1)])
    np.testing.assert_array_equal(back[3]["array"], np.arange(4))
    assert back[3]["array"].dtype == np.uint32


def test_what_cannot_be_kept_is_named() -> None:
    with pytest.raises(CannotKeep, match="v/a/0 is a Odd"):
        encode({"a": [Odd()]}, "v", {}, as_numpy)
