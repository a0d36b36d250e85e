"""The PyTorch adapter trains: repeatable, to the bit what local training gives, stopped when told to."""

from __future__ import annotations

import copy
import random
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torch_cases import bits, classifier, context, data, odd

from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import AdapterOptions, Cancelled, Part
from fedops.scalize.frameworks.pytorch import PyTorchAdapter


def test_one_client_and_one_round_is_local_training_to_the_bit() -> None:
    model = classifier()
    adapter = PyTorchAdapter(copy.deepcopy(model))
    result = adapter.train(data(), context())

    torch.manual_seed(7)
    order = torch.Generator().manual_seed(7)
    loader = DataLoader(data(), batch_size=8, shuffle=True, generator=order)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    assert bits(adapter.get_tensors()) == bits(PyTorchAdapter(model).get_tensors())
    assert result.examples == 30
    assert set(result.metrics) == {"loss", "accuracy"}


@pytest.mark.parametrize(
    "make",
    [
        data,
        lambda: (data().tensors[0].numpy(), data().tensors[1].numpy()),
        lambda: [data()[i] for i in range(30)],
        lambda: DataLoader(data(), 8, shuffle=True),
        lambda: DataLoader(data(), 8, shuffle=True, generator=torch.Generator()),
        lambda: [{"x": x, "label": y} for x, y in data()],
    ],
    ids=["tensors", "arrays", "list", "loader", "loader with generator", "dicts"],
)
def test_a_repeated_round_gives_the_same_update(make: Any) -> None:
    adapter, given = PyTorchAdapter(classifier()), make()
    start = adapter.get_tensors()
    adapter.train(given, context())
    first = bits(adapter.get_tensors())
    random.random(), torch.rand(3), np.random.rand()
    adapter.set_tensors(start)
    adapter.train(given, context())
    assert bits(adapter.get_tensors()) == first
    adapter.set_tensors(start)
    adapter.train(given, context(seed=8))
    assert bits(adapter.get_tensors()) != first


def test_frozen_parameters_stay() -> None:
    adapter = odd()
    before = adapter.get_tensors()["frozen"]
    adapter.train(data(), context())
    assert (adapter.get_tensors()["frozen"] == before).all()


def test_a_last_batch_of_one_does_not_break_batch_norm() -> None:
    result = PyTorchAdapter(classifier()).train(data(17), context())
    assert result.examples == 17


def test_the_proximal_term_is_its_gradient_in_every_step() -> None:
    """One weight, squared error: w' = w - lr (gradient + mu (w - w_global)), worked out by hand."""
    adapter = PyTorchAdapter(
        nn.Linear(1, 1, bias=False), AdapterOptions(optimizer=Part("sgd"), loss=Part("mse"))
    )
    adapter.set_tensors({"weight": np.array([[2.0]], np.float32)})
    pair = (np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32))
    adapter.train(pair, context(epochs=2, learning_rate=0.1, proximal_mu=0.5))
    first = 2.0 - 0.1 * (2 * 2.0)
    second = first - 0.1 * (2 * first + 0.5 * (first - 2.0))
    assert adapter.get_tensors()["weight"] == pytest.approx(second, rel=1e-6)


def test_regression_does_not_broadcast_outputs_against_labels() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 3)
    y = x @ torch.tensor([1.0, -2.0, 0.5])
    adapter = PyTorchAdapter(nn.Linear(3, 1), AdapterOptions(optimizer=Part("sgd")))
    result = adapter.train(TensorDataset(x, y), context(epochs=60, learning_rate=0.1))
    assert result.metrics == {"loss": pytest.approx(0.0, abs=1e-3)}
    assert set(adapter.evaluate(TensorDataset(x, y), context()).metrics) == {"loss"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"optimizer": Part("adma")}, r"\[optimizer\] 'adma' is not known; did you mean 'adam'\?"),
        ({"loss": Part("croos_entropy")}, r"did you mean 'cross_entropy'\?"),
        ({"optimizer": Part("sgd", {"momentums": 0.9})}, r"\[optimizer\] SGD: .*momentums"),
    ],
)
def test_a_wrong_optimizer_or_loss_is_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        PyTorchAdapter(classifier(), AdapterOptions(**options)).train(data(), context())


def test_dotted_parts_are_used_as_they_are() -> None:
    options = AdapterOptions(
        optimizer=Part("torch.optim.SGD", {"momentum": 0.9, "lr": 0.0}, torch.optim.SGD),
        loss=Part("torch.nn.functional.cross_entropy", {"label_smoothing": 0.1}, F.cross_entropy),
    )
    adapter = PyTorchAdapter(nn.Linear(4, 2), options)
    before = bits(adapter.get_tensors())
    adapter.train(data(), context())
    assert bits(adapter.get_tensors()) == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([(torch.zeros(4),)], "needs batches of"),
        ([(torch.zeros(5), 1)] * 2, "the default training loop failed: RuntimeError"),
    ],
)
def test_data_that_does_not_fit_the_loop_or_the_model(given: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        PyTorchAdapter(nn.Linear(4, 2)).train(given, context())


def test_nothing_to_train() -> None:
    model = nn.Linear(4, 2).requires_grad_(False)
    with pytest.raises(Invalid, match="requires a gradient"):
        PyTorchAdapter(model).train(data(), context())


def test_training_stops_when_it_is_told_to() -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        PyTorchAdapter(classifier()).train(data(), context(cancelled=cancelled))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 3), nn.Linear(2, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return self.first(a) + scale * self.second(b)


def parts() -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    drawn = torch.randn(12, 4, generator=torch.Generator().manual_seed(3))
    return [(x[:2], x[2:], torch.tensor(i % 3)) for i, x in enumerate(drawn)]


def test_several_inputs_come_by_their_order_or_by_their_names() -> None:
    by_order, by_name = (PyTorchAdapter(copy.deepcopy(model)) for model in [Two()] * 2)
    start = bits(by_order.get_tensors())
    by_order.train(parts(), context())
    by_name.train([{"b": b, "y": y, "a": a} for a, b, y in parts()], context())
    assert start != bits(by_order.get_tensors()) == bits(by_name.get_tensors())
    named = [{"b": b, "y": y, "a": a} for a, b, y in parts()]
    assert by_order.evaluate(parts(), context()) == by_name.evaluate(named, context())


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (lambda a, b, y: (a, y, y, y), "the data gives a list of 4"),
        (lambda a, b, y: {"a": a, "c": b, "y": y}, "the data gives a dict of 'a', 'c', 'y'"),
        (lambda a, b, y: {"a": a, "b": b}, "a dict of 'a', 'b'"),
    ],
)
def test_a_batch_whose_parts_are_not_sure_is_refused(batch: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        PyTorchAdapter(Two()).train([batch(*part) for part in parts()], context())
